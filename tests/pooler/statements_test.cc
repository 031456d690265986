#include "pooler/statements.h"

#include <catch2/catch.hpp>
#include <vector>

using namespace pgweir;

namespace {
constexpr std::size_t kCost = StatementBook::kStatementCost + 1;  // and the NUL that ends no settings
}

TEST_CASE("what texts do is kept with their statements, within a share of the book") {
  StatementBook book(8000);
  const auto effects = std::make_shared<const protocol::SqlEffects>();
  StatementRef first = book.intern(Bytes("listen a\0\0\0", 11));
  StatementRef second = book.intern(Bytes("listen b\0\0\0", 11));
  CHECK(first->sql == "listen a");
  CHECK(first->types() == Bytes("\0\0", 2));
  const std::size_t before = book.bytes();
  book.remember(*first, effects, 900);
  CHECK(first->effects == effects);
  CHECK(book.bytes() == before + 900);
  book.remember(*second, effects, 200);
  CHECK(second->effects == nullptr);
  book.remember(*second, effects, 100);
  CHECK(book.bytes() == before + 1000);
  // They go with their statement.
  first = second = {};
  CHECK(book.make_room(8000));
  CHECK(book.bytes() == 0);
  // Where texts fill half of the book, there is no room for more than them.
  StatementRef large = book.intern(std::string(3700, 'x') + std::string(3, '\0'));
  book.remember(*large, effects, 100);
  CHECK(large->effects == nullptr);
}

TEST_CASE("parameter types that were told have room of their own, where texts leave some") {
  using namespace std::literals;
  StatementBook book(2 * (kCost + 40));
  StatementRef statement = book.intern("select $1\0\0\0"sv);
  const std::size_t before = book.bytes();
  book.tell_types(*statement, "\0\0"sv);  // as declared
  CHECK(statement->content_as_told() == statement->content);
  book.tell_types(*statement, "\0\1\0\0\0\x19"sv);
  CHECK(book.bytes() == before + 6);
  CHECK(statement->content_as_told() == "select $1\0\0\1\0\0\0\x19"sv);
  book.tell_types(*statement, "\0\1\0\0\0\x17"sv);
  CHECK(book.bytes() == before + 6);
  book.tell_types(*statement, std::string(200, 'x'));
  CHECK(statement->content_as_told() == "select $1\0\0\1\0\0\0\x17"sv);
  statement = {};
  CHECK(book.make_room(2 * (kCost + 40)));
  CHECK(book.bytes() == 0);
}

TEST_CASE("a text exists once, under one name") {
  StatementBook book(10'000);
  const StatementRef a = book.intern("select 1"), b = book.intern("select 1"), c = book.intern("select 2");
  CHECK(a.get() == b.get());
  CHECK(a.get() != c.get());
  CHECK(a->server_name == "pgweir_1");
  CHECK(c->server_name == "pgweir_2");
  CHECK(book.size() == 2);
  CHECK(book.bytes() == 16 + 2 * kCost);
}

TEST_CASE("a statement knows whether it leaves state behind") {
  using namespace std::literals;
  StatementBook book(10'000);
  CHECK(book.intern("select 1\0\0\0"sv)->words == protocol::SqlWords::Harmless);
  CHECK(book.intern("set x = 1\0\0\0"sv)->words == protocol::SqlWords::State);
  CHECK(book.intern("select 1\0\0\1; set"sv)->words == protocol::SqlWords::Harmless);  // types are not text
}

TEST_CASE("a statement that nobody names stays until its room is needed, the longest unused goes first") {
  StatementBook book(3 * (kCost + 1));
  std::vector<StatementRef> held;
  for (const Bytes text : {"a", "b", "c"}) held.push_back(book.intern(text));
  CHECK_FALSE(book.intern("d"));  // all are in use
  held.clear();
  CHECK(book.size() == 3);
  CHECK(book.intern("a")->id == 1);  // found again, and used last now
  CHECK(book.intern("d")->id == 4);
  CHECK(book.intern("a")->id == 1);
  CHECK(book.intern("b")->id == 5);  // it was forgotten: an id never comes back
  CHECK(book.bytes() == book.bytes_max());
}

TEST_CASE("what can never fit is refused and forgets nothing") {
  StatementBook book(1000);
  book.intern("a");
  CHECK_FALSE(book.intern(std::string(1000, 'x')));
  CHECK_FALSE(book.make_room(1001));
  CHECK(book.size() == 1);
}

TEST_CASE("a client's names are counted while it has them") {
  StatementBook book(10'000);
  const StatementRef a = book.intern("a"), b = book.intern("b");
  const std::size_t before = book.bytes();
  {
    ClientStatements names(book);
    CHECK(names.find("x") == nullptr);
    names.set("x", a);
    names.set("y", a);
    CHECK(names.find("x")->get() == a.get());
    CHECK(book.bytes() == before + 2 * (StatementBook::kNameCost + 1));
    names.set("x", b);
    CHECK(names.find("x")->get() == b.get());
    CHECK(names.size() == 2);
    CHECK((a->names == 1 && b->names == 1));
    CHECK(book.bytes() == before + 2 * (StatementBook::kNameCost + 1));
    names.erase("x");
    names.erase("x");
    CHECK(book.bytes() == before + StatementBook::kNameCost + 1);
    CHECK((a->names == 1 && b->names == 0));
    CHECK(names.room_for("z"));
    CHECK_FALSE(names.room_for(std::string(10'000, 'z')));
  }
  CHECK(book.bytes() == before);
  CHECK((a->names == 0 && b->names == 0));
}

TEST_CASE("a server forgets what it used least recently") {
  ServerStatements known;
  for (const StatementId id : {1u, 2u, 3u}) known.add(id);
  CHECK(known.use(1));
  known.add(2);
  CHECK_FALSE(known.use(4));
  CHECK(known.size() == 3);
  CHECK(known.take_oldest() == 3);
  CHECK_FALSE(known.knows(3));
  CHECK(known.take_oldest() == 1);
  known.clear();
  CHECK(known.size() == 0);
  CHECK_FALSE(known.knows(2));
}
