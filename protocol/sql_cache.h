// protocol/sql_cache.h - read_sql() behind the word filter, with the answers kept by text.
//
// Applications send the same few texts again and again, and most of these hold no word that could change a
// session: such a text costs one pass over its bytes, or if it is short and was seen lately one comparison;
// another one that was seen before a pass and a look-up.
// For one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "protocol/recent_texts.h"
#include "protocol/sql.h"
#include "protocol/sql_words.h"

namespace pgweir::protocol {

// On the heap, what it holds.
std::size_t heap_of(const SqlEffects& effects);

class SqlCache {
 public:
  // Holds no more than so many bytes, of texts and answers; an answer of more than an eighth of it is not
  // kept.
  explicit SqlCache(std::size_t bytes_max) : bytes_max_(bytes_max) {}
  SqlCache(const SqlCache&) = delete;
  SqlCache& operator=(const SqlCache&) = delete;

  // Lives until the next call. The text may end with the call. The last answer is kept whatever its size.
  const SqlEffects& read(Bytes text);
  // The same where settings have ceilings: texts in which only Values are found are read, too.
  const SqlEffects& read_settings(Bytes text);
  // The same for a text that is to be looked at whatever its words: one that may take something away (DROP,
  // CLOSE, ROLLBACK) and leaves nothing. Never Plain.
  const SqlEffects& read_fully(Bytes text) { return *share(text); }
  // The same for whoever keeps it. Never null.
  const std::shared_ptr<const SqlEffects>& share(Bytes text);

  // Of a short text, without its being looked through: true means one that was seen lately, is a single
  // statement and is Plain for both.
  bool knows_ordinary(Bytes text) {
    const bool known = harmless_.has(text);
    counts_.filtered += known ? 1 : 0;
    return known;
  }

  // How much was looked through for all answers so far, in bytes; to parse one counts as many, by the time
  // that it takes. Whoever looks through texts himself adds that.
  std::uint64_t work() const { return work_; }
  void worked(std::size_t bytes) { work_ += bytes; }

  struct Counts {
    std::uint64_t filtered = 0;  // by the words: Plain
    std::uint64_t hits = 0;
    std::uint64_t parsed = 0;

    Counts& operator+=(const Counts& other) {
      filtered += other.filtered;
      hits += other.hits;
      parsed += other.parsed;
      return *this;
    }
  };
  const Counts& counts() const { return counts_; }
  std::size_t bytes() const { return bytes_; }
  std::size_t size() const { return by_text_.size(); }

 private:
  struct Entry {
    std::string text;
    std::shared_ptr<const SqlEffects> effects;
    std::size_t bytes;
  };
  using Entries = std::list<Entry>;

  SqlWords words_of(Bytes text);
  void make_room(std::size_t bytes);

  const std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  Counts counts_;
  Entries entries_;  // last used first
  std::unordered_map<Bytes, Entries::iterator> by_text_;
  // The last one that is not among the entries: a request asks for what its text does several times.
  std::string too_big_text_;
  std::shared_ptr<const SqlEffects> too_big_;
  std::uint64_t work_ = 0;
  RecentTexts harmless_;  // and of one statement each
};

}  // namespace pgweir::protocol
