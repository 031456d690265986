// pooler/client_login.h - one client from accept to its session: the dull half of LoginCore.
//
// It begins on the worker that accepted it and moves once, when its database is known, to that database's
// home worker. It ends as a Session, a ConsoleSession, a cancel, or a closed connection, by login_deadline at
// the latest.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "pooler/base/time.h"
#include "pooler/login_core.h"
#include "pooler/naming.h"
#include "pooler/net/loop.h"
#include "tiers/tier.h"

namespace pgweir {

class ConsoleSession;
class Worker;

class ClientLogin final : public net::Handler {
 public:
  ClientLogin(Worker& worker, std::unique_ptr<net::Stream> stream);
  ~ClientLogin() override;

  // Hand-over between workers: after detach() nothing of it belongs to the old one.
  void detach();
  void attach(Worker& worker);
  // Silent, not `refusal`, where the client is to blame that it has come no further.
  void end(LoginRefusal refusal, const Error& why);
  // From the worker that derived the keys of its user's plain password.
  void verified(const protocol::ScramVerifier& verifier);
  // It has waited because its tenant had too many clients, and need not any more.
  void place_free() { finish(); }
  const std::string& tenant() const { return named_.tenant; }
  bool unnamed() const { return core_.unnamed(); }

 private:
  void on_bytes(Bytes in) override;
  void on_secured() override;
  void on_drained() override;
  void on_closed(const net::Closed& why) override;

  void pump();
  void obey(LoginCore::Out& out);
  void name_tenant();
  void look_up();
  void go_home();
  void authenticate();
  void authenticate_with(LoginCore::Credentials credentials);
  void pretended();
  void derive();
  void finish();
  void tell_audit(const ConsoleSession& started);
  bool wait_for_place();
  void timed_out();
  void tell_waiting(const Error& why);
  void refuse(LoginRefusal why, const Error& error);
  void cancel();

  Worker* worker_;
  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<net::Detached> detached_;
  std::shared_ptr<net::TlsContext> tls_;  // that core_ offers, whatever a reload says meanwhile
  LoginCore core_;
  std::string held_;
  Named named_;
  std::optional<tiers::Tenant> record_;
  bool unreachable_ = false;  // the tenant store could not be asked
  bool console_ = false;
  bool peer_ = false;   // ... of a user whose uid is ours (console.peer)
  bool moves_ = false;  // to its home worker, as soon as everything written is out
  bool waits_ = false;  // for one of its tenant's clients to leave
  bool over_ = false;   // nothing more is read; waits for on_closed or its deletion
  net::Timer deadline_;
  net::Timer pretend_;  // to derive keys
  Time accepted_at_{};
  Time deadline_at_{};
  Time notice_at_ = kNever;  // waits_, and has not been told yet
};

}  // namespace pgweir
