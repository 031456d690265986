#include "pooler/backend_hosts.h"

#include <catch2/catch.hpp>

#include "pooler/net/address.h"

using namespace pgweir;
using conf::SessionAttrs;
using Found = HostBook::Found;

namespace {

const net::Endpoint kA{"a", 1}, kB{"b", 2}, kC{"c", 3};
const std::vector<net::Endpoint> kHosts{kA, kB, kC};

HostRound::Failure gone(const net::Endpoint& host) {
  return {{sqlstate::kCannotConnectNow, "connect to " + net::text(host) + ": connection refused", {}, {}}};
}

// The hosts in the order in which they are tried.
std::string order(HostBook& book, SessionAttrs wanted, const std::vector<net::Endpoint>& hosts = kHosts) {
  HostRound round = book.round(hosts, wanted);
  std::string text = round.host().host;
  while (round.failed(gone(round.host()))) text += round.host().host;
  return text;
}

}  // namespace

TEST_CASE("what a host is, as it tells at login") {
  using Values = SettingsMap::Values;
  CHECK(role_told({}, false) == HostRole::Unknown);
  CHECK(role_told({{"default_transaction_read_only", "off"}}, false) == HostRole::Unknown);
  const auto told = [](const char* standby, const char* read_only, bool ours = false) {
    return role_told(Values{{"in_hot_standby", standby}, {"default_transaction_read_only", read_only}}, ours);
  };
  CHECK(told("off", "off") == HostRole::Primary);
  CHECK(told("off", "on") == HostRole::ReadOnly);
  CHECK(told("off", "on", true) == HostRole::Primary);
  CHECK(told("on", "off") == HostRole::Standby);
  CHECK(told("on", "on", true) == HostRole::Standby);
}

TEST_CASE("what a host is, as it answers") {
  const auto row = [](const std::string& recovery, const std::string& read_only) {
    std::string body{"\0\2", 2};
    for (const std::string& value : {recovery, read_only})
      body += std::string("\0\0\0", 3) + static_cast<char>(value.size()) + value;
    return body;
  };
  CHECK(role_of_row(row("t", "on"), false) == HostRole::Standby);
  CHECK(role_of_row(row("f", "on"), false) == HostRole::ReadOnly);
  CHECK(role_of_row(row("f", "on"), true) == HostRole::Primary);
  CHECK(role_of_row(row("f", "off"), false) == HostRole::Primary);
  CHECK_FALSE(role_of_row(row("x", "off"), false).has_value());
  CHECK_FALSE(role_of_row(row("f", "off") + "x", false).has_value());
  const std::string whole = row("f", "off");
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK_FALSE(role_of_row(whole.substr(0, size), false).has_value());
}

TEST_CASE("which hosts fit") {
  struct Row {
    SessionAttrs wanted;
    const char* fitting;
  };
  const Row rows[] = {
      {SessionAttrs::Any, "unknown primary read-only standby "},
      {SessionAttrs::ReadWrite, "primary "},
      {SessionAttrs::ReadOnly, "read-only standby "},
      {SessionAttrs::Primary, "primary read-only "},
      {SessionAttrs::Standby, "standby "},
      {SessionAttrs::PreferStandby, "standby "},
  };
  for (const Row& row : rows) {
    std::string fitting;
    for (const HostRole role : {HostRole::Unknown, HostRole::Primary, HostRole::ReadOnly, HostRole::Standby})
      if (fits(row.wanted, role)) fitting += name(role) + std::string(" ");
    CHECK(fitting == row.fitting);
  }
}

TEST_CASE("without a word, one host may be anything and several must be read-write") {
  conf::Backend backend;
  CHECK(session_attrs(backend) == SessionAttrs::Any);
  backend.hosts = {"a"};
  CHECK(session_attrs(backend) == SessionAttrs::Any);
  backend.hosts = {"a", "b"};
  CHECK(session_attrs(backend) == SessionAttrs::ReadWrite);
  backend.target_session_attrs = SessionAttrs::Any;
  CHECK(session_attrs(backend) == SessionAttrs::Any);
}

TEST_CASE("the host in use is tried first, those that failed last come last") {
  HostBook book;
  const auto wanted = SessionAttrs::ReadWrite;
  CHECK(order(book, wanted) == "abc");
  const auto works = [&](const net::Endpoint& host) {
    return book.worked(host, HostRole::Primary, wanted, book.round(kHosts, wanted).turn());
  };
  CHECK(works(kB) == Found::Same);
  CHECK(*book.in_use() == kB);
  CHECK(order(book, wanted) == "bac");
  book.failed(kA, HostRole::Standby, "is a standby");
  CHECK(order(book, wanted) == "bca");
  book.failed(kB, HostRole::Unknown, "refused");
  CHECK(order(book, wanted) == "cab");
  book.failed(kC, HostRole::Unknown, "refused");
  CHECK(order(book, wanted) == "abc");
  CHECK(*book.in_use() == kB);  // until another one works
  CHECK(works(kA) == Found::Moved);
  CHECK(order(book, wanted) == "abc");
  CHECK(works(kA) == Found::Same);
  SECTION("hosts that a reload takes away are forgotten") {
    CHECK(order(book, wanted, {kC, kB}) == "bc");
    CHECK(book.in_use() == nullptr);
    CHECK(order(book, wanted, {kC, kA, kB}) == "abc");
  }
}

