#include "conf/database_url.h"

#include <algorithm>
#include <array>

#include "conf/percent.h"
#include "conf/settings.h"
#include "pooler/base/near.h"
#include "pooler/base/quoted.h"

namespace pgweir::conf {
namespace {

using Read = tl::expected<void, std::string>;
Read wrong(std::string why) { return tl::unexpected(std::move(why)); }

// What to do with a parameter behind '?'.
enum class Meaning : std::uint8_t { Backend, User, Password, Database, OfTheClient };
struct Parameter {
  std::string_view name;
  Meaning meaning;
  std::string_view key;  // Backend
};
// "OfTheClient": says how an application or its driver behaves, which changes nothing for us.
constexpr std::array kParameters{
    Parameter{"sslmode", Meaning::Backend, "tls_mode"},
    Parameter{"sslrootcert", Meaning::Backend, "tls_ca_file"},
    Parameter{"sslcert", Meaning::Backend, "tls_cert_file"},
    Parameter{"sslkey", Meaning::Backend, "tls_key_file"},
    Parameter{"host", Meaning::Backend, "host"},
    Parameter{"port", Meaning::Backend, "port"},
    Parameter{"target_session_attrs", Meaning::Backend, "target_session_attrs"},
    Parameter{"user", Meaning::User, {}},
    Parameter{"password", Meaning::Password, {}},
    Parameter{"dbname", Meaning::Database, {}},
    Parameter{"application_name", Meaning::OfTheClient, {}},
    Parameter{"fallback_application_name", Meaning::OfTheClient, {}},
    Parameter{"client_encoding", Meaning::OfTheClient, {}},
    Parameter{"connect_timeout", Meaning::OfTheClient, {}},
    Parameter{"connection_limit", Meaning::OfTheClient, {}},
    Parameter{"keepalives", Meaning::OfTheClient, {}},
    Parameter{"keepalives_idle", Meaning::OfTheClient, {}},
    Parameter{"keepalives_interval", Meaning::OfTheClient, {}},
    Parameter{"keepalives_count", Meaning::OfTheClient, {}},
    Parameter{"pgbouncer", Meaning::OfTheClient, {}},
    Parameter{"pool_timeout", Meaning::OfTheClient, {}},
    Parameter{"schema", Meaning::OfTheClient, {}},
    Parameter{"tcp_user_timeout", Meaning::OfTheClient, {}},
};

// Takes what stands before the mark, and the mark; all of it if there is no mark.
std::string_view take(std::string_view& text, char mark) {
  const std::size_t at = std::min(text.find(mark), text.size());
  const std::string_view head = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return head;
}

class Reader {
 public:
  Read read(std::string_view text) {
    bool scheme = false;
    for (const std::string_view each : {"postgres://", "postgresql://"}) {
      if (!text.starts_with(each)) continue;
      text.remove_prefix(each.size());
      scheme = true;
    }
    if (!scheme) return wrong("must begin with postgres:// or postgresql://");
    if (std::count(text.begin(), text.end(), '?') > 1) {
      return wrong("has more than one '?'; inside a user, password or value it is written %3F");
    }
    std::string_view query = text;
    std::string_view path = take(query, '?');
    const std::string_view authority = take(path, '/');
    if (path.find('@') != std::string_view::npos || query.find('@') != std::string_view::npos) {
      return wrong(
          "has an '@' behind the host; in a user or password write '/' as %2F, '?' as %3F and '@' as %40");
    }
    if (path.find('/') != std::string_view::npos)
      return wrong("has a '/' in the database's name; write it as %2F");
    if (auto good = read_authority(authority); !good) return good;
    if (auto good = keep(url.database, path, "the database's name"); !good) return good;
    while (!query.empty()) {
      if (auto good = read_parameter(take(query, '&')); !good) return good;
    }
    if (url.database.empty()) url.database = url.user;
    if (url.database.find('*') != std::string::npos) {
      return wrong("has a '*' in the database's name, which would make a pattern of the tenant");
    }
    return {};
  }

  DatabaseUrl url;

 private:
  static Read keep(std::string& place, std::string_view text, std::string_view what) {
    auto decoded = percent_decoded(text);
    if (!decoded) {
      return wrong("has an invalid percent sign or control character in " + std::string(what) +
                   "; a percent sign itself is written %25");
    }
    if (!decoded->empty()) place = std::move(*decoded);
    return {};
  }

