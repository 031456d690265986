#include "conf/database_url.h"

#include <catch2/catch.hpp>

using namespace pgweir::conf;

namespace {

// "user|password|database|key=value ..." or the error.
std::string parsed(std::string_view text) {
  const auto url = parse_database_url(text);
  if (!url) return url.error();
  std::string out = url->user + "|" + url->password + "|" + url->database + "|";
  for (const auto& [key, value] : url->backend) out += " " + std::string(key) + "=" + value;
  return out;
}

}  // namespace

TEST_CASE("connection strings are read") {
  struct Row {
    std::string_view text, result;
  };
  const Row rows[] = {
      {"postgres://u:p@h:6000/d", "u|p|d| host=h port=6000"},
      {"postgresql://u:p@h/d", "u|p|d| host=h"},
      {"postgres://u:p@h:/d", "u|p|d| host=h"},
      {"postgres://u@h", "u||u| host=h"},
      {"postgres://h/d", "||d| host=h"},
      {"postgres://h", "||| host=h"},
      {"postgres://u:p@h1,h2/d", "u|p|d| hosts=h1,h2"},
      {"postgres://u:p@h1:1,[::1]:2,::2/d?target_session_attrs=primary",
       "u|p|d| hosts=h1:1,[::1]:2,::2 target_session_attrs=primary"},
      {"postgres:///d", "||d|"},
      {"postgres://", "|||"},
      {"postgres://u:p@[2001:db8::1]:6000/d", "u|p|d| host=2001:db8::1 port=6000"},
      {"postgres://u:p@[::1]/d", "u|p|d| host=::1"},
      {"postgres://u:p@[fe80::1%25eth0]/d", "u|p|d| host=fe80::1%eth0"},
      {"postgres://u%40x:p%40%2F%3a%25%20@h/d%2Fe", "u@x|p@/:% |d/e| host=h"},
      {"postgres://u:a:b#c@h/d", "u|a:b#c|d| host=h"},
      {"postgres://u:p@%2Frun%2Fpostgresql/d", "u|p|d| host=/run/postgresql"},
      {"postgres:///d?host=/run/postgresql&port=5433", "||d| host=/run/postgresql port=5433"},
      {"postgres://u:p@h/d?sslmode=require", "u|p|d| host=h tls_mode=require"},
      {"postgres://u:p@h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
       "u|p|d| host=h tls_mode=verify-full tls_ca_file=/etc/ca.pem"},
      {"postgres://h?user=u&password=p%26&dbname=d", "u|p&|d| host=h"},
      {"postgres://u:p@h/d?application_name=x&connect_timeout=5&pgbouncer=true", "u|p|d| host=h"},
      {"postgres://u:p@h/d?sslmode=&&", "u|p|d| host=h"},
      {"postgres://u:p@h1,h2/d?target_session_attrs=read-only",
       "u|p|d| hosts=h1,h2 target_session_attrs=read-only"},
      {"postgres://u:p@h/d?channel_binding=prefer", "u|p|d| host=h"},
  };
  for (const Row& row : rows) CHECK(parsed(row.text) == row.result);
}

