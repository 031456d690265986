// tests/sim/sim_main.cc - the simulator's command line.
//
//   sim [--seeds A..B] [--scene NAME]    runs these seeds (1..2000), each in a scene chosen by the seed
//   sim --seed N [--scene NAME]          replays one and prints a trace of events
//   sim --repeat N                       plays N seeds twice and compares the traces
//   sim --direct                         without the pooler, to prove the models
//   sim --crowd N [--seeds A..B]         N clients at once, for 200 servers (seed 1)
//   sim --plant NAME                     with that bug, in a build that has any (tests/sim/planted)
//   sim --list, --plants                 names the scenes, the planted bugs
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "pooler/base/planted.h"
#include "tests/sim/run.h"

extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {
using namespace pgweir::sim;

constexpr std::uint64_t kSeeds = 2000;  // where nobody says how many
const World* running = nullptr;         // for what is said when the program stops in the middle of a run

void say_where() {
  if (!running) return;
  running->print_last_lines();
  std::fprintf(stderr, "STOPPED %s\n", running->moment().c_str());
}

struct Options {
  std::uint64_t first = 1;
  std::optional<std::uint64_t> last;
  std::uint64_t repeat = 0;
  const Scene* scene = nullptr;
  std::optional<Scene> crowd;
  Run::Mode mode = Run::Mode::Pooled;
  World::Print print = World::Print::Nothing;
};

std::vector<std::string> plants() {
#ifdef PGWEIR_PLANTS
  return {PGWEIR_PLANT_NAMES};
#else
  return {};
#endif
}

void list_plants(std::FILE* to) {
  for (const std::string& name : plants()) std::fprintf(to, "%s\n", name.c_str());
}

// `name` outlives the runs.
bool plant(const char* name) {
  const auto all = plants();
  if (std::find(all.begin(), all.end(), name) == all.end()) {
    std::fprintf(stderr, "no bug %s is planted in this build, but %s\n", name,
                 all.empty() ? "none (see tests/sim/planted)" : "these:");
    list_plants(stderr);
    return false;
  }
#ifdef PGWEIR_PLANTS
  pgweir::planted.name = name;
#endif
  return true;
}

const Scene& scene_of(const Options& options, std::uint64_t seed) {
  return options.scene ? *options.scene : scenes()[seed % scenes().size()];
}

Run::Result play(const Options& options, std::uint64_t seed) {
  Run run(seed, scene_of(options, seed), options.mode, options.print);
  running = &run.world();
  const Run::Result result = run.play();
  running = nullptr;
  return result;
}

int play_all(const Options& options) {
  Run::Result sum;
  const std::uint64_t last = options.last.value_or(options.crowd ? options.first : kSeeds);
  for (std::uint64_t seed = options.first; seed <= last; ++seed) {
    const Run::Result result = play(options, seed);
    sum.events += result.events;
    sum.answered += result.answered;
    sum.rows += result.rows;
    sum.servers_most = std::max(sum.servers_most, result.servers_most);
  }
  std::printf("%llu seeds passed (%llu events, %llu answers, %llu rows in the ledger, %zu servers at most)\n",
              static_cast<unsigned long long>(last - options.first + 1),
              static_cast<unsigned long long>(sum.events), static_cast<unsigned long long>(sum.answered),
              static_cast<unsigned long long>(sum.rows), sum.servers_most);
  return 0;
}

int play_twice(const Options& options) {
  for (std::uint64_t seed = 1; seed <= options.repeat; ++seed) {
    const auto once = play(options, seed).trace_hash;
    const auto again = play(options, seed).trace_hash;
    if (once == again) continue;
    std::fprintf(stderr, "seed %llu is not repeatable: traces %016llx and %016llx\n",
                 static_cast<unsigned long long>(seed), static_cast<unsigned long long>(once),
                 static_cast<unsigned long long>(again));
    return 1;
  }
  std::printf("%llu seeds are repeatable\n", static_cast<unsigned long long>(options.repeat));
  return 0;
}

int usage() {
  std::fputs(
      "usage: sim [--seeds A..B | --seed N | --repeat N] [--scene NAME | --crowd N] [--direct] [--plant "
      "NAME]\n"
      "       sim --list | --plants\n",
      stderr);
  return 2;
}
}  // namespace

int main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const char* const value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (argument == "--direct") {
      options.mode = Run::Mode::Direct;
    } else if (argument == "--list") {
      for (const auto* const all : {&scenes(), &scenes_by_name()})
        for (const Scene& scene : *all) std::printf("%-12s %s\n", scene.name, scene.about);
      return 0;
    } else if (argument == "--plants") {
      list_plants(stdout);
      return 0;
    } else if (!value) {
      return usage();
    } else if (argument == "--plant") {
      if (!plant(argv[++i])) return 2;
    } else if (argument == "--seed") {
      options.first = std::strtoull(argv[++i], nullptr, 10);
      options.last = options.first;
      options.print = World::Print::Trace;
    } else if (argument == "--seeds") {
      const char* const dots = std::strstr(value, "..");
      if (!dots) return usage();
      options.first = std::strtoull(value, nullptr, 10);
      options.last = std::strtoull(dots + 2, nullptr, 10);
      ++i;
    } else if (argument == "--repeat") {
      options.repeat = std::strtoull(argv[++i], nullptr, 10);
    } else if (argument == "--scene") {
      options.scene = find_scene(argv[++i]);
      if (!options.scene) return usage();
    } else if (argument == "--crowd") {
      const auto clients = static_cast<unsigned>(std::strtoul(argv[++i], nullptr, 10));
      if (clients == 0) return usage();
      options.crowd = throng(clients);
      options.scene = &*options.crowd;
    } else {
      return usage();
    }
  }
  std::signal(SIGABRT, [](int) {
    say_where();
    std::_Exit(134);
  });
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(say_where);
  return options.repeat > 0 ? play_twice(options) : play_all(options);
}
