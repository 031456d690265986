// protocol/trace_context.h - the W3C trace context that a program has put into a SQL text as sqlcommenter
// does: select 1 /*application='shop',traceparent='00-<32 hex>-<16 hex>-<2 hex>'*/
#pragma once

#include <optional>
#include <string>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

struct TraceContext {
  std::string trace_id, span_id;  // 32 and 16 hex digits, never all zeros
  friend bool operator==(const TraceContext&, const TraceContext&) = default;
};

// Of a traceparent, strictly: digits in lower case, version not ff, and nothing behind the flags of version
// 00.
std::optional<TraceContext> parse_traceparent(Bytes value);

// Of the comments that end the text, the last one that has it; or else of those that begin it, the first.
// `head` is the text's beginning and `tail` its end; of a short text both are all of it.
std::optional<TraceContext> trace_context(Bytes head, Bytes tail);

}  // namespace pgweir::protocol
