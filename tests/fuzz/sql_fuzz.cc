// tests/fuzz/sql_fuzz.cc - what a SQL text does to its session: any bytes are read within bounds, the word
// filter says no only to texts that leave nothing, and the lexer cuts as Postgres does.
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "pooler/base/check.h"
#include "protocol/script_state.h"
#include "protocol/sql.h"
#include "protocol/sql_cache.h"
#include "protocol/sql_lexer.h"
#include "protocol/sql_words.h"

using namespace pgweir;
using namespace pgweir::protocol;

namespace {

using Kind = SqlStatement::Kind;
constexpr std::size_t kCacheBytes = 16UL * 1024;

// These the pooler must see, though they leave nothing by themselves.
bool must_be_seen(Kind kind) {
  switch (kind) {
    case Kind::Prepare:
    case Kind::Execute:
    case Kind::Deallocate:
    case Kind::DeallocateAll:
    case Kind::PrepareTransaction:
    case Kind::Set:
    case Kind::Reset:
    case Kind::ResetAll:
    case Kind::Listen:
    case Kind::Unlisten:
    case Kind::UnlistenAll:
    case Kind::DeclareHold:
    case Kind::DiscardAll:
    case Kind::DiscardPlans:
    case Kind::DiscardSequences:
    case Kind::DiscardTemp:
    case Kind::CreateTemp:
    case Kind::EmptyDatabase:
    case Kind::Load:
    case Kind::Do:
    case Kind::Call: return true;
    case Kind::Other:
    case Kind::Begin:
    case Kind::Commit:
    case Kind::Rollback:
    case Kind::Savepoint:
    case Kind::RollbackTo:
    case Kind::Release:
    case Kind::CommitPrepared:
    case Kind::RollbackPrepared:
    case Kind::SetLocal:
    case Kind::SetTransaction:
    case Kind::Notify:
    case Kind::Declare:
    case Kind::Close:
    case Kind::CloseAll:
    case Kind::Drop: return false;
  }
  return true;
}

// What may give a setting a value.
bool reaches_settings(const SqlReach& reach) {
  return !reach.assignments.empty() || reach.hidden_setting || reach.hidden_sql || reach.other_session ||
         reach.code;
}

void check_effects(Bytes text, const SqlEffects& effects, bool flagged) {
  PGWEIR_CHECK(effects.read != SqlEffects::Read::Plain);
  if (effects.read == SqlEffects::Read::Unknown) return;
  // The filter never misses what the parser finds.
  PGWEIR_CHECK(!reaches_settings(effects.reach) || sql_words(text) != SqlWords::Harmless);
  PGWEIR_CHECK(flagged || !effects.changes.leave_something());
  PGWEIR_CHECK(flagged || !effects.changes.temp_path);
  std::size_t end = 0;
  for (const SqlStatement& statement : effects.statements) {
    PGWEIR_CHECK(flagged || !must_be_seen(statement.kind));
    PGWEIR_CHECK(statement.at >= end);
    end = statement.at + statement.size;
    PGWEIR_CHECK(end <= text.size());
    if (statement.name_size == 0) continue;
    PGWEIR_CHECK(statement.name_at > statement.at);
    PGWEIR_CHECK(statement.name_at + statement.name_size <= end);
  }
}

bool is_name(SqlToken token) {
  return token.kind == SqlToken::Kind::Word || token.kind == SqlToken::Kind::Quoted ||
         token.kind == SqlToken::Kind::Unicode;
}

// Postgres's own scanner finds the same words, names and strings at the same places.
void check_lexer(const std::string& text) {
  const PgQueryScanResult result = pg_query_scan(text.c_str());
  if (result.error == nullptr) {
    PgQuery__ScanResult* const theirs = pg_query__scan_result__unpack(
        nullptr, result.pbuf.len, reinterpret_cast<const std::uint8_t*>(result.pbuf.data));
    PGWEIR_CHECK(theirs != nullptr);
    SqlLexer lexer(text);
    SqlToken ours = lexer.next();
    for (std::size_t i = 0; i < theirs->n_tokens; ++i) {
      const PgQuery__ScanToken& token = *theirs->tokens[i];
      if (token.token == PG_QUERY__TOKEN__SQL_COMMENT || token.token == PG_QUERY__TOKEN__C_COMMENT) continue;
      const auto start = static_cast<std::size_t>(token.start);
      const auto end = static_cast<std::size_t>(token.end);
      if (text[start] == '.') continue;  // which number it belongs to does not matter
      // What it takes for one token may be several here: an operator, ".5", strings that it joins.
      while (ours.at < start && ours.kind != SqlToken::Kind::End) {
        PGWEIR_CHECK(!is_name(ours));
        ours = lexer.next();
      }
      PGWEIR_CHECK(ours.at == start && ours.kind != SqlToken::Kind::End);
      // libpg_query does not join strings over a comment; Postgres does. A bit string that goes on over a
      // line break has no double quotes in it: that is not followed here, and changes no other token.
      const Bytes piece = lexer.text_of(ours);
      if (ours.kind == SqlToken::Kind::String &&
          (piece.find("--") != Bytes::npos || Bytes("bBxX").find(piece[0]) != Bytes::npos))
        break;
      if (ours.kind == SqlToken::Kind::Word) PGWEIR_CHECK(ours.at + ours.size == end);
      ours = lexer.next();
    }
    pg_query__scan_result__free_unpacked(theirs, nullptr);
  }
  pg_query_free_scan_result(result);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static SqlCache cache(kCacheBytes);
  const std::string text(reinterpret_cast<const char*>(data), size);
  const bool flagged = may_leave_state(text);
  body_may_leave_state(text);
  for (const BodyLanguage language : {BodyLanguage::Perl, BodyLanguage::Python, BodyLanguage::Tcl,
                                      BodyLanguage::JavaScript, BodyLanguage::Other})
    may_keep_something(text, language);
  check_effects(text, read_sql(text), flagged);
  const SqlEffects& kept = cache.read(text);
  PGWEIR_CHECK((kept.read == SqlEffects::Read::Plain) == !flagged);
  if (flagged) check_effects(text, kept, flagged);
  PGWEIR_CHECK(cache.bytes() <= kCacheBytes);
  // A vertical tab is space since Postgres 16 only.
  if (text.find_first_of(std::string("\0\v", 2)) == std::string::npos) check_lexer(text);
  return 0;
}
