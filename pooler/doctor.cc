#include "pooler/doctor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

namespace pgweir::doctor {

namespace {

std::string_view word(Health health) {
  switch (health) {
    case Health::Ok: return "ok";
    case Health::Warn: return "warn";
    case Health::Fail: return "fail";
  }
  return "";
}

std::string day(std::int64_t time_s) {
  const auto seconds = static_cast<std::time_t>(time_s);
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d", &utc)};
}

std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& each : words) text += (text.empty() ? "" : ", ") + each;
  return text;
}

// What its dates say; ok: nothing to be done.
Finding judge_dates(const std::string& check, const net::Visit::Certificate& certificate,
                    std::int64_t now_s) {
  if (now_s >= certificate.not_after_s)
    return {check, Health::Fail,
            fmt::format("the certificate of {} has expired on {}: put a new one in its place",
                        certificate.subject, day(certificate.not_after_s))};
  if (now_s < certificate.not_before_s)
    return {check, Health::Fail,
            fmt::format("the certificate of {} holds from {} on only: look at the clocks, or at the "
                        "certificate",
                        certificate.subject, day(certificate.not_before_s))};
  const auto left = std::chrono::seconds(certificate.not_after_s - now_s);
  if (left < kExpiresSoon)
    return {check, Health::Warn,
            fmt::format("the certificate of {} expires on {}: renew it", certificate.subject,
                        day(certificate.not_after_s))};
  return {check, Health::Ok,
          fmt::format("certificate of {}, until {}", certificate.subject, day(certificate.not_after_s))};
}

bool verifies(conf::TlsMode mode) {
  return mode == conf::TlsMode::VerifyCa || mode == conf::TlsMode::VerifyFull;
}

std::string login_advice(const Error& error, const Login& login) {
  const std::string_view code = error.sqlstate;
  const std::string place =
      login.side ? "side_user and side_password of the backend" : "user and password of the tenant";
  if (code == "28P01") return "the password is wrong: look at " + place;
  if (code == "28000") return "look at " + place + ", and at pg_hba.conf";
  if (code == "3D000") return "create the database, or name another one";
  if (code == "53300")
    return "Postgres has no connection left: raise max_connections, or lower max_server_connections";
  if (code == "57P03") return "Postgres is starting, or in recovery: wait";
  return "look at the backend's log";
}

}  // namespace

Finding judge_name(const std::string& check, const std::string& host,
                   const Expected<std::vector<std::string>>& addresses) {
  if (!addresses)
    return {check, Health::Fail,
            fmt::format("{} cannot be resolved ({}): look at the name, and at /etc/resolv.conf", host,
                        addresses.error().message)};
  return {check, Health::Ok, fmt::format("{} is {}", host, listed(*addresses))};
}

Finding judge_knocks(const std::string& check, const std::vector<Knock>& knocks) {
  std::vector<std::string> open, shut;
  for (const Knock& knock : knocks)
    (knock.error.empty() ? open : shut)
        .push_back(knock.error.empty() ? knock.address : knock.address + ": " + knock.error);
  if (open.empty())
    return {check, Health::Fail,
            fmt::format(
                "nobody answers ({}): is it running, does it listen there, does a firewall let us through?",
                listed(shut))};
  if (!shut.empty())
    return {check, Health::Warn,
            fmt::format("{} answers, others do not ({}): each connection may try those first", listed(open),
                        listed(shut))};
  return {check, Health::Ok, listed(open) + (open.size() == 1 ? " answers" : " answer")};
}

