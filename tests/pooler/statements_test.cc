#include "pooler/statements.h"

#include <catch2/catch.hpp>
#include <vector>

using namespace pgweir;

namespace {
constexpr std::size_t kCost = StatementBook::kStatementCost + 1;  // and the NUL that ends no settings
}

TEST_CASE("what texts do is kept with their statements, within a share of the book") {
  StatementBook book(8000);
  TenantStatements tenant;
  const auto effects = std::make_shared<const protocol::SqlEffects>();
  StatementRef first = book.intern(tenant, Bytes("listen a\0\0\0", 11));
  StatementRef second = book.intern(tenant, Bytes("listen b\0\0\0", 11));
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
  book.set_bytes_max(0);
  CHECK(book.bytes() == 0);
  // What texts others have prepared says nothing about it.
  book.set_bytes_max(8000);
  StatementRef large = book.intern(tenant, std::string(7000, 'x') + std::string(3, '\0'));
  book.remember(*large, effects, 1000);
  CHECK(large->effects == effects);
}

TEST_CASE("parameter types that were told are kept, if they are not more than their statement") {
  using namespace std::literals;
  StatementBook book(2 * (kCost + 40));
  TenantStatements tenant;
  StatementRef statement = book.intern(tenant, "select $1\0\0\0"sv);
  const std::size_t before = book.bytes();
  book.tell_types(*statement, "\0\0"sv);  // as declared
  CHECK(statement->content_as_told() == statement->content);
  book.tell_types(*statement, "\0\1\0\0\0\x19"sv);
  CHECK(book.bytes() == before + 6);
  CHECK(statement->content_as_told() == "select $1\0\0\1\0\0\0\x19"sv);
  book.tell_types(*statement, "\0\1\0\0\0\x17"sv);
  CHECK(book.bytes() == before + 6);
  book.tell_types(*statement, std::string(kCost + 13, 'x'));
  CHECK(statement->content_as_told() == "select $1\0\0\1\0\0\0\x17"sv);
  CHECK(tenant.bytes() == before);
  statement = {};
  book.set_bytes_max(0);
  CHECK(book.bytes() == 0);
}

