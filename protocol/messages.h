// protocol/messages.h - the messages that we write ourselves, appended to a string, and the few that we read
// whole (Postgres manual, "Message Formats").
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "protocol/startup.h"
#include "protocol/wire.h"

namespace pgweir::protocol {

// Authentication requests (type 'R').
enum class AuthRequest : std::uint32_t {
  Ok = 0,
  CleartextPassword = 3,
  Md5Password = 5,
  Sasl = 10,
  SaslContinue = 11,
  SaslFinal = 12,
};

// An ErrorResponse or NoticeResponse body (what follows the header). Unknown fields are skipped, missing ones
// stay empty; a sqlstate that is not five letters or digits reads as empty.
struct ErrorFields {
  std::string severity, sqlstate, message, detail, hint;
};
// To clients.
void put_auth(std::string& out, AuthRequest request, Bytes data = {});
void put_error(std::string& out, const char* severity, const Error& error);  // severity "ERROR" or "FATAL"
void put_error(std::string& out, const char* severity,
               const ErrorFields& fields);  // a server's error, passed on
void put_notice(std::string& out, Bytes message, Bytes hint = {}, Bytes detail = {});
void put_parameter_status(std::string& out, Bytes name, Bytes value);
void put_backend_key(std::string& out, std::uint32_t pid, Bytes key);
void put_ready(std::string& out, char status);
void put_parse_complete(std::string& out);
void put_negotiate(std::string& out, std::uint32_t version, const std::vector<std::string>& unknown_options);
void put_command_complete(std::string& out, Bytes tag);

// A result set of text columns, for the console.
struct Column {
  std::string name;
  std::uint32_t type_oid = 25;
  std::uint16_t format = 0;  // 1: binary
};
inline constexpr std::uint32_t kTextOid = 25, kInt4Oid = 23, kInt8Oid = 20, kNumericOid = 1700;
void put_row_description(std::string& out, const std::vector<Column>& columns);
void put_data_row(std::string& out, const std::vector<std::optional<std::string>>& values);

// The same, a value at a time, without a text of its own for each; whole when it goes out of scope.
class DataRow {
 public:
  explicit DataRow(std::string& out) : out_(out), message_(out, 'D'), count_at_(out.size()) {
    message_.u16(0);
  }
  ~DataRow() { store_u16(out_.data() + count_at_, count_); }
  DataRow(const DataRow&) = delete;
  DataRow& operator=(const DataRow&) = delete;

  // `append` puts the value's text behind what stands in `out`, or nothing and answers false: NULL.
  template <class Append>
  void put(Append append) {
    const std::size_t size_at = out_.size();
    message_.u32(0xffffffff);
    if (append()) store_u32(out_.data() + size_at, static_cast<std::uint32_t>(out_.size() - size_at - 4));
    ++count_;
  }

 private:
  std::string& out_;
  Writer message_;
  std::size_t count_at_;
  std::uint16_t count_ = 0;
};

// To servers.
void put_ssl_request(std::string& out);
void put_cancel_request(std::string& out, std::uint32_t pid, Bytes key);
void put_startup(std::string& out, std::uint32_t version, Bytes user, Bytes database,
                 const Settings& settings);
void put_password(std::string& out, Bytes secret);                     // also MD5
void put_sasl_initial(std::string& out, Bytes mechanism, Bytes data);  // SASLInitialResponse
void put_sasl_response(std::string& out, Bytes data);
void put_query(std::string& out, Bytes sql);
void put_parse(std::string& out, Bytes name, Bytes text_and_types);
void put_bind_text(std::string& out, Bytes statement, const std::vector<std::optional<Bytes>>& values);
void put_execute(std::string& out);  // the unnamed portal, all rows
void put_close_statement(std::string& out, Bytes name);
void put_sync(std::string& out);
void put_no_function(std::string& out);  // a FunctionCall of what does not exist
void put_terminate(std::string& out);

ErrorFields parse_error(Bytes body);
// A text of `whole` characters has something of `size` that means `to` and ends behind `end`; it was sent
// with `from` there. What Postgres says of it, an ErrorResponse with this body, is put as it would be of the
// text itself.
struct Renamed {
  Bytes from, to;
  std::size_t size, end, whole;
};
void put_renamed_error(std::string& out, Bytes body, const Renamed& renamed);

}  // namespace pgweir::protocol
