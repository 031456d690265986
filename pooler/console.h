// pooler/console.h - one connection to the admin console: databases `pgweir` and `pgbouncer`.
//
// Speaks the simple query protocol: SHOW and a few commands. What stands in a SHOW is gathered from all workers by
// messages, without stopping them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/net/loop.h"

namespace pgweir {

class Worker;

bool is_console_database(Bytes name);

class ConsoleSession final : public net::Handler {
 public:
  ConsoleSession(Worker& worker, std::unique_ptr<net::Stream> stream, std::string user);
  ~ConsoleSession() override;
  void start(Bytes held);  // greets; `held`: bytes that came behind the login
  void end();              // closes the connection with 57P01

 private:
  void on_bytes(Bytes in) override;
  void on_closed(const net::Closed& why) override;

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pgweir
