#include "pooler/net/uv_socket.h"

#include <type_traits>

#include "pooler/base/check.h"
#include "pooler/net/uv_stream.h"

namespace pgweir::net {

static_assert(std::is_standard_layout_v<UvSocket>, "of() relies on the handle being the first member");

UvSocket* UvSocket::tcp(uv_loop_t* loop, UvStream* owner) {
  auto* socket = new UvSocket;
  PGWEIR_CHECK(uv_tcp_init(loop, socket->as_tcp()) == 0);
  socket->own(owner);
  return socket;
}

UvSocket* UvSocket::unix_socket(uv_loop_t* loop, UvStream* owner) {
  auto* socket = new UvSocket;
  PGWEIR_CHECK(uv_pipe_init(loop, socket->as_pipe(), 0) == 0);
  socket->own(owner);
  return socket;
}

int UvSocket::fd() const {
  uv_os_fd_t fd = -1;
  return uv_fileno(&handle_.any, &fd) == 0 ? fd : -1;
}

void UvSocket::close() { uv_close(handle(), closed); }

void UvSocket::closed(uv_handle_t* handle) {
  UvSocket* socket = of(handle);
  UvStream* owner = socket->owner();
  delete socket;
  if (owner != nullptr) owner->gone();
}

}  // namespace pgweir::net
