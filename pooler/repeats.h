// pooler/repeats.h - which lines of the log are one too many, and what to tell of them later.
//
// The same event of the same tenant, or of the same backend and database, or without any of them, is let
// through kMost times in each kWindow; the rest is counted, and told once when the window is over. A flood of
// names shares one count for each event. Errors are always let through, and so is what only debugging tells,
// and what an administrator does, since it may leave no other trace.
// Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "pooler/base/log.h"

namespace pgweir {

class Repeats {
 public:
  static constexpr std::string_view kAdmin = "admin";  // in the field `role`: an administrator's doing
  static constexpr std::uint64_t kMost = 100;
  static constexpr std::int64_t kWindowMs = 10'000;
  static constexpr std::size_t kNamesMax = 1000;

  struct Told {
    LogLevel level = LogLevel::Info;
    std::string event;
    std::string tenant, backend, database;  // where the lines had them; a tenant stands alone
    std::uint64_t count = 0;                // lines that were not let through
  };

  // Whether this line is written. `told` gets what has ended meanwhile, to be written before it.
  bool let_through(LogLevel level, std::string_view event, Log::Fields fields, std::int64_t now_ms,
                   std::vector<Told>& told);
  // What is left, at the end.
  void end(std::vector<Told>& told);

 private:
  struct Window {
    Told told;
    std::uint64_t seen = 0;
    std::int64_t begun_ms = 0;
  };
  void close_oldest(std::vector<Told>& told);

  std::unordered_map<std::string, Window> windows_;
  std::deque<std::string> oldest_first_;  // keys of windows_
};

}  // namespace pgweir