Finding judge_tls(const std::string& check, const TlsFacts& facts, conf::TlsMode mode,
                  const std::string& host, std::int64_t now_s) {
  using conf::TlsMode;
  const bool needed = mode == TlsMode::Require || verifies(mode);
  if (!facts.speaks)
    return {
        check, Health::Fail,
        "it takes connections and does not answer as Postgres does: is the port right, is something else in "
        "front of it?"};
  if (mode == TlsMode::Disable)
    return {check, facts.offered ? Health::Warn : Health::Ok,
            facts.offered ? "TLS is offered and not used: set tls_mode to verify-full, or to require"
                          : "not used (tls_mode disable), and not offered"};
  if (!facts.offered)
    return {check, needed ? Health::Fail : Health::Warn,
            needed ? "TLS is wanted and not offered: set ssl = on there, or lower tls_mode"
                   : "no TLS is offered, so all goes in the clear: set ssl = on there"};
  if (!facts.certificate)
    return {check, Health::Fail, "the handshake fails: " + facts.certificate.error().message};
  Finding finding = judge_dates(check, *facts.certificate, now_s);
  // A mode that verifies nothing takes an expired one as well.
  if (finding.health == Health::Fail && !verifies(mode)) finding.health = Health::Warn;
  if (finding.health != Health::Ok && (finding.health == Health::Fail || !verifies(mode))) return finding;
  if (verifies(mode) && !facts.certificate->chain_error.empty())
    return {check, Health::Fail,
            fmt::format("{} is not trusted ({}): set tls_ca_file to who has signed it",
                        facts.certificate->subject, facts.certificate->chain_error)};
  if (mode == TlsMode::VerifyFull && !facts.certificate->name_fits)
    return {check, Health::Fail,
            fmt::format("{} is not for {}: connect by a name that it has, or use verify-ca",
                        facts.certificate->subject, host)};
  if (!verifies(mode)) finding.text += "; not verified";
  return finding;
}

Finding judge_own_certificate(const std::string& check, const Expected<net::Visit::Certificate>& certificate,
                              std::int64_t now_s) {
  if (!certificate)
    return {check, Health::Fail, "cannot be read (" + certificate.error().message + "): look at the file"};
  return judge_dates(check, *certificate, now_s);
}

std::optional<LoginFacts> login_facts(const std::vector<std::vector<std::optional<std::string>>>& rows) {
  if (rows.size() != 1 || rows[0].size() != 8) return {};
  const auto& row = rows[0];
  for (const auto& value : row)
    if (!value) return {};
  const auto number = [&](std::size_t i, auto& out) {
    const auto [end, error] = std::from_chars(row[i]->data(), row[i]->data() + row[i]->size(), out);
    return error == std::errc() && end == row[i]->data() + row[i]->size();
  };
  LoginFacts facts;
  facts.superuser = row[1] == "t";
  facts.bypasses_row_security = row[2] == "t";
  facts.signals = row[3] == "t";
  facts.has_tenant_function = row[4] == "t";
  if (!number(0, facts.version) || !number(5, facts.connections) || !number(6, facts.reserved) ||
      !number(7, facts.time_s))
    return {};
  return facts;
}

Finding judge_login(const std::string& check, const Login& login, const Expected<LoginFacts>& facts) {
  if (!facts)
    return {check, Health::Fail,
            fmt::format("{} cannot log in to {} ({}): {}", login.role, login.database, facts.error().message,
                        login_advice(facts.error(), login))};
  if (facts->superuser)
    return {check, Health::Fail,
            fmt::format("{} is a superuser, whom no ceiling holds: use {}", login.role,
                        login.side ? "one made by packaging/postgres/side_role.sql" : "another role")};
  if (login.side && !facts->signals)
    return {check, Health::Warn,
            fmt::format("{} may not end processes: GRANT pg_signal_backend TO {}", login.role, login.role)};
  if (!login.side && login.tokens && facts->bypasses_row_security)
    return {check, Health::Fail,
            fmt::format("{} has BYPASSRLS, so it sees the rows of all tenants: ALTER ROLE {} NOBYPASSRLS",
                        login.role, login.role)};
  if (!login.side && login.tokens && !facts->has_tenant_function)
    return {check, Health::Warn,
            fmt::format("{} has no pgweir.tenant() that {} may see, though tenant_secret is set: run "
                        "packaging/postgres/tenancy.sql there",
                        login.database, login.role)};
  return {check, Health::Ok,
          fmt::format("{} logs in to {}, Postgres {}", login.role, login.database, facts->version)};
}

Finding judge_role(const std::string& check, const HostSeen& seen) {
  if (!seen.role)
    return {check, Health::Warn,
            fmt::format("it cannot be asked whether it is a primary ({}): look at its log, and at the login",
                        seen.role.error().message)};
  return {check, Health::Ok, name(*seen.role)};
}

