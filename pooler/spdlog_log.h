// pooler/spdlog_log.h - Log on spdlog's asynchronous logger: text for people, JSON for collectors.
//
// Whoever logs only puts a line into a queue of kQueueMax; one thread writes. When that thread cannot keep
// up, because the reader of a pipe has stopped, the oldest lines are lost and counted: a loop never waits for
// a log. What repeats itself is counted and told once (pooler/repeats.h); the count comes with the next line,
// whatever that is, or at the end.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "pooler/base/log.h"
#include "pooler/repeats.h"

namespace pgweir {

enum class LogStyle : std::uint8_t { Text, Json };  // Json: Elastic Common Schema, one object a line

// One line without its line end, ready for either style. `time_ms` since 1970, UTC.
std::string format_text(LogLevel level, std::int64_t time_ms, std::string_view event, Log::Fields fields);
// `always`: members that every line has, `,"name":"value"`.
std::string format_json(LogLevel level, std::int64_t time_ms, int pid, std::string_view event,
                        Log::Fields fields, std::string_view always = {});

class SpdlogLog final : public Log {
 public:
  static constexpr std::size_t kQueueMax = 2048;

  // Writes to this descriptor, which stays the caller's. Colours only in Text on a terminal. `always`: as for
  // format_json.
  SpdlogLog(int fd, LogStyle style, LogLevel level, std::string always = {});
  // Writes what is queued, for at most a second if nobody reads it.
  ~SpdlogLog() override;

  void write(LogLevel level, std::string_view event, Fields fields) override;
  // A line that somebody else has made, as it is.
  void write_line(std::string_view line);
  bool enabled(LogLevel level) const override { return level >= level_.load(std::memory_order_relaxed); }
  void set_level(LogLevel least) override { level_.store(least, std::memory_order_relaxed); }
  std::size_t lost() const;

 private:
  void put(LogLevel level, std::string_view event, Fields fields);
  void tell(const std::vector<Repeats::Told>& repeated);

  struct Backend;
  std::unique_ptr<Backend> backend_;
  std::atomic<LogLevel> level_;
  std::mutex repeats_mutex_;
  Repeats repeats_;
};

}  // namespace pgweir
