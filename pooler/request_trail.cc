#include "pooler/request_trail.h"

#include <algorithm>
#include <utility>

namespace pgweir {

void KeptText::keep(Bytes sql, bool whole) {
  cut = !whole || sql.size() > kHeadMax;
  head = sql.substr(0, kHeadMax);
  tail.clear();
  if (whole && cut) tail = sql.substr(sql.size() - std::min(sql.size(), kTailMax));
}

void RequestTrail::sent() {
  KeptText text = std::exchange(sending_, {});
  // Texts stay in the order of the requests.
  if (without_text_ > 0 || open_.size() == kOpenMost)
    ++without_text_;
  else
    open_.push_back(std::move(text));
}

void RequestTrail::answered(unsigned requests, Duration took) {
  for (; requests > 0; --requests, took = {}) {
    KeptText text;
    if (!open_.empty()) {
      text = std::move(open_.front());
      open_.pop_front();
    } else if (without_text_ > 0) {
      --without_text_;
    }
    if (++count_ > 1 && took <= longest_took_) continue;
    longest_ = std::move(text);
    longest_took_ = took;
  }
}

void RequestTrail::cut_off(Duration took) {
  if (open_.empty() && without_text_ == 0) {
    if (sending_.empty()) return;  // between two requests
    sent();
  }
  answered(1, took);
}

const KeptText& RequestTrail::current() const {
  if (!open_.empty()) return open_.front();
  return sending_.empty() ? longest_ : sending_;
}

}  // namespace pgweir
