#include "tests/sim/world.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "pooler/base/check.h"
#include "tests/sim/sim_net.h"

namespace pgweir::sim {

std::uint64_t SimRng::next() {  // splitmix64
  std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

void SimRng::fill(void* out, std::size_t size) {
  auto* at = static_cast<char*>(out);
  while (size > 0) {
    const std::uint64_t value = next();
    const std::size_t part = std::min(size, sizeof value);
    std::memcpy(at, &value, part);
    at += part;
    size -= part;
  }
}

World::World(std::uint64_t seed, std::string scene, Print print)
    : seed_(seed), scene_(std::move(scene)), print_(print), rng_(seed) {}

Duration World::between(Duration least, Duration most) {
  return Duration(static_cast<Duration::rep>(
      between(static_cast<std::uint64_t>(least.count()), static_cast<std::uint64_t>(most.count()))));
}

void World::at(Time when, SimLoop* loop, std::function<void()> event) {
  events_.push({std::max(when, now_), ordered_++, loop, std::move(event)});
}

bool World::run(Time limit, const std::function<bool()>& done) {
  while (!done()) {
    SimLoop* timers = nullptr;
    Time next = events_.empty() ? kNever : events_.top().at;
    for (SimLoop* loop : loops_) {
      if (loop->next_timer() < next) {
        next = loop->next_timer();
        timers = loop;
      }
    }
    if (next == kNever || next > limit) {
      if (next != kNever) now_ = std::max(now_, limit);
      return false;
    }
    now_ = std::max(now_, next);
    ++ran_;
    if (timers) {
      current_ = timers;
      trace("{} timer", timers->name());
      timers->run_timers();
    } else {
      // top() is const; the event is taken out by copy of its parts.
      Event event = events_.top();
      events_.pop();
      current_ = event.loop;
      event.run();
    }
    current_ = nullptr;
    if (after_each) after_each();
  }
  return true;
}

World::Line& World::begin_line() {
  Line& line = lines_[line_count_ % lines_.size()];
  ++line_count_;
  const auto end =
      fmt::format_to_n(line.text.data(), line.text.size(), "{:>10} ", now_.time_since_epoch().count());
  line.size = end.size;
  return line;
}

void World::end_line(const Line& line) {
  for (std::size_t i = 0; i < line.size; ++i) {
    hash_ ^= static_cast<unsigned char>(line.text[i]);
    hash_ *= 0x100000001b3ULL;
  }
  if (print_ == Print::Trace) {
    std::fwrite(line.text.data(), 1, line.size, stdout);
    std::fputc('\n', stdout);
  }
}

std::string World::moment() const {
  return fmt::format("seed {} scene {} at {:.6f} s", seed_, scene_,
                     static_cast<double>(now_.time_since_epoch().count()) / 1e6);
}

void World::print_last_lines() const {
  const std::uint64_t first = line_count_ > lines_.size() ? line_count_ - lines_.size() : 0;
  for (std::uint64_t i = first; i < line_count_; ++i) {
    const Line& line = lines_[i % lines_.size()];
    std::fwrite(line.text.data(), 1, line.size, stderr);
    std::fputc('\n', stderr);
  }
}

void World::violation(const std::string& what) const {
  std::fflush(stdout);
  if (print_ == Print::Nothing) print_last_lines();
  std::fprintf(stderr, "VIOLATION %s: %s\n", moment().c_str(), what.c_str());
  std::fflush(stderr);
  _exit(1);
}

}  // namespace pgweir::sim
