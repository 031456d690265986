#include "pooler/http_api.h"

#include <catch2/catch.hpp>

#include "pooler/http_json.h"
#include "pooler/http_page.h"

using namespace pgweir;
using namespace pgweir::http;

namespace {

std::variant<Call, Response> call(std::string path, Parameters parameters = {}, std::string method = "GET") {
  return parse_call(
      {.method = std::move(method), .path = "/api/v1/" + path, .parameters = std::move(parameters)});
}
unsigned status(const std::variant<Call, Response>& parsed) {
  const auto* const response = std::get_if<Response>(&parsed);
  if (!response) return 200;
  CHECK(std::string_view(response->type) == "application/problem+json");
  return response->status;
}

console::Report report() {
  console::Report made;
  for (const char* name : {"a", "a%", "b", "c"}) {
    console::DatabaseRow row;
    row.name = name;
    made.databases.push_back(row);
    for (const std::uint64_t id : {7u, 512u}) {
      console::ConnectionRow client;
      client.database = name;
      client.user = "u";
      client.id = id;
      client.state = *name == 'c' ? "active" : "waiting";
      client.wait = std::chrono::seconds(made.databases.size());
      made.connections.push_back(client);
    }
    for (const char* user : {"u", "v"}) {
      console::PoolRow pool;
      pool.database = name;
      pool.user = user;
      made.pools.push_back(pool);
    }
  }
  return made;
}

// All pages, as the names that stand in front of each row, by the links alone.
std::string walk(const std::string& list, Parameters parameters, const std::string& column) {
  std::string names;
  for (int pages = 0; pages < 20; ++pages) {
    const auto parsed = call(list, parameters);
    const Response page = answer(std::get<Call>(parsed), report(), {});
    CHECK(page.status == 200);
    const std::string mark = "\"" + column + "\":\"";
    for (std::size_t at = 0; (at = page.body.find(mark, at)) != std::string::npos;) {
      at += mark.size();
      names += page.body.substr(at, page.body.find('"', at) - at) + " ";
    }
    if (page.headers.empty()) return names;
    names += "| ";
    const std::string& link = page.headers[0].second;
    CHECK(link.starts_with("</api/v1/" + list + "?limit="));
    CHECK(link.ends_with(">; rel=\"next\""));
    const std::size_t begin = link.find("&cursor=") + 8;
    std::string cursor = link.substr(begin, link.find_first_of("&>", begin) - begin);
    for (std::size_t at = 0; (at = cursor.find('%')) != std::string::npos;)
      cursor.replace(at, 3, 1, static_cast<char>(std::stoi(cursor.substr(at + 1, 2), nullptr, 16)));
    parameters.erase("cursor");
    parameters.emplace("cursor", cursor);
  }
  return names + "no end";
}

}  // namespace

TEST_CASE("paths and parameters are those of the description, all else is a problem") {
  CHECK(status(call("tenants")) == 200);
  CHECK(std::get<Call>(call("tenants/a/b")).name == "a/b");
  CHECK(std::get<Call>(call("tenants", {{"limit", "5"}, {"like", "a%"}})).limit == 5);
  CHECK(status(call("")) == 404);
  CHECK(status(call("Tenants")) == 404);
  CHECK(std::get<Call>(call("limits/a/b")).name == "a/b");
  CHECK(std::get<Call>(call("limits/a")).resource == Resource::Limits);
  CHECK(std::get<Call>(call("tenants/limits/a")).resource == Resource::Tenant);
  CHECK(status(call("limits/a", {{"limit", "5"}})) == 400);
  CHECK(status(call("limits")) == 404);
  CHECK(status(call("limits/")) == 404);
  CHECK(status(call("tenants/")) == 404);
  CHECK(status(call("tiers/free")) == 404);
  CHECK(status(call("tiers", {}, "POST")) == 405);
  CHECK(status(call("tiers", {{"limit", "1"}})) == 400);
  CHECK(status(call("tenants", {{"limit", "1"}, {"limit", "1"}})) == 400);
  CHECK(status(call("pools", {{"like", "x"}})) == 400);
  for (const char* wrong : {"0", "1001", "-1", "", "1x", "99999999999"}) {
    INFO(wrong);
    CHECK(status(call("tenants", {{"limit", wrong}})) == 400);
  }
  CHECK(status(call("tenants", {{"cursor", "!"}})) == 400);
}

TEST_CASE("the API without what it is asked for is a problem, too") {
  const auto routed = route({.method = "GET", .path = "/api/v1"});
  REQUIRE(std::get<Page>(routed) == Page::Api);
  CHECK(status(parse_call({.method = "GET", .path = "/api/v1"})) == 404);
}

TEST_CASE("the pages of a list have every row once, in order") {
  CHECK(walk("tenants", {{"limit", "1"}}, "tenant") == "a | a% | b | c ");
  CHECK(walk("tenants", {{"limit", "3"}}, "tenant") == "a a% b | c ");
  CHECK(walk("tenants", {{"limit", "4"}}, "tenant") == "a a% b c ");
  CHECK(walk("tenants", {{"limit", "1"}, {"like", "a%"}}, "tenant") == "a | a% ");
  CHECK(walk("tenants", {{"like", "x"}}, "tenant").empty());
  CHECK(walk("pools", {{"limit", "3"}}, "user") == "u v u | v u v | u v ");
}

