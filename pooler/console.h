// pooler/console.h - one connection to the admin console: databases `pgweir` and `pgbouncer`.
//
// Speaks the simple and the extended query protocol: SHOW and commands (console_core.h has them). What stands
// in a SHOW is gathered from all workers by messages, without stopping them. One statement runs at a time;
// what is sent meanwhile waits. Every command is logged with its user and outcome, whether it was allowed or
// not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "pooler/base/bytes.h"
#include "pooler/base/time.h"
#include "pooler/net/loop.h"
#include "protocol/startup.h"

namespace pgweir {

class Worker;

bool is_console_database(Bytes name);

// What lets a user in: his name in the configuration, or his uid (console.peer), which makes him an
// administrator.
enum class ConsoleBy : std::uint8_t { Role, Peer };

class ConsoleSession final : public net::Handler {
 public:
  static constexpr std::uint32_t kQueryMax = 64 << 10;  // bytes of one message

  ConsoleSession(Worker& worker, std::unique_ptr<net::Stream> stream, const protocol::Startup& startup,
                 ConsoleBy by);
  ~ConsoleSession() override;
  void start(Bytes held);  // greets; `held`: bytes that came behind the login
  void end();              // closes the connection with 57P01

  const std::string& user() const;
  const std::string& database() const;          // the one of the two names that it has asked for
  const std::string& application_name() const;  // as it has told, last by SET
  const net::Stream& stream() const;
  Time connected_at() const;
  Time requested_at() const;  // its last message, or its login
  std::uint32_t id() const;   // apart from those of Sessions; the last byte is that of its worker
  bool cancel_key_is(Bytes key) const;
  // Calls off the command that waits: PAUSE, SUSPEND, WAIT_CLOSE and MOVE do. A PAUSE or SUSPEND is undone,
  // and a tenant that was to be moved stays where it was, unless its record is being changed already.
  void cancel();

 private:
  void on_bytes(Bytes in) override;
  void on_drained() override;
  void on_closed(const net::Closed& why) override;

  struct State;
  std::shared_ptr<State> state_;  // what comes back later holds it weakly
};

}  // namespace pgweir
