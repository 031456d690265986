// pooler/slow_transaction.h - the line of the log that tells of a transaction which held its server for
// longer than its tier's slow_transaction.
//
// Values only: the line is made on a helper thread, since a fingerprint takes a parser's time.
#pragma once

#include <cstdint>
#include <string>

#include "pooler/base/log.h"
#include "pooler/base/time.h"
#include "pooler/request_trail.h"
#include "protocol/trace_context.h"

namespace pgweir {

struct SlowTransaction {
  std::string tenant, tier, user, address;
  std::uint32_t client = 0;
  const char* outcome = "";  // how it ended: "done", "client gone", "cut off"
  Duration held{};
  Duration waited{};          // for its server, before
  std::uint64_t queries = 0;  // requests
  Duration longest{};         // of them
  KeptText text;              // of that one
};

// Whether its fingerprint is told, which has its price.
enum class Fingerprint : std::uint8_t { Told, LeftOut };
void tell(Log& log, const SlowTransaction& slow, Fingerprint fingerprint);

// Empty fields where the text has none.
protocol::TraceContext trace_of(const KeptText& text);

}  // namespace pgweir
