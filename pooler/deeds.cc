#include "pooler/deeds.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

namespace pgweir {

namespace {

std::size_t heap_of(const protocol::SqlChanges& changes) {
  std::size_t bytes = sizeof changes;
  for (const auto* names : {&changes.settings, &changes.local_settings}) {
    bytes += names->capacity() * sizeof(std::string);
    for (const std::string& setting : *names) bytes += setting.capacity();
  }
  return bytes;
}

}  // namespace

protocol::SqlChanges unseen() {
  protocol::SqlChanges changes = protocol::SqlChanges::anything();
  changes.unfollowable = false;
  return changes;
}

Deeds::Deeds() { set_of({}); }

std::size_t Deeds::add(protocol::SqlChanges& all, const protocol::SqlChanges& more) {
  constexpr std::size_t kMost = kSettingsMost;
  all.add_flags(more);
  const std::size_t local = more.local_settings.size();
  if (all.any_local || local + all.local_settings.size() > kMost) {
    all.any_local = all.set_locally() || local > 0;
    all.local_settings.clear();
  } else {
    all.add_local_settings(more.local_settings);
  }
  if (more.settings.empty() || (all.opaque && all.settings.size() + more.settings.size() > kMost))
    return local;
  if (more.settings.size() <= kMost) all.add_settings(more.settings);
  if (std::max(more.settings.size(), all.settings.size()) <= kMost) return local + more.settings.size();
  all.settings.clear();
  all.add_flags(unseen());
  return kMost;
}

Deeds::Set Deeds::of(protocol::SqlChanges changes) {
  const bool anything = changes.opaque && changes.settings.empty();
  changes.settings.shrink_to_fit();
  const std::size_t bytes = heap_of(changes);
  if (anything || bytes_ + bytes > kBytesMost) return set_of({anything_like(changes)});
  bytes_ += bytes;
  deeds_.push_back(std::move(changes));
  return set_of({static_cast<Deed>(deeds_.size() - 1)});
}

// Anything, and what that does not say.
Deeds::Deed Deeds::anything_like(const protocol::SqlChanges& changes) {
  std::optional<Deed>& deed =
      anything_[(changes.unfollowable ? 1U : 0U) | (changes.reads_sequence ? 2U : 0U)];
  if (!deed) {
    protocol::SqlChanges anything = unseen();
    anything.unfollowable = changes.unfollowable;
    anything.reads_sequence = changes.reads_sequence;
    deeds_.push_back(std::move(anything));
    deed = static_cast<Deed>(deeds_.size() - 1);
  }
  return *deed;
}

Deeds::Set Deeds::set_of(std::vector<Deed> deeds) {
  const auto [place, fresh] = numbers_.try_emplace(std::move(deeds), static_cast<Set>(sets_.size()));
  if (fresh) sets_.push_back(&place->first);
  return place->second;
}

Deeds::Set Deeds::joined(Set a, Set b) {
  if (a == b || b == kNothing) return a;
  if (a == kNothing) return b;
  std::vector<Deed> all;
  std::set_union(in(a).begin(), in(a).end(), in(b).begin(), in(b).end(), std::back_inserter(all));
  if (all.size() == in(a).size()) return a;
  if (all.size() == in(b).size()) return b;
  if (all.size() <= kTogetherMost && (sets_.size() < kSetsMost || numbers_.contains(all)))
    return set_of(std::move(all));
  protocol::SqlChanges flags;
  for (const Deed deed : all) flags.add_flags(deeds_[deed]);
  return set_of({anything_like(flags)});
}

}  // namespace pgweir
