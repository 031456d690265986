#include "pooler/routine_names.h"

#include <algorithm>
#include <cstdint>

#include "protocol/sql_dynamic.h"

namespace pgweir {

namespace {

// Words in small letters. Most others begin otherwise, or are longer or shorter than those that begin so.
template <std::size_t N>
class Words {
 public:
  explicit constexpr Words(const std::array<Bytes, N>& words) : words_(words) {
    for (const Bytes word : words) sizes_[place_of(word[0])] |= 1U << word.size();
  }
  bool has(Bytes word) const {
    if (word.empty() || word.size() > 31 || (sizes_[place_of(word[0])] >> word.size() & 1U) == 0)
      return false;
    return std::any_of(words_.begin(), words_.end(),
                       [word](Bytes each) { return protocol::equals(word, each); });
  }

 private:
  static constexpr std::size_t place_of(char letter) { return static_cast<unsigned char>(letter) & 31U; }
  std::array<Bytes, N> words_;
  std::array<std::uint32_t, 32> sizes_{};
};

constexpr Words<76> kReserved({"all",          "analyse",
                               "analyze",      "and",
                               "any",          "array",
                               "as",           "asc",
                               "asymmetric",   "both",
                               "case",         "cast",
                               "check",        "collate",
                               "column",       "constraint",
                               "create",       "current_catalog",
                               "current_date", "current_role",
                               "current_time", "current_timestamp",
                               "current_user", "default",
                               "deferrable",   "desc",
                               "distinct",     "do",
                               "else",         "end",
                               "except",       "false",
                               "fetch",        "for",
                               "foreign",      "from",
                               "grant",        "group",
                               "having",       "in",
                               "initially",    "intersect",
                               "into",         "lateral",
                               "leading",      "limit",
                               "localtime",    "localtimestamp",
                               "not",          "null",
                               "offset",       "on",
                               "only",         "or",
                               "order",        "placing",
                               "primary",      "references",
                               "returning",    "select",
                               "session_user", "some",
                               "symmetric",    "table",
                               "then",         "to",
                               "trailing",     "true",
                               "union",        "unique",
                               "user",         "using",
                               "variadic",     "when",
                               "where",        "with"});
constexpr Words<9> kUpkeep({"analyze", "analyse", "vacuum", "reindex", "cluster", "cascade", "refresh",
                            "brin_summarize_new_values", "brin_summarize_range"});
constexpr Words<10> kDdl({"create", "alter", "drop", "comment", "grant", "revoke", "security", "import",
                          "into", "refresh"});

}  // namespace

Bytes name_in(Bytes written, bool quotes, std::array<char, kNameMax>& room) {
  if (quotes)
    written =
        written.substr(1, written.size() > 1 && written.back() == '"' ? written.size() - 2 : written.size());
  std::size_t size = 0;
  std::size_t i = 0;
  for (; i < written.size() && size < kNameMax; ++i) {
    const char c = written[i];
    room[size++] = !quotes && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    if (quotes && c == '"') ++i;  // the first of two
  }
  // A letter of several bytes is not cut through: what follows is more of one.
  const auto goes_on = [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80; };
  if (i < written.size() && goes_on(written[i])) {
    while (size > 0 && goes_on(room[size - 1])) --size;
    if (size > 0) --size;
  }
  return {room.data(), size};
}

Bytes folded(Bytes name, bool utf8) {
  constexpr Bytes kAnyOfThem = "\xff";
  const auto foreign = [](char c) { return static_cast<unsigned char>(c) >= 0x80; };
  return !utf8 && std::any_of(name.begin(), name.end(), foreign) ? kAnyOfThem : name;
}

bool is_reserved(Bytes word) { return kReserved.has(word); }
bool is_upkeep(Bytes word) { return kUpkeep.has(word); }
bool is_ddl(Bytes word) { return kDdl.has(word); }

}  // namespace pgweir
