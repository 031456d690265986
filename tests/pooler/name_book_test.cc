#include "pooler/base/name_book.h"

#include <catch2/catch.hpp>
#include <optional>

using pgweir::NameBook;

TEST_CASE("a name is kept once for all that have it, and as long") {
  NameBook book;
  std::optional<NameBook::Name> one(std::in_place, book, "app"), two(std::in_place, book, "app");
  const NameBook::Name other(book, "admin");
  CHECK(&one->text() == &two->text());
  CHECK(two->text() == "app");
  CHECK(book.size() == 2);
  one.reset();
  CHECK(two->text() == "app");
  two.reset();
  CHECK(book.size() == 1);
  CHECK(other.text() == "admin");
}
