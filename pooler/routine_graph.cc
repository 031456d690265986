#include "pooler/routine_graph.h"

#include <algorithm>
#include <array>

#include "pooler/routine_names.h"
#include "protocol/sql_dynamic.h"

namespace pgweir {

namespace {

constexpr auto kNone = ~std::uint32_t{0};

}  // namespace

std::optional<RoutineGraph::Number> RoutineGraph::number_of(const std::string& key) {
  const auto known = keys_.find(key);
  if (known != keys_.end()) return known->second;
  if (nodes_.size() >= kThingsMost) return full_ = true, std::nullopt;
  nodes_.emplace_back();
  return keys_[key] = static_cast<Number>(nodes_.size() - 1);
}

RoutineGraph::Number RoutineGraph::name_node(Bytes name) {
  const auto [place, fresh] = names_.try_emplace(std::string(name), static_cast<Number>(nodes_.size()));
  if (fresh) nodes_.emplace_back().word = true;
  return place->second;
}

void RoutineGraph::step(Number from, Number to) {
  if (from == to) return;
  if (steps_ == kStepsMost) {
    full_ = true;
    return;
  }
  ++steps_;
  nodes_[from].users.push_back(to);
}

void RoutineGraph::add(const std::string& key, Thing thing) {
  const auto number = number_of(key);
  if (!number) return;
  if (thing.name) step(*number, name_node(folded(*thing.name, utf8_)));
  nodes_[*number].thing = std::move(thing);
}

void RoutineGraph::makes(const std::string& key, Deeds::Set set, Deeds& deeds) {
  if (const auto number = number_of(key)) nodes_[*number].makes = deeds.joined(nodes_[*number].makes, set);
}

void RoutineGraph::leads(const std::string& key, const std::string& user) {
  const auto from = number_of(key);
  const auto to = number_of(user);
  if (from && to) step(*from, *to);
}

// Strings may be run, so all is taken for code, and each pair of quotes for those of a name: nobody knows
// which of them stand in strings.
void RoutineGraph::mentions(const std::string& key, Bytes code) {
  const auto user = number_of(key);
  if (!user) return;
  std::vector<Number> named;
  const auto look_up = [&](Bytes word, bool quotes) {
    std::array<char, kNameMax> room;
    const auto found = names_.find(folded(name_in(word, quotes, room), utf8_));
    if (found != names_.end()) named.push_back(found->second);
  };
  const bool comments = code.find("--") != Bytes::npos || code.find("/*") != Bytes::npos;
  std::size_t quote = Bytes::npos;
  char before = ' ';  // but for spaces
  for (std::size_t at = 0; at < code.size();) {
    if (protocol::sql_bytes::in_word(code[at])) {
      const std::size_t begin = at;
      while (at < code.size() && protocol::sql_bytes::in_word(code[at])) ++at;
      const Bytes word = code.substr(begin, at - begin);
      if (before == '.' || comments || !is_reserved(word)) look_up(word, false);
      before = 'a';
      continue;
    }
    if (code[at] == '"') {
      if (quote != Bytes::npos) look_up(code.substr(quote, at + 1 - quote), true);
      const bool doubled = at + 1 < code.size() && code[at + 1] == '"';  // they stand for one, in a name
      if (quote == Bytes::npos || !doubled)
        quote = at;
      else
        ++at;
    }
    if (protocol::sql_bytes::class_of(code[at]) != protocol::sql_bytes::Class::Space) before = code[at];
    ++at;
  }
  std::sort(named.begin(), named.end());
  named.erase(std::unique(named.begin(), named.end()), named.end());
  for (const Number name : named) step(name, *user);
}

bool RoutineGraph::go_on(Deeds& deeds, const Tell& tell) {
  const auto move_to = [this](Phase phase) {
    phase_ = phase;
    at_ = 0;
  };
  for (std::size_t left = kAtOnce; left > 0; --left) switch (phase_) {
      case Phase::Circles:
        if (!find_circles()) {
          made_.resize(nodes_.size());
          move_to(Phase::Own);
        }
        break;
      case Phase::Own: {
        if (at_ == nodes_.size()) {
          move_to(Phase::Others);
          break;
        }
        Deeds::Set& made = made_[circle_[at_]];
        made = deeds.joined(made, nodes_[at_].makes);
        ++at_;
        break;
      }
      case Phase::Others: {
        if (at_ == order_.size()) {
          move_to(Phase::Telling);
          break;
        }
        if (!join_next(order_[order_.size() - 1 - at_], deeds)) ++at_;
        break;
      }
      case Phase::Telling: {
        if (at_ == nodes_.size()) return false;
        const Node& node = nodes_[at_++];
        if (node.makes != Deeds::kNothing && !node.word) tell(node.thing, node.makes);
        break;
      }
    }
  return true;
}

// One step. False: there is no more.
bool RoutineGraph::find_circles() {
  index_.resize(nodes_.size(), kNone);
  low_.resize(nodes_.size(), kNone);
  circle_.resize(nodes_.size(), kNone);
  if (path_.empty()) {
    if (at_ == nodes_.size()) return false;
    if (index_[at_] == kNone) path_.emplace_back(at_, 0);
    ++at_;
    return true;
  }
  auto& [node, user_number] = path_.back();
  if (index_[node] == kNone) {
    index_[node] = low_[node] = next_++;
    open_.push_back(node);
  }
  if (user_number < nodes_[node].users.size()) {
    const Number user = nodes_[node].users[user_number++];
    if (index_[user] == kNone)
      path_.emplace_back(user, 0);
    else if (circle_[user] == kNone)
      low_[node] = std::min(low_[node], index_[user]);
    return true;
  }
  const Number done = node;
  path_.pop_back();
  if (!path_.empty()) low_[path_.back().first] = std::min(low_[path_.back().first], low_[done]);
  if (low_[done] == index_[done]) close_circle(done);
  return true;
}

// All that are open down to its first, by whose number it goes.
void RoutineGraph::close_circle(Number first) {
  for (Number last = kNone; last != first;) {
    last = open_.back();
    open_.pop_back();
    circle_[last] = first;
    order_.push_back(last);
  }
}

// Of a circle to which all that lead to it have given what they make. False: it has given to all its users.
bool RoutineGraph::join_next(Number node, Deeds& deeds) {
  const Deeds::Set made = made_[circle_[node]];
  nodes_[node].makes = made;
  if (made == Deeds::kNothing || user_at_ == nodes_[node].users.size()) return user_at_ = 0, false;
  const Number user = nodes_[node].users[user_at_++];
  Deeds::Set& all = made_[circle_[user]];
  if (circle_[user] != circle_[node]) all = deeds.joined(all, made);
  return true;
}

}  // namespace pgweir
