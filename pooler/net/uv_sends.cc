#include "pooler/net/uv_sends.h"

#include "pooler/net/uv_stream.h"

namespace pgweir::net {

void UvSends::add(UvStream& stream, std::span<const Bytes> slices) {
  const std::size_t before = bytes_.size();
  for (const Bytes slice : slices) bytes_.append(slice);
  const std::size_t size = bytes_.size() - before;
  if (!items_.empty() && items_.back().stream == &stream)
    items_.back().size += size;
  else
    items_.push_back({&stream, size});
  if (bytes_.size() > kAllMost) flush();
}

void UvSends::flush() {
  Bytes rest = bytes_;
  for (const Item& item : items_) {
    const Bytes bytes = rest.substr(0, item.size);
    rest.remove_prefix(item.size);
    if (item.stream) item.stream->send_gathered(bytes);
  }
  items_.clear();
  bytes_.clear();
}

void UvSends::forget(const UvStream& stream) {
  for (Item& item : items_)
    if (item.stream == &stream) item.stream = nullptr;
}

}  // namespace pgweir::net
