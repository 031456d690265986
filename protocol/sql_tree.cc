#include "protocol/sql_tree.h"

#include <pg_query.h>

#include <algorithm>

namespace pgweir::protocol {

namespace {
constexpr std::size_t kBlock = 16UL * 1024;
}  // namespace

void* SqlTree::Arena::allocate(std::size_t size) {
  constexpr std::size_t kAlign = alignof(std::max_align_t);
  size = (size + kAlign - 1) / kAlign * kAlign;
  if (size > left_) {
    left_ = std::max(size, kBlock);
    blocks_.emplace_back(new std::byte[left_]);
    next_ = blocks_.back().get();
  }
  void* const piece = next_;
  next_ += size;
  left_ -= size;
  return piece;
}

SqlTree::SqlTree(const std::string& sql) {
  const PgQueryProtobufParseResult result = pg_query_parse_protobuf(sql.c_str());
  if (result.error == nullptr) {
    ProtobufCAllocator allocator{
        [](void* arena, std::size_t size) { return static_cast<Arena*>(arena)->allocate(size); },
        [](void*, void*) {}, &arena_};
    root_ = pg_query__parse_result__unpack(&allocator, result.parse_tree.len,
                                           reinterpret_cast<const std::uint8_t*>(result.parse_tree.data));
  }
  pg_query_free_protobuf_parse_result(result);
}

}  // namespace pgweir::protocol
