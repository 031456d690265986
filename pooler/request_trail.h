// pooler/request_trail.h - what one transaction has asked for, while its tier wants slow ones told.
//
// Of each request the text that it ran last is kept, as far as it goes; of those that are answered only the
// one that took longest. Nothing is read from a text here: that is done when there is a line to be written.
// Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "pooler/base/bytes.h"
#include "pooler/base/time.h"

namespace pgweir {

// A SQL text, or its beginning and its end.
struct KeptText {
  static constexpr std::size_t kHeadMax = 4 << 10, kTailMax = 1 << 10;
  std::string head;
  std::string tail;  // of one that was cut
  bool cut = false;

  // `whole`: this is all of it; else its end is not known.
  void keep(Bytes sql, bool whole);
  bool empty() const { return head.empty(); }
  Bytes end() const { return cut ? tail : head; }
};

class RequestTrail {
 public:
  static constexpr std::size_t kOpenMost = 16;  // texts of requests that are not answered; others have none

  // `waited`: for its server.
  explicit RequestTrail(Duration waited) : waited_(waited) {}

  // The request that is being sent runs this, too.
  void runs(Bytes sql, bool whole = true) { sending_.keep(sql, whole); }
  // It is complete: its ReadyForQuery will come.
  void sent();
  // That has come, for so many of them, the oldest of which took so long.
  void answered(unsigned requests, Duration took);
  // The transaction ends in the middle of the oldest one.
  void cut_off(Duration took);

  // Nothing was asked for.
  bool empty() const { return count_ == 0 && open_.empty() && sending_.empty(); }
  std::uint64_t requests() const { return count_; }  // that were answered, or cut off
  Duration waited() const { return waited_; }
  // What took longest so far.
  const KeptText& longest() const { return longest_; }
  Duration longest_took() const { return longest_took_; }
  // What runs now; of several the oldest. Else what ran longest.
  const KeptText& current() const;

 private:
  Duration waited_;
  KeptText sending_;
  std::deque<KeptText> open_;
  std::size_t without_text_ = 0;  // requests behind those in open_
  KeptText longest_;
  Duration longest_took_{};
  std::uint64_t count_ = 0;
};

}  // namespace pgweir
