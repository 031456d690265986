#include "pooler/net/uv_sends.h"

#include <algorithm>

#include "pooler/net/uv_stream.h"

namespace pgweir::net {

void UvSends::add(UvStream& stream, std::span<const Bytes> slices, std::size_t size) {
  if (size_ + size > kAllMost) flush();
  char* end = buffer_.get() + size_;
  for (const Bytes slice : slices) end = std::copy(slice.begin(), slice.end(), end);
  size_ += size;
  if (!items_.empty() && items_.back().stream == &stream)
    items_.back().size += size;
  else
    items_.push_back({&stream, size});
}

void UvSends::flush() {
  const char* next = buffer_.get();
  for (const Item& item : items_) {
    if (item.stream) item.stream->send_gathered({next, item.size});
    next += item.size;
  }
  items_.clear();
  size_ = 0;
}

void UvSends::forget(const UvStream& stream) {
  for (Item& item : items_)
    if (item.stream == &stream) item.stream = nullptr;
}

}  // namespace pgweir::net
