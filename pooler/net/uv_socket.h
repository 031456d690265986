// pooler/net/uv_socket.h - the memory that libuv needs for one connection.
//
// libuv goes on using a handle until its close callback has come, but a stream may go earlier (detach). So
// the handle stands alone: a stream points at its socket, and a socket that was closed tells its owner, if it
// still has one, and frees itself.
#pragma once

#include <uv.h>

namespace pgweir::net {

class UvStream;

class UvSocket {
 public:
  static UvSocket* tcp(uv_loop_t* loop, UvStream* owner);
  static UvSocket* unix_socket(uv_loop_t* loop, UvStream* owner);
  // The socket that a handle belongs to, and the stream that this socket belongs to: null once it let go.
  static UvSocket* of(void* handle) { return static_cast<UvSocket*>(handle); }
  UvStream* owner() const { return static_cast<UvStream*>(handle_.any.data); }

  uv_handle_t* handle() { return &handle_.any; }
  uv_stream_t* stream() { return &handle_.stream; }
  uv_tcp_t* as_tcp() { return &handle_.tcp; }
  uv_pipe_t* as_pipe() { return &handle_.pipe; }
  int fd() const;  // -1 before there is one

  void own(UvStream* owner) { handle_.any.data = owner; }
  void let_go() { handle_.any.data = nullptr; }
  // At once for the kernel; UvStream::gone() of the owner comes later, from the loop.
  void close();

  UvSocket(const UvSocket&) = delete;
  UvSocket& operator=(const UvSocket&) = delete;

 private:
  UvSocket() = default;
  ~UvSocket() = default;
  static void closed(uv_handle_t* handle);
  union {
    uv_handle_t any;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } handle_;
};

}  // namespace pgweir::net
