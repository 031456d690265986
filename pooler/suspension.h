// pooler/suspension.h - how long SUSPEND on the console holds: until RESUME, or until no console is connected
// any more. As in PgBouncer, so that nobody's lost connection stops all clients for ever; PAUSE stays.
//
// Any thread may ask. What an order does is done by the workers, one after the other, so that one that is
// over may meet the next one on its way: each has a number.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "pooler/base/check.h"

namespace pgweir {

class Suspension {
 public:
  using Order = std::uint64_t;

  void console_came() {
    const std::lock_guard lock(mutex_);
    ++consoles_;
  }
  // The order that is over, because it was the last one.
  std::optional<Order> console_left() {
    const std::lock_guard lock(mutex_);
    PGWEIR_CHECK(consoles_ > 0);
    if (--consoles_ > 0 || !holds_) return std::nullopt;
    holds_ = false;
    return order_;
  }
  // Before the workers are told. By a console that is connected.
  Order begin() {
    const std::lock_guard lock(mutex_);
    PGWEIR_CHECK(consoles_ > 0);
    holds_ = true;
    return ++order_;
  }
  // RESUME, or the order is called off.
  void end() {
    const std::lock_guard lock(mutex_);
    holds_ = false;
  }
  // A worker that is told that it is over does nothing where it is not: the next one has been given.
  bool over(Order order) const {
    const std::lock_guard lock(mutex_);
    return order == order_ && !holds_;
  }

 private:
  mutable std::mutex mutex_;  // of what stands below
  std::uint32_t consoles_ = 0;
  Order order_ = 0;  // the latest
  bool holds_ = false;
};

}  // namespace pgweir
