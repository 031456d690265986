#include "protocol/sql_cache.h"

#include <utility>

#include "pooler/base/check.h"

namespace pgweir::protocol {

namespace {

// What one piece of heap costs beside its bytes.
constexpr std::size_t kPiece = 16;
// The entry, its links, and its node and slot in the table.
constexpr std::size_t kLinks = 2 * kPiece + 10 * sizeof(void*);

std::size_t heap_of(const std::string& text) {
  return text.capacity() > std::string().capacity() ? text.capacity() + 1 + kPiece : 0;
}
std::size_t heap_of(const SqlChanges& changes) {
  std::size_t bytes = 0;
  for (const auto* names : {&changes.settings, &changes.local_settings}) {
    if (names->capacity() > 0) bytes += names->capacity() * sizeof(std::string) + kPiece;
    for (const std::string& setting : *names) bytes += heap_of(setting);
  }
  return bytes;
}
std::size_t heap_of(const SqlReach& reach) {
  std::size_t bytes = 0;
  if (reach.assignments.capacity() > 0)
    bytes += reach.assignments.capacity() * sizeof(SqlAssignment) + kPiece;
  for (const SqlAssignment& each : reach.assignments)
    bytes += heap_of(each.name) + (each.value ? heap_of(*each.value) : 0);
  if (reach.taken_back.capacity() > 0) bytes += reach.taken_back.capacity() * sizeof(SqlAssignment) + kPiece;
  for (const SqlAssignment& each : reach.taken_back) bytes += heap_of(each.name);
  if (reach.unsure.capacity() > 0) bytes += reach.unsure.capacity() * sizeof(SqlPiece) + kPiece;
  for (const SqlPiece& each : reach.unsure) bytes += heap_of(each.with);
  return bytes;
}
// To parse a byte takes as long as to look through so many: of ordinary texts 40, of the densest 700.
constexpr std::size_t kParsing = 72;

const SqlEffects kPlain;

}  // namespace

std::size_t heap_of(const SqlEffects& effects) {
  std::size_t bytes = heap_of(effects.changes) + heap_of(effects.reach);
  if (effects.statements.capacity() > 0)
    bytes += effects.statements.capacity() * sizeof(SqlStatement) + kPiece;
  for (const SqlStatement& statement : effects.statements)
    bytes += heap_of(statement.name) + heap_of(statement.changes);
  return bytes;
}

SqlWords SqlCache::words_of(Bytes text) {
  if (harmless_.has(text)) return SqlWords::Harmless;
  worked(text.size());
  const SqlWords words = sql_words(text);
  if (words == SqlWords::Harmless && text.find(';') >= text.size() - 1) harmless_.add(text);
  return words;
}

const SqlEffects& SqlCache::read(Bytes text) {
  if (words_of(text) == SqlWords::State) return read_fully(text);
  ++counts_.filtered;
  return kPlain;
}

const SqlEffects& SqlCache::read_settings(Bytes text) {
  if (words_of(text) != SqlWords::Harmless) return read_fully(text);
  ++counts_.filtered;
  return kPlain;
}

const std::shared_ptr<const SqlEffects>& SqlCache::share(Bytes text) {
  worked(text.size());
  if (const auto found = by_text_.find(text); found != by_text_.end()) {
    ++counts_.hits;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->effects;
  }
  if (too_big_ && text == too_big_text_) {
    ++counts_.hits;
    return too_big_;
  }
  ++counts_.parsed;
  worked(kParsing * text.size());
  SqlEffects effects = read_sql(text);
  effects.statements.shrink_to_fit();
  effects.reach.assignments.shrink_to_fit();
  effects.reach.taken_back.shrink_to_fit();
  effects.reach.unsure.shrink_to_fit();
  const std::size_t bytes =
      sizeof(Entry) + sizeof(SqlEffects) + kLinks + 2 * kPiece + text.size() + 1 + heap_of(effects);
  auto shared = std::make_shared<const SqlEffects>(std::move(effects));
  if (bytes > bytes_max_ / 8) {
    too_big_text_.assign(text);
    too_big_ = std::move(shared);
    return too_big_;
  }
  make_room(bytes);
  entries_.push_front(Entry{std::string(text), std::move(shared), bytes});
  by_text_.emplace(entries_.front().text, entries_.begin());
  bytes_ += bytes;
  PGWEIR_CHECK(bytes_ <= bytes_max_);
  return entries_.front().effects;
}

void SqlCache::make_room(std::size_t bytes) {
  while (!entries_.empty() && bytes_ + bytes > bytes_max_) {
    const Entry& oldest = entries_.back();
    bytes_ -= oldest.bytes;
    by_text_.erase(oldest.text);
    entries_.pop_back();
  }
}

}  // namespace pgweir::protocol
