// pooler/http_patience.h - how long an HTTP client may take, and who goes when there are too many. Pure: the
// time comes in.
//
// A request has kRequest from the connection, or from the end of the last request on it, until its answer has
// been taken whole: a byte now and then extends nothing. When kCrowded are connected, whoever has been
// longest about saying what he wants makes room for the next, so that clients that drip keep no health check
// out.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <unordered_map>
#include <vector>

#include "pooler/base/time.h"

namespace pgweir::http {

class Patience {
 public:
  using Key = int;  // a connection's descriptor
  static constexpr std::chrono::seconds kRequest{20};
  static constexpr std::size_t kCrowded = 192;

  // Answers who has to go, if somebody has to.
  std::optional<Key> came(Key key, Time now) {
    std::optional<Key> in_the_way;
    if (connections_.size() >= kCrowded) in_the_way = slowest();
    connections_[key] = {now, State::Saying};
    return in_the_way;
  }
  void said(Key key) { set(key, State::Waiting); }
  void answered(Key key, Time now) {
    if (const auto place = connections_.find(key); place != connections_.end())
      place->second = {now, State::Saying};
  }
  void left(Key key) { connections_.erase(key); }

  // Those whose time is over; each is told once.
  std::vector<Key> overdue(Time now) {
    std::vector<Key> all;
    for (auto& [key, connection] : connections_) {
      if (connection.state == State::Told || now - connection.since < kRequest) continue;
      connection.state = State::Told;
      all.push_back(key);
    }
    return all;
  }
  std::size_t size() const { return connections_.size(); }

 private:
  enum class State { Saying, Waiting, Told };
  struct Connection {
    Time since;
    State state;
  };
  void set(Key key, State state) {
    if (const auto place = connections_.find(key);
        place != connections_.end() && place->second.state != State::Told)
      place->second.state = state;
  }
  std::optional<Key> slowest() {
    auto found = connections_.end();
    for (auto place = connections_.begin(); place != connections_.end(); ++place)
      if (place->second.state == State::Saying &&
          (found == connections_.end() || place->second.since < found->second.since))
        found = place;
    if (found == connections_.end()) return std::nullopt;
    found->second.state = State::Told;
    return found->first;
  }

  std::unordered_map<Key, Connection> connections_;
};

}  // namespace pgweir::http
