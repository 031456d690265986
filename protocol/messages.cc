#include "protocol/messages.h"

#include <algorithm>
#include <charconv>

namespace pgweir::protocol {

void put_auth(std::string& out, AuthRequest request, Bytes data) {
  Writer(out, 'R').u32(static_cast<std::uint32_t>(request)).bytes(data);
}

namespace {
void put_fields(std::string& out, char type, Bytes severity, Bytes code, Bytes message, Bytes detail,
                Bytes hint) {
  Writer w(out, type);
  w.u8('S').c_string(severity).u8('V').c_string(severity).u8('C').c_string(code).u8('M').c_string(message);
  if (!detail.empty()) w.u8('D').c_string(detail);
  if (!hint.empty()) w.u8('H').c_string(hint);
  w.u8(0);
}
}  // namespace

void put_error(std::string& out, const char* severity, const Error& error) {
  put_fields(out, 'E', severity, error.sqlstate, error.message, error.detail, error.hint);
}
void put_error(std::string& out, const char* severity, const ErrorFields& fields) {
  put_fields(out, 'E', severity,
             fields.sqlstate.empty() ? Bytes(sqlstate::kInternalError) : Bytes(fields.sqlstate),
             fields.message, fields.detail, fields.hint);
}
void put_notice(std::string& out, Bytes message, Bytes hint, Bytes detail) {
  put_fields(out, 'N', "NOTICE", "00000", message, detail, hint);
}
void put_parameter_status(std::string& out, Bytes name, Bytes value) {
  Writer(out, 'S').c_string(name).c_string(value);
}
void put_backend_key(std::string& out, std::uint32_t pid, Bytes key) { Writer(out, 'K').u32(pid).bytes(key); }
void put_ready(std::string& out, char status) { Writer(out, 'Z').u8(static_cast<std::uint8_t>(status)); }
void put_parse_complete(std::string& out) { Writer(out, '1'); }

void put_negotiate(std::string& out, std::uint32_t version, const std::vector<std::string>& unknown_options) {
  Writer w(out, 'v');
  w.u32(version).u32(static_cast<std::uint32_t>(unknown_options.size()));
  for (const std::string& option : unknown_options) w.c_string(option);
}
void put_command_complete(std::string& out, Bytes tag) { Writer(out, 'C').c_string(tag); }

void put_row_description(std::string& out, const std::vector<Column>& columns) {
  Writer w(out, 'T');
  w.u16(static_cast<std::uint16_t>(columns.size()));
  for (const Column& column : columns) {
    const std::uint16_t size = column.type_oid == kInt4Oid ? 4 : column.type_oid == kInt8Oid ? 8 : 0xffff;
    w.c_string(column.name).u32(0).u16(0).u32(column.type_oid).u16(size).u32(0xffffffff).u16(column.format);
  }
}
void put_data_row(std::string& out, const std::vector<std::optional<std::string>>& values) {
  DataRow row(out);
  for (const auto& value : values)
    row.put([&] {
      if (value) out += *value;
      return value.has_value();
    });
}

void put_ssl_request(std::string& out) { Writer(out, 0).u32(kSslRequestCode); }
void put_cancel_request(std::string& out, std::uint32_t pid, Bytes key) {
  Writer(out, 0).u32(kCancelRequestCode).u32(pid).bytes(key);
}
void put_startup(std::string& out, std::uint32_t version, Bytes user, Bytes database,
                 const Settings& settings) {
  Writer w(out, 0);
  w.u32(version).c_string("user").c_string(user).c_string("database").c_string(database);
  for (const auto& [name, value] : settings) w.c_string(name).c_string(value);
  w.u8(0);
}
void put_password(std::string& out, Bytes secret) { Writer(out, 'p').c_string(secret); }
void put_sasl_initial(std::string& out, Bytes mechanism, Bytes data) {
  Writer(out, 'p').c_string(mechanism).u32(static_cast<std::uint32_t>(data.size())).bytes(data);
}
void put_sasl_response(std::string& out, Bytes data) { Writer(out, 'p').bytes(data); }
void put_query(std::string& out, Bytes sql) { Writer(out, 'Q').c_string(sql); }
void put_parse(std::string& out, Bytes name, Bytes text_and_types) {
  Writer(out, 'P').c_string(name).bytes(text_and_types);
}
void put_bind_text(std::string& out, Bytes statement, const std::vector<std::optional<Bytes>>& values) {
  Writer w(out, 'B');
  w.c_string("").c_string(statement).u16(0).u16(static_cast<std::uint16_t>(values.size()));
  for (const auto& value : values) {
    if (value)
      w.u32(static_cast<std::uint32_t>(value->size())).bytes(*value);
    else
      w.u32(0xffffffff);
  }
  w.u16(0);
}
void put_execute(std::string& out) { Writer(out, 'E').c_string("").u32(0); }
void put_close_statement(std::string& out, Bytes name) { Writer(out, 'C').u8('S').c_string(name); }
void put_no_function(std::string& out) { Writer(out, 'F').u32(0).u16(0).u16(0).u16(0); }
void put_sync(std::string& out) { Writer(out, 'S'); }
void put_terminate(std::string& out) { Writer(out, 'X'); }

void put_renamed_error(std::string& out, Bytes body, const Renamed& renamed) {
  const std::string quoted = '"' + std::string(renamed.from) + '"';
  // Places beyond the text are in that of the statement which it executes.
  const auto back = [&](const std::string& text) {
    std::size_t position = 0;  // from 1
    std::from_chars(text.data(), text.data() + text.size(), position);
    const std::size_t moved =
        position + renamed.size - std::min(position + renamed.size, renamed.from.size());
    return moved > renamed.end && moved <= renamed.whole + 1 ? std::to_string(moved) : text;
  };
  Writer w(out, 'E');
  Reader in(body);
  while (in.ok() && !in.empty()) {
    const std::uint8_t code = in.u8();
    if (code == 0) break;
    std::string text(in.c_string());
    const std::size_t at = code == 'M' ? text.find(quoted) : std::string::npos;
    if (at != std::string::npos) text.replace(at + 1, renamed.from.size(), renamed.to);
    w.u8(code).c_string(code == 'P' ? back(text) : text);
  }
  w.u8(0);
}

ErrorFields parse_error(Bytes body) {
  ErrorFields fields;
  Reader in(body);
  while (in.ok() && !in.empty()) {
    const char code = static_cast<char>(in.u8());
    if (code == '\0') break;
    const Bytes text = in.c_string();
    if (!in.ok()) break;
    switch (code) {
      case 'S':
        if (fields.severity.empty()) fields.severity = text;
        break;
      case 'V': fields.severity = text; break;  // never translated
      case 'C': fields.sqlstate = text; break;
      case 'M': fields.message = text; break;
      case 'D': fields.detail = text; break;
      case 'H': fields.hint = text; break;
      default: break;
    }
  }
  const auto fits = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); };
  if (fields.sqlstate.size() != 5 || !std::all_of(fields.sqlstate.begin(), fields.sqlstate.end(), fits))
    fields.sqlstate.clear();
  return fields;
}

}  // namespace pgweir::protocol
