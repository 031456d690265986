// pooler/group_users.cc - Group: what a tenant with several users has in the groups of the others.
//
// Each user of a tenant has a group, and the tenant's floor and ceiling are of all of them together. So what
// it has elsewhere is taken from what it may have here, and where it has no more room, an idle server of
// another of its users makes some. A group that several tenants share counts for none of them: whose its
// servers are is nobody's to say.
#include <algorithm>

#include "pooler/group.h"
#include "pooler/worker.h"

namespace pgweir {

Tenant* Group::sole_tenant() const { return tenants_.size() == 1 ? tenants_.begin()->first : nullptr; }

std::vector<Group*> Group::of_other_users() const {
  std::vector<Group*> found;
  Tenant* const tenant = sole_tenant();
  if (!tenant || (tenant->groups.size() == 1 && tenant->left_groups.empty())) return found;
  for (Group* group : tenant->groups)
    if (group != this && group->sole_tenant()) found.push_back(group);
  std::erase_if(tenant->left_groups, [&](std::uint64_t id) {
    Group* const group = worker_.group_index().find(id);
    if (!group || !group->tenants_.empty() || group->servers_.empty()) return true;
    found.push_back(group);
    return false;
  });
  return found;
}

std::uint32_t Group::elsewhere() const {
  std::size_t count = 0;
  for (const Group* group : of_other_users()) count += group->servers_.size();
  return static_cast<std::uint32_t>(count);
}

std::uint32_t Group::beside_others(std::uint32_t most) const { return most - std::min(most, elsewhere()); }

// One at a time: each that is gone calls grow() here.
void Group::make_room_elsewhere() {
  if (!queue_.first() && !own_wanted()) return;
  const std::vector<Group*> others = of_other_users();
  if (std::any_of(others.begin(), others.end(), [](const Group* group) { return group->closes_one(); }))
    return;
  for (Group* group : others)
    if (!group->idle_.empty() && !group->queue_.first())
      return group->drop(*group->idle_.front(), "another user of its tenant needs one");
}

// One is idle, and nobody here wants it. Behind each that was cleaned: most tenants have one user.
void Group::offer_to_other_users() {
  Tenant* const tenant = tenants_.empty() ? worker_.tenants().find(shown_tenant_) : sole_tenant();
  if (!tenant || (tenant->groups.size() <= 1 && !tenants_.empty())) return;
  const std::vector<Group*> groups = tenant->groups;
  for (Group* group : groups)
    if (group != this && (!group->waiters_.empty() || !group->own_.empty())) group->grow();
}

Time Group::waits_since(Tenant& tenant) const {
  Time since = kNever;
  const auto place = tenants_.find(&tenant);
  if (place != tenants_.end() && !place->second.waiters.empty())
    since = place->second.waiters.front()->since();
  for (const Own& own : own_)
    if (own.server == 0 && &own.session->tenant() == &tenant) since = std::min(since, own.session->since());
  return since;
}

// A tenant that was at its limit may have sessions that wait in groups of other users: those who have waited
// longest come first. Not those who wait since `before` or later.
void Group::serve_elsewhere(Tenant& tenant, Time before) {
  std::vector<std::pair<Time, Group*>> waiting;
  for (Group* group : tenant.groups)
    if (const Time since = group->waits_since(tenant); group != this && since < before)
      waiting.emplace_back(since, group);
  std::sort(waiting.begin(), waiting.end());
  for (const auto& [since, group] : waiting) {
    group->serve();
    group->grow();
  }
}

// Before its own sessions here take what one of them has just given back.
void Group::serve_longer_waiting(Tenant& tenant) {
  if (const Time here = waits_since(tenant); here != kNever) serve_elsewhere(tenant, here);
}

// Whether a server that comes free here, and is wanted here, is to make room for another user of its tenant:
// somebody has waited there for a run longer, and only what stands here keeps that group from opening one.
// One at a time, so that servers do not go to and fro.
bool Group::owes_other_user() const {
  Tenant* const tenant = sole_tenant();
  if (!tenant || tenant->groups.size() <= 1) return false;
  const Time here = waits_since(*tenant);
  if (here == kNever) return false;  // it will be idle: make_room_elsewhere() finds it
  const Time now = worker_.loop().now();
  const auto lacks_one = [&](const Group& group) {
    return group.sole_tenant() && group.starting_ == 0 && group.idle_.empty() && group.try_at() <= now &&
           group.waits_since(*tenant) < here - Run::kLongest &&
           group.servers_.size() + group.left_behind() >= group.capacity();
  };
  bool owes = false;
  for (const Group* group : tenant->groups) {
    if (group->closes_one()) return false;
    owes = owes || (group != this && lacks_one(*group));
  }
  return owes;
}

bool Group::closes_one() const {
  return std::any_of(servers_.begin(), servers_.end(),
                     [](const auto& entry) { return entry.second->place == Server::Place::Closing; });
}

// A server is gone. Where nobody is left, it was of whoever was last.
void Group::tell_other_users() {
  Tenant* const tenant = tenants_.empty() ? worker_.tenants().find(shown_tenant_) : sole_tenant();
  if (!tenant) return;
  grow_elsewhere(*tenant);
}

void Group::grow_elsewhere(const Tenant& tenant) {
  const std::vector<Group*> groups = tenant.groups;
  for (Group* group : groups)
    if (group != this) group->grow();
}

}  // namespace pgweir
