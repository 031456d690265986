#include "pooler/routine_graph.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace pgweir {

namespace {

protocol::SqlChanges setting(const std::string& name) {
  protocol::SqlChanges changes;
  changes.settings = {name};
  return changes;
}

// What each thing makes, by its name.
std::map<std::string, std::vector<std::string>> told(RoutineGraph& graph, Deeds& deeds) {
  std::map<std::string, std::vector<std::string>> made;
  const auto tell = [&](const RoutineGraph::Thing& thing, Deeds::Set set) {
    REQUIRE_FALSE(made.contains(*thing.name));
    for (const Deeds::Deed deed : deeds.in(set)) made[*thing.name].push_back(deeds.what(deed).settings[0]);
    std::sort(made[*thing.name].begin(), made[*thing.name].end());
  };
  while (graph.go_on(deeds, tell)) {
  }
  return made;
}

}  // namespace

TEST_CASE("those that lead to each other in a circle make the same") {
  Deeds deeds;
  RoutineGraph graph;
  for (const char* const name : {"a", "b", "c", "d", "e"}) graph.add(name, {name});
  graph.makes("b", deeds.of(setting("app.x")), deeds);
  for (const auto& [from, to] : {std::pair("a", "b"), {"b", "c"}, {"c", "a"}, {"c", "d"}, {"e", "a"}})
    graph.leads(from, to);
  const std::vector<std::string> x = {"app.x"};
  CHECK(told(graph, deeds) ==
        std::map<std::string, std::vector<std::string>>{{"a", x}, {"b", x}, {"c", x}, {"d", x}});
  CHECK_FALSE(graph.full());
}

TEST_CASE("what several lead to makes what each of them makes") {
  Deeds deeds;
  RoutineGraph graph;
  for (const char* const name : {"z", "a", "m", "over", "user"}) graph.add(name, {name});
  graph.makes("a", deeds.of(setting("app.a")), deeds);
  graph.makes("z", deeds.of(setting("app.z")), deeds);
  graph.makes("z", deeds.of(setting("app.y")), deeds);
  graph.leads("a", "m");
  graph.leads("z", "m");
  graph.leads("m", "user");
  graph.mentions("over", "select M()");
  const auto made = told(graph, deeds);
  const std::vector<std::string> all = {"app.a", "app.y", "app.z"};
  CHECK(made.at("m") == all);
  CHECK(made.at("user") == all);
  CHECK(made.at("over") == all);
  CHECK(made.at("a") == std::vector<std::string>{"app.a"});
}

TEST_CASE("a long way is no deep one") {
  Deeds deeds;
  RoutineGraph graph;
  constexpr std::size_t kLong = RoutineGraph::kThingsMost / 2 - 1;
  for (std::size_t i = 0; i < kLong; ++i) graph.add(std::to_string(i), {std::to_string(i)});
  graph.makes(std::to_string(kLong - 1), deeds.of(setting("app.x")), deeds);
  for (std::size_t i = 1; i < kLong; ++i) graph.leads(std::to_string(i), std::to_string(i - 1));
  CHECK(told(graph, deeds).size() == kLong);
}

TEST_CASE("a graph keeps so many things and steps only, and says so") {
  Deeds deeds;
  RoutineGraph graph;
  const bool steps = GENERATE(false, true);
  if (steps)
    for (std::size_t i = 0; i <= RoutineGraph::kStepsMost; ++i)
      graph.leads(std::to_string(i % 600), std::to_string(1000 + i / 600));
  else
    for (std::size_t i = 0; i <= RoutineGraph::kThingsMost; ++i) graph.add(std::to_string(i), {});
  CHECK(graph.full());
}

}  // namespace pgweir