Finding judge_roles(const std::string& check, conf::SessionAttrs wanted, const std::vector<HostSeen>& seen) {
  std::vector<std::string> fit, others;
  for (const HostSeen& each : seen) {
    const bool fits_here = each.role && fits(wanted, *each.role);
    if (fits_here) fit.push_back(each.host);
    others.push_back(fmt::format("{}: {}", each.host, each.role ? name(*each.role) : "unknown"));
  }
  if (!fit.empty()) return {check, Health::Ok, fmt::format("{} is what {} wants", listed(fit), name(wanted))};
  const bool anybody =
      std::any_of(seen.begin(), seen.end(), [](const HostSeen& each) { return !!each.role; });
  if (wanted == conf::SessionAttrs::PreferStandby && anybody)
    return {check, Health::Ok, fmt::format("no standby ({}), so the others serve", listed(others))};
  if (!anybody)
    return {check, Health::Fail,
            fmt::format("no host tells what it is ({}), and target_session_attrs is {}", listed(others),
                        name(wanted))};
  return {check, Health::Fail,
          fmt::format("no host is what target_session_attrs {} wants ({}), so no client is let in: {}, or "
                      "change target_session_attrs",
                      name(wanted), listed(others),
                      wants_primary(wanted) ? "name the primary in hosts, or promote one of these"
                                            : "name a standby in hosts")};
}

Finding judge_connections(const std::string& check, std::uint32_t max_server_connections,
                          const LoginFacts& facts) {
  const std::uint32_t room = facts.connections - std::min(facts.reserved, facts.connections);
  if (max_server_connections > room)
    return {check, Health::Fail,
            fmt::format("max_server_connections is {}, and Postgres has {} (max_connections less those for "
                        "superusers): lower the one, or raise the other",
                        max_server_connections, room)};
  if (max_server_connections == room)
    return {
        check, Health::Warn,
        fmt::format("max_server_connections takes all {} connections of Postgres: leave some for the side "
                    "role, migrations and backups",
                    room)};
  return {check, Health::Ok, fmt::format("{} of Postgres's {}", max_server_connections, room)};
}

Finding judge_clock(const std::string& check, const ClockFacts& facts) {
  // Within the time that asking took nothing is known.
  const std::int64_t ahead = facts.told_s > facts.after_s    ? facts.told_s - facts.after_s
                             : facts.told_s < facts.before_s ? facts.told_s - facts.before_s
                                                             : 0;
  const std::chrono::seconds off(std::abs(ahead));
  if (off < kClockWarn) return {check, Health::Ok, "agrees with ours"};
  const bool tokens = facts.tokens_hold && off >= *facts.tokens_hold / 2;
  return {check, tokens || off >= kClockFail ? Health::Fail : Health::Warn,
          fmt::format("{} s {} ours{}: let both follow NTP", off.count(), ahead > 0 ? "ahead of" : "behind",
                      tokens ? ", so that tenants' tokens do not hold as they should" : "")};
}

Finding judge_store(const std::string& check, bool answered, const std::string& complaint,
                    const std::string& advice) {
  if (!answered)
    return {check, Health::Fail,
            fmt::format("it does not answer{}: {}", complaint.empty() ? "" : " (" + complaint + ")", advice)};
  if (!complaint.empty()) return {check, Health::Warn, fmt::format("{}: {}", complaint, advice)};
  return {check, Health::Ok, "answers"};
}

std::optional<Finding> judge_eviction(const std::string& check, std::string_view info) {
  const auto value = [info](std::string_view name) -> std::string_view {
    const std::size_t at = info.find(name);
    if (at == std::string_view::npos || (at > 0 && info[at - 1] != '\n')) return {};
    const std::string_view rest = info.substr(at + name.size());
    return rest.substr(0, rest.find_first_of("\r\n"));
  };
  const std::string_view most = value("maxmemory:"), policy = value("maxmemory_policy:");
  if (most.empty() || most == "0" || policy.empty() || policy == "noeviction") return {};
  return Finding{check, Health::Warn,
                 fmt::format("maxmemory-policy is {}: when it is full it forgets {}usage that is not billed "
                             "yet; set it to noeviction",
                             policy, policy.starts_with("allkeys") ? "tenants, and " : "")};
}

Finding judge_usage(const std::string& check, const std::string& error, std::string_view advice) {
  if (error.empty()) return {check, Health::Ok, "is kept"};
  return {check, Health::Warn, fmt::format("usage is not kept ({}): {}", error, advice)};
}

