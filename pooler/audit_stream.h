// pooler/audit_stream.h - where audit events go: a file of their own, or stdout between the lines of the log.
//
// Like the log: whoever records only puts a line into a queue with a bound, one thread writes. When it cannot
// keep up, the oldest lines are lost, counted and told.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "pooler/audit_record.h"
#include "pooler/base/error.h"
#include "pooler/base/log.h"

namespace pgweir {

class SpdlogLog;

class AuditStream {
 public:
  virtual ~AuditStream() = default;
  // From any thread.
  void record(AuditEvent event, AuditOutcome outcome, AuditFields fields);
  // The file may have been moved away: from now on lines go to one of its old name.
  virtual void reopen() {}

 private:
  virtual void put(const std::string& line) = 0;
};

// In the queue of the log, which outlives it.
std::unique_ptr<AuditStream> audit_to_log(SpdlogLog& log);

struct AuditFile {
  static constexpr std::size_t kQueueMax = 8192;
  std::string path;
  std::size_t size_max = 0;  // of one file in bytes
  std::size_t kept = 0;      // full files beside it: audit.1.json, audit.2.json ... for audit.json
};
// Readable by its owner and group. `log`, which outlives it, is told of trouble.
Expected<std::unique_ptr<AuditStream>> audit_to_file(const AuditFile& file, Log& log);

}  // namespace pgweir
