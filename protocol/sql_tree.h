// protocol/sql_tree.h - a SQL text as libpg_query's tree, owned. Only protocol/sql.cc reads it.
#pragma once

#include <pg_query/pg_query.pb-c.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace pgweir::protocol {

class SqlTree {
 public:
  // The text must be bounded in size and nesting: the parser recurses without a look at its stack.
  explicit SqlTree(const std::string& sql);

  // Null when the text is not understood. Lives as long as the tree.
  const PgQuery__ParseResult* root() const { return root_; }

 private:
  // Memory that is freed all at once; a tree is thousands of small pieces.
  class Arena {
   public:
    void* allocate(std::size_t size);

   private:
    std::vector<std::unique_ptr<std::byte[]>> blocks_;
    std::byte* next_ = nullptr;
    std::size_t left_ = 0;
  };

  Arena arena_;
  PgQuery__ParseResult* root_ = nullptr;
};

// What a Node holds; null when it is empty.
inline const ProtobufCMessage* inside(const PgQuery__Node* node) {
  // Each member of its union is a pointer to a message.
  if (node == nullptr || node->node_case == PG_QUERY__NODE__NODE__NOT_SET) return nullptr;
  return reinterpret_cast<const ProtobufCMessage*>(node->alias);
}

// Shows every message of the tree to visit(const ProtobufCMessage&), parents first, Nodes left out. Where it
// answers false, nothing below is shown.
template <typename Visit>
void walk(const ProtobufCMessage* message, Visit& visit) {
  if (message == nullptr) return;
  if (message->descriptor == &pg_query__node__descriptor) {
    walk(inside(reinterpret_cast<const PgQuery__Node*>(message)), visit);
    return;
  }
  if (!visit(*message)) return;
  const auto* const base = reinterpret_cast<const char*>(message);
  for (unsigned i = 0; i < message->descriptor->n_fields; ++i) {
    const ProtobufCFieldDescriptor& field = message->descriptor->fields[i];
    if (field.type != PROTOBUF_C_TYPE_MESSAGE) continue;
    const void* const member = base + field.offset;
    const void* const quantifier = base + field.quantifier_offset;
    if (field.label == PROTOBUF_C_LABEL_REPEATED) {
      const std::size_t count = *static_cast<const std::size_t*>(quantifier);
      const auto* const items = *static_cast<const ProtobufCMessage* const* const*>(member);
      for (std::size_t at = 0; at < count; ++at) walk(items[at], visit);
    } else if ((field.flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0 ||
               *static_cast<const std::uint32_t*>(quantifier) == field.id) {
      walk(*static_cast<const ProtobufCMessage* const*>(member), visit);
    }
  }
}

}  // namespace pgweir::protocol
