#include "pooler/client_login.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/base/quoted.h"
#include "pooler/console.h"
#include "pooler/group.h"
#include "pooler/session.h"
#include "pooler/tenant_token.h"
#include "pooler/tier_control.h"
#include "pooler/worker.h"
#include "protocol/digest.h"
#include "protocol/messages.h"
#include "tiers/limit.h"

namespace pgweir {

namespace {

constexpr std::size_t kHeldMax = LoginCore::kMessageMax + 1;

LoginCore::TlsPolicy tls_policy(const Snapshot& snapshot, bool is_unix) {
  // Nobody listens on a unix socket, and drivers do not ask for TLS there.
  if (is_unix || !snapshot.client_tls) return LoginCore::TlsPolicy::Off;
  switch (snapshot.config().client_tls_mode) {
    case conf::TlsMode::Disable: return LoginCore::TlsPolicy::Off;
    case conf::TlsMode::Allow:
    case conf::TlsMode::Prefer: return LoginCore::TlsPolicy::Offered;
    case conf::TlsMode::Require: return LoginCore::TlsPolicy::Required;
    case conf::TlsMode::VerifyCa:
    case conf::TlsMode::VerifyFull: return LoginCore::TlsPolicy::RequiredWithCertificate;
  }
  return LoginCore::TlsPolicy::Off;
}

bool same_word(Bytes a, Bytes b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return (x | 0x20) == (y | 0x20) || x == y; });
}

// Setting names are case-insensitive: those that servers report get the reported spelling, all others lower
// case.
SettingsMap::Values wanted_settings(const protocol::Settings& given) {
  static constexpr Bytes kReported[] = {"DateStyle", "IntervalStyle", "TimeZone"};
  SettingsMap::Values wanted;
  for (const auto& [name, value] : given) {
    std::string key = tiers::parameter_name(name);
    for (const Bytes reported : kReported)
      if (same_word(key, reported)) key = reported;
    wanted[key] = value;
  }
  return wanted;
}

constexpr const char* kPoolModeOption = "pgweir.pool_mode";

// Takes our own settings out of those that are for Postgres, and answers the pool mode that they ask for.
Expected<tiers::PoolMode> take_pool_mode(SettingsMap::Values& settings, const tiers::Tenant& record) {
  const auto asked = settings.find(kPoolModeOption);
  if (asked == settings.end()) return record.limits.pool_mode;
  const std::string word = std::move(asked->second);
  settings.erase(asked);
  const auto mode = tiers::pool_mode(word);
  if (!mode)
    return fail(sqlstate::kInvalidParameterValue,
                fmt::format("{} must be transaction or session, not {}", kPoolModeOption, quoted(word)));
  if (*mode == tiers::PoolMode::Session && record.limits.pool_mode != *mode && !record.limits.session_mode)
    return tl::unexpected(Error{
        sqlstate::kInsufficientPrivilege,
        fmt::format("session mode is not allowed for tenant \"{}\"", record.name),
        fmt::format("session_mode of tier {} is false.", record.limits.name),
        fmt::format("Connect without {}, or choose a tier that allows session mode.", kPoolModeOption)});
  return mode.value();
}

// Takes the setting that may have named the tenant out of those that are for Postgres.
Expected<void> take_tenant_option(SettingsMap::Values& settings, const Naming& naming) {
  const auto option = settings.find(kTenantOption);
  if (option == settings.end()) return {};
  const bool empty = option->second.empty();
  settings.erase(option);
  if (std::find(naming.ways.begin(), naming.ways.end(), conf::NamedBy::Option) == naming.ways.end())
    return fail(sqlstate::kInvalidParameterValue,
                fmt::format("{} does not name the tenant here", kTenantOption),
                "Leave it out, or add `option` to client.tenant_named_by.");
  if (empty)
    return fail(sqlstate::kInvalidParameterValue,
                fmt::format("{} must name a tenant, and is empty", kTenantOption),
                "Leave it out to be named by the database or in another way.");
  return {};
}

// Behind those that take ours: what is left of our names is a slip, and who meant to name a tenant by it must
// not be taken for another. A token is told by us, whatever a client says of it.
Expected<void> check_no_other_option(const SettingsMap::Values& settings) {
  for (const auto& [name, value] : settings)
    if (name.starts_with("pgweir.") && name != kTokenSetting)
      return fail(sqlstate::kUndefinedObject, fmt::format("unrecognized option {}", quoted(name)),
                  fmt::format("Options of pgweir's are {} and {}.", kTenantOption, kPoolModeOption));
  return {};
}

