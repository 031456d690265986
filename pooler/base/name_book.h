// pooler/base/name_book.h - texts that many have in common, each kept once for as long as somebody has it.
//
// Not thread-safe. The book outlives its names.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>

namespace pgweir {

class NameBook {
  struct Holders {
    NameBook& book;
    std::uint32_t count = 0;
  };
  using Entry = std::pair<const std::string, Holders>;

 public:
  class Name {
   public:
    Name(NameBook& book, std::string text)
        : entry_(*book.entries_.try_emplace(std::move(text), Holders{book}).first) {
      ++entry_.second.count;
    }
    ~Name() {
      if (--entry_.second.count == 0) entry_.second.book.entries_.erase(entry_.first);
    }
    Name(const Name&) = delete;
    Name& operator=(const Name&) = delete;
    const std::string& text() const { return entry_.first; }

   private:
    Entry& entry_;
  };
  std::size_t size() const { return entries_.size(); }

 private:
  std::unordered_map<std::string, Holders> entries_;
};

}  // namespace pgweir
