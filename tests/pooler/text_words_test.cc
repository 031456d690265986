#include "pooler/text_words.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>
#include <utility>

namespace pgweir {

TEST_CASE("the words of a text are found in any case and anywhere") {
  using enum TextWord;
  constexpr std::array<std::pair<TextWord, const char*>, 15> kAll = {{{Alter, "alter"},
                                                                      {Close, "close"},
                                                                      {Commit, "commit"},
                                                                      {Constraints, "constraints"},
                                                                      {Create, "create"},
                                                                      {Currval, "currval"},
                                                                      {Deallocate, "deallocate"},
                                                                      {Drop, "drop"},
                                                                      {Execute, "execute"},
                                                                      {Fetch, "fetch"},
                                                                      {Lastval, "lastval"},
                                                                      {Move, "move"},
                                                                      {Prepare, "prepare"},
                                                                      {Rollback, "rollback"},
                                                                      {TempBuffers, "temp_buffers"}}};
  const auto found = [&](const std::string& sql) {
    TextWords words;
    CHECK_FALSE(words.known());
    std::string all;
    for (const auto& [word, spelled] : kAll)
      if (words.has(word, sql)) all += std::string(spelled) + " ";
    CHECK(words.known());
    return all;
  };
  for (const auto& [word, spelled] : kAll) {
    std::string upper = spelled;
    for (char& c : upper)
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c & ~0x20);
    for (const std::string& sql : {std::string(spelled), upper, "x'" + upper + "y"})
      CHECK(found(sql) == std::string(spelled) + " ");
    CHECK(found(std::string(spelled).substr(1)).empty());
    CHECK(found(upper.substr(0, upper.size() - 1)).empty());
  }
  CHECK(found("drdrop create/**/create Close").find("close create drop") == 0);
  CHECK(found("select 1 from temp-buffers, temp\x7f"
              "buffers")
            .empty());
  CHECK(found("").empty());
}

}  // namespace pgweir
