#include "pooler/console_columns.h"

#include <fmt/format.h>

#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/near.h"
#include "pooler/base/quoted.h"
#include "protocol/frame.h"

namespace pgweir::console {

namespace {

constexpr std::uint32_t kNull = 0xffffffff;
constexpr const char* kUndefinedColumn = "42703";

std::string names_of(const std::vector<protocol::Column>& columns) {
  std::string names;
  for (const protocol::Column& column : columns) names += (names.empty() ? "" : ", ") + column.name;
  return names;
}

Expected<std::uint16_t> place_of(const std::string& name, const std::vector<protocol::Column>& columns,
                                 std::string_view command) {
  std::vector<std::string_view> known;
  for (std::uint16_t place = 0; place < columns.size(); ++place) {
    if (columns[place].name == name) return place;
    known.push_back(columns[place].name);
  }
  return fail(kUndefinedColumn,
              fmt::format("{} has no column {}{}", command, quoted(name), did_you_mean(name, known)),
              "Its columns are " + names_of(columns) + ".");
}

void put_values(std::string& out, Bytes row, const std::vector<std::uint16_t>& places) {
  protocol::Reader in(row);
  // With the length in front, as they stand there.
  std::vector<Bytes> values(in.u16());
  for (Bytes& value : values) {
    const Bytes rest = in.rest();
    const std::uint32_t size = in.u32();
    if (size != kNull) in.bytes(size);
    value = rest.substr(0, rest.size() - in.rest().size());
  }
  PGWEIR_CHECK(in.ok() && in.empty());
  protocol::Writer w(out, 'D');
  w.u16(static_cast<std::uint16_t>(places.size()));
  for (const std::uint16_t place : places) w.bytes(values.at(place));
}

}  // namespace

std::size_t size_of_first(Bytes messages) {
  return messages.empty() ? 0 : std::size_t{protocol::load_u32(messages.data() + 1)} + 1;
}

std::vector<protocol::Column> columns_of(Bytes answer) {
  std::vector<protocol::Column> columns;
  if (answer.empty() || answer[0] != 'T') return columns;
  protocol::Reader in(answer.substr(protocol::kHeaderBytes, size_of_first(answer) - protocol::kHeaderBytes));
  for (unsigned left = in.u16(); left > 0; --left) {
    protocol::Column& column = columns.emplace_back();
    column.name = in.c_string();
    in.bytes(6);
    column.type_oid = in.u32();
    in.bytes(8);
  }
  PGWEIR_CHECK(in.ok());
  return columns;
}

Expected<void> find_columns(Request& request, Bytes table) {
  if (request.columns.empty()) return {};
  const std::string_view words = request.command->words;
  const std::vector<protocol::Column> columns = columns_of(table);
  if (columns.empty()) return fail(sqlstate::kSyntaxError, fmt::format("{} has no columns", words));
  request.places.clear();
  for (const std::string& name : request.columns) {
    const auto place = place_of(name, columns, words);
    if (!place) return tl::unexpected(place.error());
    request.places.push_back(*place);
  }
  return {};
}

std::string selected(std::string answer, const std::vector<std::uint16_t>& places) {
  if (places.empty()) return answer;
  std::string out;
  for (Bytes rest = answer; !rest.empty();) {
    const std::size_t size = size_of_first(rest);
    const Bytes message = rest.substr(0, size);
    rest.remove_prefix(size);
    if (message[0] == 'T') {
      const std::vector<protocol::Column> all = columns_of(message);
      std::vector<protocol::Column> some;
      for (const std::uint16_t place : places) some.push_back(all.at(place));
      protocol::put_row_description(out, some);
    } else if (message[0] == 'D') {
      put_values(out, message.substr(protocol::kHeaderBytes), places);
    } else {
      out.append(message);
    }
  }
  return out;
}

}  // namespace pgweir::console