std::string random_bytes(Rng& rng, std::size_t size) {
  std::string bytes(size, '\0');
  rng.fill(bytes.data(), size);
  return bytes;
}

}  // namespace

ClientLogin::ClientLogin(Worker& worker, std::unique_ptr<net::Stream> stream)
    : worker_(&worker),
      stream_(std::move(stream)),
      tls_(worker.snapshot().client_tls),
      core_(tls_policy(worker.snapshot(), stream_->peer().host == "unix")),
      deadline_(this, [](void* self) { static_cast<ClientLogin*>(self)->timed_out(); }),
      pretend_(this, [](void* self) { static_cast<ClientLogin*>(self)->pretended(); }),
      accepted_at_(worker.loop().now()),
      deadline_at_(accepted_at_ + worker.config().client_login_timeout) {
  stream_->set_handler(*this);
  worker.loop().arm(deadline_, deadline_at_);
}

ClientLogin::~ClientLogin() = default;

void ClientLogin::detach() {
  worker_->loop().disarm(deadline_);
  detached_ = stream_->detach();
  stream_.reset();
}

void ClientLogin::attach(Worker& worker) {
  worker_ = &worker;
  stream_ = worker.loop().adopt(std::move(detached_), *this);
  worker.loop().arm(deadline_, deadline_at_);
  authenticate();
}

void ClientLogin::on_bytes(Bytes in) {
  if (over_) return;
  if (held_.size() + in.size() > kHeldMax)
    return refuse(LoginRefusal::Protocol,
                  {sqlstate::kProtocolViolation, "too many bytes before authentication", {}, {}});
  held_.append(in);
  if (!waits_) pump();
}

void ClientLogin::on_drained() {
  if (std::exchange(moves_, false) && !over_) go_home();
}

void ClientLogin::on_secured() {
  LoginCore::Out out;
  core_.tls_started(stream_->tls_alpn(), out);
  obey(out);
}

void ClientLogin::pump() {
  while (!over_ && !held_.empty()) {
    LoginCore::Out out;
    core_.bytes(held_, stream_->secured(), out);
    const bool progress = out.consumed > 0;
    held_.erase(0, out.consumed);
    const bool goes_on = out.want == LoginCore::Out::Want::More;
    obey(out);
    // Whatever else was wanted may have moved or ended this login.
    if (!goes_on || !progress) return;
  }
}

void ClientLogin::obey(LoginCore::Out& out) {
  using Want = LoginCore::Out::Want;
  if (!out.send.empty()) stream_->write(out.send);
  switch (out.want) {
    case Want::More: return;
    case Want::StartTls: {
      const std::string received = std::exchange(held_, {});  // LoginCore has refused stuffed bytes (R7)
      return stream_->start_tls(*tls_, "", received);
    }
    case Want::Name:
      PGWEIR_CHECK(out.send.empty());  // pairs with the wait for on_drained in go_home
      return name_tenant();
    case Want::Cancel: return cancel();
    case Want::Derive: return derive();
    case Want::Done: return finish();
    case Want::Close:
      over_ = true;
      worker_->login_refused(record_ ? record_->limits.name : std::string(), out.refusal);
      worker_->log().info("login refused", {{"user", core_.startup().user},
                                            {"database", core_.startup().database},
                                            {"addr", stream_->peer().host},
                                            {"reason", out.reason}});
      if (AuditStream* audit = worker_->audit())
        audit->record(AuditEvent::LoginRefused, AuditOutcome::Failure,
                      {{AuditKey::User, core_.startup().user},
                       {AuditKey::Address, stream_->peer().host},
                       {AuditKey::Port, stream_->peer().port},
                       {AuditKey::Database, core_.startup().database},
                       {AuditKey::Tenant, named_.tenant},
                       {AuditKey::Reason, out.reason},
                       {AuditKey::Sqlstate, out.sqlstate}});
      stream_->close();
      return;
  }
}

