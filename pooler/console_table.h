// pooler/console_table.h - a table of figures written out: as rows of a SHOW, as cells, as samples for
// metrics.
//
// For the files that hold such tables; nobody else needs it.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <functional>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <variant>
#include <vector>

#include "pooler/base/check.h"
#include "pooler/console_tables.h"
#include "protocol/messages.h"

namespace pgweir::console {

inline constexpr std::uint32_t kS = protocol::kTextOid;
inline constexpr std::uint32_t kI = protocol::kInt4Oid;
inline constexpr std::uint32_t kN = protocol::kNumericOid;

// An int4 that tools can read, whatever we count.
inline void put_int4(std::string& out, std::uint64_t value) {
  char digits[10];
  const auto most = std::uint64_t{std::numeric_limits<std::int32_t>::max()};
  out.append(digits, std::to_chars(digits, std::end(digits), std::min(value, most)).ptr);
}
inline std::string int4(std::uint64_t value) {
  std::string out;
  put_int4(out, value);
  return out;
}
inline constexpr std::int64_t kSecondUs = 1'000'000;
inline std::string whole_seconds(Duration d) {
  return int4(static_cast<std::uint64_t>(d.count() / kSecondUs));
}
inline std::string rest_us(Duration d) { return int4(static_cast<std::uint64_t>(d.count() % kSecondUs)); }

template <class Row>
Text nothing(const Row&) {
  return std::nullopt;
}
template <class Row>
void zero(std::string& out, const Row&) {
  out += '0';
}
template <class Row>
double none(const Row&) {
  return 0;
}
template <class Row>
Text pool_mode(const Row& row) {
  return std::string(tiers::name(row.pool_mode));
}

inline bool append_text(std::string& out, const Text& text) {
  if (text) out += *text;
  return text.has_value();
}

// False: NULL, and nothing is appended.
template <class Row>
bool append_value(std::string& out, const Row& row, const Figure<Row>& figure) {
  return std::visit(
      [&](auto get) {
        using Get = decltype(get);
        if constexpr (std::is_invocable_v<Get, std::string&, const Row&>) {
          get(out, row);
        } else if constexpr (std::is_same_v<Get, Text (*)(const Row&)> || std::is_same_v<Get, Text Row::*>) {
          return append_text(out, std::invoke(get, row));
        } else if constexpr (std::is_integral_v<std::remove_cvref_t<decltype(row.*get)>>) {
          put_int4(out, row.*get);
        } else {
          out += row.*get;
        }
        return true;
      },
      figure.get);
}
template <class Row>
Text value(const Row& row, const Figure<Row>& figure) {
  std::string out;
  if (!append_value(out, row, figure)) return std::nullopt;
  return out;
}

// Of a figure that is a number.
template <class Row>
double number(const Row& row, const Figure<Row>& figure) {
  if (figure.number) return figure.number(row);
  return std::visit(
      [&](auto get) -> double {
        using Get = decltype(get);
        if constexpr (std::is_same_v<Get, std::uint32_t Row::*> ||
                      std::is_same_v<Get, std::uint64_t Row::*> || std::is_same_v<Get, bool Row::*>)
          return static_cast<double>(row.*get);
        else
          PGWEIR_CHECK(false);
      },
      figure.get);
}

template <class Row, std::size_t N>
std::vector<Sampled> sample_table(const std::array<Figure<Row>, N>& figures, const Row& row) {
  std::vector<Sampled> all;
  for (const auto& figure : figures)
    if (figure.metric.kind != Metric::Kind::None)
      all.push_back({&figure.metric, number(row, figure) * figure.metric.unit});
  return all;
}

template <class Row, std::size_t N>
std::vector<Cell> table_cells(const std::array<Figure<Row>, N>& figures, const Row& row) {
  std::vector<Cell> all;
  for (const auto& figure : figures) {
    if (!figure.column) continue;
    const bool truth = std::holds_alternative<bool Row::*>(figure.get);
    all.push_back({figure.column, value(row, figure),
                   truth                   ? Cell::Kind::Truth
                   : figure.type_oid == kS ? Cell::Kind::Words
                                           : Cell::Kind::Number});
  }
  return all;
}

template <class Row, std::size_t N>
std::vector<protocol::Column> head_of(const std::array<Figure<Row>, N>& figures) {
  std::vector<protocol::Column> columns;
  for (const auto& figure : figures)
    if (figure.column) columns.push_back({figure.column, figure.type_oid});
  return columns;
}

// A table may have very many rows: nothing is made on the way.
template <class Row, std::size_t N>
void put_row(std::string& out, const std::array<Figure<Row>, N>& figures, const Row& row) {
  protocol::DataRow cells(out);
  for (const auto& figure : figures)
    if (figure.column) cells.put([&] { return append_value(out, row, figure); });
}

template <class Row, std::size_t N>
void put_table(std::string& out, const std::array<Figure<Row>, N>& figures, std::span<const Row> rows) {
  protocol::put_row_description(out, head_of(figures));
  for (const Row& row : rows) put_row(out, figures, row);
}

inline constexpr auto kGauge = Metric::Kind::Gauge;
inline constexpr auto kCounter = Metric::Kind::Counter;
inline constexpr double kMicro = 1e-6;

}  // namespace pgweir::console
