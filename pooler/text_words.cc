#include "pooler/text_words.h"

#include <array>
#include <cstddef>

namespace pgweir {

namespace {

// In the order of TextWord.
constexpr std::array<Bytes, 17> kWords = {
    "abort", "alter",   "close", "commit",  "constraints", "create",  "currval",  "deallocate",  "drop",
    "end",   "execute", "fetch", "lastval", "move",        "prepare", "rollback", "temp_buffers"};
static_assert(kWords.size() == static_cast<std::size_t>(TextWord::TempBuffers) + 1);
constexpr std::uint32_t kLooked = 1U << 31U;

constexpr char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

// The words that begin with a character, one bit each.
constexpr std::array<std::uint32_t, 256> kBeginning = [] {
  std::array<std::uint32_t, 256> beginning{};
  for (std::size_t i = 0; i < kWords.size(); ++i)
    for (const char first : {kWords[i][0], static_cast<char>(kWords[i][0] & ~0x20)})
      beginning[static_cast<unsigned char>(first)] |= 1U << i;
  return beginning;
}();

bool stands_at(Bytes sql, std::size_t at, Bytes word) {
  if (sql.size() - at < word.size()) return false;
  for (std::size_t i = 1; i < word.size(); ++i)
    if (lower(sql[at + i]) != word[i]) return false;
  return true;
}

}  // namespace

void TextWords::look(Bytes sql) {
  bits_ = kLooked;
  for (std::size_t at = 0; at < sql.size(); ++at) {
    std::uint32_t may = kBeginning[static_cast<unsigned char>(sql[at])] & ~bits_;
    for (std::size_t word = 0; may != 0; ++word, may >>= 1U)
      if ((may & 1U) != 0 && stands_at(sql, at, kWords[word])) bits_ |= 1U << word;
  }
}

}  // namespace pgweir
