// A server is told for whom it works before it runs anything of theirs.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

namespace {

std::unique_ptr<Introduction> introduction(Bytes tenant) {
  return std::make_unique<Introduction>(
      Introduction{"token of " + std::string(tenant), {std::string(tenant), "key", kNever}});
}
std::string said(Bytes token) { return closed() + parsed() + bound() + row(token) + done() + ready(); }

// The letters alone of what the server was sent.
std::string letters(Bytes bytes) {
  std::string out;
  for (const std::string& one : split(bytes)) out += one[0];
  return out;
}

}  // namespace

TEST_CASE("a request waits until the server has taken the token of its tenant") {
  Place place;
  Client client(place);
  place.server.introduction = introduction("acme");
  REQUIRE(client.says(query("select 1")) == "ask");
  CHECK(client.granted(place.server) == "stalled");
  CHECK(client.core.introducing());
  CHECK(letters(std::exchange(client.to_server, {})) == "CPBES");
  CHECK(client.held == query("select 1"));
  CHECK(client.again() == "stalled");
  CHECK(client.to_server.empty());

  CHECK(client.hears(said("token of acme")).empty());
  CHECK(client.to_client.empty());
  CHECK(place.server.introduced.tenant == "acme");
  CHECK(client.again().empty());
  CHECK_FALSE(client.core.introducing());
  CHECK(client.sent() == "Q:select 1");
  CHECK(client.hears(rows()) == "release");
}

TEST_CASE("what differs in the settings goes behind the token, and both are waited for") {
  Place place;
  Client client(place, {{"work_mem", "1MB"}});
  place.server.introduction = introduction("acme");
  REQUIRE(client.says(query("select 1")) == "ask");
  CHECK(client.granted(place.server) == "stalled");
  CHECK(letters(std::exchange(client.to_server, {})) == "CPBESBES");
  CHECK(client.hears(said("token of acme")).empty());
  CHECK(client.again() == "stalled");
  CHECK(client.hears(bound() + row("1MB") + done() + ready()).empty());
  CHECK(client.again().empty());
  CHECK(client.sent() == "Q:select 1");
  CHECK(client.hears(rows()) == "release");
}

TEST_CASE("a server that does not take the token, or says another one, runs nothing of the client") {
  struct Row {
    const char* what;
    std::string answer;
  };
  const Row rows[] = {
      {"refused", closed() + parsed() + bound() + error("57014", "canceling") + ready()},
      {"another", said("token of globex")},
      {"two values", closed() + parsed() + bound() + message('D', std::string("\0\2\0\0\0\0\0\0\0\0", 10))},
  };
  for (const Row& each : rows) {
    INFO(each.what);
    Place place;
    Client client(place);
    place.server.introduction = introduction("acme");
    REQUIRE(client.says(query("delete from t")) == "ask");
    REQUIRE(client.granted(place.server) == "stalled");
    client.to_server.clear();
    CHECK(client.hears(each.answer) == "close drop");
    CHECK(client.to_server.empty());
    CHECK(place.server.introduced.tenant.empty());
  }
}

TEST_CASE("settings that the server does not take keep the request back, too") {
  Place place;
  Client client(place, {{"default_text_search_config", "public.gone"}});
  place.server.introduced = {"globex", "key", kNever};
  place.server.introduction = introduction("acme");
  REQUIRE(client.says(query("insert into t values (1)")) == "ask");
  REQUIRE(client.granted(place.server) == "stalled");
  client.to_server.clear();
  CHECK(client.hears(said("token of acme")).empty());
  CHECK(client.hears(bound() + error("22023") + ready()) == "close drop");
  CHECK(client.to_server.empty());
}

TEST_CASE("a client that keeps its server is introduced anew between two transactions") {
  Place place;
  Pinned client(place);
  client.to_server.clear();
  place.server.introduction = introduction("acme");
  CHECK(client.says(query("begin")) == "stalled");
  CHECK(letters(std::exchange(client.to_server, {})) == "CPBES");
  CHECK(client.hears(said("token of acme")).empty());
  CHECK(client.again().empty());
  CHECK(client.sent() == "Q:begin");
  CHECK(client.hears(done("BEGIN") + ready('T')).empty());
  // Not in the middle of one.
  place.server.introduction = introduction("acme");
  CHECK(client.says(query("select 1")).empty());
  CHECK(client.sent() == "Q:select 1");
}

TEST_CASE("a short timeout of a client that keeps its server does not end what it is told") {
  Place place;
  Pinned client(place);
  place.server.applied = place.books.settings.intern({{"statement_timeout", "1ms"}});
  client.to_server.clear();
  place.server.introduction = introduction("acme");
  CHECK(client.says(query("begin")) == "stalled");
  CHECK(letters(std::exchange(client.to_server, {})) == "CPBECPBES");
  const std::string patience = closed() + parsed() + bound() + row("10s") + done();
  SECTION("") {
    CHECK(client.hears(patience + said("token of acme")).empty());
    CHECK(place.server.introduced.tenant == "acme");
    CHECK(client.again().empty());
    CHECK(client.sent() == "Q:begin");
  }
  SECTION("nor takes its place") {
    CHECK(client.hears(closed() + parsed() + bound() + row("token of acme") + done() + said("10s")) ==
          "close drop");
  }
}

