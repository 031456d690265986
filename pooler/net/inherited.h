// pooler/net/inherited.h - listening sockets that the service manager has opened and hands to the process
// (socket activation: LISTEN_PID, LISTEN_FDS).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pooler/base/error.h"

namespace pgweir::net {

// How many descriptors, from kFirstInherited on, are meant for the process `own_pid`: 0 when none are, or
// when the variables are another process's.
inline constexpr int kFirstInherited = 3;
inline constexpr int kInheritedMax = 64;
int inherited_count(std::string_view listen_pid, std::string_view listen_fds, long own_pid);

struct Inherited {
  int fd = -1;
  std::string name;  // "127.0.0.1:6432", "[::1]:6432" or the path
};
// Makes them ours: not blocking, closed on exec, and with the keepalive of sockets that we open. An error,
// which leaves all of them open, says what is wrong with one that is not a listening stream socket.
Expected<std::vector<Inherited>> take_inherited(int count);

}  // namespace pgweir::net
