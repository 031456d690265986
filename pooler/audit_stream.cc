#include "pooler/audit_stream.h"

#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <utility>

#include "pooler/spdlog_log.h"

namespace pgweir {

namespace {

constexpr mode_t kFileMode = 0640;
constexpr std::chrono::seconds kRetry{1};  // after a file that took no line

std::string format_now(AuditEvent event, AuditOutcome outcome, AuditFields fields) {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return format_audit(event, outcome, std::chrono::duration_cast<std::chrono::milliseconds>(since).count(),
                      ::getpid(), fields);
}

class ToLog final : public AuditStream {
 public:
  explicit ToLog(SpdlogLog& log) : log_(log) {}

 private:
  void put(const std::string& line) override { log_.write_line(line); }
  SpdlogLog& log_;
};

// Lives on the pool's one thread, but for its first opening.
class RotatingSink final : public spdlog::sinks::sink {
 public:
  RotatingSink(AuditFile file, Log& log) : file_(std::move(file)), log_(log), out_(open()) {}
  void watch(spdlog::details::thread_pool& pool) { pool_ = &pool; }
  void ask_to_reopen() { asked_.store(true, std::memory_order_release); }

  void log(const spdlog::details::log_msg& message) override {
    if (!write(message)) ++failed_;
    const std::size_t lost = pool_->overrun_counter() + failed_;
    if (lost == told_ || !out_) return;
    const std::string line = format_now(AuditEvent::LinesLost, AuditOutcome::Failure,
                                        {{AuditKey::Lost, static_cast<std::uint64_t>(lost - told_)}});
    log_.error("audit lines lost", {{"count", lost - told_}});
    if (write({{}, spdlog::level::info, line})) told_ = lost;
  }
  // Comes when somebody has asked to reopen.
  void flush() override {
    if (!asked_.exchange(false, std::memory_order_acq_rel)) return;
    try {
      out_ = open();
    } catch (const spdlog::spdlog_ex& error) {
      log_.error("audit file cannot be opened again, the old one stays", {{"error", error.what()}});
    }
  }
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

 private:
  using Out = spdlog::sinks::rotating_file_sink_st;

  std::unique_ptr<Out> open() const {
    spdlog::file_event_handlers handlers;
    handlers.after_open = [](const spdlog::filename_t&, std::FILE* file) {
      ::fchmod(::fileno(file), kFileMode);
      std::setvbuf(file, nullptr, _IONBF, 0);  // a full disk is to be known by the line that it cuts
    };
    auto out = std::make_unique<Out>(file_.path, file_.size_max, file_.kept, false, handlers);
    out->set_pattern("%v");
    return out;
  }

  // A file that fails is closed, and opened again later: spdlog's sink is of no use after an error.
  bool write(const spdlog::details::log_msg& message) {
    try {
      const auto now = std::chrono::steady_clock::now();
      if (!out_) {
        if (now < retry_at_) return false;
        retry_at_ = now + kRetry;
        out_ = open();
      }
      out_->log(message);
      return true;
    } catch (const spdlog::spdlog_ex& error) {
      out_.reset();
      retry_at_ = std::chrono::steady_clock::now() + kRetry;
      log_.error("audit file takes no line", {{"error", error.what()}});
      return false;
    }
  }

  const AuditFile file_;
  Log& log_;
  spdlog::details::thread_pool* pool_ = nullptr;
  std::unique_ptr<Out> out_;
  std::chrono::steady_clock::time_point retry_at_{};
  std::size_t failed_ = 0;
  std::size_t told_ = 0;
  std::atomic<bool> asked_{false};
};

class ToFile final : public AuditStream {
 public:
  ToFile(const AuditFile& file, Log& log)
      : sink_(std::make_shared<RotatingSink>(file, log)),
        pool_(std::make_shared<spdlog::details::thread_pool>(AuditFile::kQueueMax, 1)),
        logger_(std::make_shared<spdlog::async_logger>("audit", sink_, pool_,
                                                       spdlog::async_overflow_policy::overrun_oldest)) {
    sink_->watch(*pool_);
    logger_->set_level(spdlog::level::trace);
  }
  // Writes what is queued, and joins the thread that may hold the logger until then.
  ~ToFile() override { pool_.reset(); }
  void reopen() override {
    sink_->ask_to_reopen();
    logger_->flush();
  }

 private:
  void put(const std::string& line) override {
    logger_->log(spdlog::level::info, spdlog::string_view_t(line.data(), line.size()));
  }

  std::shared_ptr<RotatingSink> sink_;
  std::shared_ptr<spdlog::details::thread_pool> pool_;
  std::shared_ptr<spdlog::async_logger> logger_;
};

}  // namespace

void AuditStream::record(AuditEvent event, AuditOutcome outcome, AuditFields fields) {
  put(format_now(event, outcome, fields));
}

std::unique_ptr<AuditStream> audit_to_log(SpdlogLog& log) { return std::make_unique<ToLog>(log); }

Expected<std::unique_ptr<AuditStream>> audit_to_file(const AuditFile& file, Log& log) {
  try {
    return std::make_unique<ToFile>(file, log);
  } catch (const spdlog::spdlog_ex& error) {
    return fail(sqlstate::kConfigFileError, error.what());
  }
}

}  // namespace pgweir
