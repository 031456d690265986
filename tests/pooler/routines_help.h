// tests/pooler/routines_help.h - readings of the functions of a database, as a server would answer them.
#pragma once

#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pooler/routines.h"
#include "protocol/messages.h"

namespace pgweir {

using Row = std::vector<std::optional<std::string>>;
using Rows = std::vector<Row>;

inline bool give(RoutineBook& book, const Row& row) {
  std::string message;
  protocol::put_data_row(message, row);
  return book.row(Bytes(message).substr(5));
}

// The end of the rows, all of which are read before.
inline std::optional<std::string> next(RoutineBook& book, bool answered = true) {
  while (book.read_some()) {
  }
  return book.next(answered);
}

// The things that there are: what is told of bodies and expressions, and `users` of these: of whom, the name,
// and what they are.
inline void give_users(RoutineBook& book, const Rows& told, const Rows& users) {
  for (const Row& row : told) REQUIRE(give(book, {row[0], std::nullopt, row[1], ""}));
  for (std::size_t i = 0; i < users.size(); ++i) {
    const std::string key = "1 " + std::to_string(60'000 + i);
    REQUIRE(give(book, {key, std::nullopt, users[i][1], users[i][2]}));
    REQUIRE(give(book, {users[i][0], key, std::nullopt, std::nullopt}));
  }
}

// A reading from its start to its end. Answers how many queries it took.
inline int read(RoutineBook& book, const std::string& fingerprint, const Rows& bodies, const Rows& users,
                Time now = Time(Duration(0)), const Rows& stored = {}, const Rows& code = {}) {
  int queries = 1;
  std::string query = book.start(now);
  CHECK(query.find("SET LOCAL search_path = pg_catalog, pg_temp; WITH") == 0);
  REQUIRE(give(book, {fingerprint}));
  auto more = next(book);
  if (!more) return queries;
  ++queries;
  for (const Row& row : bodies) REQUIRE(give(book, row));
  REQUIRE(next(book));
  ++queries;
  for (const Row& row : stored) REQUIRE(give(book, row));
  more = next(book);
  if (!more) return queries;
  ++queries;
  give_users(book, bodies, users);
  REQUIRE(next(book));
  ++queries;
  for (const Row& row : code) REQUIRE(give(book, row));
  CHECK_FALSE(next(book));
  return queries;
}

inline const Rows kBodies = {
    {"1255 16400", "set_tenant", "sql", "select set_config('app.tenant', $1, false)"},
    {"1255 16401", "Make Temp", "plpgsql", "begin create temp table t (a int); end"},
    {"1255 16402", "touch", "plpgsql", "begin\nupdate t\nset a = 1; end"},
    {"1255 16403", "long", "plpgsql", std::nullopt}};
inline const Rows kUsers = {{"1255 16400", "set_tenant", ""},
                            {"1255 16400", "tenants", ""},
                            {"1255 16401", "Make Temp", ""},
                            {"1255 16401", "tenants", ""},
                            {"1255 16403", "long", ""}};

inline RoutineBook followed() {
  RoutineBook book;
  book.follow(true);
  return book;
}

}  // namespace pgweir
