// pooler/http_server.h - HTTP on a thread of its own, by libmicrohttpd, for what is no query: metrics,
// health.
//
// Bounded: kConnectionsMax at a time, kSilence between two bytes, Patience::kRequest for a request and its
// answer, kLineMost and kHeadMost of its head; bodies of requests are dropped, or refused. A request may be
// answered later and from any thread; others go on meanwhile.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "pooler/base/error.h"
#include "pooler/http_routes.h"

namespace pgweir::http {

class Server {
 public:
  static constexpr unsigned kConnectionsMax = 256;
  static constexpr std::chrono::seconds kSilence{10};
  // Of one connection, for a head and what is made of it. What is over that (64 kB of text, or a thousand
  // fields) libmicrohttpd refuses by itself, with a page of HTML that cannot be changed.
  static constexpr std::size_t kConnectionBytes = 64 << 10;

  using Reply = std::function<void(Response)>;  // any thread; the first call counts
  using Handler = std::function<void(const Request&, Reply)>;

  // Takes over sockets that listen already. `handler` is called on the server's threads, one for each socket.
  static Expected<std::unique_ptr<Server>> start(const std::vector<int>& fds, Handler handler);
  // What has not been answered is answered with 503; replies that come later are dropped.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

 private:
  struct Core;
  explicit Server(std::shared_ptr<Core> core);
  std::shared_ptr<Core> core_;  // replies hold it weakly
};

}  // namespace pgweir::http
