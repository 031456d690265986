#include "pooler/probe.h"

#include <variant>

#include "pooler/make_store.h"
#include "pooler/net/random.h"
#include "pooler/net/uv_loop.h"
#include "pooler/tier_control.h"
#include "protocol/base64.h"
#include "protocol/secret.h"

namespace pgweir {

namespace {
// Beyond what the store itself waits for an answer: connecting, logging in, a second try.
constexpr std::chrono::seconds kStorePatience{5};
}  // namespace

void LastWarning::write(LogLevel, std::string_view event, Fields fields) {
  text_ = event;
  const char* between = " (";
  for (const LogField& field : fields) {
    if (field.value.empty()) continue;
    text_.append(std::exchange(between, ", ")).append(field.key).append(" ").append(field.value);
  }
  if (*between == ',') text_ += ")";
}

Expected<std::vector<std::vector<SideRow>>> ask_server(const BackendView& backend, const net::Endpoint& host,
                                                       const std::optional<ProbeLogin>& login,
                                                       const std::vector<std::string_view>& questions) {
  if (!login && !SideConnection::possible(backend))
    return fail(sqlstate::kInvalidParameterValue, "it has no side role");
  const std::unique_ptr<net::UvLoop> loop = net::UvLoop::make();
  net::SystemRng rng;
  Derivations derivations(*loop);
  char raw[18];
  rng.fill(raw, sizeof raw);
  const std::string nonce = protocol::base64_encode(Bytes(raw, sizeof raw));
  SideConnection::To to = SideConnection::role_on(backend, host);
  if (login) {
    to.credentials = login->credentials;
    to.database = login->database;
  }
  SideConnection side(*loop, derivations, std::move(to), nonce, [&loop] { loop->stop(); });
  std::vector<std::vector<SideRow>> rows;
  std::optional<Error> error;
  for (const std::string_view question : questions)
    side.ask(std::string(question), [&](const SideAnswer& answer) {
      if (answer)
        rows.push_back(*answer);
      else if (!error)
        error = answer.error();
    });
  loop->run();
  if (error) return tl::unexpected(*error);
  return rows;
}

Expected<std::vector<std::vector<SideRow>>> ask_server(const BackendView& backend,
                                                       const std::optional<ProbeLogin>& login,
                                                       const std::vector<std::string_view>& questions) {
  auto rows = ask_server(backend, backend.hosts[0], login, questions);
  for (std::size_t i = 1; i < backend.hosts.size() && !rows; ++i)
    rows = ask_server(backend, backend.hosts[i], login, questions);
  return rows;
}

std::optional<ProbeLogin> login_of(const Snapshot& snapshot, const tiers::Tenant& tenant) {
  if (tenant.user.empty()) return {};
  ProbeLogin login{{tenant.user, {}, {}}, tenant.database.empty() ? tenant.name : tenant.database};
  if (!tenant.password.empty()) {
    if (auto secret = protocol::parse_secret(tenant.password)) login.credentials.secret = std::move(*secret);
  } else if (const auto user = snapshot.users.find(tenant.user); user != snapshot.users.end()) {
    login.credentials.secret = user->second;
  }
  // A verifier proves nothing to a server.
  if (login.credentials.secret && std::holds_alternative<protocol::ScramVerifier>(*login.credentials.secret))
    return {};
  return login;
}

namespace {

// Runs a loop for a store until what `ask` has asked stops it, or it is too late.
template <class Ask>
void with_store(const std::shared_ptr<const Snapshot>& snapshot, LastWarning& log, Ask ask) {
  const std::unique_ptr<net::UvLoop> loop = net::UvLoop::make();
  net::SystemRng rng;
  const auto stop = [](void* of) { static_cast<net::UvLoop*>(of)->stop(); };
  net::Timer deadline(loop.get(), stop);
  TierControl control(*loop, log, snapshot, [&](TierStore::Listener& listener) {
    return make_store(*snapshot, *loop, rng, log, listener);
  });
  control.start({});
  ask(control, *loop);
  loop->arm(deadline, loop->now() + snapshot->config().store_timeout + kStorePatience);
  loop->run();
  loop->disarm(deadline);
}

}  // namespace

tiers::Catalog::Answer find_tenant(const std::shared_ptr<const Snapshot>& snapshot, const std::string& name,
                                   std::string& complaint) {
  using Answer = tiers::Catalog::Answer;
  const conf::Config& config = snapshot->config();
  const auto in_configuration = [&] { return snapshot->tenant(name); };
  if (config.store_kind == conf::StoreKind::File) return {Answer::Kind::Unknown, in_configuration()};
  LastWarning log;
  std::optional<Answer> answer;
  with_store(snapshot, log, [&](TierControl& control, net::UvLoop& loop) {
    control.ask(loop, name, [&](const Answer& told) {
      answer = told;
      loop.stop();
    });
  });
  complaint = log.text();
  if (answer) return *answer;
  return {Answer::Kind::Unreachable,
          config.store_serve_unreachable ? in_configuration() : snapshot->directory.find(name)};
}

std::string try_usage(const std::shared_ptr<const Snapshot>& snapshot) {
  LastWarning log;
  std::string error = "it does not answer";
  with_store(snapshot, log, [&](TierControl& control, net::UvLoop& loop) {
    control.try_usage(loop, [&](const std::string& told) {
      error = told;
      loop.stop();
    });
  });
  return error;
}

}  // namespace pgweir
