// protocol/sql_tree.h - a SQL text as libpg_query's tree, owned. Only the files of read_sql() read it.
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

// The messages of a tree that are still to be looked at, in no special order. A tree may be deeper than a
// stack.
class SqlWalk {
 public:
  explicit SqlWalk(const ProtobufCMessage* root) { add(root); }

  // Nodes are looked through. Null at the end.
  const ProtobufCMessage* next();
  void add(const ProtobufCMessage* message) {
    if (message != nullptr) todo_.push_back(message);
  }
  void add(const PgQuery__Node* node) { add(inside(node)); }
  void add_children(const ProtobufCMessage& message);

 private:
  std::vector<const ProtobufCMessage*> todo_;
};

}  // namespace pgweir::protocol
