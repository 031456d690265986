// pooler/session.h - one logged-in client: its socket and the dull half of SessionCore.
//
// It obeys Actions in this order: bytes to the client, bytes to the server, the queue, closing the client,
// and the server last, because giving one back may run another session. An idle session holds no buffer.
//
// A client that does not read its answers is not heard either: what it sends is held, which stops its reads,
// until all that was written has gone. What needs no server is answered a piece in a turn of the loop, and so
// is what takes long to look through.
//
// Notifications of the group's listener are told between two transactions. What waits for that, or for the
// client to read, is bounded by kNotificationsMost.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pooler/audit_record.h"
#include "pooler/base/list.h"
#include "pooler/base/name_book.h"
#include "pooler/base/time.h"
#include "pooler/clocks.h"
#include "pooler/net/loop.h"
#include "pooler/session_core.h"
#include "protocol/secret.h"
#include "protocol/trace_context.h"

namespace pgweir {

class Group;
class Server;
class Worker;
struct Member;
struct Tenant;
struct OfTenant;  // the list of those that wait of one tenant

class Session final : public net::Handler,
                      public ListLink<Session>,
                      public ListLink<Session, OfTenant>,
                      private ListenerCore::Hearer {
 public:
  static constexpr std::size_t kNotificationsMost = 1 << 20;  // bytes

  Session(Worker& worker, Tenant& tenant, Group& group, std::unique_ptr<net::Stream> stream,
          SettingsRef wanted, tiers::PoolMode mode, std::string user, const protocol::Startup& startup);
  ~Session() override;

  // Welcomes the client, now if its settings are known to be good, else after a server has tried them.
  // `held`: bytes that came behind the login.
  void start(Bytes held);

  // From the group.
  void on_granted(Server& server);
  void on_refused(const Error& error);  // at a limit, or because Postgres cannot be had; logged
  // The walsender that it has asked for is here; `parameters`: what that reports.
  void on_dedicated(Server& server, const SettingsMap::Values& parameters);
  // From the tenant's throttle: its transaction may begin.
  void on_token();
  // It waits, and its tier would rather hear at once that Postgres is not there.
  void fail_fast();
  // From the server that it holds.
  void on_server_bytes(Bytes in);
  void on_server_drained();
  void on_server_closed(const std::string& why);

  bool cancel_key_is(Bytes key) const { return protocol::equal_secret(key, cancel_key()); }
  // `done`: once it has been delivered, or nothing of this client runs.
  void cancel(std::function<void()> done);
  // Ends the session; between transactions for shutdown and for KILL alike.
  void end(const Error& error);
  bool between_transactions() const;
  bool in_transaction() const { return welcomed_ && !closing_ && !between_transactions(); }
  bool queues() const {
    return welcomed_ && !core_.walsender() && core_.state() == SessionCore::State::Waiting;
  }
  bool fresh() const { return !served_; }  // it has had no transaction yet
  // Why it has no server yet, for its error, its notice and SHOW LIMIT.
  Error why_waiting() const;
  void reloaded() { arm(); }  // its deadlines may have come nearer
  // Now and then while it has a server: one that is silent may be gone.
  void watch_server();
  // SUSPEND and RESUME: nothing is read from it and its server meanwhile. Its clocks stand still; that took
  // `was` in all.
  void suspend();
  void resume(Duration was);
  bool flushed() const;  // nothing waits to be sent to its client or its server
  void ceilings_changed() {
    core_.ceilings_changed();
    arm();
  }

  Tenant& tenant() const { return tenant_; }
  Group& group() const { return group_; }
  Member& member() const { return member_; }
  Server* server() const { return server_; }
  const SessionCore& core() const { return core_; }
  const std::string& user() const { return user_.text(); }
  net::Stream& stream() const { return *stream_; }
  std::uint32_t id() const { return id_; }
  Time connected_at() const { return connected_at_; }
  Time since() const { return since_; }
  bool closing() const { return closing_; }

 private:
  void on_bytes(Bytes in) override;
  void on_drained() override;
  void on_closed(const net::Closed& why) override;
  void on_listener_changed() override;
  void on_notification(Bytes message) override;

  std::string cancel_key() const;
  void take(Bytes in);
  void pump(Bytes in);
  void go_on();
  bool choked() const;  // it has not read what it was answered
  bool refuses() const { return refuse_ && !choked(); }
  Server* ask();
  void begin_to_wait();
  void count_ceiling();
  void end_waiting();
  Server* request();
  void leave_queue();
  void turn_away(const Error& error);
  void count_error();
  void end_if_told();
  // Logs in by a server: whether the settings that the client asks for can be had is for Postgres to say.
  void prove();
  void settle(Actions& out, Bytes in);
  void take_news(const Actions& out);
  void end_as_decided(const Actions& out);
  void link(Server& server);
  void follow_slow(Duration waited);
  void tell_slow(const char* outcome);
  protocol::TraceContext trace() const;
  void introduce(Server& server);
  void give_back(Actions::Server how);
  Holding holding() const;
  bool alarm_is_near() const;
  void on_alarm(const Clocks::Alarm& alarm);
  void keep(Bytes rest);
  void welcome(const SettingsMap::Values& parameters);
  void tell_login(AuditOutcome outcome, std::string_view reason, std::string_view sqlstate);
  void tell_notifications();
  void update_flow();
  void note_time(const Actions& out);
  void arm();
  Time deadline() const;
  Time due() const;
  Time queue_end() const;
  void on_timer();
  void send_cancels();

  Worker& worker_;
  Tenant& tenant_;
  Group& group_;
  Member& member_;
  const NameBook::Name user_;
  std::unique_ptr<net::Stream> stream_;
  Server* server_ = nullptr;
  SessionCore core_;
  std::string held_;
  std::unique_ptr<std::string> notifications_;  // that wait for the end of its transaction; null: none
  // Cancels that wait until the server runs what is the client's own; null: none.
  std::unique_ptr<std::vector<std::function<void()>>> cancels_;
  net::Timer timer_;
  Time connected_at_{};
  Time since_{};       // in this state of the core
  Time busy_since_{};  // the request that runs, or the silence inside a transaction, began
  Time transaction_since_{}, statement_since_{};  // see Holding
  Clocks clocks_;
  std::uint32_t id_;
  bool long_keys_;
  bool welcomed_ = false;
  bool closing_ = false;
  bool stalled_ = false;        // the core goes on with held_ after the next answers
  bool more_ = false;           // ... in the next turn of the loop, or once the client has read
  bool reads_paused_ = false;   // ours, of the client
  bool server_paused_ = false;  // the server's, because the client does not read
  bool suspended_ = false;
  bool noticed_ = false;    // has been told that it waits
  bool throttled_ = false;  // waits for its tenant's rate, not for a server
  bool refuse_ = false;     // the tier's answer is no: its timer says so
  bool counted_ = false;    // among its tenant's sessions that wait
  bool crowded_ = false;    // too many of them do
  bool pressed_ = false;    // this wait is counted as a hit of its tenant's max_server_connections
  bool served_ = false;     // it has had a server, after its welcome
  bool paid_ = false;       // the transaction that comes first has had its token
};

}  // namespace pgweir
