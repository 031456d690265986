// pooler/net/listen.h - sockets that listen, opened once at start-up and shared by all workers' loops.
#pragma once

#include <cstdint>
#include <string>

#include "pooler/base/error.h"
#include "pooler/net/loop.h"

namespace pgweir::net {

struct ListenOptions {
  int backlog = 1024;
  unsigned unix_mode = 0777;  // permissions of a unix socket's file
  // Another process of the same user may listen there, too, and does the same. The path of a unix socket is
  // taken over from it: it goes on with the connections that it has.
  bool shared = false;
  const char* port_setting = "listen.port";  // what to change where the port is taken
};

// Opens, binds and listens: TCP on an IPv4 or IPv6 address ("::" and "*" are all of both families, those of
// IPv4 where the kernel has no IPv6), or a unix socket, whose stale file (nobody answers there) is replaced
// and whose live one is an error. The descriptor is the caller's. Errors name the address and what to do.
// Port 0 picks a free one; see bound_port().
Expected<int> open_listener(const Endpoint& where, const ListenOptions& options = {});
std::uint16_t bound_port(int fd);
// Whether a literal address is one of this machine's; true of all else, of which open_listener() says more.
bool machine_has(const std::string& address);
// Notices peers that are gone without a word. For a TCP socket that listens: what it accepts inherits it.
void keep_alive(int fd);

}  // namespace pgweir::net
