// pooler/walk.h - going through what a worker has a few at a time, while it goes on with its work in between.
//
// What comes or goes meanwhile may be seen or not; what stays is seen exactly once. Nothing is copied, and
// nothing points into what may be gone by the next step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "pooler/group.h"
#include "pooler/session.h"
#include "pooler/tenant.h"

namespace pgweir {

// Takes about a tenth of a millisecond where a row is looked at and little copied.
inline constexpr std::size_t kWalkAtOnce = 200;

enum class Walked : std::uint8_t {
  Part,
  All,
  Again,  // the map has grown: what was seen so far will be seen once more
};

// Through a std::unordered_map.
class BucketWalk {
 public:
  template <class Map, class Visit>
  Walked step(const Map& map, Visit visit, std::size_t most = kWalkAtOnce) {
    if (const std::size_t before = std::exchange(buckets_, map.bucket_count()); before != buckets_) {
      next_ = 0;
      if (before != 0) return Walked::Again;
    }
    // An empty bucket takes its time, too.
    for (std::size_t seen = 0; next_ < buckets_ && seen < most; ++next_, ++seen)
      for (auto place = map.begin(next_); place != map.end(next_); ++place, ++seen) visit(*place);
    return next_ < buckets_ ? Walked::Part : Walked::All;
  }

 private:
  std::size_t buckets_ = 0, next_ = 0;
};

// Sessions of one tenant in one group that its rate holds back: they are in no queue of the group's yet.
template <class Visit>
void for_throttled(const Tenant& tenant, const Group& group, Visit visit) {
  if (!tenant.throttle) return;
  for (const Session* each = tenant.throttle->waiting().front(); each; each = List<Session>::next(*each))
    if (&each->group() == &group) visit(*each);
}

// Through groups, and in each through the tenants that use it, of which there may be thousands.
class GroupWalk {
 public:
  using Groups = std::map<GroupKey, std::unique_ptr<Group>>;

  // `on_group(group)` comes before the group's `on_tenant(group, tenant, sessions)`.
  template <class OnGroup, class OnTenant>
  Walked step(const Groups& groups, OnGroup on_group, OnTenant on_tenant, std::size_t most = kWalkAtOnce) {
    std::size_t seen = 0;
    auto place = at_ ? groups.lower_bound(*at_) : groups.begin();
    for (; place != groups.end(); ++place) {
      if (seen >= most) {
        at_ = place->first;
        inside_ = false;
        return Walked::Part;
      }
      const Group& group = *place->second;
      if (!inside_ || *at_ != place->first) {
        on_group(group);
        seen += 1 + group.servers().size() + group.waiters().size();
        last_ = nullptr;
      }
      inside_ = false;
      auto tenant = last_ ? group.tenants().upper_bound(last_) : group.tenants().begin();
      for (; tenant != group.tenants().end(); ++tenant, ++seen) {
        if (seen >= most) {
          at_ = place->first;
          inside_ = true;
          return Walked::Part;
        }
        on_tenant(group, *tenant->first, tenant->second.sessions);
        last_ = tenant->first;
      }
    }
    return Walked::All;
  }

 private:
  std::optional<GroupKey> at_;  // empty: at the first one
  bool inside_ = false;         // some tenants of that group have been seen
  Tenant* last_ = nullptr;      // the last of them; it may be gone
};

}  // namespace pgweir
