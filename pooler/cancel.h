// pooler/cancel.h - one CancelRequest on its way to Postgres.
//
// Postgres closes the connection when it has sent the signal; until then the server in question is leased
// (R6).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "pooler/net/loop.h"

namespace pgweir {

class Server;
class Worker;

class CancelConnection final : public net::Handler {
 public:
  // `server` is null when nobody will use it again.
  CancelConnection(Worker& worker, const net::Endpoint& to, std::uint32_t pid, std::string key,
                   Server* server, std::function<void()> done);
  ~CancelConnection() override = default;
  Server* server() const { return server_; }
  void forget_server() { server_ = nullptr; }
  // Postgres has done what it was asked for, or was never asked.
  bool over() const { return over_; }
  std::function<void()> take_done() { return std::move(done_); }

 private:
  void on_connected() override;
  void on_bytes(Bytes) override {}
  void on_closed(const net::Closed& why) override;

  Worker& worker_;
  std::uint32_t pid_;
  std::string key_;
  Server* server_;
  std::function<void()> done_;
  bool over_ = true;
  net::Timer deadline_;
  std::unique_ptr<net::Stream> stream_;
};

}  // namespace pgweir