void ClientLogin::name_tenant() {
  if (const Error* closed = worker_->closed_to_new()) return refuse(LoginRefusal::Shutdown, *closed);
  const protocol::Startup& startup = core_.startup();
  if (is_console_database(startup.database)) {
    console_ = true;
    named_.user = startup.user;
    // The kernel says who it is, and who has our uid could do more than that.
    peer_ = worker_->config().console_peer && is_console_database(startup.user) &&
            stream_->peer_uid() == static_cast<std::int64_t>(::geteuid());
    return authenticate();
  }
  const bool secured = stream_->secured();
  named_ = pgweir::name_tenant(worker_->snapshot().naming, startup, secured ? stream_->tls_sni() : "");
  if (named_.tenant.empty()) return go_home();
  if (worker_->shared().tiers && named_.tenant.size() <= tiers::kNameMax) return look_up();
  record_ = worker_->snapshot().tenant(named_.tenant);
  go_home();
}

// Nothing else waits for the store: bytes that come meanwhile are kept, the login's deadline goes on.
void ClientLogin::look_up() {
  Worker& worker = *worker_;
  worker.shared().tiers->ask(worker.loop(), named_.tenant,
                             [&worker, ticket = worker.ticket(*this)](const TierControl::Answer& answer) {
                               ClientLogin* const login = worker.login_of(ticket);
                               if (!login || login->over_) return;
                               login->record_ = answer.record;
                               login->unreachable_ = answer.kind == TierControl::Answer::Kind::Unreachable;
                               login->go_home();
                             });
}

void ClientLogin::go_home() {
  if (!record_) return authenticate();  // refused after the verdict on the user (R8)
  Worker& home = worker_->home_of(*record_);
  if (&home == worker_) return authenticate();
  // A connection moves with nothing under way. This turn has written nothing (see Want::Name), so it stands.
  moves_ = stream_->unsent() > 0;
  if (moves_) return;
  std::unique_ptr<ClientLogin> self = worker_->release_login(*this);
  detach();
  // std::function wants copies; the pointer is moved out of its box once.
  auto box = std::make_shared<std::unique_ptr<ClientLogin>>(std::move(self));
  home.loop().post([box, &home] { home.adopt_login(std::move(*box)); });
}

void ClientLogin::authenticate() {
  using Method = LoginCore::Method;
  enum Kind : std::size_t { Plain, Md5, Scram };  // alternatives of protocol::Secret
  const Snapshot& snapshot = worker_->snapshot();
  const conf::AuthMethod asked = snapshot.config().auth_method;
  const std::string& user = named_.user;
  // Whoever may connect is believed to be who he says, on the console as well.
  if (asked == conf::AuthMethod::Trust || peer_) return authenticate_with({Method::Trust, {}, true});

  const auto entry = snapshot.users.find(user);
  LoginCore::Credentials credentials;
  credentials.known = entry != snapshot.users.end();
  // Such a secret is made with the user's name, and the client has used the longer one.
  const bool hashed_with_suffix = credentials.known && named_.suffixed &&
                                  entry->second.index() == Kind::Md5 && asked == conf::AuthMethod::Md5;
  if (hashed_with_suffix) {
    worker_->log().warn("user has only an MD5 secret and cannot log in with a tenant behind his name",
                        {{"user", user}});
    credentials.known = false;
  }
  // A user that does not exist looks like one of those that do, always the same one (R8).
  const protocol::ScramVerifier stand_in =
      protocol::mock_scram_verifier(user, worker_->shared().process_secret);
  const std::size_t kind =
      credentials.known
          ? entry->second.index()
          : snapshot.secret_kind(protocol::load_u32(protocol::as_bytes(stand_in.stored_key).data()));
  if (credentials.known)
    credentials.secret = entry->second;
  else if (kind == Kind::Scram)
    credentials.secret = stand_in;
  else
    credentials.secret = protocol::PlainSecret{random_bytes(worker_->rng(), 32)};

  if (asked == conf::AuthMethod::Password) {
    credentials.method = Method::Password;
    return authenticate_with(std::move(credentials));
  }
  if (asked == conf::AuthMethod::Md5 && kind != Kind::Scram) {
    credentials.method = Method::Md5;
    return authenticate_with(std::move(credentials));
  }
  credentials.method = Method::Scram;
  if (kind == Kind::Md5 && credentials.known)
    worker_->log().warn("user has only an MD5 secret and cannot log in by scram-sha-256", {{"user", user}});
  if (kind == Kind::Plain && credentials.known) {
    const auto& plain = std::get<protocol::PlainSecret>(credentials.secret).password;
    if (const auto* verifier = worker_->verifier_for(user, plain, *this)) verified(*verifier);
    return;
  }
  if (kind != Kind::Scram) {
    credentials.secret = stand_in;
    credentials.known = false;
  }
  // Deriving keys for anybody who comes would be a gift to a flood of them; taking as long is enough.
  if (kind == Kind::Plain && worker_->first_asked(user))
    return worker_->loop().arm(pretend_, worker_->loop().now() + worker_->derivations().usual());
  authenticate_with(std::move(credentials));
}

