// pooler/group_heritage.cc - Group: servers that a tenant leaves behind and that comes again to another
// group.
//
// A tenant whose ceilings change stays in its group while it has sessions. Sessions that come behind the last
// of them are in a group of the new ceilings, and the former one may have servers yet: they are being
// cleaned, or their process is being ended. They count in the new group until they are closed, so that the
// tenant never has more than its ceiling.
#include <algorithm>

#include "pooler/base/planted.h"
#include "pooler/group.h"
#include "pooler/worker.h"

namespace pgweir {

std::vector<Group*> Group::siblings() const {
  std::vector<Group*> found;
  GroupKey first;
  first.backend = key_.backend;
  first.database = key_.database;
  first.user = key_.user;
  const Groups::ByKey& all = worker_.groups();
  for (auto at = all.lower_bound(first); at != all.end() && at->first.same_place(key_); ++at)
    if (at->second.get() != this) found.push_back(at->second.get());
  return found;
}

std::size_t Group::surplus() const {
  if (servers_.size() <= tenants_.size()) return 0;  // each may have one
  return servers_.size() - std::min<std::size_t>(servers_.size(), wishes().capacity);
}

void Group::come(const Tenant& tenant) {
  heritage_.left.erase(tenant.record.name);
  for (Group* group : siblings()) {
    if (!group->heritage_.left.contains(tenant.record.name)) continue;
    heritage_.sources.insert(group->id());
    group->heritage_.wanted = true;
    group->shrink();
  }
  tell_heirs();  // it may have what others had left
}

std::size_t Group::left_behind() const {
  std::size_t count = 0;
  for (const std::uint64_t id : heritage_.sources) {
    const Group* const group = worker_.group_index().find(id);
    if (!group || group->heritage_.left.empty() || PGWEIR_PLANTED(FORGET_LEFT)) continue;
    std::size_t theirs = 0;
    for (const auto& [tenant, member] : tenants_)
      if (group->heritage_.left.contains(tenant->record.name))
        theirs += tenant->record.limits.max_server_connections;
    count += std::min(theirs, group->surplus());
  }
  return count;
}

// Those who wait in siblings may have a server when one was closed here.
void Group::tell_heirs() {
  if (heritage_.left.empty()) return;
  const bool over = surplus() == 0;
  const bool wanted = heritage_.wanted;
  if (over) {
    heritage_.left.clear();
    heritage_.wanted = false;
  }
  if (!wanted) return;
  for (Group* group : siblings()) {
    if (!group->heritage_.sources.contains(id_)) continue;
    if (over) group->heritage_.sources.erase(id_);
    group->grow();
  }
}

}  // namespace pgweir
