#include "pooler/backend_hosts.h"

#include <fmt/format.h>

#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/net/address.h"
#include "protocol/wire.h"

namespace pgweir {

using conf::SessionAttrs;

const char* name(HostRole role) {
  switch (role) {
    case HostRole::Unknown: return "unknown";
    case HostRole::Primary: return "primary";
    case HostRole::ReadOnly: return "read-only";
    case HostRole::Standby: return "standby";
  }
  return "";
}

HostRole role_told(const SettingsMap::Values& reported, bool read_only_ours) {
  const auto standby = reported.find("in_hot_standby");
  const auto read_only = reported.find("default_transaction_read_only");
  if (standby == reported.end() || read_only == reported.end()) return HostRole::Unknown;
  if (standby->second == "on") return HostRole::Standby;
  return read_only->second == "on" && !read_only_ours ? HostRole::ReadOnly : HostRole::Primary;
}

std::optional<HostRole> role_of_row(Bytes row, bool read_only_ours) {
  protocol::Reader in(row);
  if (in.u16() != 2) return {};
  const Bytes recovery = in.bytes(in.u32());
  const Bytes read_only = in.bytes(in.u32());
  if (!in.ok() || !in.empty()) return {};
  return role_of_row(SideRow{std::string(recovery), std::string(read_only)}, read_only_ours);
}

std::optional<HostRole> role_of_row(const SideRow& row, bool read_only_ours) {
  if (row.size() != 2) return {};
  if (row[0] == "t") return HostRole::Standby;
  if (row[0] != "f") return {};
  return row[1] == "on" && !read_only_ours ? HostRole::ReadOnly : HostRole::Primary;
}

SessionAttrs session_attrs(const conf::Backend& backend) {
  if (backend.target_session_attrs != SessionAttrs::Auto) return backend.target_session_attrs;
  return backend.hosts.size() > 1 ? SessionAttrs::ReadWrite : SessionAttrs::Any;
}

bool fits(SessionAttrs wanted, HostRole role) {
  switch (wanted) {
    case SessionAttrs::Auto:
    case SessionAttrs::Any: return true;
    case SessionAttrs::ReadWrite: return role == HostRole::Primary;
    case SessionAttrs::ReadOnly: return role == HostRole::ReadOnly || role == HostRole::Standby;
    case SessionAttrs::Primary: return role == HostRole::Primary || role == HostRole::ReadOnly;
    case SessionAttrs::Standby:
    case SessionAttrs::PreferStandby: return role == HostRole::Standby;
  }
  return false;
}

bool wants_primary(SessionAttrs wanted) {
  switch (wanted) {
    case SessionAttrs::ReadWrite:
    case SessionAttrs::Primary: return true;
    case SessionAttrs::Auto:
    case SessionAttrs::Any:
    case SessionAttrs::ReadOnly:
    case SessionAttrs::Standby:
    case SessionAttrs::PreferStandby: return false;
  }
  return false;
}

bool HostRound::failed(Failure why) {
  failures_.push_back(std::move(why));
  if (at_ + 1 == tries_.size()) return false;
  ++at_;
  return true;
}

HostRound::Failure HostRound::verdict() const {
  PGWEIR_CHECK(!failures_.empty());
  if (tries_.size() == 1) return failures_[0];
  for (const Failure& each : failures_)
    if (says_you(each.error)) return each;
  for (const Failure& each : failures_)
    if (std::string_view(each.error.sqlstate) == sqlstate::kTooManyConnections) return each;
  const auto what = [this] {
    switch (wanted_) {
      case SessionAttrs::Auto:
      case SessionAttrs::Any:
      case SessionAttrs::PreferStandby: return "none of its hosts can be used: ";
      case SessionAttrs::ReadWrite: return "none of its hosts is read-write: ";
      case SessionAttrs::ReadOnly: return "none of its hosts is read-only: ";
      case SessionAttrs::Primary: return "none of its hosts is a primary: ";
      case SessionAttrs::Standby: return "none of its hosts is a standby: ";
    }
    return "";
  }();
  std::vector<std::string> told;
  for (std::size_t i = 0; i < failures_.size(); ++i) {
    const std::string host = net::text(tries_[i].host);
    std::string why = failures_[i].error.message;
    if (why.find(host) == std::string::npos) why = host + ": " + why;
    if (std::find(told.begin(), told.end(), why) == told.end()) told.push_back(std::move(why));
  }
  return {{sqlstate::kCannotConnectNow, what + fmt::format("{}", fmt::join(told, "; ")), {}, {}},
          Teller::Ourselves,
          Stage::Unknown};
}

HostBook::Host* HostBook::find(const net::Endpoint& host) {
  const auto found =
      std::find_if(hosts_.begin(), hosts_.end(), [&](const Host& each) { return each.endpoint == host; });
  return found == hosts_.end() ? nullptr : &*found;
}

// After a reload there may be others.
void HostBook::take(std::span<const net::Endpoint> hosts) {
  const bool same = std::equal(hosts.begin(), hosts.end(), hosts_.begin(), hosts_.end(),
                               [](const net::Endpoint& a, const Host& b) { return a == b.endpoint; });
  if (same) return;
  std::vector<Host> taken;
  for (const net::Endpoint& each : hosts) {
    const Host* known = find(each);
    taken.push_back(known ? *known : Host{each, HostRole::Unknown, 0, {}});
  }
  hosts_ = std::move(taken);
  if (in_use_ && !find(*in_use_)) in_use_.reset();
}

std::vector<HostRound::Try> HostBook::order(SessionAttrs wanted) const {
  struct Place {
    std::uint64_t rank;
    const Host* host;
  };
  std::vector<Place> places;
  for (const Host& host : hosts_) {
    const bool misfit = host.role != HostRole::Unknown && !fits(wanted, host.role);
    const bool used = in_use_ && *in_use_ == host.endpoint;
    // What has failed or did not fit may be another thing in a moment: it is tried all the same.
    const std::uint64_t rank = host.failed > 0 ? 1 + host.failed : misfit ? failures_ + 2 : used ? 0 : 1;
    places.push_back({rank, &host});
  }
  std::stable_sort(places.begin(), places.end(),
                   [](const Place& a, const Place& b) { return a.rank < b.rank; });
  std::vector<HostRound::Try> tries;
  for (const Place& place : places) tries.push_back({place.host->endpoint, wanted});
  return tries;
}

HostRound HostBook::round(std::span<const net::Endpoint> hosts, SessionAttrs wanted) {
  take(hosts);
  std::vector<HostRound::Try> tries = order(wanted);
  if (wanted == SessionAttrs::PreferStandby) {
    const auto any = order(SessionAttrs::Any);
    tries.insert(tries.end(), any.begin(), any.end());
  }
  return {std::move(tries), wanted, turn_};
}

HostBook::Found HostBook::worked(const net::Endpoint& host, HostRole role, SessionAttrs wanted,
                                 std::uint32_t turn) {
  const bool other = in_use_ && *in_use_ != host;
  if (wants_primary(wanted) && other && turn != turn_) return Found::Late;
  if (Host* const known = find(host)) {
    known->role = role;
    known->failed = 0;
    known->error.clear();
  }
  if (!in_use_ || other) {
    in_use_ = host;
    ++turn_;
  }
  return other && wants_primary(wanted) ? Found::Moved : Found::Same;
}

void HostBook::failed(const net::Endpoint& host, HostRole role, std::string error) {
  Host* const known = find(host);
  if (!known) return;
  known->role = role;
  known->failed = ++failures_;
  known->error = std::move(error);
}

}  // namespace pgweir
