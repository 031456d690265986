#include "pooler/spdlog_log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <poll.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <utility>

#include "pooler/log_text.h"
#include "pooler/masking.h"

namespace pgweir {

using log_text::Escape;
using log_text::kValueMax;
using log_text::put_escaped;
using log_text::put_json_string;

namespace {

// A pipe that poll() calls writable takes this much without blocking (POSIX's PIPE_BUF on Linux).
constexpr std::size_t kChunk = 4096;
constexpr int kPollMs = 100;
constexpr std::chrono::seconds kLastWords{1};

struct LevelName {
  std::string_view text, json, colour;
};
constexpr std::array kLevels{LevelName{"DEBUG", "debug", "\x1b[2m"}, LevelName{"INFO ", "info", "\x1b[32m"},
                             LevelName{"WARN ", "warn", "\x1b[33m"}, LevelName{"ERROR", "error", "\x1b[31m"}};
constexpr std::string_view kColourEnd = "\x1b[0m";

const LevelName& name(LogLevel level) { return kLevels[static_cast<std::size_t>(level)]; }

std::tm utc(std::int64_t time_ms) {
  const auto seconds = static_cast<std::time_t>(time_ms / 1000);
  std::tm broken_down{};
  gmtime_r(&seconds, &broken_down);
  return broken_down;
}

// A value of plain words stands as it is, others in quotes.
bool is_plain(std::string_view value) {
  for (const char c : value)
    if (static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) >= 0x7f || c == '"' ||
        c == '\\' || c == '=')
      return false;
  return !value.empty();
}

// Fields may hold what a client has said.
std::string shown(const LogField& field) {
  if (field.number || field.exact) return field.value;
  return masked(field.value, kValueMax);
}

bool is_ecs(const LogField& field) { return field.key.find('.') != std::string_view::npos; }
bool is_left_out(const LogField& field) { return is_ecs(field) && field.value.empty(); }

void put_json_field(std::string& line, const LogField& field) {
  put_json_string(line, field.key);
  line += ':';
  if (field.number)
    line += field.value;
  else
    put_json_string(line, shown(field));
}

// Writes whole lines to a descriptor, and gives up on a reader that does not read once the program ends.
class FdSink final : public spdlog::sinks::sink {
 public:
  FdSink(int fd, LogStyle style, std::string always) : fd_(fd), style_(style), always_(std::move(always)) {}
  // Before the first line. The pool joins its thread before it goes, so this thread may look at it always.
  void watch(spdlog::details::thread_pool& pool) { pool_ = &pool; }
  void last_words(std::chrono::steady_clock::time_point until) {
    until_ = until;
    ending_.store(true, std::memory_order_release);
  }

  // From the pool's one thread.
  void log(const spdlog::details::log_msg& message) override {
    put({message.payload.data(), message.payload.size()});
    const std::size_t lost = pool_->overrun_counter();
    if (lost == told_) return;
    put(format(LogLevel::Warn, "log lines lost", {{"count", lost - told_}}));
    told_ = lost;
  }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

  std::string format(LogLevel level, std::string_view event, Log::Fields fields) const {
    const auto since = std::chrono::system_clock::now().time_since_epoch();
    const std::int64_t time_ms = std::chrono::duration_cast<std::chrono::milliseconds>(since).count();
    std::string line = style_ == LogStyle::Json
                           ? format_json(level, time_ms, ::getpid(), event, fields, always_)
                           : format_text(level, time_ms, event, fields);
    return line += '\n';
  }

