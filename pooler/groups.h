// pooler/groups.h - the server groups of one worker: by what they are, by number, and those with idle
// servers.
//
// There may be as many as tenants, so whatever happens often must not look at all of them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "pooler/base/list.h"
#include "pooler/group.h"

namespace pgweir {

class Groups {
 public:
  using ByKey = std::map<GroupKey, std::unique_ptr<Group>>;

  const ByKey& by_key() const { return by_key_; }
  bool empty() const { return by_key_.empty(); }
  // Null when there is none, or none any more.
  Group* find(const GroupKey& key) const;
  Group* find(std::uint64_t id) const;
  Group& add(std::unique_ptr<Group> group);
  // It is of another backend from now on; no other group has this key.
  void rename(Group& group, GroupKey key);
  // In no order; as many as there are idle servers, at most.
  List<Group>& with_idle() { return with_idle_; }

  // The next sweep takes it away unless it is of use by then.
  void unused(const Group& group) { unused_.push_back(group.id()); }
  void sweep();

 private:
  List<Group> with_idle_;  // outlives them
  ByKey by_key_;
  std::unordered_map<std::uint64_t, Group*> by_id_;
  std::vector<std::uint64_t> unused_;  // may be named twice, or gone
};

}  // namespace pgweir
