// pooler/deeds.h - what functions do to a session, each kept once, and which of it is done together.
//
// Many names lead to few functions, so names and steps between them hold the number of a set of deeds. All of
// it has an end: beyond that a deed is anything, and so is what too many do together. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "protocol/sql.h"

namespace pgweir {

// What nobody has read may do anything but what leaves no trace: else each such text would cost its server.
protocol::SqlChanges unseen();

class Deeds {
 public:
  using Deed = std::uint32_t;
  using Set = std::uint32_t;
  static constexpr Set kNothing = 0;
  // Bytes of what is kept, deeds that are one set, sets, and settings that a text may name.
  static constexpr std::size_t kBytesMost = 1 << 20, kTogetherMost = 64, kSetsMost = 10'000,
                               kSettingsMost = 256;

  Deeds();
  Deeds(Deeds&&) = default;
  Deeds& operator=(Deeds&&) = default;
  Set of(protocol::SqlChanges changes);
  // What both do.
  Set joined(Set a, Set b);

  const std::vector<Deed>& in(Set set) const { return *sets_[set]; }
  const protocol::SqlChanges& what(Deed deed) const { return deeds_[deed]; }
  std::size_t size() const { return deeds_.size(); }
  // Of the deeds, on the heap.
  std::size_t bytes() const { return bytes_; }

  // More settings than a text may name are anything. Answers how many were looked at.
  static std::size_t add(protocol::SqlChanges& all, const protocol::SqlChanges& more);

 private:
  Deed anything_like(const protocol::SqlChanges& changes);
  Set set_of(std::vector<Deed> deeds);

  std::vector<protocol::SqlChanges> deeds_;
  std::size_t bytes_ = 0;
  std::array<std::optional<Deed>, 4> anything_;  // see anything_like()
  std::map<std::vector<Deed>, Set> numbers_;
  std::vector<const std::vector<Deed>*> sets_;  // the keys of numbers_, by these
};

}  // namespace pgweir