  Read read_authority(std::string_view text) {
    const auto ats = std::count(text.begin(), text.end(), '@');
    if (ats > 1) return wrong("has more than one '@'; in a user or password it is written %40");
    if (ats == 1) {
      std::string_view password = take(text, '@');
      const std::string_view user = take(password, ':');
      if (auto good = keep(url.user, user, "the user"); !good) return good;
      if (auto good = keep(url.password, password, "the password"); !good) return good;
    }
    if (text.find(',') != std::string_view::npos) return read_hosts(text);
    std::string host, port;
    if (text.starts_with('[')) {
      text.remove_prefix(1);
      if (text.find(']') == std::string_view::npos) return wrong("has a '[' before the host without its ']'");
      if (auto good = keep(host, take(text, ']'), "the host"); !good) return good;
      if (!text.empty() && text[0] != ':') return wrong("has something between ']' and the port");
      if (host.find(':') == std::string::npos) return wrong("has no IPv6 address between '[' and ']'");
      text.remove_prefix(std::min<std::size_t>(1, text.size()));
      port = text;
    } else if (std::count(text.begin(), text.end(), ':') > 1) {
      return wrong("has more than one ':' behind the user; an IPv6 address stands in brackets: [::1]:5432");
    } else {
      if (auto good = keep(host, take(text, ':'), "the host"); !good) return good;
      port = text;
    }
    if (!host.empty()) {
      if (auto good = set("host", host); !good) return good;
    }
    return port.empty() ? Read{} : set("port", port);
  }

  // Ports are theirs, percent signs are decoded in each.
  Read read_hosts(std::string_view text) {
    std::string hosts;
    for (bool more = true; more;) {
      more = text.find(',') != std::string_view::npos;
      std::string host;
      if (auto good = keep(host, take(text, ','), "a host"); !good) return good;
      if (host.find(',') != std::string::npos) return wrong("has no valid list of hosts");
      hosts += (hosts.empty() ? "" : ",") + host;
      if (host.empty()) return wrong("has an empty name in its list of hosts");
    }
    return set("hosts", hosts);
  }

  Read read_parameter(std::string_view text) {
    if (text.empty()) return {};
    if (text.find('=') == std::string_view::npos) return wrong("has a parameter without '=' behind the '?'");
    const std::string_view name = take(text, '=');
    std::string value;
    if (auto good = keep(value, text, "a parameter"); !good) return good;
    if (name == "channel_binding") {
      if (value != "require") return {};
      return wrong(
          "asks for channel_binding=require, which is not built yet; sslmode=verify-full protects as well");
    }
    const auto* const known =
        std::find_if(kParameters.begin(), kParameters.end(),
                     [&](const Parameter& parameter) { return parameter.name == name; });
    if (known == kParameters.end()) {
      std::vector<std::string_view> names;
      for (const Parameter& parameter : kParameters) names.push_back(parameter.name);
      return wrong("has the parameter " + quoted(name) + ", which we would not obey; remove it" +
                   did_you_mean(name, names));
    }
    if (value.empty()) return {};
    switch (known->meaning) {
      case Meaning::Backend: return set(known->key, value, name);
      case Meaning::User: url.user = value; break;
      case Meaning::Password: url.password = value; break;
      case Meaning::Database: url.database = value; break;
      case Meaning::OfTheClient: break;
    }
    return {};
  }

  // The settings' own checks, without their words: those repeat the value.
  // `shown` is what the address calls it, if it is not the key.
  Read set(std::string_view key, const std::string& value, std::string_view shown = {}) {
    if (key == "tls_ca_file" && value == "system") {
      return wrong("asks for sslrootcert=system; give the path of the system's file of authorities instead");
    }
    Backend scratch;
    for (const auto& setting : backend_settings()) {
      if (setting.key != key || assign(scratch, setting, value)) continue;
      if (key == "host")
        return wrong("has no valid host: a name, an address, [an IPv6 address] or %2Fa%2Fdirectory");
      if (key == "hosts")
        return wrong(
            "has no valid list of hosts: each is a name, an address or [an IPv6 address], perhaps with a "
            "port");
      if (key == "port") return wrong("has no valid port: " + allowed(setting));
      return wrong("has no valid " + std::string(shown.empty() ? key : shown) + ": " + allowed(setting));
    }
    url.backend.emplace_back(key, value);
    return {};
  }
};

}  // namespace

tl::expected<DatabaseUrl, std::string> parse_database_url(std::string_view text) {
  Reader reader;
  if (auto good = reader.read(text); !good) return tl::unexpected(std::move(good.error()));
  return std::move(reader.url);
}

}  // namespace pgweir::conf