TEST_CASE("what may have changed the token lets nobody rely on it") {
  Place place;
  const auto told = [&] {
    place.server.introduced = {"acme", "key", kNever};
    return true;
  };
  SECTION("a text that changes settings") {
    Client client(place);
    REQUIRE(client.says(query("set pgweir.tenant_token = 'x'")) == "ask");
    REQUIRE(told());
    REQUIRE(client.granted(place.server).empty());
    CHECK(client.hears(done("SET") + ready()).empty());
    CHECK(place.server.introduced.tenant.empty());
    CHECK(client.hears(parsed() + answered(row("x"))) == "release");
    CHECK(client.core.wanted()->values.empty());
  }
  SECTION("DISCARD ALL") {
    Client client(place);
    REQUIRE(client.says(query("select 1; discard all")) == "ask");
    REQUIRE(told());
    REQUIRE(client.granted(place.server).empty());
    client.hears(rows('I').substr(0, rows('I').size() - ready().size()) + done("DISCARD ALL") + ready());
    CHECK(place.server.introduced.tenant.empty());
  }
  SECTION("cleaning") {
    REQUIRE(told());
    protocol::Gather out;
    place.server.begin_cleaning(out);
    Client nobody(place);
    struct Deaf : ServerCore::Audience {
    } deaf;
    protocol::Gather nowhere;
    place.server.read(done("SET") + ready() + rows() + done("DISCARD ALL") + ready(), nowhere, deaf);
    CHECK(place.server.introduced.tenant.empty());
  }
}

TEST_CASE("a token that is taken away inside of a transaction is given again before anything else runs") {
  struct Row {
    const char* text;
    bool taken;
  };
  for (const Row& each :
       {Row{"reset all", true}, Row{"reset pgweir.tenant_token", true},
        Row{"set pgweir.tenant_token to default", true}, Row{"do $$ begin execute x; end $$", true},
        Row{"select set_config(a, b, false)", true}, Row{"set work_mem = '1MB'", false},
        Row{"set local pgweir.tenant_token = 'x'", false}, Row{"select 1", false}}) {
    CAPTURE(each.text);
    Place place;
    Client client(place);
    place.server.introduced = {"acme", "key", kNever};
    REQUIRE(client.says(query("begin")) == "ask");
    REQUIRE(client.granted(place.server).empty());
    CHECK(client.hears(done("BEGIN") + ready('T')).empty());
    CHECK(client.says(query(each.text)).empty());
    client.sent();
    CHECK_FALSE(client.core.must_introduce());
    CHECK(client.hears(done("OK") + ready('T')).empty());
    CHECK(client.core.must_introduce() == each.taken);
    if (!each.taken) continue;
    place.server.introduction = introduction("acme");
    client.seen();
    CHECK(client.says(query("select 2")) == "stalled");
    CHECK(letters(std::exchange(client.to_server, {})) == "CPBES");
    CHECK(client.again() == "stalled");
    CHECK(client.hears(closed() + parsed() + bound() + row("token of acme") + done() + ready('T')).empty());
    CHECK(client.seen().empty());
    CHECK_FALSE(client.core.must_introduce());
    CHECK(client.again().empty());
    CHECK(client.sent() == "Q:select 2");
    CHECK(place.server.introduced.tenant == "acme");
  }
}

TEST_CASE("in a transaction that has failed there is nothing to be given") {
  Place place;
  Client client(place);
  place.server.introduced = {"acme", "key", kNever};
  REQUIRE(client.says(query("begin")) == "ask");
  REQUIRE(client.granted(place.server).empty());
  client.hears(done("BEGIN") + ready('T'));
  client.says(query("reset all; select 1/0"));
  client.hears(done("RESET") + error("22012") + ready('E'));
  CHECK_FALSE(client.core.must_introduce());
  client.sent();
  CHECK(client.says(query("rollback")).empty());
  CHECK(client.sent() == "Q:rollback");
}

TEST_CASE("a request that is pipelined behind what takes the token away waits for it") {
  Place place;
  Client client(place);
  place.server.introduced = {"acme", "key", kNever};
  REQUIRE(client.says(query("begin") + query("reset pgweir.tenant_token") + query("select 2")) == "ask");
  REQUIRE(client.granted(place.server) == "stalled");
  CHECK(client.sent() == "Q:begin Q:reset pgweir.tenant_token");
  client.hears(done("BEGIN") + ready('T') + done("RESET") + ready('T'));
  CHECK(client.core.must_introduce());
}

TEST_CASE("a startup parameter of the token's name is left out") {
  Place place;
  CHECK(place.books.settings.intern({{"PGWEIR.tenant_token", "x"}}) == place.books.settings.empty());
  CHECK(place.books.settings.intern({{"pgweir.tenant_token", "x"}, {"work_mem", "1MB"}}) ==
        place.books.settings.intern({{"work_mem", "1MB"}}));
}

TEST_CASE("a client that vanishes while its server is told leaves it to be cleaned") {
  Place place;
  Client client(place);
  place.server.introduction = introduction("acme");
  REQUIRE(client.says(query("select 1")) == "ask");
  REQUIRE(client.granted(place.server) == "stalled");
  CHECK(client.step([&] { client.core.client_gone(client.out); }) == "abandon");
}