TEST_CASE("of clients that wait whoever has waited longest comes first, and nobody else is told") {
  const auto told = [](Parameters parameters) {
    return answer(std::get<Call>(call("waiters", std::move(parameters))), report(), {}).body;
  };
  const std::string all = told({});
  std::string order;
  for (std::size_t at = 0; (at = all.find("\"id\":", at)) != std::string::npos; ++at)
    order += all.substr(at + 5, all.find(",\"user\"", at) - at - 5) + " ";
  CHECK(order == R"(7,"tenant":"b" 512,"tenant":"b" 7,"tenant":"a%" 512,"tenant":"a%" )"
                 R"(7,"tenant":"a" 512,"tenant":"a" )");
  CHECK(told({{"limit", "1"}}) ==
        R"({"waiters":[{"id":7,"tenant":"b","user":"u","addr":"","port":0,"application_name":"",)"
        R"("wait_us":3000000}],"total":6})"
        "\n");
  for (const char* wrong : {"like", "cursor"}) CHECK(status(call("waiters", {{wrong, "eA=="}})) == 400);
}

TEST_CASE("breakers come by backend, each one's own in front") {
  console::Report known;
  for (const char* backend : {"near", "far"}) {
    console::BreakerRow own;
    own.backend = backend;
    known.breakers.push_back(own);
    for (const char* database : {"b", "a"}) {
      console::BreakerRow row = own;
      row.database = database;
      row.user = "u";
      row.state = Breaker::State::Open;
      row.next_try_s = "1.5";
      known.breakers.push_back(row);
    }
  }
  const Response all = answer(std::get<Call>(call("breakers")), known, {});
  std::string order;
  for (std::size_t at = 0; (at = all.body.find("\"backend\":", at)) != std::string::npos; ++at)
    order += all.body.substr(at + 10, all.body.find(",\"user\"", at) - at - 10) + " ";
  CHECK(order == R"("far","database":null "far","database":"a" "far","database":"b" )"
                 R"("near","database":null "near","database":"a" "near","database":"b" )");
  CHECK(all.body.find("\"next_try_s\":1.5") != std::string::npos);
  CHECK(all.body.find("\"next_try_s\":null") != std::string::npos);
  const Response first = answer(std::get<Call>(call("breakers", {{"limit", "4"}})), known, {});
  REQUIRE(first.headers.size() == 1);
  CHECK(status(call("breakers", {{"like", "x"}})) == 400);
}

TEST_CASE("a tenant that nobody knows is a problem, and a name of bytes is no broken text") {
  console::Report known = report();
  known.databases[0].name = "\xff\"";
  CHECK(answer({.resource = Resource::Tenant, .name = "x\xff"}, known, {}).status == 404);
  const Response found = answer({.resource = Resource::Tenant, .name = "\xff\""}, known, {});
  CHECK(found.status == 200);
  CHECK(found.body.find("\"tenant\":\"\xef\xbf\xbd\\\"\"") != std::string::npos);
}

TEST_CASE("limits are the rows of SHOW LIMIT, or the reason why there are none") {
  const std::vector<console::LimitView> rows{{"pool_size", "2", "1", "tier free"},
                                             {"state", "active", "", ""}};
  const Response good = limits_answer("a\"", rows);
  CHECK(good.status == 200);
  CHECK(good.body ==
        R"({"tenant":"a\"","limits":[{"limit":"pool_size","value":"2","in_use":"1","rule":"tier free"},)"
        R"({"limit":"state","value":"active","in_use":"","rule":""}]})"
        "\n");
  const Response unknown = limits_answer("a", fail(sqlstate::kInvalidCatalogName, "there is none", "Look."));
  CHECK(unknown.status == 404);
  CHECK(unknown.body.find("there is none. Look.") != std::string::npos);
  CHECK(limits_answer("a", fail(sqlstate::kCannotConnectNow, "not now", "Wait.")).status == 503);
}

TEST_CASE("the history is of what passed from one moment to the next, each second") {
  metrics::Sample sample;
  Overview overview;
  CHECK(overview_json(overview).find("\"history\":[]") != std::string::npos);
  overview.history.push_back(moment(sample, 1000));
  sample.tiers["free"].meter.total.transactions = 50;
  sample.tiers["free"].meter.total.wait_us = 5'000'000;
  sample.tiers["free"].meter.total.rate_hits = 15;
  sample.tiers["free"].meter.total.client_hits = 5;
  sample.workers.push_back({.worker = 0, .clients = 3, .waiting = 2});
  overview.history.push_back(moment(sample, 1010));
  const std::string text = overview_json(overview);
  CHECK(text.find(R"("history":[{"time":1010,"transactions_per_second":5.0,"waited_seconds_per_second":0.5,)"
                  R"("limit_hits_per_second":2.0,"clients":3,"waiting":2,"servers":0}])") !=
        std::string::npos);
}

TEST_CASE("the page may run what stands in it, and nothing else") {
  const Response page = status_page();
  CHECK(page.body.find("http://") == page.body.find("http://www.w3.org/2000/svg"));
  CHECK(page.body.find("https://") == std::string::npos);
  CHECK(page.body.find(" style=") == std::string::npos);
  CHECK(page.body.find("innerHTML") == std::string::npos);
  const std::string& policy = page.headers.at(0).second;
  CHECK(policy.starts_with("default-src 'none'; script-src 'sha256-"));
  CHECK(policy.find("unsafe") == std::string::npos);
}
