#include "conf/yaml.h"

#include <yaml-cpp/yaml.h>
// Not part of yaml.h: the interface that receives events before a tree is built.
#include <yaml-cpp/eventhandler.h>

#include <algorithm>
#include <sstream>
#include <string_view>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"

namespace pgweir::conf {
namespace {

constexpr const char* kNoAliases =
    "aliases (*) are not allowed; a name or value that begins with '*' must be quoted";

// Leaves yaml-cpp's parser from inside a handler; caught in parse_yaml.
struct Refused {
  YAML::Mark mark;
  std::string why;
};

class Builder : public YAML::EventHandler {
 public:
  Node take() { return std::move(root_); }
  bool has_document() const { return has_document_; }
  // The innermost list or map that has begun and not ended.
  const Node* open() const { return open_.empty() ? nullptr : &open_.back(); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (has_document_) throw Refused{mark, "only one document is allowed"};
    has_document_ = true;
  }
  void OnDocumentEnd() override { PGWEIR_CHECK(open_.empty()); }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    plain(mark, "", anchor);
    put(make(Node::Kind::Null, mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { throw Refused{mark, kNoAliases}; }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    plain(mark, tag, anchor);
    Node node = make(Node::Kind::Scalar, mark);
    node.text = value;
    put(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    plain(mark, tag, anchor);
    begin(Node::Kind::List, mark);
  }
  void OnSequenceEnd() override { end(Node::Kind::List); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    plain(mark, tag, anchor);
    begin(Node::Kind::Map, mark);
  }
  void OnMapEnd() override { end(Node::Kind::Map); }

 private:
  static Node make(Node::Kind kind, const YAML::Mark& mark) {
    Node node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }
  // "?" is what yaml-cpp gives for no tag, "!" for a quoted scalar.
  static void plain(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) throw Refused{mark, "anchors (&) are not allowed"};
    if (!tag.empty() && tag != "?" && tag != "!") throw Refused{mark, "tags (!) are not allowed"};
  }
  void begin(Node::Kind kind, const YAML::Mark& mark) {
    if (open_.size() >= kMaxDepth) {
      throw Refused{mark, "nested deeper than " + std::to_string(kMaxDepth) + " levels"};
    }
    open_.push_back(make(kind, mark));
  }
  void end(Node::Kind kind) {
    PGWEIR_CHECK(!open_.empty() && open_.back().kind == kind);
    Node node = std::move(open_.back());
    open_.pop_back();
    put(std::move(node));
  }
  void put(Node node) {
    if (open_.empty()) {
      root_ = std::move(node);
    } else {
      open_.back().children.push_back(std::move(node));
    }
  }

  Node root_;
  std::vector<Node> open_;
  bool has_document_ = false;
};

Origin place(const std::string& name, const YAML::Mark& mark) {
  return mark.is_null() ? Origin{name, 0, 0} : Origin{name, mark.line + 1, mark.column + 1};
}

// Whether a tab stands in the indentation of that line.
bool tab_indents(std::string_view text, int line) {
  for (; line > 0; --line) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return false;
    text.remove_prefix(end + 1);
  }
  return text.substr(0, std::min(text.size(), text.find_first_not_of(" \t"))).find('\t') !=
         std::string_view::npos;
}

Problem unreadable(const std::string& name, std::string_view text, const YAML::Exception& error,
                   const Builder& builder) {
  // Where a bracket is missing, yaml-cpp only knows where it lost patience; the reader needs the place to
  // mend.
  const bool unclosed =
      error.msg == YAML::ErrorMsg::END_OF_SEQ_FLOW || error.msg == YAML::ErrorMsg::END_OF_MAP_FLOW;
  if (const Node* const open = builder.open(); open && unclosed) {
    const bool list = error.msg == YAML::ErrorMsg::END_OF_SEQ_FLOW;
    std::string message =
        list ? "the list that begins here lacks a ',' or ']'" : "the map that begins here lacks a ',' or '}'";
    if (!error.mark.is_null())
      message += " before line " + std::to_string(error.mark.line + 1) + ", column " +
                 std::to_string(error.mark.column + 1);
    return {{name, open->line, open->column}, "", message};
  }
  if (error.msg == YAML::ErrorMsg::EOF_IN_SCALAR) {
    return {place(name, error.mark), "", "the text ends inside quotes that were never closed"};
  }
  // Its own words, for names that no anchor has: "the referenced anchor is not defined", "alias not found
  // after *".
  if (error.msg.find("anchor is not defined") != std::string::npos ||
      error.msg == YAML::ErrorMsg::ALIAS_NOT_FOUND) {
    return {place(name, error.mark), "", kNoAliases};
  }
  if (!error.mark.is_null() && tab_indents(text, error.mark.line)) {
    return {place(name, error.mark), "", "a tab indents this line, which YAML does not allow: use spaces"};
  }
  return {place(name, error.mark), "", "is no valid YAML: " + error.msg};
}

}  // namespace

tl::expected<Node, Problem> parse_yaml(std::string_view text, const std::string& name) {
  const auto refuse = [&](Origin origin, std::string why) {
    return tl::unexpected(Problem{std::move(origin), "", std::move(why)});
  };
  if (text.size() > kMaxFileBytes) {
    return refuse({name, 0, 0}, "must have at most " + std::to_string(kMaxFileBytes) + " bytes, not " +
                                    std::to_string(text.size()));
  }
  if (text.find('\0') != std::string_view::npos) return refuse({name, 0, 0}, "must be text in UTF-8");
  // yaml-cpp takes a quote that is still open when the text ends with a line; behind a comment it does not.
  std::string closed(text);
  closed += closed.ends_with('\n') ? "#" : "\n#";
  Builder builder;
  try {
    std::istringstream stream(closed);
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Refused& refused) {
    return refuse(place(name, refused.mark), refused.why);
  } catch (const YAML::Exception& error) {
    return tl::unexpected(unreadable(name, closed, error, builder));
  }
  return builder.take();
}

}  // namespace pgweir::conf
