#include "pooler/slow_transaction.h"

#include "protocol/sql_fingerprint.h"

namespace pgweir {

protocol::TraceContext trace_of(const KeptText& text) {
  return protocol::trace_context(text.head, text.end()).value_or(protocol::TraceContext{});
}

void tell(Log& log, const SlowTransaction& slow, Fingerprint fingerprint) {
  const auto in_ms = [](Duration d) { return d.count() / 1000; };
  const protocol::TraceContext trace = trace_of(slow.text);
  log.warn("slow_transaction",
           {{"tenant", slow.tenant},
            {"tier", slow.tier},
            {"user", slow.user},
            {"addr", slow.address},
            {"client", slow.client},
            {"outcome", slow.outcome},
            {"held_ms", in_ms(slow.held)},
            {"wait_ms", in_ms(slow.waited)},
            {"queries", slow.queries},
            {"longest_ms", in_ms(slow.longest)},
            LogField::ours("fingerprint", fingerprint == Fingerprint::Told
                                              ? protocol::sql_fingerprint(slow.text.head, slow.text.cut)
                                              : std::string()),
            LogField::ours("trace.id", trace.trace_id),
            LogField::ours("span.id", trace.span_id)});
}

}  // namespace pgweir
