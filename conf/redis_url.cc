#include "conf/redis_url.h"

#include <algorithm>

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

}  // namespace

tl::expected<RedisUrl, std::string> parse_redis_url(std::string_view text) {
  RedisUrl url;
  url.tls = text.starts_with("rediss://");
  if (!url.tls && !text.starts_with("redis://")) return wrong("must begin with redis:// or rediss://");
  text.remove_prefix(text.find("//") + 2);
  if (text.find_first_of("?#") != std::string_view::npos)
    return wrong("must have no '?' or '#'; in a user or password they are written %3F and %23");
  const auto ats = std::count(text.begin(), text.end(), '@');
  if (ats > 1) return wrong("has more than one '@'; in a user or password it is written %40");
  if (ats == 1) {
    const std::string_view login = text.substr(0, text.find('@'));
    text.remove_prefix(login.size() + 1);
    const std::size_t colon = std::min(login.find(':'), login.size());
    auto user = percent_decoded(login.substr(0, colon));
    auto password = percent_decoded(login.substr(std::min(colon + 1, login.size())));
    if (!user || !password)
      return wrong("has an invalid percent sign or control character in user or password");
    if (password->empty()) return wrong("has an '@' but no password before it: write user:password@host");
    url.user = std::move(*user);
    url.password = std::move(*password);
  }
  const std::size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    const std::string_view number = text.substr(slash + 1);
    text = text.substr(0, slash);
    if (!number.empty()) {
      const auto database = parse_within(number, Unit::Count, 0, kDatabaseMax);
      if (!database) return wrong("has no valid database behind the host: a number of at most 65535");
      url.database = static_cast<std::uint32_t>(*database);
    }
  }
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return wrong("has a '[' before the host without its ']'");
    url.host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.empty() && port[0] != ':') return wrong("has something between ']' and the port");
  } else {
    const std::size_t colon = std::min(text.find(':'), text.size());
    url.host = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (!good_host(url.host)) return wrong("has no valid host: a name, an address or [an IPv6 address]");
  if (port.empty()) return url;
  const auto number = parse_within(port.substr(1), Unit::Count, 1, 65535);
  if (!number) return wrong("has no valid port: a number between 1 and 65535");
  url.port = static_cast<std::uint16_t>(*number);
  return url;
}

}  // namespace pgweir::conf
