// pooler/server.h - one connection to Postgres: its socket, its login, and where it stands in its group.
//
//   Starting -> Idle <-> Lent -> Settling -> Idle     Settling: given back, not yet proven clean
//   any -> Closing                             Starting -> Listening: for all clients, and never lent
//
// A server is in exactly one place, and Group alone moves it. A group owns its servers.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "pooler/backend_hosts.h"
#include "pooler/base/list.h"
#include "pooler/base/time.h"
#include "pooler/cancel.h"
#include "pooler/login_verdict.h"
#include "pooler/net/loop.h"
#include "pooler/read_pace.h"
#include "pooler/scheduler.h"
#include "pooler/server_core.h"
#include "pooler/server_login.h"
#include "pooler/startup_settings.h"

namespace pgweir {

class Group;
class Session;
struct Tenant;

class Server final : public net::Handler, public ListLink<Server> {
 public:
  enum class Place : std::uint8_t { Starting, Idle, Lent, Settling, Listening, Closing };
  // A walsender serves one client for as long as both live.
  enum class Role : std::uint8_t { Pool, Listener, Walsender };

  // `client`: what is told beside `startup`, and wins.
  Server(Group& group, std::uint64_t id, StartupRef startup, Role role = Role::Pool,
         protocol::Settings client = {});
  ~Server() override;

  void connect();  // Starting; ends in Group::server_started or Group::server_lost
  void write(std::span<const Bytes> slices) {
    pace_.begin();
    stream_->write(slices);
  }
  std::size_t unsent() const { return stream_ ? stream_->unsent() : 0; }
  void pause_reads() { stream_->pause_reads(); }
  void resume_reads() { stream_->resume_reads(); }
  // Its client has vanished: what still runs is canceled, then it may be cleaned.
  void abandon();
  // ROLLBACK, DISCARD ALL: end in Group::settle or Group::server_lost.
  void roll_back();
  void clean();
  // Asks for the functions of its database; ends in Group::routines_read or Group::server_lost.
  void read_routines();
  bool reads_routines() const { return reads_routines_; }
  void lease_ended();
  void settled(net::Loop& loop) {
    loop.disarm(deadline_);
    tries_ = 0;
  }
  // Whether an answer has been awaited for so long that its machine is asked whether it is still there. Of a
  // server that is watched already, and awaits nothing any more, that ends.
  bool watched() const { return watched_; }
  void watch(bool awaited);
  // Says goodbye and closes. With a request still running, its process is ended, or Postgres is asked to
  // cancel it.
  void close();
  void terminated() { stream_->reset(); }
  // Given up without a goodbye: what its client awaits fails.
  void lose(const char* why) {
    why_closed = why;
    stream_->reset();
  }

  ServerCore core;
  Place place = Place::Starting;
  Session* session = nullptr;  // while Lent
  Tenant* payer = nullptr;     // used it last, and has clients in the group
  std::string payer_left;      // its name, when it has none any more
  Time paid_until{};           // by whoever had it until then
  std::uint32_t leases = 0;    // cancel connections under way; not lent again before they are closed (R6)
  std::uint64_t id;
  const Role role;
  Time since{};        // in this place
  Duration charged{};  // to its session's tenant when it was lent
  Run run;
  Time started_at{};
  Time expires{};      // server_lifetime, with jitter
  StartupRef startup;  // it is lent to tenants that have the same
  // Postgres ends it when it has been idle for so long, but for what its client has set; 0: never.
  std::chrono::milliseconds idle_most{};
  Time lent_until = kNever;  // while Idle
  const char* why_closed = "server closed the connection";
  // Whether it was told all that this version of Postgres knows of `startup`.
  bool told_all(int version) const { return startup_parameters(*startup, version) == told_; }
  // Its key is empty when the server cannot be asked.
  CancelTarget cancel_target() const;
  std::uint32_t cancel_pid() const { return cancel_pid_; }
  // That it is connected to, or was last tried.
  const net::Endpoint& host() const { return endpoint_; }
  Group& group() const { return group_; }
  net::Stream* stream() const { return stream_.get(); }

 private:
  void on_connected() override;
  void on_secured() override;
  void on_bytes(Bytes in) override;
  void pace_reads(std::size_t got);
  void stream_pauses();
  void read_together(bool together);
  void on_drained() override;
  void on_closed(const net::Closed& why) override;
  void dial();
  void obey(ServerLogin::Out& out);
  void await_answer();
  void out_of_time();
  void cancel_abandoned();
  Error too_late() const;
  Stage stage() const;
  void logged_in(HostRole role);
  void ask_role();
  void host_failed(HostRound::Failure why, HostRole role = HostRole::Unknown);
  void send_to_settle(protocol::Gather& out);
  void ask_for_routines(const std::string& sql);
  void read_on();
  void end_of_rows(bool well);
  void reading_is_slow();
  void go_on_reading(bool well);

  Group& group_;
  // While Starting: what it takes to log in to one host after the other.
  struct Dialling {
    HostRound round;
    ServerLogin::Policy policy;
    std::shared_ptr<net::TlsContext> tls;
    Duration patience;  // for each
    bool read_only_ours = false;
    HostRole role = HostRole::Unknown;
    std::uint32_t dialled = 0;
    Time until{};            // the patience with the present one ends
    bool prompt = false;     // what it is asked for takes no time
    bool heard = false;      // it has said something
    bool asks_role = false;  // the login is through, what the host is not yet known
    bool moves_on = false;   // to the next host, as soon as this connection is gone
  };
  std::unique_ptr<Dialling> dialling_;
  net::Endpoint endpoint_, address_;      // as configured when it was dialled; what answered
  std::shared_ptr<net::TlsContext> tls_;  // null: in the open; during the login TLS may yet come
  std::unique_ptr<net::Stream> stream_;
  std::unique_ptr<ServerLogin> login_;
  protocol::Settings told_;  // of `startup`
  const protocol::Settings client_told_;
  net::Timer deadline_;
  ReadPace pace_;
  net::Timer pause_;  // of an answer that is read together
  bool watched_ = false;
  bool reads_routines_ = false;
  bool reads_together_ = false;             // what comes in many pieces
  bool digests_ = false;                    // what it has told of functions is being read
  Time reading_since_{}, reading_until_{};  // the latter of its present query
  std::optional<bool> answered_;  // whether well: a question of ours, while a message behind it is cut
  unsigned tries_ = 0;            // to make it clean, that were canceled
  bool abandoned_ = false;        // requests of a client that has vanished may still be answered
  Time abandoned_until_{};        // ... until when they are canceled, again and again
  Duration cancel_again_{};       // after which
  std::string cancel_key_;
  std::uint32_t cancel_pid_ = 0;
};

}  // namespace pgweir
