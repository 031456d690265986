// pooler/cancel.h - one CancelRequest on its way to Postgres.
//
//   Connecting [-> TlsAnswer -> Securing] -> Sent
//
// It takes the way that the server's own connection took: the same address, and TLS with the same checks
// where that one has TLS; then never in the open, because whoever reads the key may cancel as well. Postgres
// closes the connection when it has sent the signal; until then the server in question is leased (R6).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "pooler/net/loop.h"
#include "pooler/net/tls.h"

namespace pgweir {

class Server;
class Worker;

// How one server is asked to cancel. It holds as long as the connection, whatever a reload says meanwhile.
struct CancelTarget {
  net::Endpoint address;                 // that the connection was made to
  std::string host;                      // whom TLS verifies
  std::shared_ptr<net::TlsContext> tls;  // null: the connection is in the open
  std::uint32_t pid = 0;
  std::string key;
};

class CancelConnection final : public net::Handler {
 public:
  // `server` is null when nobody will use it again.
  CancelConnection(Worker& worker, CancelTarget target, Server* server, std::function<void()> done);
  ~CancelConnection() override = default;
  Server* server() const { return server_; }
  void forget_server() { server_ = nullptr; }
  // Postgres has done what it was asked for, or was never asked.
  bool over() const { return over_; }
  std::function<void()> take_done() { return std::move(done_); }

 private:
  enum class State : std::uint8_t { Connecting, TlsAnswer, Securing, Sent };
  void on_connected() override;
  void on_bytes(Bytes in) override;
  void on_secured() override;
  void on_closed(const net::Closed& why) override;
  void send();

  Worker& worker_;
  CancelTarget target_;
  Server* server_;
  std::function<void()> done_;
  State state_ = State::Connecting;
  bool over_ = true;
  net::Timer deadline_;
  std::unique_ptr<net::Stream> stream_;
};

}  // namespace pgweir
