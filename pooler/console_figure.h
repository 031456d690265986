// pooler/console_figure.h - one row per figure: the column that a SHOW has of it, the metric that /metrics
// has of it, or both, so that the two never tell different things.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

namespace pgweir::console {

using Text = std::optional<std::string>;  // nothing: NULL

struct Metric {
  enum class Kind : std::uint8_t { None, Gauge, Counter };
  Kind kind = Kind::None;
  const char* name = "";  // without pgweir_ in front and, of a counter, _total behind; empty: none of ours
  const char* help = "";
  const char* pgbouncer = "";  // whole name, as dashboards made for PgBouncer's exporter read it; empty: none
  double unit = 1;             // the value times this is in base units: bytes, seconds
  const char* label = "";      // one more, and what it says of this figure: several have the name
  const char* label_value = "";
};

template <class Row>
using Getter = std::variant<std::string Row::*, Text Row::*, std::uint32_t Row::*, std::uint64_t Row::*,
                            bool Row::*, const char * Row::*, Text (*)(const Row&),
                            void (*)(std::string& out, const Row&)>;  // the last one appends

template <class Row>
struct Figure {
  const char* column;  // null: a metric only
  std::uint32_t type_oid = 0;
  Getter<Row> get{};
  Metric metric{};
  double (*number)(const Row&) = nullptr;  // the metric's value where `get` is not a number
};

}  // namespace pgweir::console
