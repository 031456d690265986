// pooler/net/uv_attempt.h - from a name to a connection: resolves, then tries the addresses.
//
// The addresses of each family make a lane, tried in order. The second lane begins kHeadStart after the
// first, or when that one has failed, and the first connection of either is taken (RFC 8305, in its simplest
// form): where one family is a black hole, nobody waits for its timeout.
//
// Belongs to a stream in State::Connecting and ends in stream.connected() or stream.connect_failed();
// destroying it calls the attempt off.
#pragma once

#include <uv.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "pooler/net/loop.h"

namespace pgweir::net {

class UvSocket;
class UvStream;

void set_keepalive(int fd, Keepalive how);

class UvAttempt {
 public:
  UvAttempt(UvStream& stream, Endpoint to, SocketOptions options);
  ~UvAttempt();
  UvAttempt(const UvAttempt&) = delete;
  UvAttempt& operator=(const UvAttempt&) = delete;
  void start();

 private:
  struct Resolution;
  struct Lane {
    std::vector<sockaddr_storage> addresses;
    std::size_t tried = 0;
    UvSocket* socket = nullptr;  // that connects; null: it waits for its turn, or has failed
    bool idle() const { return socket == nullptr && tried < addresses.size(); }
  };
  void resolve();
  void resolved(int status, addrinfo* found);
  void try_unix();
  void begin();
  void go_on(Lane& lane, int error);
  int dial(Lane& lane, const sockaddr_storage& address);
  static void on_connect(uv_connect_t* request, int status);
  void answered(UvSocket* socket, int status);
  static void drop(Lane& lane);
  void fail(const std::string& why);

  UvStream& stream_;
  Endpoint to_;
  SocketOptions options_;
  std::array<Lane, 2> lanes_;
  Timer head_start_;
  Resolution* resolution_ = nullptr;  // frees itself in its callback
};

}  // namespace pgweir::net