 private:
  void put(std::string_view line) {
    while (!line.empty()) {
      if (ending_.load(std::memory_order_acquire) && std::chrono::steady_clock::now() > until_) return;
      pollfd ready{fd_, POLLOUT, 0};
      if (::poll(&ready, 1, kPollMs) <= 0) continue;
      const ssize_t written = ::write(fd_, line.data(), std::min(line.size(), kChunk));
      if (written < 0 && errno != EINTR && errno != EAGAIN) return;  // nobody is there any more
      if (written > 0) line.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  int fd_;
  LogStyle style_;
  std::string always_;
  spdlog::details::thread_pool* pool_ = nullptr;
  std::size_t told_ = 0;
  std::chrono::steady_clock::time_point until_{};
  std::atomic<bool> ending_{false};
};

}  // namespace

std::string format_text(LogLevel level, std::int64_t time_ms, std::string_view event, Log::Fields fields) {
  std::string line =
      fmt::format("{:%Y-%m-%d %H:%M:%S}.{:03} {} {}", utc(time_ms), time_ms % 1000, name(level).text, event);
  for (const LogField& field : fields) {
    if (is_left_out(field)) continue;
    ((line += ' ') += field.key) += '=';
    const std::string value = shown(field);
    if (field.number || is_plain(value)) {
      line += value;
      continue;
    }
    line += '"';
    put_escaped(line, value, Escape::Text);
    line += '"';
  }
  return line;
}

std::string format_json(LogLevel level, std::int64_t time_ms, int pid, std::string_view event,
                        Log::Fields fields, std::string_view always) {
  std::string line = R"({"@timestamp":)";
  log_text::put_json_time(line, time_ms);
  line += fmt::format(R"(,"log.level":"{}","message":)", name(level).json);
  put_json_string(line, event);
  line += fmt::format(R"(,"ecs.version":"{}","event.action":)", log_text::kEcsVersion);
  put_json_string(line, event);
  line += fmt::format(R"(,"service.name":"pgweir","process.pid":{})", pid);
  line += always;
  for (const LogField& field : fields) {
    if (!is_ecs(field) || is_left_out(field)) continue;
    line += ',';
    put_json_field(line, field);
  }
  char before = '{';
  for (const LogField& field : fields) {
    if (is_ecs(field)) continue;
    line += before == '{' ? ",\"pgweir\":{" : ",";
    before = ',';
    put_json_field(line, field);
  }
  if (before == ',') line += '}';
  return line += '}';
}

struct SpdlogLog::Backend {
  std::shared_ptr<FdSink> sink;
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::async_logger> logger;
  bool colours = false;
};

SpdlogLog::SpdlogLog(int fd, LogStyle style, LogLevel level, std::string always)
    : backend_(std::make_unique<Backend>()), level_(level) {
  backend_->colours = style == LogStyle::Text && ::isatty(fd) == 1;
  backend_->sink = std::make_shared<FdSink>(fd, style, std::move(always));
  backend_->pool = std::make_shared<spdlog::details::thread_pool>(kQueueMax, 1);
  backend_->sink->watch(*backend_->pool);
  backend_->logger = std::make_shared<spdlog::async_logger>("pgweir", backend_->sink, backend_->pool,
                                                            spdlog::async_overflow_policy::overrun_oldest);
  backend_->logger->set_level(spdlog::level::trace);  // ours decides
}

SpdlogLog::~SpdlogLog() {
  std::vector<Repeats::Told> repeated;
  repeats_.end(repeated);
  tell(repeated);
  backend_->sink->last_words(std::chrono::steady_clock::now() + kLastWords);
  backend_->pool.reset();  // writes what is queued, and joins the thread that may hold the logger until then
}

void SpdlogLog::write(LogLevel level, std::string_view event, Fields fields) {
  using std::chrono::milliseconds, std::chrono::steady_clock;
  const auto now = std::chrono::duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
  std::vector<Repeats::Told> repeated;
  bool through = false;
  {
    const std::lock_guard<std::mutex> lock(repeats_mutex_);
    through = repeats_.let_through(level, event, fields, now, repeated);
  }
  tell(repeated);
  if (through) put(level, event, fields);
}

void SpdlogLog::tell(const std::vector<Repeats::Told>& repeated) {
  for (const Repeats::Told& told : repeated) {
    if (!told.tenant.empty())
      put(told.level, told.event, {{"tenant", told.tenant}, {"repeated", told.count}});
    else if (!told.backend.empty())
      put(told.level, told.event,
          {{"backend", told.backend}, {"database", told.database}, {"repeated", told.count}});
    else if (!told.database.empty())
      put(told.level, told.event, {{"database", told.database}, {"repeated", told.count}});
    else
      put(told.level, told.event, {{"repeated", told.count}});
  }
}

void SpdlogLog::put(LogLevel level, std::string_view event, Fields fields) {
  std::string line = backend_->sink->format(level, event, fields);
  if (backend_->colours) {
    const std::size_t at = line.find(name(level).text);
    line.insert(at + name(level).text.size(), kColourEnd);
    line.insert(at, name(level).colour);
  }
  backend_->logger->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
}

void SpdlogLog::write_line(std::string_view line) {
  const std::string whole = std::string(line) + '\n';
  backend_->logger->log(spdlog::level::info, spdlog::string_view_t(whole.data(), whole.size()));
}

std::size_t SpdlogLog::lost() const { return backend_->pool->overrun_counter(); }

}  // namespace pgweir