TEST_CASE("broken connection strings are refused") {
  struct Row {
    std::string_view text, result;
  };
  const std::string_view kLateAt =
      "has an '@' behind the host; in a user or password write '/' as %2F, '?' as %3F and '@' as %40";
  const Row rows[] = {
      {"", "must begin with postgres:// or postgresql://"},
      {"mysql://u:hunter2@h/d", "must begin with postgres:// or postgresql://"},
      {"u:hunter2@h/d", "must begin with postgres:// or postgresql://"},
      {"postgres://u:hun@ter2@h/d", "has more than one '@'; in a user or password it is written %40"},
      {"postgres://u:hun/ter2@h/d", kLateAt},
      {"postgres://u:12/hunter2@h/d", kLateAt},
      {"postgres://u:hun?ter2@h/d", kLateAt},
      {"postgres://u:1?hunter2@h/d", kLateAt},
      {"postgres://u:hu?n?ter2@h/d",
       "has more than one '?'; inside a user, password or value it is written %3F"},
      {"postgres://u:hunter2@h/d/e", "has a '/' in the database's name; write it as %2F"},
      {"postgres://u:hunter2%@h/d",
       "has an invalid percent sign or control character in the password; a percent sign itself is written "
       "%25"},
      {"postgres://u:hunter2%4@h/d",
       "has an invalid percent sign or control character in the password; a percent sign itself is written "
       "%25"},
      {"postgres://u:hunter2%zz@h/d",
       "has an invalid percent sign or control character in the password; a percent sign itself is written "
       "%25"},
      {"postgres://u:hunter2%00@h/d",
       "has an invalid percent sign or control character in the password; a percent sign itself is written "
       "%25"},
      {"postgres://u%0a:hunter2@h/d",
       "has an invalid percent sign or control character in the user; a percent sign itself is written %25"},
      {"postgres://u:hunter2@h:0/d", "has no valid port: between 1 and 65535"},
      {"postgres://u:hunter2@h:65536/d", "has no valid port: between 1 and 65535"},
      {"postgres://u:hunter2", "has no valid port: between 1 and 65535"},
      {"postgres://hunter2 x@@", "has more than one '@'; in a user or password it is written %40"},
      {"postgres://u:hunter2@h h/d",
       "has no valid host: a name, an address, [an IPv6 address] or %2Fa%2Fdirectory"},
      {"postgres://u:hunter2@h1,/d", "has an empty name in its list of hosts"},
      {"postgres://u:hunter2@h1:1,h2:0/d",
       "has no valid list of hosts: each is a name, an address or [an IPv6 address], perhaps with a port"},
      {"postgres://u:hunter2@h1%2Ch2,h3/d", "has no valid list of hosts"},
      {"postgres://u:hunter2@h1,h2/d?target_session_attrs=leader",
       "has no valid target_session_attrs: auto, any, read-write, read-only, primary, standby, "
       "prefer-standby"},
      {"postgres://u:hunter2@[::1/d", "has a '[' before the host without its ']'"},
      {"postgres://u:hunter2@[::1]x/d", "has something between ']' and the port"},
      {"postgres://u:hunter2@[host]/d", "has no IPv6 address between '[' and ']'"},
      {"postgres://u:hunter2@::1/d",
       "has more than one ':' behind the user; an IPv6 address stands in brackets: [::1]:5432"},
      {"postgres://u:p@fd12::1:5432/d",
       "has more than one ':' behind the user; an IPv6 address stands in brackets: [::1]:5432"},
      {"postgres://u:hunter2@h/d*",
       "has a '*' in the database's name, which would make a pattern of the tenant"},
      {"postgres://u:hunter2@h/d?sslmode=on",
       "has no valid sslmode: disable, allow, prefer, require, verify-ca, verify-full"},
      {"postgres://u:hunter2@h/d?sslmod=require",
       "has the parameter 'sslmod', which we would not obey; remove it; did you mean sslmode?"},
      {"postgres://u:hunter2@h/d?options=-c%20x%3D1",
       "has the parameter 'options', which we would not obey; remove it"},
      {"postgres://u:hunter2@h/d?sslmode", "has a parameter without '=' behind the '?'"},
      {"postgres://u:hunter2@h/d?sslrootcert=system",
       "asks for sslrootcert=system; give the path of the system's file of authorities instead"},
      {"postgres://u:hunter2@h/d?channel_binding=require",
       "asks for channel_binding=require, which is not built yet; sslmode=verify-full protects as well"},
  };
  for (const Row& row : rows) {
    const std::string result = parsed(row.text);
    CHECK(result == row.result);
    CHECK(result.find("hunter") == std::string::npos);
    CHECK(result.find("ter2") == std::string::npos);
  }
}
