// pooler/backend_hosts.h - the hosts of one backend: which is tried next, what it turned out to be, and which
// one is in use.
//
//   HostRound   one connection looks for a host that fits: each is tried once
//   HostBook    what all of them have found; the rules, pure
//   BackendHosts  the book that all workers share
//
// Where a primary is wanted there is one: as soon as a login finds it on another host, the connections to the
// old one are given up, whatever that still believes to be.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "conf/config.h"
#include "pooler/base/error.h"
#include "pooler/base/time.h"
#include "pooler/login_verdict.h"
#include "pooler/net/loop.h"
#include "pooler/settings.h"
#include "pooler/side_answers.h"

namespace pgweir {

// ReadOnly: no standby, but transactions begin as read only.
enum class HostRole : std::uint8_t { Unknown, Primary, ReadOnly, Standby };
const char* name(HostRole role);

// What Postgres 14 and later tell at login; Unknown: it has not told. `read_only_ours`: the connection asked
// for read-only transactions itself, so that they say nothing of the host.
HostRole role_told(const SettingsMap::Values& reported, bool read_only_ours);
// The same from kRoleQuery's row.
inline constexpr const char* kRoleQuery =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";
std::optional<HostRole> role_of_row(Bytes row, bool read_only_ours);
std::optional<HostRole> role_of_row(const SideRow& row, bool read_only_ours);

// Never Auto.
conf::SessionAttrs session_attrs(const conf::Backend& backend);
// Whether it must be known what a host is.
inline bool asks_role(conf::SessionAttrs wanted) { return wanted != conf::SessionAttrs::Any; }
bool fits(conf::SessionAttrs wanted, HostRole role);
// Whether only one host at a time can fit.
bool wants_primary(conf::SessionAttrs wanted);

class HostRound {
 public:
  struct Failure {
    Error error;
    Teller teller = Teller::Ourselves;
    Stage stage = Stage::Unknown;
  };
  struct Try {
    net::Endpoint host;
    conf::SessionAttrs wanted;
  };

  HostRound(std::vector<Try> tries, conf::SessionAttrs wanted, std::uint32_t turn)
      : tries_(std::move(tries)), wanted_(wanted), turn_(turn) {}

  // The one that is tried.
  const net::Endpoint& host() const { return tries_[at_].host; }
  conf::SessionAttrs wanted() const { return tries_[at_].wanted; }
  std::uint32_t turn() const { return turn_; }
  // It will not do. True: the next one is host() now.
  bool failed(Failure why);
  // When none is left: what the whole round says. A refusal by a host that knows who asks comes first, then
  // one that has no room, else none of them is there.
  Failure verdict() const;

 private:
  std::vector<Try> tries_;
  std::vector<Failure> failures_;  // of those before at_, and in the end of all
  conf::SessionAttrs wanted_;
  std::size_t at_ = 0;
  std::uint32_t turn_;
};

class HostBook {
 public:
  struct Host {
    net::Endpoint endpoint;
    HostRole role = HostRole::Unknown;
    std::uint64_t failed = 0;  // the count of failures then; 0: it was good last, or never tried
    std::string error;         // of that
  };
  enum class Found : std::uint8_t { Same, Moved, Late };

  // One after the other: that in use, those that nothing is known against, those that failed, longest ago
  // first. prefer-standby: all of them as standbys, then as any.
  HostRound round(std::span<const net::Endpoint> hosts, conf::SessionAttrs wanted);
  // A login has found a host that fits. Late: the round began before the host in use was found, and this is
  // another one.
  Found worked(const net::Endpoint& host, HostRole role, conf::SessionAttrs wanted, std::uint32_t turn);
  void failed(const net::Endpoint& host, HostRole role, std::string error);
  const net::Endpoint* in_use() const { return in_use_ ? &*in_use_ : nullptr; }
  const std::vector<Host>& hosts() const { return hosts_; }

 private:
  Host* find(const net::Endpoint& host);
  void take(std::span<const net::Endpoint> hosts);
  std::vector<HostRound::Try> order(conf::SessionAttrs wanted) const;

  std::vector<Host> hosts_;  // as configured
  std::optional<net::Endpoint> in_use_;
  std::uint64_t failures_ = 0;
  std::uint32_t turn_ = 0;  // how often in_use_ has changed
};

// Any thread may ask.
class BackendHosts {
 public:
  HostRound round(std::span<const net::Endpoint> hosts, conf::SessionAttrs wanted) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return book_.round(hosts, wanted);
  }
  HostBook::Found worked(const net::Endpoint& host, HostRole role, const HostRound& round) {
    const std::lock_guard<std::mutex> lock(mutex_);
    return book_.worked(host, role, round.wanted(), round.turn());
  }
  void failed(const net::Endpoint& host, HostRole role, std::string error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    book_.failed(host, role, std::move(error));
  }
  HostBook view() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return book_;
  }

 private:
  mutable std::mutex mutex_;
  HostBook book_;
};

}  // namespace pgweir
