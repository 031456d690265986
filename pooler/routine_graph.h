// pooler/routine_graph.h - who leads to whom among the users' functions, tables, views and types.
//
// A thing is known by the oids of its catalog and in that. A change of the session that one of them makes is
// made by whatever can make it run, too: what the catalogs say depends on it, and code in which its name
// stands. Bodies are cut into words once each and the words looked up, so the work grows with the size of
// what was read and not with its square. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/deeds.h"

namespace pgweir {

class RoutineGraph {
 public:
  // More than so many things are not kept, nor so many steps; then full() is true.
  static constexpr std::size_t kThingsMost = 100'000, kStepsMost = 400'000;
  // Things and steps that are looked at in one go, while others wait.
  static constexpr std::size_t kAtOnce = 10'000;

  // `name`: none is needed to make it run, or none can be told. `hidden`: the role that asks can not name it.
  // `ddl`: an event trigger.
  struct Thing {
    std::optional<std::string> name;
    bool hidden = false;
    bool type = false;
    bool ddl = false;
  };
  explicit RoutineGraph(bool utf8 = true) : utf8_(utf8) {}
  void add(const std::string& key, Thing thing);
  void makes(const std::string& key, Deeds::Set set, Deeds& deeds);
  // What is a `user` of `key` runs it.
  void leads(const std::string& key, const std::string& user);
  // The code of `key`, of which all names are known by now.
  void mentions(const std::string& key, Bytes code);
  bool full() const { return full_; }

  // When all is known: works out what leads to what, and tells of each thing that leads to a change, once; a
  // piece at a time. True: there is more.
  using Tell = std::function<void(const Thing&, Deeds::Set)>;
  bool go_on(Deeds& deeds, const Tell& tell);

 private:
  using Number = std::uint32_t;
  enum class Phase : std::uint8_t { Circles, Own, Others, Telling };
  struct Node {
    Thing thing{{}, true};  // until it is told of
    bool word = false;      // no thing, but the name of some
    Deeds::Set makes = Deeds::kNothing;
    std::vector<Number> users;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(Bytes name) const { return std::hash<Bytes>()(name); }
  };
  using Map = std::unordered_map<std::string, Number, Hash, std::equal_to<>>;

  std::optional<Number> number_of(const std::string& key);
  Number name_node(Bytes name);
  void step(Number from, Number to);
  bool find_circles();
  void close_circle(Number first);
  bool join_next(Number node, Deeds& deeds);

  std::vector<Node> nodes_;
  Map keys_;
  Map names_;  // the nodes that stand for a name, which things of that name lead to
  bool utf8_;
  std::size_t steps_ = 0;
  bool full_ = false;

  // Those that lead to each other in a circle make the same, and are taken together (Tarjan). `order_` is of
  // circles, of which each comes behind all that it leads to.
  Phase phase_ = Phase::Circles;
  Number at_ = 0;            // of nodes_ or of order_, from its end
  std::size_t user_at_ = 0;  // of the users of that one
  Number next_ = 0;
  std::vector<Number> index_, low_, circle_, open_, order_;
  std::vector<std::pair<Number, std::size_t>> path_;
  std::vector<Deeds::Set> made_;  // by each circle
};

}  // namespace pgweir
