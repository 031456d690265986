// Settings of tenant stores and of how tenants are named: what is refused, and why.
#include <catch2/catch.hpp>

#include "conf/redis_url.h"
#include "tests/conf/files.h"

using namespace pgweir::conf;
using namespace pgweir::conf::test;
using Catch::Matchers::Contains;

namespace {

// "tls user:password@host:port,host:port/master/database", or the error.
std::string read(std::string_view text) {
  const auto url = parse_redis_url(text);
  if (!url) return url.error();
  std::string hosts;
  for (const auto& host : url->hosts)
    hosts += (hosts.empty() ? "" : ",") + host.name + ":" + std::to_string(host.port);
  return (url->tls ? "tls " : "") + url->user + ":" + url->password + "@" + hosts + "/" + url->master +
         (url->master.empty() ? "" : "/") + std::to_string(url->database);
}

std::string load_with(const std::string& lines, const Environment& environment = {}, Files files = {}) {
  return problems(load_text("backends: {main: {}}\n" + lines, environment, std::move(files)));
}

}  // namespace

TEST_CASE("the address of a Redis is read, and never repeated in an error") {
  const struct {
    std::string_view text, result;
  } rows[] = {
      {"redis://cache", ":@cache:6379/0"},
      {"rediss://cache.example:6380/3", "tls :@cache.example:6380/3"},
      {"redis://:s3cret@10.0.0.1", ":s3cret@10.0.0.1:6379/0"},
      {"redis://pool:a%40b%2Fc@[::1]:7000/", "pool:a@b/c@::1:7000/0"},
      {"redis://default:p@redis.railway.internal:6379?family=0", "default:p@redis.railway.internal:6379/0"},
      {"redis://h/1?family=6", ":@h:6379/1"},
      {"redis+sentinel://one,two:7000,[::1]/mymaster", ":@one:26379,two:7000,::1:26379/mymaster/0"},
      {"rediss+sentinel://u:p@one/my-master/3", "tls u:p@one:26379/my-master/3"},
  };
  for (const auto& row : rows) CHECK(read(row.text) == row.result);
  for (const char* wrong : {"",
                            "http://s3cret",
                            "redis://",
                            "redis://s3cret@host",
                            "redis://u:s3cret@h@x",
                            "redis://:s3cret%zz@h",
                            "redis://:s3cret@h:0",
                            "redis://:s3cret@h:70000",
                            "redis://:s3cret@h/s3cret",
                            "redis://:s3cret@h?a=b",
                            "redis://:s3cret@h?family=s3cret",
                            "redis://:s3cret@h?family=0?family=0",
                            "redis://[::1",
                            "redis://[::1]x",
                            "redis:///tmp/sock",
                            "redis://:s3cret@h/99999999",
                            "redis://a,b",
                            "redis+sentinel://:s3cret@one",
                            "redis+sentinel://:s3cret@one//0",
                            "redis+sentinel://:s3cret@one,,two/mymaster",
                            "redis+sentinel:///mymaster",
                            "redis+sentinel://one/mymaster/s3cret",
                            "redis+sentinel://one/mymaster/0/1"}) {
    INFO(wrong);
    CHECK_FALSE(parse_redis_url(wrong));
    CHECK_THAT(read(wrong), !Contains("s3cret"));
  }
}

TEST_CASE("a store's settings are checked together") {
  CHECK(load_with("tenant_store: {kind: redis, redis_url: 'redis://cache'}").empty());
  CHECK(load_with("tenant_store: {ttl: 5s, timeout: 6s, stale_max: 16s}").empty());
  CHECK(load_with("tenant_store: {kind: redis}", {{"PGWEIR_TENANT_STORE__REDIS_URL_FILE", "u"}},
                  {{"u", "redis://:s3cret@cache\n"}})
            .empty());
  CHECK(load_with("tenant_store: {kind: redis, redis_url_file: u}", {}, {{"u", "rediss://cache\n"}}).empty());
  CHECK(load_with("tenant_store: {kind: postgres, postgres_url: 'postgres://u@h/d', redis_url: 'redis://x', "
                  "rates: fleet}")
            .empty());
  CHECK(load_with("tenant_store: {kind: postgres, postgres_url_file: u}", {},
                  {{"u", "postgres://pooler:s3cret@platform.example/platform?sslmode=verify-full"}})
            .empty());
  const struct {
    const char *lines, *says;
  } rows[] = {
      {"tenant_store: {kind: redis}",
       "tenant_store.redis_url: must be set, because tenant_store.kind is redis"},
      {"tenant_store: {redis_url: 'redis://x'}", "would not be used, because tenant_store.kind is file"},
      {"tenant_store: {kind: radish}", "must be one of file, redis, postgres, not 'radish'"},
      {"tenant_store: {kind: redis, redis_url: 'redis://:s3cret@'}", "redis_url: has no valid host"},
      {"tenant_store: {kind: redis, redis_url: 'redis://x', redis_ca_file: /ca}", "is not rediss://"},
      {"tenant_store: {kind: postgres}",
       "tenant_store.postgres_url: must be set, because tenant_store.kind is postgres"},
      {"tenant_store: {kind: postgres, postgres_url: 'mysql://s3cret'}", "must begin with postgres://"},
      {"tenant_store: {kind: postgres, postgres_url: 'postgres://platform.example/db'}", "must name a user"},
      {"tenant_store: {kind: redis, redis_url: 'redis://x', postgres_url: 'postgres://u@h/d'}",
       "would not be used, because tenant_store.kind is not postgres"},
      {"tenant_store: {rates: fleet}", "must be local, because tenant_store.redis_url names no Redis"},
      {"tenant_store: {ttl: 1h}",
       "tenant_store.stale_max: must be at least 7201s, twice tenant_store.ttl and tenant_store.timeout, or "
       "records would be too old before they are looked up again"},
      {"tenant_store: {ttl: 8s, stale_max: 15s}", "tenant_store.stale_max: must be at least 17s"},
      {"tenant_store: {ttl: 5s, timeout: 6s, stale_max: 15s}",
       "tenant_store.stale_max: must be at least 16s"},
      {"tenant_store: {ttl: never}", "tenant_store.ttl"},
      {"tenant_store: {kind: redis, redis_url: 'redis://x', redis_url_file: u}", "not both"},
      {"tenant_store: {kind: redis, redis_url_file: u, redis_url: 'redis://x'}", "not both"},
      {"tenant_store: {kind: redis, redis_url_file: none}", "cannot read none"},
      {"client: {tenant_named_by: [database, user]}", "must have database last"},
      {"client: {tenant_named_by: [user, user]}", "must not name user twice"},
      {"client: {tenant_named_by: []}", "must have between 1 and 4 items"},
      {"client: {tenant_named_by: [users]}", "did you mean user?"},
      {"client: {tenant_named_by: [sni]}", "client.sni_domain: must be set"},
      {"client: {tenant_named_by: [sni], sni_domain: x.y}", "client.tls_mode: must not be disable"},
      {"client: {sni_domain: .x.y}", "must be a domain such as"},
  };
  for (const auto& row : rows) {
    INFO(row.lines);
    CHECK_THAT(load_with(row.lines, {}, {{"u", "redis://y"}}), Contains(row.says) && !Contains("s3cret"));
  }
}

TEST_CASE("the address of a Redis is shown masked") {
  const auto loaded =
      load_text("backends: {main: {}}\ntenant_store: {kind: redis, redis_url: 'redis://:s3cret@x'}");
  REQUIRE(loaded);
  CHECK_THAT(shown(*loaded, "tenant_store.redis_url"), Contains("********") && !Contains("s3cret"));
}
