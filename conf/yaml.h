// conf/yaml.h - YAML text as a tree of ours, or the one thing that keeps it from being one.
//
// Only what a configuration needs: scalars, lists and maps. Anchors, aliases, tags and a second document are
// refused, and so is text that is too long or too deep. Maps keep every key, duplicates too; whoever walks
// them decides. The only file that names yaml-cpp is yaml.cc, and its exceptions end there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "conf/load.h"

namespace pgweir::conf {

inline constexpr int kMaxDepth = 8;

struct Node {
  enum class Kind : std::uint8_t { Null, Scalar, List, Map };
  Kind kind = Kind::Null;
  std::string text;            // Scalar
  std::vector<Node> children;  // List: the items; Map: key, value, key, value ...
  int line = 0, column = 0;    // from 1
};

tl::expected<Node, Problem> parse_yaml(std::string_view text, const std::string& name);

}  // namespace pgweir::conf
