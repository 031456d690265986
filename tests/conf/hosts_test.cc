#include "conf/hosts.h"

#include <catch2/catch.hpp>

#include "conf/load.h"
#include "tests/conf/files.h"

using namespace pgweir::conf;
using namespace pgweir::conf::test;

TEST_CASE("a host may have a port of its own") {
  struct Row {
    std::string text, read;
  };
  const std::string must = "must be a host, host:port or [IPv6 address]:port, not ";
  const std::string port = "; a port is a number between 1 and 65535";
  const Row rows[] = {
      {"db", "db 7"},
      {"db:5433", "db 5433"},
      {"10.0.0.1:1", "10.0.0.1 1"},
      {"fd00::1", "fd00::1 7"},
      {"[fd00::1]", "fd00::1 7"},
      {"[fd00::1]:65535", "fd00::1 65535"},
      {"/run/postgresql", "/run/postgresql 7"},
      {"/run/postgresql:5433", "/run/postgresql 5433"},
      {"", must + "'', which names no host"},
      {":5432", must + "':5432', which names no host"},
      {"db:", must + "'db:'" + port},
      {"db:0", must + "'db:0'" + port},
      {"db:65536", must + "'db:65536'" + port},
      {"db:5432x", must + "'db:5432x'" + port},
      {"[fd00::1", must + "'[fd00::1', whose '[' has no ']'"},
      {"[db]:1", must + "'[db]:1', which has no IPv6 address in brackets"},
      {"[fd00::1]5432", must + "'[fd00::1]5432'"},
  };
  for (const Row& row : rows) {
    const auto read = parse_host(row.text, 7);
    CHECK((read ? read->host + " " + std::to_string(read->port) : read.error()) == row.read);
  }
}

TEST_CASE("a backend has one host or several") {
  struct Row {
    std::string fields, result;
  };
  const Row rows[] = {
      {"{}", "localhost:5432"},
      {"{host: db, port: 7}", "db:7"},
      {"{hosts: [a, 'b:1'], port: 7}", "a:7 b:1"},
      {"{hosts: 'a:2, b'}", "a:2 b:5432"},
      {"{hosts: []}", "localhost:5432"},
      {"{hosts: [/run/a, '/run/b:1']}", "/run/a:5432 /run/b:1"},
      {"{host: 'a,b'}", "f:1:22: backends.x.host: must be a single host, not 'a,b'; several stand in hosts"},
      {"{host: a, hosts: [b]}", "f:1:32: backends.x.hosts: give hosts or host, not both"},
      {"{hosts: [a, 'a:5432']}", "f:1:23: backends.x.hosts: has 'a:5432' twice"},
      {"{hosts: [a, /run]}", "f:1:23: backends.x.hosts: must be all directories of unix sockets, or none"},
      {"{hosts: ['a b:1']}",
       "f:1:23: backends.x.hosts: must be a name, an address or a directory without port or brackets, not 'a "
       "b'"},
      {"{hosts: [a], target_session_attrs: leader}",
       "f:1:50: backends.x.target_session_attrs: must be one of auto, any, read-write, read-only, primary, "
       "standby, prefer-standby, not 'leader'"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.fields);
    const auto loaded = load_text("backends: {x: " + row.fields + "}\n");
    std::string result;
    if (loaded)
      for (const HostPort& each : hosts_of(loaded->config.backends[0]))
        result += (result.empty() ? "" : " ") + each.host + ":" + std::to_string(each.port);
    else
      result = problems(loaded);
    CHECK(result == row.result);
  }
}
