// pooler/net/uv_attempt.h - from a name to a connection: resolves, then tries the addresses in order.
//
// Belongs to a stream in State::Connecting and ends in stream.connected() or stream.connect_failed();
// destroying it calls the attempt off.
#pragma once

#include <uv.h>

#include <memory>
#include <string>
#include <vector>

#include "pooler/net/loop.h"

namespace pgweir::net {

class UvStream;

class UvAttempt {
 public:
  UvAttempt(UvStream& stream, Endpoint to, SocketOptions options);
  ~UvAttempt();
  UvAttempt(const UvAttempt&) = delete;
  UvAttempt& operator=(const UvAttempt&) = delete;
  void start();

 private:
  struct Resolution;
  void resolve();
  void resolved(int status, addrinfo* found);
  void try_unix();
  void try_next();
  int dial(const sockaddr_storage& address);
  static void on_connect(uv_connect_t* request, int status);
  void answered(int status);
  void fail(const std::string& why);

  UvStream& stream_;
  Endpoint to_;
  SocketOptions options_;
  std::vector<sockaddr_storage> addresses_;
  std::size_t tried_ = 0;
  Resolution* resolution_ = nullptr;  // frees itself in its callback
};

}  // namespace pgweir::net
