#include "conf/yaml.h"

#include <catch2/catch.hpp>

using namespace pgweir::conf;

namespace {

const std::string kNoAliases =
    "aliases (*) are not allowed; a name or value that begins with '*' must be quoted";

// "{a: [b, ~]}" with each node's place behind it, or the problem.
std::string drawn(const Node& node) {
  const std::string place = "@" + std::to_string(node.line) + ":" + std::to_string(node.column);
  switch (node.kind) {
    case Node::Kind::Null: return "~";
    case Node::Kind::Scalar: return node.text + place;
    case Node::Kind::List:
    case Node::Kind::Map: break;
  }
  std::string out;
  for (const Node& child : node.children) out += (out.empty() ? "" : " ") + drawn(child);
  return (node.kind == Node::Kind::List ? "[" + out + "]" : "{" + out + "}") + place;
}
std::string parsed(const std::string& text) {
  const auto tree = parse_yaml(text, "f");
  return tree ? drawn(*tree) : describe(tree.error());
}

}  // namespace

TEST_CASE("YAML becomes a tree with places from 1") {
  struct Row {
    std::string text, tree;
  };
  const Row rows[] = {
      {"", "~"},
      {"# nothing\n", "~"},
      {"---\n...\n", "~"},
      {"a: b", "{a@1:1 b@1:4}@1:1"},
      {"a:\n  - b\n  - ~\n", "{a@1:1 [b@2:5 ~]@2:3}@1:1"},
      {"a: {b: 010, c: \"~\"}", "{a@1:1 {b@1:5 010@1:8 c@1:13 ~@1:16}@1:4}@1:1"},
      {"a: 1\na: 2\n", "{a@1:1 1@1:4 a@2:1 2@2:4}@1:1"},
      {"a: \"b\"", "{a@1:1 b@1:4}@1:1"},
      {"a: |\n  x\n", "{a@1:1 x\n@1:4}@1:1"},
      {"{\"a\": [1, 2]}", "{a@1:2 [1@1:8 2@1:11]@1:7}@1:1"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(parsed(row.text) == row.tree);
  }
}

TEST_CASE("what a configuration does not need is refused with its place") {
  struct Row {
    std::string text, problem;
  };
  const Row rows[] = {
      {"a: &x 1\nb: *x\n", "f:1:4: anchors (&) are not allowed"},
      {"a: &x {b: *x}\n", "f:1:4: anchors (&) are not allowed"},
      {"a: *x\n", "f:1:4: " + kNoAliases},
      {"a: *\n", "f:1:5: " + kNoAliases},
      {"a: !!binary aGk=\n", "f:1:4: tags (!) are not allowed"},
      {"a: !x {}\n", "f:1:4: tags (!) are not allowed"},
      {"a: 1\n---\nb: 2\n", "f:2:1: only one document is allowed"},
      {"a: [1, 2\nb: 3\n", "f:1:4: the list that begins here lacks a ',' or ']' before line 2, column 2"},
      {"a: {b: 1\n", "f:1:4: the map that begins here lacks a ',' or '}' before line 2, column 1"},
      {"a: [{b: 1]\n", "f:1:10: is no valid YAML: illegal flow end"},
      {"a:\n\tb: 1\n", "f:2:3: a tab indents this line, which YAML does not allow: use spaces"},
      {"a:\n  b: 1\n \t c: 2\n", "f:3:2: a tab indents this line, which YAML does not allow: use spaces"},
      {"a: b: c\n", "f:1:5: is no valid YAML: illegal map value"},
      {"a: [*]\n", "f:1:6: " + kNoAliases},
      {"a: \"b\n", "f:2:2: the text ends inside quotes that were never closed"},
      {"a: \"b", "f:2:2: the text ends inside quotes that were never closed"},
      {"a: 'b\nc: d\n\n", "f:4:2: the text ends inside quotes that were never closed"},
      {std::string("a: b\0", 6), "f: must be text in UTF-8"},
      {"[[[[[[[[[]]]]]]]]]", "f:1:9: nested deeper than 8 levels"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.text);
    CHECK(parsed(row.text) == row.problem);
  }
  CHECK(parsed("[[[[[[[[]]]]]]]]").find("deeper") == std::string::npos);
}

TEST_CASE("large and deep texts are refused without going down into them") {
  CHECK(parsed(std::string(kMaxFileBytes + 1, ' ')) == "f: must have at most 1048576 bytes, not 1048577");
  CHECK(parsed(std::string(kMaxFileBytes, '#')) == "~");
  for (const std::string part : {"[", "{", "- ", "? ", "{a: ", "[{"}) {
    std::string text;
    while (text.size() + part.size() <= kMaxFileBytes) text += part;
    CAPTURE(part);
    CHECK(parsed(text).find("nested deeper than 8 levels") != std::string::npos);
  }
}
