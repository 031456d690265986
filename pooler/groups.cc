#include "pooler/groups.h"

#include <utility>

#include "pooler/base/check.h"

namespace pgweir {

Group* Groups::find(const GroupKey& key) const {
  const auto place = by_key_.find(key);
  return place == by_key_.end() ? nullptr : place->second.get();
}

Group* Groups::find(std::uint64_t id) const {
  const auto place = by_id_.find(id);
  return place == by_id_.end() ? nullptr : place->second;
}

Group& Groups::add(std::unique_ptr<Group> group) {
  Group& added = *group;
  PGWEIR_CHECK(by_key_.emplace(added.key(), std::move(group)).second);
  by_id_[added.id()] = &added;
  return added;
}

void Groups::rename(Group& group, GroupKey key) {
  auto place = by_key_.extract(by_key_.find(group.key()));
  place.key() = key;
  group.move(std::move(key));
  PGWEIR_CHECK(by_key_.insert(std::move(place)).inserted);
}

void Groups::sweep() {
  for (const std::uint64_t id : std::exchange(unused_, {})) {
    const Group* const group = find(id);
    if (!group || !group->unused()) continue;
    by_id_.erase(id);
    by_key_.erase(by_key_.find(group->key()));
  }
}

}  // namespace pgweir
