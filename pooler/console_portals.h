// pooler/console_portals.h - the extended query protocol of one console connection: its prepared statements
// and portals.
//
// Messages come as bodies and are answered by bytes or an error, after which the caller skips up to the next
// Sync. Statements take no parameters. The rows of a portal are made once, as text, and given out in the
// formats and portions that the client asks for. Pure: no socket, no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "pooler/console_core.h"

namespace pgweir::console {

class Portals {
 public:
  static constexpr std::size_t kMost = 100;  // statements, and portals, that have names

  explicit Portals(Shape shape) : shape_(shape) {}

  Expected<void> parse(Bytes body, std::string& out);
  Expected<void> bind(Bytes body, std::string& out);
  Expected<void> describe(Bytes body, std::string& out);
  Expected<void> close(Bytes body, std::string& out);

  // Execute. Either all of the answer stands in `out`, or the request must run first: then it is given here,
  // and its result to ran().
  Expected<std::optional<Request>> execute(Bytes body, std::string& out);
  // `result`: as a simple query would be answered, up to the CommandComplete and without it.
  void ran(std::string result, std::string& out);

  void deallocate_all() { statements_.clear(); }
  // A portal lives as long as its transaction.
  void sync(bool in_transaction);

 private:
  struct Portal {
    std::optional<Request> request;  // nothing: an empty text
    std::vector<std::uint16_t> formats;
    bool done = false;
    std::string rows;  // DataRows and what else there is to say
    std::size_t next = 0;
  };
  void send(Portal& portal, std::uint32_t most, std::string& out);

  Shape shape_;
  std::map<std::string, std::optional<Request>, std::less<>> statements_;
  std::map<std::string, Portal, std::less<>> portals_;
  std::string running_;  // name of the portal that execute() has begun
  std::uint32_t most_ = 0;
};

}  // namespace pgweir::console
