// tests/sim/world.h - virtual time, chance from a seed, the order of events and their trace.
//
// Nothing here knows the real clock: the same seed gives the same events in the same order, and trace_hash()
// proves it. Events belong to a loop (or to none); current() tells whose thread the simulator plays, so that
// a call from the wrong thread is found in one run.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <vector>

#include "pooler/base/rng.h"
#include "pooler/base/time.h"

namespace pgweir::sim {

class SimLoop;

class SimRng final : public Rng {
 public:
  explicit SimRng(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ULL + 0x1234567) {}
  void fill(void* out, std::size_t size) override;

 private:
  std::uint64_t next();
  std::uint64_t state_;
};

class World {
 public:
  enum class Print : std::uint8_t { Nothing, Trace };
  World(std::uint64_t seed, std::string scene, Print print);
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  Time now() const { return now_; }
  SimRng& rng() { return rng_; }
  bool chance(unsigned percent) { return rng_.below(100) < percent; }
  std::uint64_t between(std::uint64_t least, std::uint64_t most) {
    return least + rng_.below(most - least + 1);
  }
  Duration between(Duration least, Duration most);

  // Runs `event` at that time on that loop's thread (null: outside of all). Equal times keep their order.
  void at(Time when, SimLoop* loop, std::function<void()> event);
  void after(Duration delay, SimLoop* loop, std::function<void()> event) {
    at(now_ + delay, loop, std::move(event));
  }
  SimLoop* current() const { return current_; }
  void add_loop(SimLoop& loop) { loops_.push_back(&loop); }

  // Called behind each event; whoever needs it sets it.
  std::function<void()> after_each;
  // Runs events until `done` holds; false when `limit` was reached first or nothing is left to happen.
  bool run(Time limit, const std::function<bool()>& done);

  template <class... Args>
  void trace(fmt::format_string<Args...> format, Args&&... args) {
    Line& line = begin_line();
    const auto end = fmt::format_to_n(line.text.data() + line.size, line.text.size() - line.size, format,
                                      std::forward<Args>(args)...);
    line.size = std::min(line.text.size(), line.size + end.size);
    end_line(line);
  }
  std::uint64_t trace_hash() const { return hash_; }
  std::uint64_t events() const { return ran_; }
  std::string moment() const;  // seed, scene and virtual time
  void print_last_lines() const;

  // An invariant does not hold: says so with the last lines of the trace, and ends the program.
  [[noreturn]] void violation(const std::string& what) const;

 private:
  struct Event {
    Time at;
    std::uint64_t order;
    SimLoop* loop;
    std::function<void()> run;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };
  struct Line {
    std::array<char, 200> text{};
    std::size_t size = 0;
  };
  Line& begin_line();
  void end_line(const Line& line);

  std::uint64_t seed_;
  std::string scene_;
  Print print_;
  Time now_{};
  SimRng rng_;
  std::uint64_t ordered_ = 0;
  std::uint64_t ran_ = 0;
  std::priority_queue<Event, std::vector<Event>, Later> events_;
  std::vector<SimLoop*> loops_;
  SimLoop* current_ = nullptr;
  std::array<Line, 80> lines_;
  std::uint64_t line_count_ = 0;
  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
};

}  // namespace pgweir::sim
