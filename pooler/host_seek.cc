#include "pooler/host_seek.h"

#include <fmt/format.h>

#include <algorithm>

#include "pooler/login_policy.h"
#include "pooler/net/address.h"
#include "pooler/side_connection.h"
#include "pooler/worker.h"

namespace pgweir {

HostSeek::HostSeek(Worker& worker, const Server& server)
    : worker_(worker),
      backend_(server.group().key().backend),
      suspect_(server.host()),
      credentials_(server.group().credentials()),
      database_(server.group().key().database),
      plain_refused_(server.group().plain_refused()),
      timer_(this, [](void* self) { static_cast<HostSeek*>(self)->look(); }) {
  connect(suspect_);
}

HostSeek::~HostSeek() { worker_.loop().disarm(timer_); }

bool HostSeek::possible(const Worker& worker, const Server& server) {
  const BackendView* const backend = worker.snapshot().backend(server.group().key().backend);
  return backend && backend->hosts.size() > 1 && wants_primary(session_attrs(backend->settings)) &&
         worker.config().server_silence_max.count() > 0;
}

void HostSeek::connect(const net::Endpoint& host) {
  const BackendView* const backend = worker_.snapshot().backend(backend_);
  if (!backend) return end();
  const bool asks = state_ == State::Looking;
  auto role = std::make_shared<HostRole>(HostRole::Unknown);
  SideConnection::To to{host, backend->tls, login_policy(*backend, plain_refused_), credentials_, database_};
  to.patience = asks ? Duration(kLookPatience) : Duration(worker_.config().server_silence_max);
  login_ = std::make_unique<SideConnection>(worker_.loop(), worker_.derivations(), std::move(to),
                                            worker_.scram_nonce(), [this, role] { asked(*role); });
  if (!asks) return;
  login_->ask(kRoleQuery, [role](const SideAnswer& answer) {
    if (answer && answer->size() == 1)
      *role = role_of_row(answer->front(), false).value_or(HostRole::Unknown);
  });
}

// Whatever the suspect has said, also that nobody may log in: it is there.
void HostSeek::asked(HostRole role) {
  const bool timed_out = login_->timed_out();
  login_.reset();
  if (state_ == State::Asking) return timed_out ? suspect_is_silent() : end();
  const net::Endpoint host = std::move(others_.back());
  others_.pop_back();
  if (!fits(round_->wanted(), role)) return ask_next();
  const HostBook::Found found = worker_.shared().hosts(backend_).worked(host, role, *round_);
  if (found == HostBook::Found::Moved) tell_host_moved(worker_, backend_, host);
  look();
}

void HostSeek::suspect_is_silent() {
  const std::string why =
      fmt::format("{} did not answer a login within server.silence_max", net::text(suspect_));
  worker_.log().warn("host is silent",
                     {{"backend", backend_}, {"host", net::text(suspect_)}, {"error", why}});
  worker_.shared().hosts(backend_).failed(suspect_, HostRole::Unknown, why);
  state_ = State::Looking;
  look();
}

void HostSeek::look() {
  const BackendView* const backend = worker_.snapshot().backend(backend_);
  if (!backend || !worker_.awaits(backend_, suspect_)) return end();
  BackendHosts& hosts = worker_.shared().hosts(backend_);
  const HostBook book = hosts.view();
  if (const net::Endpoint* const used = book.in_use(); used && *used != suspect_) {
    tell_host_lost(worker_, backend_, suspect_);
    return end();
  }
  round_ = std::make_unique<HostRound>(hosts.round(backend->hosts, session_attrs(backend->settings)));
  others_ = backend->hosts;
  std::erase(others_, suspect_);
  std::reverse(others_.begin(), others_.end());
  ask_next();
}

void HostSeek::ask_next() {
  if (!others_.empty()) return connect(others_.back());
  worker_.loop().arm(timer_, worker_.loop().now() + kLookAgain);
}

void HostSeek::end() {
  state_ = State::Over;
  over_since_ = worker_.loop().now();
  worker_.after_change();
}

}  // namespace pgweir
