#include "pooler/audit.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "protocol/wire.h"

namespace pgweir {

namespace {
struct Text {
  Bytes statement;
  Bytes content;  // text, NUL, no parameter types
};
template <std::size_t N>
constexpr Bytes content(const char (&text)[N]) {
  return {text, N};  // with the literal's own NUL: the texts end in the two bytes that count no types
}

constexpr std::array<Text, Question::kKinds> kTexts = {{
    {"pgweir_value", content("SELECT pg_catalog.current_setting($1, true)\0\0")},
    {"pgweir_origin",
     content("SELECT pg_catalog.current_setting($1, true), s.source, s.context OPERATOR(pg_catalog.<>)"
             " 'superuser' OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname"
             " OPERATOR(pg_catalog.=) SESSION_USER) FROM (VALUES (1)) one LEFT JOIN pg_catalog.pg_settings s"
             " ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) pg_catalog.lower($1)\0\0")},
    {"pgweir_temp",
     content(
         "SELECT 1 WHERE EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.refclassid"
         " OPERATOR(pg_catalog.=) 2615 AND d.refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema())"
         "\0\0")},
    {"pgweir_cursors",
     content("SELECT 1 WHERE EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable)\0\0")},
    {"pgweir_locks",
     content("SELECT 1 WHERE EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid OPERATOR(pg_catalog.=)"
             " pg_catalog.pg_backend_pid() AND l.locktype OPERATOR(pg_catalog.=) 'advisory')\0\0")},
    {"pgweir_listens", content("SELECT c FROM pg_catalog.pg_listening_channels() c\0\0")},
    {"pgweir_statements",
     content("SELECT s.name, s.parameter_types::pg_catalog.oid[], s.from_sql, s.statement"
             " FROM pg_catalog.pg_prepared_statements s"
             " WHERE pg_catalog.left(s.name, 7) OPERATOR(pg_catalog.<>) 'pgweir_'\0\0")},
    {"pgweir_sessions",
     content("SELECT s.name, pg_catalog.current_setting(s.name), s.context OPERATOR(pg_catalog.<>)"
             " 'superuser' OR (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname"
             " OPERATOR(pg_catalog.=) SESSION_USER) FROM pg_catalog.pg_settings s"
             " WHERE s.source OPERATOR(pg_catalog.=) 'session'\0\0")},
    {"pgweir_patience", content("SELECT pg_catalog.set_config('statement_timeout', NULL, true)\0\0")},
}};

const Text& text_of(Question::Kind kind) { return kTexts[static_cast<std::size_t>(kind)]; }

Pins pin_of(Question::Kind kind) {
  const auto* proof = std::find_if(std::begin(kProofs), std::end(kProofs),
                                   [kind](const Proof& each) { return each.question == kind; });
  return proof == std::end(kProofs) ? Pins{0} : proof->pin;
}

// False when the row is malformed; NULL is no value.
bool read_value(protocol::Reader& in, std::optional<std::string>& value) {
  const std::uint32_t size = in.u32();
  if (size == 0xffffffff) return in.ok();
  const Bytes bytes = in.bytes(size);
  if (in.ok()) value = bytes;
  return in.ok();
}
// As Postgres writes an array of OIDs: {23,25}
bool read_types(Bytes text, std::vector<std::uint32_t>& types) {
  if (text.size() < 2 || text.front() != '{' || text.back() != '}') return false;
  const char* const end = text.data() + text.size() - 1;
  for (const char* at = text.data() + 1; at < end;) {
    const auto [next, error] = std::from_chars(at, end, types.emplace_back());
    if (error != std::errc{} || (next != end && *next != ',')) return false;
    at = next + 1;
  }
  return true;
}

bool read_statement(protocol::Reader& in, Findings::Statement& statement) {
  std::optional<std::string> name, types, from_sql, text;
  if (!read_value(in, name) || !read_value(in, types) || !read_value(in, from_sql) || !read_value(in, text))
    return false;
  if (!name || !types || !text || !read_types(*types, statement.types)) return false;
  statement.name = std::move(*name);
  statement.from_sql = from_sql == "t";
  statement.text = std::move(*text);
  return true;
}
}  // namespace

std::string pin::names(Pins pins) {
  std::string all;
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (pins & (1u << i)) all.append(all.empty() ? "" : ",").append(kNames[i]);
  return all;
}

Bytes statement_of(Question::Kind kind) { return text_of(kind).statement; }
Bytes content_of(Question::Kind kind) { return text_of(kind).content; }

bool Findings::add(const Question& question, Bytes row) {
  if (question.kind == Question::Kind::Patience) return true;
  if (row.empty()) {  // longer than a row that is read
    const bool statement = question.kind == Question::Kind::Statements;
    pins |= statement ? pin::kStatement : pin::kSettings;
    outsized = outsized || !statement;
    return true;
  }
  protocol::Reader in(row);
  const std::uint16_t columns = in.u16();
  if (question.kind == Question::Kind::Listens) {
    std::optional<std::string> name;
    if (columns != 1 || !read_value(in, name) || !name) return false;
    if (channels.size() == kChannelsRead)
      pins |= pin::kListen;
    else
      channels.push_back(std::move(*name));
    return true;
  }
  if (question.kind == Question::Kind::Statements) {
    Statement statement;
    if (columns != 4 || !read_statement(in, statement)) return false;
    statement_bytes += statement.text.size();
    if (statements.size() == kStatementsRead || statement_bytes > kStatementBytesRead)
      pins |= pin::kStatement;
    else
      statements.push_back(std::move(statement));
    return true;
  }
  if (const Pins found = pin_of(question.kind)) {
    pins |= found;
    return in.ok() && columns == 1;
  }
  if (question.kind == Question::Kind::Sessions) {
    std::optional<std::string> name, value, may;
    if (columns != 3 || !read_value(in, name) || !read_value(in, value) || !read_value(in, may) || !name)
      return false;
    const bool full = settings.size() >= kSettingsMost;
    outsized = outsized || full;
    if (may == "f" || full)
      pins |= pin::kSettings;
    else
      settings.push_back({std::move(*name), std::move(value)});
    return true;
  }
  Setting setting{question.name, {}};
  if (!read_value(in, setting.value)) return false;
  if (question.kind == Question::Kind::Origin) {
    std::optional<std::string> source, may;
    if (columns != 3 || !read_value(in, source) || !read_value(in, may)) return false;
    // The names that extensions would have, and role, have no source: those are emptied, this becomes none.
    const bool own =
        source ? *source == "session" : setting.value && !setting.value->empty() && *setting.value != "none";
    if (!own) setting.value.reset();
    // No other server would take it from the client.
    if (own && may == "f") return pins |= pin::kSettings, true;
  } else if (columns != 1) {
    return false;
  }
  settings.push_back(std::move(setting));
  return true;
}

// What is over with its transaction, or cannot be read back, is not asked for.
void Suspicion::add_setting(const std::string& name) {
  constexpr std::array<Bytes, 4> kNotKept = {"seed", "transaction_isolation", "transaction_read_only",
                                             "transaction_deferrable"};
  if (std::find(kNotKept.begin(), kNotKept.end(), name) != kNotKept.end()) return;
  if (std::find(settings.begin(), settings.end(), name) != settings.end()) return;
  if (settings.size() < kSettingsMost) {
    settings.push_back(name);
  } else {
    outsized = true;
    pins |= pin::kSettings;
  }
}

void Suspicion::add_set_back(std::string key) {
  if (may_set_back(key)) return;
  if (set_back.size() < kSettingsMost)
    set_back.push_back(std::move(key));
  else
    all_set_back = true;
}

void Suspicion::add_doubted(const std::string& name) {
  if (!doubts(name) && doubted.size() < kSettingsMost) doubted.push_back(name);
}

bool Suspicion::doubts(const std::string& name) const {
  return undone || std::find(doubted.begin(), doubted.end(), name) != doubted.end();
}

bool Suspicion::may_set_back(Bytes key) const {
  return all_set_back || std::find(set_back.begin(), set_back.end(), key) != set_back.end();
}

}  // namespace pgweir
