#include "pooler/http_gate.h"

#include <utility>
#include <variant>

#include "pooler/worker.h"

namespace pgweir {

using http::Access;
using http::Login;

void HttpGate::pass(const http::Request& request, http::Page page, const http::Server::Reply& reply,
                    std::function<void()> then) {
  auto verdict = http::access(request, first_.snapshot());
  if (const auto* const known = std::get_if<Access>(&verdict)) {
    const std::string address = http::address_text(request.from);
    switch (*known) {
      case Access::Allowed: return then();
      case Access::Unproven: break;
      case Access::WrongToken: tell_refused({}, address, request.port, "wrong token"); break;
      case Access::Unreadable: tell_refused({}, address, request.port, "unreadable credentials"); break;
    }
    return reply(http::unauthorized(page));
  }
  auto& login = std::get<Login>(verdict);
  const protocol::Sha256 digest = protocol::hmac_sha256(
      {reinterpret_cast<const char*>(first_.shared().process_secret.data()), sizeof(protocol::ScramKey)},
      login.user + ':' + login.password);
  if (known_in_.lock() == first_.snapshot_ref() &&
      protocol::equal_constant_time(protocol::as_bytes(known_), protocol::as_bytes(digest)))
    return then();
  if (checks_.size() >= kWaitingMax)
    return reply({.status = 503,
                  .body = "Too many passwords wait to be checked.\n",
                  .headers = {{"Retry-After", "1"}}});
  checks_.push_back({std::move(login), http::address_text(request.from), request.port, digest, page, reply,
                     std::move(then)});
  if (checks_.size() == 1) check_next();
}

void HttpGate::check_next() {
  auto snapshot = first_.snapshot_ref();
  auto good = std::make_shared<bool>(false);
  first_.loop().offload([good, snapshot, login = checks_.front().login,
                         key = first_.shared().process_secret] { *good = http::fits(login, *snapshot, key); },
                        [self = shared_from_this(), good, snapshot] { self->checked(*good, snapshot); });
}

void HttpGate::tell_refused(const std::string& user, const std::string& address, std::uint16_t port,
                            const char* why) {
  first_.log().warn("http_login_refused",
                    {{"user", user}, {"addr", address}, {"port", port}, {"reason", why}});
  if (AuditStream* audit = first_.audit())
    audit->record(AuditEvent::HttpLoginRefused, AuditOutcome::Failure,
                  {{AuditKey::User, user},
                   {AuditKey::Address, address},
                   {AuditKey::Port, port},
                   {AuditKey::Reason, why}});
}

void HttpGate::checked(bool fits, const std::shared_ptr<const Snapshot>& snapshot) {
  Check check = std::move(checks_.front());
  checks_.pop_front();
  if (fits) {
    known_in_ = snapshot;
    known_ = check.digest;
  } else {
    tell_refused(check.login.user, check.address, check.port, "wrong user or password");
  }
  protocol::wipe(check.login.password);
  if (!checks_.empty()) check_next();
  if (fits) return check.then();
  check.reply(http::unauthorized(check.page));
}

}  // namespace pgweir
