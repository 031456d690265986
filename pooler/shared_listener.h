// pooler/shared_listener.h - the one connection of a group that listens for its clients: made when the first
// client listens, closed when nobody has for a while, made again when it is lost. The dull half of
// ListenerCore.
//
// It counts against the backend's max_server_connections, of which all listeners together may take a share
// (BackendBudget), but not as a server of the pool. Where it cannot be had, clients that listen keep their
// servers.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pooler/base/error.h"
#include "pooler/base/time.h"
#include "pooler/net/loop.h"
#include "pooler/server.h"

namespace pgweir {

class Group;

class SharedListener {
 public:
  static constexpr std::chrono::seconds kGrace{5};       // after the last client has left
  static constexpr std::chrono::seconds kAnswerMax{30};  // for Postgres to answer one request
  static constexpr std::uint32_t kDoublings = 5;         // of the pause, from server.login_retry on

  explicit SharedListener(Group& group);
  ~SharedListener();

  // After clients have changed what they want, or the worker has begun to drain. Calls no client.
  void tend();
  void close();  // the end has come, or the backend has changed
  void retry();  // what made it fail may be over
  bool gone() const { return server_ == nullptr; }
  Server* server() const { return server_.get(); }

  // From its server, by the group.
  void started();
  void login_failed(const Error& error);
  void on_bytes(Bytes in);
  void lost();

 private:
  void connect();
  void ask();
  void drop(const char* why);
  void leave();
  void tell_waiting();
  void pause(Duration most);
  void plan();
  void tick();

  Group& group_;
  std::unique_ptr<Server> server_;
  net::Timer timer_;       // of the pause, the grace and the answer
  Time unneeded_since_{};  // kNever: it is needed
  Time retry_at_{};
  Time answer_due_ = kNever;
  std::uint32_t failures_ = 0;
  bool left_ = false;  // it closes because nobody listens
};

}  // namespace pgweir