void ClientLogin::verified(const protocol::ScramVerifier& verifier) {
  if (!over_) authenticate_with({LoginCore::Method::Scram, verifier, true});
}

void ClientLogin::pretended() {
  if (over_) return;
  authenticate_with({LoginCore::Method::Scram,
                     protocol::mock_scram_verifier(named_.user, worker_->shared().process_secret), false});
}

void ClientLogin::authenticate_with(LoginCore::Credentials credentials) {
  LoginCore::Out out;
  core_.authenticate(std::move(credentials), worker_->scram_nonce(), random_bytes(worker_->rng(), 4), out);
  const bool goes_on = out.want == LoginCore::Out::Want::More;
  obey(out);
  if (goes_on) pump();
}

void ClientLogin::derive() {
  const protocol::ScramVerifier& with = core_.derive_with();
  Worker& worker = *worker_;
  const auto still_here = [&worker, ticket = worker.ticket(*this)] {
    ClientLogin* login = worker.login_of(ticket);
    return login && !login->over_ ? login : nullptr;
  };
  worker.derivations().add(Derivations::For::Client, {core_.derive_password(), with.salt, with.iterations,
                                                      [still_here] { return still_here() != nullptr; },
                                                      [still_here](const protocol::ScramKey& key) {
                                                        ClientLogin* login = still_here();
                                                        if (!login) return;
                                                        LoginCore::Out out;
                                                        login->core_.derived(key, out);
                                                        login->obey(out);
                                                      }});
}

