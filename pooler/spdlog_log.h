// pooler/spdlog_log.h - Log on spdlog's asynchronous logger: text for people, JSON for collectors.
//
// Whoever logs only puts a line into a queue of kQueueMax; one thread writes. When that thread cannot keep
// up, because the reader of a pipe has stopped, the oldest lines are lost and counted: a loop never waits for
// a log.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "pooler/base/log.h"

namespace pgweir {

enum class LogStyle : std::uint8_t { Text, Json };  // Json: Elastic Common Schema, one object a line

// One line without its line end, ready for either style. `time_ms` since 1970, UTC.
std::string format_text(LogLevel level, std::int64_t time_ms, std::string_view event, Log::Fields fields);
std::string format_json(LogLevel level, std::int64_t time_ms, int pid, std::string_view event,
                        Log::Fields fields);

class SpdlogLog final : public Log {
 public:
  static constexpr std::size_t kQueueMax = 2048;

  // Writes to this descriptor, which stays the caller's. Colours only in Text on a terminal.
  SpdlogLog(int fd, LogStyle style, LogLevel level);
  // Writes what is queued, for at most a second if nobody reads it.
  ~SpdlogLog() override;

  void write(LogLevel level, std::string_view event, Fields fields) override;
  // A line that somebody else has made, as it is.
  void write_line(std::string_view line);
  bool enabled(LogLevel level) const override { return level >= level_.load(std::memory_order_relaxed); }
  void set_level(LogLevel least) override { level_.store(least, std::memory_order_relaxed); }
  std::size_t lost() const;

 private:
  struct Backend;
  std::unique_ptr<Backend> backend_;
  std::atomic<LogLevel> level_;
  LogStyle style_;
};

}  // namespace pgweir
