#include "protocol/sql_tree.h"

#include <pg_query.h>

#include <algorithm>
#include <cstdint>

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

const ProtobufCMessage* SqlWalk::next() {
  while (!todo_.empty()) {
    const ProtobufCMessage* const message = todo_.back();
    todo_.pop_back();
    if (message->descriptor != &pg_query__node__descriptor) return message;
    add(reinterpret_cast<const PgQuery__Node*>(message));
  }
  return nullptr;
}

void SqlWalk::add_children(const ProtobufCMessage& message) {
  const auto* const base = reinterpret_cast<const char*>(&message);
  for (unsigned i = 0; i < message.descriptor->n_fields; ++i) {
    const ProtobufCFieldDescriptor& field = message.descriptor->fields[i];
    if (field.type != PROTOBUF_C_TYPE_MESSAGE) continue;
    const void* const member = base + field.offset;
    const void* const quantifier = base + field.quantifier_offset;
    if (field.label == PROTOBUF_C_LABEL_REPEATED) {
      const std::size_t count = *static_cast<const std::size_t*>(quantifier);
      const auto* const items = *static_cast<const ProtobufCMessage* const* const*>(member);
      for (std::size_t at = 0; at < count; ++at) add(items[at]);
    } else if ((field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
               *static_cast<const std::uint32_t*>(quantifier) == field.id) {
      add(*static_cast<const ProtobufCMessage* const*>(member));
    }
  }
}

}  // namespace pgweir::protocol