void ClientLogin::finish() {
  const protocol::Startup& startup = core_.startup();
  const Snapshot& snapshot = worker_->snapshot();
  const conf::Config& config = snapshot.config();
  if (config.client_tls_mode == conf::TlsMode::VerifyFull && !peer_ &&
      stream_->tls_peer_name() != named_.user)
    return refuse(LoginRefusal::Tls,
                  {sqlstate::kInvalidAuthorization,
                   "the client certificate's common name is not the user \"" + named_.user + "\"",
                   {},
                   "Use a certificate made for this user; client.tls_mode is verify-full."});
  if (const Error* closed = worker_->closed_to_new()) return refuse(LoginRefusal::Shutdown, *closed);
  if (console_) {
    if (!snapshot.is_console_user(startup.user) && !peer_)
      return refuse(LoginRefusal::NotAllowed, {sqlstate::kInsufficientPrivilege,
                                               "user \"" + startup.user + "\" may not use the console",
                                               {},
                                               "Name the user in console.admins or console.stats."});
    over_ = true;
    auto console = std::make_unique<ConsoleSession>(*worker_, std::move(stream_), startup,
                                                    peer_ ? ConsoleBy::Peer : ConsoleBy::Role);
    ConsoleSession& started = *console;
    worker_->own_console(std::move(console));
    tell_audit(started);
    started.start(held_);
    return worker_->login_ended(*this);
  }
  // A reload may have come since the name was looked up. What the tenant store has changed since is told to
  // the first client of a tenant, and known where it has others.
  if (record_ && record_->revision == 0) record_ = snapshot.tenant(named_.tenant);
  const Error just_changed{
      sqlstate::kCannotConnectNow, "the configuration has just changed", {}, "Connect again."};
  if (record_ && !worker_->may_be_home(record_->name)) return refuse(LoginRefusal::Reload, just_changed);
  if (!record_) {
    if (unreachable_)
      return refuse(LoginRefusal::Store, {sqlstate::kCannotConnectNow,
                                          "tenant " + quoted(named_.tenant) + " cannot be looked up now",
                                          {},
                                          "Try again later; the tenant store does not answer."});
    if (config.unknown_tenants && !named_.tenant.empty())
      return refuse(
          LoginRefusal::Name,
          {sqlstate::kInvalidCatalogName, "no tenant is named " + quoted(named_.tenant),
           "That is the database of a tenant by another name, to whom pool.unknown_tenants leaves it.",
           "Connect by that tenant's name, or add one of this name to tenants."});
    if (named_.tenant == startup.database)
      return refuse(
          LoginRefusal::Name,
          {sqlstate::kInvalidCatalogName, "database \"" + startup.database + "\" does not exist", {}, {}});
    if (named_.tenant.empty())
      return refuse(LoginRefusal::Name, {sqlstate::kInvalidAuthorization,
                                         "no tenant is named",
                                         {},
                                         "Name it as client.tenant_named_by allows."});
    return refuse(
        LoginRefusal::Name,
        {sqlstate::kInvalidCatalogName, "tenant " + quoted(named_.tenant) + " does not exist", {}, {}});
  }
  if (startup.replication != protocol::Replication::None && !record_->limits.replication)
    return refuse(LoginRefusal::NotAllowed,
                  {sqlstate::kInsufficientPrivilege,
                   fmt::format("replication is not allowed for tenant \"{}\"", record_->name),
                   fmt::format("replication of tier {} is false.", record_->limits.name),
                   "Connect without the parameter replication, or choose a tier that allows it."});
  SettingsMap::Values wanted = wanted_settings(startup.settings);
  if (const auto taken = take_tenant_option(wanted, snapshot.naming); !taken)
    return refuse(LoginRefusal::Setting, taken.error());
  const auto mode = take_pool_mode(wanted, *record_);
  if (!mode) return refuse(LoginRefusal::Setting, mode.error());
  if (const auto known = check_no_other_option(wanted); !known)
    return refuse(LoginRefusal::Setting, known.error());
  Tenant& tenant = worker_->tenant(*record_);
  record_ = tenant.record;
  std::vector<std::string> lowered;
  if (auto held = hold_to_ceilings(wanted, *record_, lowered); !held) {
    tenant.guard.note({.parameter = kAnyParameter, .route = CeilingRoute::Refused});
    return refuse(LoginRefusal::Setting, held.error());
  }
  for (const std::string& parameter : lowered)
    tenant.guard.note({.parameter = parameter, .route = CeilingRoute::Lowered});
  if (tenant.ended() && !PGWEIR_PLANTED(ADMIT_SUSPENDED))
    return refuse(LoginRefusal::Ordered, tenant.why_refused());
  if (tenant.disabled)
    return refuse(
        LoginRefusal::Ordered,
        {sqlstate::kCannotConnectNow,
         "database \"" + record_->name + "\" is disabled",
         {},
         "An administrator has disabled it on the pooler's console; ENABLE lets clients in again."});
  const tiers::Tier& limits = record_->limits;
  std::uint32_t places = limits.max_clients;
  if (PGWEIR_PLANTED(EXCEED_CLIENTS)) ++places;
  if (PGWEIR_PLANTED(TURN_AWAY_EARLY)) --places;
  if (tenant.clients >= places) {
    if (!waits_) ++tenant.traffic.client_hits;
    if (limits.at_clients == tiers::AtCeiling::Queue && wait_for_place()) return;
    return refuse(LoginRefusal::Limit,
                  tiers::too_many_clients(*record_, tenant.clients, worker_->known_tiers()));
  }
  Shared& shared = worker_->shared();
  if (tenant.clients == 0 && !shared.claim_home(record_->name, worker_->index()))
    return refuse(LoginRefusal::Reload, just_changed);
  if (!shared.take_session(config.max_clients)) {
    worker_->leave_home(record_->name);
    return refuse(LoginRefusal::MaxClients,
                  {sqlstate::kTooManyConnections, "sorry, too many clients already",
                   fmt::format("client.max allows {} connections.", config.max_clients),
                   "Close connections that are not needed, or raise client.max."});
  }
  ServerCredentials credentials;
  std::string secret_text;
  if (!record_->user.empty()) {
    credentials.user = record_->user;
    if (!record_->password.empty()) {
      auto secret = protocol::parse_secret(record_->password);
      if (secret) credentials.secret = std::move(*secret);
      secret_text = record_->password;
    }
  } else {
    credentials.user = named_.user;
  }
  if (!credentials.secret) {
    const auto entry = snapshot.users.find(credentials.user);
    if (entry != snapshot.users.end()) credentials.secret = entry->second;
  }
  if (credentials.user == named_.user) credentials.client_key = core_.client_key();
  if (!tenant.groups.empty() && PGWEIR_PLANTED(STAY_AT_DATABASE))
    record_->database = tenant.groups.front()->key().database;
  const GroupKey key{record_->backend, record_->database, credentials.user, secret_text, *tenant.startup};
  Group& group = worker_->group(tenant, key, credentials);
  group.use(credentials);
  worker_->log().debug("login",
                       {{"tenant", record_->name}, {"user", named_.user}, {"addr", stream_->peer().host}});
  over_ = true;
  worker_->loop().disarm(deadline_);
  tenant.meter->connect.add(static_cast<std::uint64_t>((worker_->loop().now() - accepted_at_).count()));
  auto session =
      std::make_unique<Session>(*worker_, tenant, group, std::move(stream_),
                                group.books.settings.intern(std::move(wanted)), *mode, named_.user, startup);
  Session& started = *session;
  worker_->own_session(std::move(session));
  const std::string held = std::move(held_);
  worker_->login_ended(*this);
  started.start(held);
}

