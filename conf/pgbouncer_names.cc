#include "conf/pgbouncer_names.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "conf/loader.h"

namespace pgweir::conf {

namespace {

struct Name {
  std::string_view name;
  std::string_view key;  // ours; empty: it is always so
  bool seconds;
  std::string (*value)(const Config&);
};

template <auto member>
std::string number(const Config& config) {
  return std::to_string(config.*member);
}
template <auto member>
std::string seconds(const Config& config) {
  std::array<char, 32> text;
  const double value = static_cast<double>((config.*member).count()) / 1000;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}
template <char digit>
std::string always(const Config&) {
  return std::string(1, digit);
}

constexpr std::array kNames = {
    Name{"client_idle_timeout", "client.idle_timeout", true, &seconds<&Config::client_idle_timeout>},
    Name{"client_login_timeout", "client.login_timeout", true, &seconds<&Config::client_login_timeout>},
    Name{"idle_transaction_timeout", "client.idle_transaction_timeout", true,
         &seconds<&Config::idle_transaction_timeout>},
    Name{"listen_backlog", "listen.backlog", false, &number<&Config::backlog>},
    Name{"listen_port", "listen.port", false, &number<&Config::listen_port>},
    Name{"log_pooler_errors", "", false, &always<'1'>},
    Name{"max_client_conn", "client.max", false, &number<&Config::max_clients>},
    Name{"max_prepared_statements", "server.max_prepared_statements", false,
         &number<&Config::max_prepared_statements>},
    Name{"max_user_connections", "", false, &always<'0'>},  // no such bound
    Name{"query_timeout", "client.query_timeout", true, &seconds<&Config::query_timeout>},
    Name{"query_wait_timeout", "client.query_wait_timeout", true, &seconds<&Config::query_wait_timeout>},
    Name{"server_connect_timeout", "server.connect_timeout", true, &seconds<&Config::server_connect_timeout>},
    Name{"server_idle_timeout", "server.idle_timeout", true, &seconds<&Config::server_idle_timeout>},
    Name{"server_lifetime", "server.lifetime", true, &seconds<&Config::server_lifetime>},
    Name{"server_login_retry", "server.login_retry", true, &seconds<&Config::server_login_retry>},
    Name{"transaction_timeout", "client.transaction_timeout", true, &seconds<&Config::transaction_timeout>},
};

bool changeable(std::string_view key) {
  const auto* const setting = find_setting(settings(), key);
  return setting && setting->applies == Applies::OnReload;
}

}  // namespace

std::vector<Shown> show_pgbouncer(const Config& config) {
  const Config fresh;
  std::vector<Shown> rows;
  for (const Name& each : kNames)
    rows.push_back({std::string(each.name), each.value(config), each.value(fresh), changeable(each.key), {}});
  return rows;
}

std::optional<std::pair<std::string, std::string>> from_pgbouncer(std::string_view name,
                                                                  std::string_view value) {
  const auto found =
      std::find_if(kNames.begin(), kNames.end(), [name](const Name& each) { return each.name == name; });
  if (found == kNames.end() || found->key.empty()) return {};
  constexpr double kMost = 1e9;
  double seconds = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  const bool bare = error == std::errc() && end == value.data() + value.size() && std::abs(seconds) < kMost;
  return std::pair{std::string(found->key), found->seconds && bare
                                                ? std::to_string(std::llround(seconds * 1000)) + "ms"
                                                : std::string(value)};
}

}  // namespace pgweir::conf
