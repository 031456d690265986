// tests/support/messages.h - messages of both sides in one word each, and byte strings told as words:
// told("T D C Z") reads "T D C:SELECT 1 Z:I".
#pragma once

#include <string>
#include <vector>

#include "pooler/base/bytes.h"
#include "protocol/frame.h"
#include "protocol/messages.h"
#include "protocol/wire.h"

namespace pgweir::test {

inline std::string message(char type, Bytes body = {}) {
  std::string out;
  protocol::Writer(out, type).bytes(body);
  return out;
}
// A text and the NUL behind it.
inline std::string z(Bytes text) { return std::string(text) + '\0'; }

// From clients.
inline std::string query(Bytes sql) { return message('Q', z(sql)); }
inline std::string parse(Bytes name, Bytes sql) {
  return message('P', z(name) + z(sql) + std::string(2, '\0'));
}
inline std::string bind(Bytes statement = {}, Bytes portal = {}) {
  return message('B', z(portal) + z(statement) + std::string(6, '\0'));
}
inline std::string describe(char kind = 'P', Bytes name = {}) { return message('D', kind + z(name)); }
inline std::string close(char kind, Bytes name) { return message('C', kind + z(name)); }
inline std::string execute(Bytes portal = {}, std::uint32_t rows = 0) {
  std::string out;
  protocol::Writer(out, 'E').c_string(portal).u32(rows);
  return out;
}
inline std::string sync_message() { return message('S'); }
inline std::string flush() { return message('H'); }
inline std::string terminate() { return message('X'); }
inline constexpr std::uint32_t kLoOpen = 952;
// With one argument; `oid` as in pg_proc.
inline std::string function_call(std::uint32_t oid = kLoOpen, Bytes argument = {}) {
  std::string out;
  protocol::Writer(out, 'F')
      .u32(oid)
      .u16(0)
      .u16(1)
      .u32(static_cast<std::uint32_t>(argument.size()))
      .bytes(argument)
      .u16(0);
  return out;
}
inline std::string copy_data(Bytes data) { return message('d', data); }
inline std::string copy_done() { return message('c'); }
inline std::string copy_fail(Bytes why = "no") { return message('f', z(why)); }

// From servers.
inline std::string ready(char status = 'I') { return message('Z', Bytes(&status, 1)); }
inline std::string done(Bytes tag = "SELECT 1") { return message('C', z(tag)); }
inline std::string row_description() { return message('T', std::string(2, '\0')); }
inline std::string row(Bytes value = "1") {
  std::string out;
  protocol::put_data_row(out, {std::string(value)});
  return out;
}
inline std::string parsed() { return message('1'); }
inline std::string bound() { return message('2'); }
inline std::string closed() { return message('3'); }
inline std::string no_data() { return message('n'); }
inline std::string parameters(const std::vector<std::uint32_t>& types = {}) {
  std::string out;
  protocol::Writer body(out, 't');
  body.u16(static_cast<std::uint16_t>(types.size()));
  for (const std::uint32_t type : types) body.u32(type);
  return out;
}
inline std::string suspended() { return message('s'); }
inline std::string empty_query() { return message('I'); }
inline std::string copy_in() { return message('G', std::string(3, '\0')); }
inline std::string copy_out() { return message('H', std::string(3, '\0')); }
inline std::string copy_both() { return message('W', std::string(3, '\0')); }
inline std::string function_result() { return message('V', "\xff\xff\xff\xff"); }
inline std::string notification() { return message('A', std::string(4, '\0') + z("channel") + z("payload")); }
inline std::string parameter(Bytes name, Bytes value) { return message('S', z(name) + z(value)); }
inline std::string notice(Bytes text = "look") {
  std::string out;
  protocol::put_notice(out, text);
  return out;
}
inline std::string error(const char* sqlstate = "22012", Bytes text = "division by zero",
                         const char* severity = "ERROR") {
  std::string out;
  protocol::put_error(out, severity, Error{sqlstate, std::string(text), {}, {}});
  return out;
}
// The answer to a simple query with one row.
inline std::string rows(char status = 'I') { return row_description() + row() + done() + ready(status); }
inline std::string rows_of_batch(char status = 'I') { return bound() + row() + done() + ready(status); }

// "" when the bytes are not whole messages, one behind the other.
inline std::vector<std::string> split(Bytes bytes) {
  std::vector<std::string> out;
  while (bytes.size() >= protocol::kHeaderBytes) {
    const std::size_t size = std::size_t{protocol::load_u32(bytes.data() + 1)} + 1;
    if (size < protocol::kHeaderBytes || size > bytes.size()) break;
    out.emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  if (!bytes.empty()) out.emplace_back("?");
  return out;
}

// Type letters; with them the tag, the status, the SQLSTATE, and the name of a statement in P, B, D and C.
inline std::string told(Bytes bytes, bool from_client = false) {
  std::string out;
  for (const std::string& one : split(bytes)) {
    if (!out.empty()) out += ' ';
    out += one[0];
    if (one.size() <= protocol::kHeaderBytes) continue;
    const Bytes body = Bytes(one).substr(protocol::kHeaderBytes);
    protocol::Reader in(body);
    Bytes word;
    if (from_client) {
      if (one[0] == 'B') in.c_string();
      if (one[0] == 'D' || one[0] == 'C') in.u8();
      if (one[0] == 'Q' || one[0] == 'P' || one[0] == 'B' || one[0] == 'D' || one[0] == 'C')
        word = in.c_string();
    } else if (one[0] == 'E') {
      const protocol::ErrorFields fields = protocol::parse_error(body);
      out += ':' + fields.sqlstate;
      if (fields.severity != "ERROR") out += ':' + fields.severity;
    } else if (one[0] == 'C' || one[0] == 'S') {
      word = in.c_string();
    } else if (one[0] == 'Z') {
      word = body;
    }
    if (!word.empty()) out.append(":").append(word);
  }
  return out;
}
inline std::string told_to_server(Bytes bytes) { return told(bytes, true); }

}  // namespace pgweir::test
