#include "protocol/sql_fingerprint.h"

#include <pg_query.h>

#include <array>
#include <cstdint>

#include "protocol/sql_extent.h"
#include "protocol/sql_lexer.h"

namespace pgweir::protocol {

namespace {

constexpr std::size_t kWordsRead = 64;

std::string parsed(const std::string& sql) {
  const PgQueryFingerprintResult result = pg_query_fingerprint(sql.c_str());
  std::string name;
  if (result.error == nullptr && result.fingerprint_str != nullptr) name = result.fingerprint_str;
  pg_query_free_fingerprint_result(result);
  return name;
}

class Hash {  // FNV-1a
 public:
  void add(char c) {
    sum_ ^= static_cast<unsigned char>(c);
    sum_ *= 0x100000001b3ULL;
  }
  std::string hex() const {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text(16, '0');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = kDigits[sum_ >> (60 - 4 * i) & 0xf];
    return text;
  }

 private:
  std::uint64_t sum_ = 0xcbf29ce484222325ULL;
};

bool is_value(SqlToken::Kind kind) {
  switch (kind) {
    case SqlToken::Kind::Unicode:
    case SqlToken::Kind::String:
    case SqlToken::Kind::Number:
    case SqlToken::Kind::Parameter: return true;
    case SqlToken::Kind::End:
    case SqlToken::Kind::Word:
    case SqlToken::Kind::Quoted:
    case SqlToken::Kind::Symbol: break;
  }
  return false;
}

// A list of values counts as one, so that the length of a list makes no difference.
std::string by_words(Bytes sql) {
  Hash hash;
  SqlLexer lexer(sql);
  bool in_values = false;
  std::size_t words = 0;
  for (SqlToken token = lexer.next(); token.kind != SqlToken::Kind::End && words < kWordsRead;
       token = lexer.next()) {
    const bool value = is_value(token.kind);
    if (in_values && (value || lexer.text_of(token) == ",")) continue;
    in_values = value;
    ++words;
    for (const char c : value ? Bytes("?") : lexer.text_of(token))
      hash.add(token.kind == SqlToken::Kind::Word && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c);
    hash.add('\0');
  }
  return words == 0 ? std::string() : "~" + hash.hex();
}

}  // namespace

std::string sql_fingerprint(Bytes sql, bool cut) {
  if (SqlLexer(sql).next().kind == SqlToken::Kind::End) return {};
  if (!cut && fits_parser(sql))
    if (std::string name = parsed(std::string(sql)); !name.empty()) return name;
  return by_words(sql);
}

}  // namespace pgweir::protocol