TEST_CASE("a login that began before the present primary was found does not bring back the old one") {
  HostBook book;
  const auto wanted = SessionAttrs::Primary;
  const HostRound early = book.round(kHosts, wanted);
  CHECK(book.worked(kA, HostRole::Primary, wanted, early.turn()) == Found::Same);
  const HostRound slow = book.round(kHosts, wanted), quick = book.round(kHosts, wanted),
                  third = book.round(kHosts, wanted);
  CHECK(book.worked(kB, HostRole::Primary, wanted, quick.turn()) == Found::Moved);
  CHECK(book.worked(kA, HostRole::Primary, wanted, slow.turn()) == Found::Late);
  CHECK(book.worked(kB, HostRole::Primary, wanted, third.turn()) == Found::Same);
  CHECK(*book.in_use() == kB);
  const HostRound later = book.round(kHosts, wanted);
  CHECK(book.worked(kA, HostRole::Primary, wanted, later.turn()) == Found::Moved);
}

TEST_CASE("where no primary is wanted, connections to several hosts stand side by side") {
  HostBook book;
  const auto wanted = SessionAttrs::Standby;
  const HostRound one = book.round(kHosts, wanted), two = book.round(kHosts, wanted);
  CHECK(book.worked(kA, HostRole::Standby, wanted, one.turn()) == Found::Same);
  CHECK(book.worked(kB, HostRole::Standby, wanted, two.turn()) == Found::Same);
}

TEST_CASE("prefer-standby: all are tried as standbys, then as any") {
  HostBook book;
  const auto wanted = SessionAttrs::PreferStandby;
  CHECK(order(book, wanted) == "abcabc");
  HostRound round = book.round(kHosts, wanted);
  for (int i = 0; i < 2; ++i) {
    CHECK(round.wanted() == SessionAttrs::PreferStandby);
    REQUIRE(round.failed(gone(round.host())));
  }
  REQUIRE(round.failed(gone(round.host())));
  CHECK(round.wanted() == SessionAttrs::Any);
  // A primary that is used for want of a standby is not what is looked for first.
  CHECK(book.worked(kA, HostRole::Primary, SessionAttrs::Any, round.turn()) == Found::Same);
  CHECK(order(book, wanted) == "bcaabc");
}

TEST_CASE("what a round says that has found no host") {
  const auto verdict = [](SessionAttrs wanted, std::vector<HostRound::Failure> failures) {
    HostBook book;
    std::vector<net::Endpoint> hosts(kHosts.begin(),
                                     kHosts.begin() + static_cast<std::ptrdiff_t>(failures.size()));
    HostRound round = book.round(hosts, wanted);
    for (std::size_t i = 0; i < failures.size(); ++i)
      CHECK(round.failed(failures[i]) == (i + 1 < failures.size()));
    return round.verdict();
  };
  const HostRound::Failure password{
      {sqlstate::kInvalidPassword, "wrong password", {}, {}}, Teller::Server, Stage::Unknown};
  const HostRound::Failure full{
      {sqlstate::kTooManyConnections, "too many clients", {}, {}}, Teller::Server, Stage::Authenticated};
  const HostRound::Failure standby{{sqlstate::kCannotConnectNow, "b:2 is a standby", {}, {}}};
  const HostRound::Failure silent{{sqlstate::kCannotConnectNow, "server closed the connection", {}, {}},
                                  Teller::Ourselves,
                                  Stage::Authenticated};

  const auto alone = verdict(SessionAttrs::Any, {silent});
  CHECK(alone.error.message == "server closed the connection");
  CHECK(alone.stage == Stage::Authenticated);

  const auto none = verdict(SessionAttrs::ReadWrite, {gone(kA), standby, silent});
  CHECK(none.error.message ==
        "none of its hosts is read-write: connect to a:1: connection refused; b:2 is a standby; c:3: server "
        "closed the connection");
  CHECK(std::string_view(none.error.sqlstate) == sqlstate::kCannotConnectNow);
  CHECK(none.teller == Teller::Ourselves);
  CHECK(none.stage == Stage::Unknown);  // no fault of the one who asks

  CHECK(verdict(SessionAttrs::ReadWrite, {gone(kA), full}).error.message == "too many clients");
  const auto refused = verdict(SessionAttrs::ReadWrite, {full, password, standby});
  CHECK(refused.error.message == "wrong password");
  CHECK(refused.teller == Teller::Server);
}
