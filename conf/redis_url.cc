#include "conf/redis_url.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "conf/percent.h"
#include "conf/settings.h"
#include "pooler/base/units.h"

namespace pgweir::conf {
namespace {

constexpr std::int64_t kDatabaseMax = 65535;

tl::unexpected<std::string> wrong(std::string why) { return tl::unexpected(std::move(why)); }

// A name or address as those of backends, without a word of what it is.
bool good_host(const std::string& host) {
  if (host.empty() || host[0] == '/') return false;
  Backend scratch;
  for (const auto& setting : backend_settings())
    if (setting.key == "host") return assign(scratch, setting, host).has_value();
  return false;
}

struct Scheme {
  std::string_view begins;
  bool tls, sentinel;
};
constexpr Scheme kSchemes[] = {{"redis://", false, false},
                               {"rediss://", true, false},
                               {"redis+sentinel://", false, true},
                               {"rediss+sentinel://", true, true}};
constexpr std::uint16_t kPort = 6379, kSentinelPort = 26379;
constexpr std::size_t kSentinelsMax = 20;

tl::expected<RedisUrl::Host, std::string> parse_host(std::string_view text, std::uint16_t default_port) {
  RedisUrl::Host host{{}, default_port};
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return wrong("has a '[' before the host without its ']'");
    host.name = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && port[0] != ':') return wrong("has something between ']' and the port");
  } else {
    const std::size_t colon = std::min(text.find(':'), text.size());
    host.name = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (!good_host(host.name)) return wrong("has no valid host: a name, an address or [an IPv6 address]");
  if (port.empty()) return host;
  const auto number = parse_within(port.substr(1), Unit::Count, 1, 65535);
  if (!number) return wrong("has no valid port: a number between 1 and 65535");
  host.port = static_cast<std::uint16_t>(*number);
  return host;
}

// What stands before the mark; it and the mark are taken away.
std::string_view take(std::string_view& text, char mark) {
  const std::string_view head = text.substr(0, text.find(mark));
  text.remove_prefix(std::min(head.size() + 1, text.size()));
  return head;
}

}  // namespace

tl::expected<RedisUrl, std::string> parse_redis_url(std::string_view text) {
  RedisUrl url;
  const auto* const scheme = std::find_if(std::begin(kSchemes), std::end(kSchemes),
                                          [&](const Scheme& each) { return text.starts_with(each.begins); });
  if (scheme == std::end(kSchemes))
    return wrong("must begin with redis://, rediss://, redis+sentinel:// or rediss+sentinel://");
  url.tls = scheme->tls;
  text.remove_prefix(scheme->begins.size());
  // What Railway's guides put there for clients that would look for IPv4 alone. We look for both.
  for (const std::string_view each : {"?family=0", "?family=4", "?family=6"})
    if (text.ends_with(each)) {
      text.remove_suffix(each.size());
      break;
    }
  if (text.find_first_of("?#") != std::string_view::npos)
    return wrong("must have no '?' or '#'; in a user or password they are written %3F and %23");
  const auto ats = std::count(text.begin(), text.end(), '@');
  if (ats > 1) return wrong("has more than one '@'; in a user or password it is written %40");
  if (ats == 1) {
    std::string_view password = take(text, '@');
    auto user = percent_decoded(take(password, ':'));
    auto decoded = percent_decoded(password);
    if (!user || !decoded)
      return wrong("has an invalid percent sign or control character in user or password");
    if (decoded->empty()) return wrong("has an '@' but no password before it: write user:password@host");
    url.user = std::move(*user);
    url.password = std::move(*decoded);
  }
  std::string_view hosts = take(text, '/');
  if (scheme->sentinel) {
    url.master = take(text, '/');
    if (!good_host(url.master))
      return wrong("has no valid name of a master behind the sentinels: write .../mymaster/0");
  }
  if (!text.empty()) {
    const auto database = parse_within(text, Unit::Count, 0, kDatabaseMax);
    if (!database) return wrong("has no valid database behind the host: a number of at most 65535");
    url.database = static_cast<std::uint32_t>(*database);
  }
  do {
    auto host = parse_host(scheme->sentinel ? take(hosts, ',') : std::exchange(hosts, {}),
                           scheme->sentinel ? kSentinelPort : kPort);
    if (!host) return tl::unexpected(std::move(host.error()));
    url.hosts.push_back(std::move(*host));
  } while (!hosts.empty() && url.hosts.size() < kSentinelsMax);
  if (!hosts.empty()) return wrong("has more than " + std::to_string(kSentinelsMax) + " sentinels");
  return url;
}

}  // namespace pgweir::conf
