#include "pooler/console_portals.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"
#include "pooler/console_columns.h"
#include "protocol/frame.h"
#include "protocol/messages.h"

namespace pgweir::console {

namespace {

constexpr std::uint16_t kText = 0, kBinary = 1;
constexpr std::uint32_t kNull = 0xffffffff;

tl::unexpected<Error> malformed(const char* message) {
  return fail(sqlstate::kProtocolViolation, fmt::format("malformed {} message", message));
}

std::uint16_t format(const std::vector<std::uint16_t>& formats, std::size_t column) {
  if (formats.empty()) return kText;
  return formats[formats.size() == 1 ? 0 : column];
}

// A whole number as Postgres sends a numeric: digits to the base of 10,000.
void put_numeric(protocol::Writer& w, Bytes text) {
  const bool negative = !text.empty() && text[0] == '-';
  if (negative) text.remove_prefix(1);
  text.remove_prefix(std::min(text.find_first_not_of('0'), text.size()));
  const std::size_t groups = (text.size() + 3) / 4;
  std::vector<std::uint16_t> digits;
  for (std::size_t left = text.size(); left > 0;) {
    const std::size_t size = left % 4 == 0 ? 4 : left % 4;
    std::uint16_t digit = 0;
    std::from_chars(text.data() + text.size() - left, text.data() + text.size() - left + size, digit);
    digits.push_back(digit);
    left -= size;
  }
  while (!digits.empty() && digits.back() == 0) digits.pop_back();
  w.u32(static_cast<std::uint32_t>(8 + 2 * digits.size())).u16(static_cast<std::uint16_t>(digits.size()));
  w.u16(static_cast<std::uint16_t>(groups == 0 ? 0 : groups - 1)).u16(negative ? 0x4000 : 0).u16(0);
  for (const std::uint16_t digit : digits) w.u16(digit);
}

void put_binary(protocol::Writer& w, std::uint32_t type_oid, Bytes text) {
  if (type_oid == protocol::kNumericOid) return put_numeric(w, text);
  if (type_oid != protocol::kInt4Oid && type_oid != protocol::kInt8Oid) {
    w.u32(static_cast<std::uint32_t>(text.size())).bytes(text);
    return;
  }
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  const auto bits = static_cast<std::uint64_t>(value);
  w.u32(type_oid == protocol::kInt8Oid ? 8 : 4);
  if (type_oid == protocol::kInt8Oid) w.u32(static_cast<std::uint32_t>(bits >> 32));
  w.u32(static_cast<std::uint32_t>(bits));
}

void put_row(std::string& out, Bytes row, const std::vector<protocol::Column>& columns,
             const std::vector<std::uint16_t>& formats) {
  protocol::Reader in(row);
  protocol::Writer w(out, 'D');
  w.u16(in.u16());
  for (std::size_t i = 0; i < columns.size(); ++i) {
    const std::uint32_t size = in.u32();
    if (size == kNull) {
      w.u32(kNull);
      continue;
    }
    const Bytes text = in.bytes(size);
    if (format(formats, i) == kBinary)
      put_binary(w, columns[i].type_oid, text);
    else
      w.u32(size).bytes(text);
  }
  PGWEIR_CHECK(in.ok() && in.empty());
}

// Without its RowDescription, and with rows as the formats say.
std::string encode(Bytes result, const std::vector<std::uint16_t>& formats) {
  const auto columns = columns_of(result);
  if (!columns.empty()) result.remove_prefix(size_of_first(result));
  if (std::all_of(formats.begin(), formats.end(), [](std::uint16_t one) { return one == kText; }))
    return std::string(result);
  std::string out;
  while (!result.empty()) {
    const std::size_t size = size_of_first(result);
    if (result[0] == 'D')
      put_row(out, result.substr(protocol::kHeaderBytes, size - protocol::kHeaderBytes), columns, formats);
    else
      out.append(result.substr(0, size));
    result.remove_prefix(size);
  }
  return out;
}

void put_columns(std::string& out, std::vector<protocol::Column> columns,
                 const std::vector<std::uint16_t>& formats) {
  if (columns.empty()) {
    protocol::Writer(out, 'n');  // NoData
    return;
  }
  for (std::size_t i = 0; i < columns.size(); ++i) columns[i].format = format(formats, i);
  protocol::put_row_description(out, columns);
}

template <class Map>
Expected<void> make_room(const Map& map, Bytes name, const char* what) {
  if (name.empty() || map.contains(name) || map.size() < Portals::kMost) return {};
  return fail(sqlstate::kProgramLimit, fmt::format("more than {} {} on the console", Portals::kMost, what),
              "Close those that are not needed.");
}

}  // namespace

Expected<void> Portals::parse(Bytes body, std::string& out) {
  protocol::Reader in(body);
  const std::string name(in.c_string());
  const Bytes text = in.c_string();
  in.bytes(std::size_t{in.u16()} * 4);  // types of parameters: whoever binds some is told
  if (!in.ok() || !in.empty()) return malformed("Parse");
  if (!name.empty() && statements_.contains(name))
    return fail(sqlstate::kDuplicateStatement, fmt::format("prepared statement \"{}\" already exists", name));
  if (auto room = make_room(statements_, name, "prepared statements"); !room) return room;
  auto requests = console::parse(text, shape_);
  if (!requests) return tl::unexpected(requests.error());
  if (requests->size() > 1)
    return fail(sqlstate::kSyntaxError, "cannot insert multiple commands into a prepared statement");
  statements_[name] = requests->empty() ? std::nullopt : std::optional(std::move(requests->front()));
  protocol::put_parse_complete(out);
  return {};
}

Expected<void> Portals::bind(Bytes body, std::string& out) {
  protocol::Reader in(body);
  const std::string name(in.c_string());
  const Bytes statement = in.c_string();
  in.bytes(std::size_t{in.u16()} * 2);  // formats of parameters
  const unsigned parameters = in.u16();
  if (in.ok() && parameters > 0)
    return fail(sqlstate::kProtocolViolation,
                fmt::format("bind message supplies {} parameters, but prepared statement \"{}\" requires 0",
                            parameters, statement),
                "The console's commands take no parameters; write the values into the text.");
  Portal portal;
  for (unsigned left = in.u16(); left > 0 && in.ok(); --left) portal.formats.push_back(in.u16());
  if (!in.ok() || !in.empty()) return malformed("Bind");
  const auto place = statements_.find(statement);
  if (place == statements_.end())
    return fail(sqlstate::kInvalidStatementName,
                fmt::format("prepared statement \"{}\" does not exist", statement));
  if (!name.empty() && portals_.contains(name))
    return fail(sqlstate::kDuplicateCursor, fmt::format("cursor \"{}\" already exists", name));
  if (auto room = make_room(portals_, name, "portals"); !room) return room;
  for (const std::uint16_t one : portal.formats)
    if (one != kText && one != kBinary)
      return fail(sqlstate::kInvalidParameterValue, fmt::format("unsupported format code: {}", one));
  portal.request = place->second;
  const std::size_t columns = portal.request ? columns_of(shape_(*portal.request)).size() : 0;
  if (portal.formats.size() > 1 && portal.formats.size() != columns)
    return fail(sqlstate::kProtocolViolation,
                fmt::format("bind message has {} result formats but query has {} columns",
                            portal.formats.size(), columns));
  portals_.insert_or_assign(name, std::move(portal));
  protocol::Writer(out, '2');  // BindComplete
  return {};
}

Expected<void> Portals::describe(Bytes body, std::string& out) {
  protocol::Reader in(body);
  const auto what = static_cast<char>(in.u8());
  const Bytes name = in.c_string();
  if (!in.ok() || !in.empty() || (what != 'S' && what != 'P')) return malformed("Describe");
  const auto shape = [this](const std::optional<Request>& request) {
    return request ? columns_of(shape_(*request)) : std::vector<protocol::Column>();
  };
  if (what == 'S') {
    const auto statement = statements_.find(name);
    if (statement == statements_.end())
      return fail(sqlstate::kInvalidStatementName,
                  fmt::format("prepared statement \"{}\" does not exist", name));
    protocol::Writer(out, 't').u16(0);  // ParameterDescription
    put_columns(out, shape(statement->second), {});
    return {};
  }
  const auto portal = portals_.find(name);
  if (portal == portals_.end())
    return fail(sqlstate::kInvalidCursorName, fmt::format("portal \"{}\" does not exist", name));
  put_columns(out, shape(portal->second.request), portal->second.formats);
  return {};
}

Expected<void> Portals::close(Bytes body, std::string& out) {
  protocol::Reader in(body);
  const auto what = static_cast<char>(in.u8());
  const std::string name(in.c_string());
  if (!in.ok() || !in.empty() || (what != 'S' && what != 'P')) return malformed("Close");
  if (what == 'S')
    statements_.erase(name);
  else
    portals_.erase(name);
  protocol::Writer(out, '3');  // CloseComplete
  return {};
}

Expected<std::optional<Request>> Portals::execute(Bytes body, std::string& out) {
  protocol::Reader in(body);
  std::string name(in.c_string());
  const std::uint32_t most = in.u32();
  if (!in.ok() || !in.empty()) return malformed("Execute");
  const auto place = portals_.find(name);
  if (place == portals_.end())
    return fail(sqlstate::kInvalidCursorName, fmt::format("portal \"{}\" does not exist", name));
  Portal& portal = place->second;
  if (!portal.request) {
    protocol::Writer(out, 'I');  // EmptyQueryResponse
    return std::optional<Request>();
  }
  if (portal.done) {
    send(portal, most, out);
    return std::optional<Request>();
  }
  running_ = std::move(name);
  most_ = most;
  return portal.request;
}

void Portals::ran(std::string result, std::string& out) {
  const auto place = portals_.find(running_);
  PGWEIR_CHECK(place != portals_.end() && !place->second.done);
  Portal& portal = place->second;
  portal.rows = encode(result, portal.formats);
  portal.done = true;
  send(portal, most_, out);
}

// At most so many rows; 0: all.
void Portals::send(Portal& portal, std::uint32_t most, std::string& out) {
  const Bytes rest = Bytes(portal.rows).substr(portal.next);
  std::size_t end = most == 0 ? rest.size() : 0;
  for (std::uint32_t sent = 0; end < rest.size() && sent < most; end += size_of_first(rest.substr(end)))
    sent += rest[end] == 'D';
  out.append(rest.substr(0, end));
  portal.next += end;
  if (end < rest.size())
    protocol::Writer(out, 's');  // PortalSuspended
  else
    protocol::put_command_complete(out, portal.request->command->tag);
}

void Portals::sync(bool in_transaction) {
  if (!in_transaction) portals_.clear();
}

}  // namespace pgweir::console