Finding judge_port(const std::string& check, const std::string& address, Port port,
                   const std::string& error) {
  switch (port) {
    case Port::Free: return {check, Health::Ok, address + " is free"};
    case Port::Ours: return {check, Health::Ok, address + " is a pgweir's that runs already"};
    case Port::Taken: break;
  }
  return {check, Health::Fail, "cannot " + error};
}

Finding judge_file(const std::string& check, const FileFacts& facts, std::string_view setting) {
  if (facts.error.empty()) return {check, Health::Ok, facts.path + " can be written"};
  const std::string advice = facts.missing.empty()
                                 ? std::string("let this user write there")
                                 : fmt::format("create the folder {} for this user", facts.missing);
  return {check, Health::Fail,
          fmt::format("cannot open {} ({}): {}, or change {}", facts.path, facts.error, advice, setting)};
}

Finding judge_secret_file(const std::string& check, const std::string& path, std::uint32_t permissions) {
  constexpr std::uint32_t kOthers = 07;
  if ((permissions & kOthers) == 0) return {check, Health::Ok, path + " is closed to others"};
  return {check, Health::Warn,
          fmt::format("{} is open to every user of this machine (mode {:04o}): chmod o= {}", path,
                      permissions & 07777, path)};
}

Finding judge_no_certificate(const std::string& check, const std::string& public_one) {
  if (public_one.empty()) return {check, Health::Ok, "none is needed: only this machine can connect"};
  return {
      check, Health::Warn,
      fmt::format("there is none, so what clients of other machines send to {} and hear goes in the clear: "
                  "set client.tls_cert_file and client.tls_key_file",
                  public_one)};
}

Findings judge_host(const HostFacts& facts) {
  Findings findings;
  const auto say = [&](const char* check, Health health, std::string text) {
    findings.push_back({check, health, std::move(text)});
  };
  if (facts.files_most < facts.files_needed)
    say("host: open files", Health::Fail,
        fmt::format("{} at most, and {} are needed for client.max and all servers: raise ulimit -Hn "
                    "(LimitNOFILE= in a unit), or lower client.max",
                    facts.files_most, facts.files_needed));
  else
    say("host: open files", Health::Ok, fmt::format("{} of {}", facts.files_needed, facts.files_most));
  if (facts.somaxconn && *facts.somaxconn < facts.backlog)
    say("host: net.core.somaxconn", Health::Warn,
        fmt::format("{} cuts listen.backlog {} short: sysctl net.core.somaxconn={}", *facts.somaxconn,
                    facts.backlog, facts.backlog));
  else if (facts.somaxconn)
    say("host: net.core.somaxconn", Health::Ok, fmt::format("{}", *facts.somaxconn));
  if (facts.reuse_port && facts.migrate_req == 0)
    say("host: tcp_migrate_req", Health::Warn,
        "whoever connects in the moment when one of two pgweirs stops listening is reset "
        "(listen.reuse_port): sysctl net.ipv4.tcp_migrate_req=1");
  else if (facts.reuse_port && facts.migrate_req)
    say("host: tcp_migrate_req", Health::Ok, fmt::format("{}", *facts.migrate_req));
  if (facts.local_ports) {
    const auto [first, last] = *facts.local_ports;
    const std::uint32_t ports = last < first ? 0 : last - first + 1;
    // A port is not used again for a minute after its connection has ended.
    if (ports / 2 < facts.servers_of_one_address)
      say("host: ip_local_port_range", Health::Warn,
          fmt::format("{} ports for up to {} connections to one address: sysctl "
                      "net.ipv4.ip_local_port_range=\"1024 65535\"",
                      ports, facts.servers_of_one_address));
    else
      say("host: ip_local_port_range", Health::Ok, fmt::format("{} ports", ports));
  }
  return findings;
}

Health worst(const Findings& findings) {
  Health worst = Health::Ok;
  for (const Finding& finding : findings) worst = std::max(worst, finding.health);
  return worst;
}

std::string table(const Findings& findings) {
  std::size_t width = 5;
  for (const Finding& finding : findings) width = std::max(width, finding.check.size());
  std::string text = fmt::format("{:<{}} | status | what to do\n", "check", width);
  for (const Finding& finding : findings)
    text += fmt::format("{:<{}} | {:<6} | {}\n", finding.check, width, word(finding.health), finding.text);
  return text;
}

}  // namespace pgweir::doctor