// A Session tells by itself once it is welcomed.
void ClientLogin::tell_audit(const ConsoleSession& started) {
  const net::Peer peer = started.stream().peer();
  if (AuditStream* audit = worker_->audit())
    audit->record(AuditEvent::LoginOk, AuditOutcome::Success,
                  {{AuditKey::User, started.user()},
                   {AuditKey::Address, peer.host},
                   {AuditKey::Port, peer.port},
                   {AuditKey::Database, core_.startup().database},
                   {AuditKey::Client, started.id()}});
}

// False: it has waited long enough. While it waits, nothing that it sends is read any further.
bool ClientLogin::wait_for_place() {
  const Time now = worker_->loop().now();
  const Duration most = record_->limits.queue_timeout;
  if (!waits_ && most.count() > 0) deadline_at_ = std::min(deadline_at_, now + most);
  if (now >= deadline_at_) return false;
  if (!waits_) notice_at_ = now + tiers::kNoticeAfter;
  waits_ = true;
  worker_->loop().arm(deadline_, std::min(deadline_at_, notice_at_));
  worker_->wait_for_place(*this);
  return true;
}

void ClientLogin::timed_out() {
  const Tenant* const tenant = waits_ && !over_ ? worker_->tenants().find(record_->name) : nullptr;
  if (tenant) {
    const Error why = tiers::too_many_clients(tenant->record, tenant->clients, worker_->known_tiers());
    return worker_->loop().now() < deadline_at_ ? tell_waiting(why) : refuse(LoginRefusal::Limit, why);
  }
  const double most_s = std::chrono::duration<double>(deadline_at_ - accepted_at_).count();
  end(LoginRefusal::Slow, {sqlstate::kQueryCanceled, "canceling authentication due to client.login_timeout",
                           fmt::format("The login was not complete after {:g}s.", most_s),
                           "Send the password sooner, or raise client.login_timeout."});
}

// Drivers take notices behind AuthenticationOk, which it has had; in front of that libpq and pgjdbc do not.
void ClientLogin::tell_waiting(const Error& why) {
  notice_at_ = kNever;
  std::string notice;
  protocol::put_notice(notice, "still waiting to be let in: " + why.message, why.hint, why.detail);
  stream_->write(notice);
  worker_->loop().arm(deadline_, deadline_at_);
}

void ClientLogin::refuse(LoginRefusal why, const Error& error) {
  LoginCore::Out out;
  core_.refuse(why, error, out);
  obey(out);
}

void ClientLogin::end(LoginRefusal refusal, const Error& why) {
  if (over_) {
    if (stream_) stream_->reset();
    return;
  }
  const bool ours = refusal == LoginRefusal::Shutdown || !core_.awaits_client();
  refuse(ours ? refusal : LoginRefusal::Silent, why);
}

void ClientLogin::cancel() {
  over_ = true;
  const protocol::CancelRequest& request = core_.cancel();
  const std::uint64_t ticket = worker_->ticket(*this);
  Worker& worker = *worker_;
  // The connection closes once the cancel has been delivered, as with Postgres: then a client may rely on it.
  worker.cancel_request(request.pid, request.key, [ticket, &worker] {
    if (ClientLogin* login = worker.login_of(ticket)) login->stream_->close();
  });
}

void ClientLogin::on_closed(const net::Closed&) {
  over_ = true;
  worker_->login_ended(*this);
}

}  // namespace pgweir
