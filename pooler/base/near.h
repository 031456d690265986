// pooler/base/near.h - "did you mean": the known name that lies nearest to one that nobody knows.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace pgweir {

// Longer words are not compared: a name that a person mistyped is short, and the work grows with the square.
inline constexpr std::size_t kNearMax = 64;

// Letters to insert, drop, replace or swap with their neighbour to make one word of the other. Upper and
// lower case are one, and so are '-' and '_'. Both words have at most kNearMax bytes.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  const auto fold = [](char c) {
    if (c >= 'A' && c <= 'Z') return static_cast<char>(c - 'A' + 'a');
    return c == '-' ? '_' : c;
  };
  using Line = std::array<std::size_t, kNearMax + 1>;
  Line before{}, above{}, line{};
  for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    line[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = fold(a[i - 1]) == fold(b[j - 1]);
      line[j] = std::min({above[j] + 1, line[j - 1] + 1, above[j - 1] + (same ? 0U : 1U)});
      if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1])) {
        line[j] = std::min(line[j], before[j - 2] + 1);
      }
    }
    before = above;
    above = line;
  }
  return above[b.size()];
}

// The name that `word` was probably meant to be: at most a third of it differs. Empty when none is near
// enough; the first of equals. `names` is a range of what converts to string_view; the answer views into it.
template <class Names>
std::string_view nearest(std::string_view word, const Names& names) {
  std::string_view best;
  if (word.empty() || word.size() > kNearMax) return best;
  std::size_t least = std::max<std::size_t>(1, word.size() / 3) + 1;
  for (const auto& each : names) {
    const std::string_view name = each;
    if (name.empty() || name.size() > kNearMax) continue;
    const std::size_t distance = edit_distance(word, name);
    if (distance < least && distance < name.size()) {
      least = distance;
      best = name;
    }
  }
  return best;
}

// "; did you mean X?" to put behind a message, or nothing.
template <class Names>
std::string did_you_mean(std::string_view word, const Names& names) {
  const std::string_view name = nearest(word, names);
  return name.empty() ? std::string() : "; did you mean " + std::string(name) + "?";
}

}  // namespace pgweir