TEST_CASE("a text exists once, under one name") {
  StatementBook book(10'000);
  TenantStatements tenant;
  const StatementRef a = book.intern(tenant, "select 1"), b = book.intern(tenant, "select 1"),
                     c = book.intern(tenant, "select 2");
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
  TenantStatements tenant;
  CHECK(book.intern(tenant, "select 1\0\0\0"sv)->words == protocol::SqlWords::Harmless);
  CHECK(book.intern(tenant, "set x = 1\0\0\0"sv)->words == protocol::SqlWords::State);
  CHECK(book.intern(tenant, "select 1\0\0\1; set"sv)->words ==
        protocol::SqlWords::Harmless);  // types are not text
}

TEST_CASE("a statement that nobody names stays until its room is needed, the longest unused goes first") {
  StatementBook book(3 * (kCost + 1));
  TenantStatements tenant;
  std::vector<StatementRef> held;
  for (const Bytes text : {"a", "b", "c"}) held.push_back(book.intern(tenant, text));
  CHECK_FALSE(book.intern(tenant, "d"));  // all are in use
  held.clear();
  CHECK(book.size() == 3);
  CHECK(book.intern(tenant, "a")->id == 1);  // found again, and used last now
  CHECK(book.intern(tenant, "d")->id == 4);
  CHECK(book.intern(tenant, "a")->id == 1);
  CHECK(book.intern(tenant, "b")->id == 5);  // it was forgotten: an id never comes back
  CHECK(book.bytes() == book.bytes_max());
}

TEST_CASE("what can never fit is refused and forgets nothing") {
  StatementBook book(1000);
  TenantStatements tenant;
  book.intern(tenant, "a");
  CHECK_FALSE(book.intern(tenant, std::string(1000, 'x')));
  CHECK(book.size() == 1);
}

TEST_CASE("a tenant's room depends on nothing that others have prepared") {
  StatementBook book(3 * (kCost + 1));
  TenantStatements first, second, third;
  std::vector<StatementRef> held;
  for (const Bytes text : {"a", "b", "c"}) held.push_back(book.intern(first, text));
  CHECK_FALSE(book.intern(first, "d"));
  CHECK(first.bytes() == book.bytes_max());
  // Those that share a text pay for it like those that do not.
  for (const Bytes text : {"c", "d", "e"}) held.push_back(book.intern(second, text));
  CHECK(held[3].get() == held[2].get());
  CHECK_FALSE(book.intern(second, "a"));
  CHECK(book.intern(second, "d").get() == held[4].get());  // it has that, so it costs nothing more
  CHECK((second.bytes() == book.bytes_max() && third.bytes() == 0));
  CHECK(book.bytes() == 5 * (kCost + 1));
  held.push_back(book.intern(third, "c"));
  // Whoever comes and goes in whatever order: each pays for its own.
  held[2] = {};
  CHECK(first.bytes() == 2 * (kCost + 1));
  CHECK(held[3]->refs == 2);
  held.push_back(book.intern(first, "c"));
  held.push_back(held.back());
  CHECK(first.bytes() == book.bytes_max());
  held[3] = held[6] = {};
  CHECK((second.bytes() == 2 * (kCost + 1) && third.bytes() == 0));
  CHECK(held.back()->refs == 1);
  held.clear();
  CHECK((first.bytes() == 0 && second.bytes() == 0));
  CHECK(book.bytes() <= book.bytes_max());
}

TEST_CASE("what nobody holds is forgotten as soon as all together are more than the book keeps") {
  StatementBook book(2 * (kCost + 1));
  TenantStatements first, second;
  const StatementRef a = book.intern(first, "a"), b = book.intern(first, "b");
  StatementRef c = book.intern(second, "c");
  c = {};
  CHECK((book.size() == 2 && book.bytes() == book.bytes_max()));
  CHECK(book.intern(second, "c")->id == 4);
  // One that is only used is kept all the same, and costs nobody anything.
  StatementRef d = book.intern(second, "d");
  {
    const KeptStatement used(*d);
    d = {};
    CHECK((second.bytes() == 0 && book.size() == 3 && used->sql == "d"));
  }
  CHECK(book.size() == 2);
}

TEST_CASE("an outdated statement goes with its last holder, whoever that is") {
  StatementBook book(10'000);
  TenantStatements first, second;
  StatementRef old = book.intern(first, "a"), other = book.intern(second, "a");
  book.definitions_changed();
  const StatementRef fresh = book.intern(first, "a");
  CHECK(fresh->id == 2);
  CHECK(first.bytes() == 2 * (kCost + 1));
  old = {};
  CHECK((first.bytes() == kCost + 1 && book.bytes() == 2 * (kCost + 1)));
  other = {};
  CHECK((second.bytes() == 0 && book.bytes() == kCost + 1));
  // One that nobody holds is forgotten at once.
  book.intern(first, "b");
  book.definitions_changed();
  CHECK(book.intern(first, "b")->id == 4);
  CHECK(book.bytes() == 2 * (kCost + 1));
}

TEST_CASE("a client's names are counted while it has them") {
  StatementBook book(10'000);
  TenantStatements tenant;
  const StatementRef a = book.intern(tenant, "a"), b = book.intern(tenant, "b");
  const std::size_t before = tenant.bytes();
  {
    ClientStatements names(tenant);
    CHECK(names.find("x") == nullptr);
    names.set("x", a);
    names.set("y", a);
    CHECK(names.find("x")->get() == a.get());
    CHECK(tenant.bytes() == before + 2 * (StatementBook::kNameCost + 1));
    names.set("x", b);
    CHECK(names.find("x")->get() == b.get());
    CHECK(names.size() == 2);
    CHECK((a->names == 1 && b->names == 1));
    CHECK(tenant.bytes() == before + 2 * (StatementBook::kNameCost + 1));
    names.erase("x");
    names.erase("x");
    CHECK(tenant.bytes() == before + StatementBook::kNameCost + 1);
    CHECK((a->names == 1 && b->names == 0));
    CHECK(tenant.has_room(ClientStatements::cost("z"), book.bytes_max()));
    CHECK_FALSE(tenant.has_room(ClientStatements::cost(std::string(10'000, 'z')), book.bytes_max()));
  }
  CHECK(tenant.bytes() == before);
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
