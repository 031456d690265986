#include "pooler/postgres_connection.h"

#include <libpq-fe.h>

#include <algorithm>
#include <utility>

#include "pooler/base/check.h"

namespace pgweir {

namespace {

constexpr std::string_view kConnectHint =
    "check host, port, user, password, database and sslmode of tenant_store.postgres_url, and that Postgres "
    "runs "
    "and lets this user in";

// libpq's messages are lines; a log has one.
std::string one_line(const char* message) {
  std::string text(message);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  return text;
}

}  // namespace

struct PostgresConnection::Wire {
  PGconn* pg = nullptr;
  Wire() = default;
  ~Wire() { PQfinish(pg); }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
};

PostgresConnection::PostgresConnection(net::UvLoop& loop, Rng& rng, Log& log,
                                       const PostgresSettings& settings, User& user)
    : loop_(loop), rng_(rng), log_(log), settings_(settings), user_(user), timer_(this, [](void* self) {
        static_cast<PostgresConnection*>(self)->on_timer();
      }) {}

PostgresConnection::~PostgresConnection() {
  *self_ = nullptr;
  watch_.reset();
}

void PostgresConnection::connect() {
  PGWEIR_CHECK(state_ == State::Down && !wire_);
  state_ = State::Starting;
  arm(loop_.now() + settings_.timeout);
  if (std::exchange(starting_, true)) return;  // still, from the last time: a name may take long
  auto wire = std::make_shared<Wire>();
  // The helper thread has copies of all that it needs: this may go before it is done.
  const auto work = [wire, parameters = settings_.parameters] {
    std::vector<const char*> names, values;
    const auto add = [&](const char* name, const char* value) {
      names.push_back(name);
      values.push_back(value);
    };
    for (const auto& [name, value] : parameters) add(name.c_str(), value.c_str());
    add("application_name", "pgweir");
    add("client_encoding", "UTF8");
    add("gssencmode", "disable");  // it would wait for Kerberos
    add(nullptr, nullptr);
    wire->pg = PQconnectStartParams(names.data(), values.data(), 0);
  };
  loop_.offload(work, [wire, self = self_] {
    if (*self != nullptr) (*self)->started(wire);
  });
}

void PostgresConnection::started(std::shared_ptr<Wire> wire) {
  starting_ = false;
  if (state_ != State::Starting) return;  // it took too long
  PGWEIR_CHECK(wire->pg != nullptr);
  wire_ = std::move(wire);
  state_ = State::Connecting;
  if (PQstatus(wire_->pg) == CONNECTION_BAD)
    return give_up(one_line(PQerrorMessage(wire_->pg)), kConnectHint);
  // What it says to unexpected messages would go to stderr.
  PQsetNoticeProcessor(
      wire_->pg, [](void*, const char*) {}, nullptr);
  watch(net::UvLoop::Ready::Write);
}

// libpq may close its socket and open another one, so nothing watches it meanwhile.
void PostgresConnection::go_on_connecting() {
  watch_.reset();
  auto ready = net::UvLoop::Ready::Read;
  switch (PQconnectPoll(wire_->pg)) {
    case PGRES_POLLING_OK: return prepare();
    case PGRES_POLLING_WRITING: ready = net::UvLoop::Ready::Write; break;
    case PGRES_POLLING_READING: break;
    case PGRES_POLLING_ACTIVE:
    case PGRES_POLLING_FAILED: return give_up(one_line(PQerrorMessage(wire_->pg)), kConnectHint);
  }
  watch(ready);
}

void PostgresConnection::prepare() {
  state_ = State::Preparing;
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(settings_.timeout);
  if (PQsetnonblocking(wire_->pg, 1) != 0 ||
      PQsendQuery(wire_->pg, tiers::postgres_setup(timeout).c_str()) == 0)
    return give_up(one_line(PQerrorMessage(wire_->pg)), {});
  send();
}

void PostgresConnection::ask(const tiers::PostgresQuery& query) {
  PGWEIR_CHECK(free());
  std::vector<const char*> values;
  for (const std::string& value : query.values) values.push_back(value.c_str());
  asked_ = Asked::Question;
  // After an error of this call no answer comes, or the connection is closed: both are found soon.
  (void)PQsendQueryParams(wire_->pg, query.text.c_str(), static_cast<int>(values.size()), nullptr,
                          values.data(), nullptr, nullptr, 0);
  arm(loop_.now() + settings_.timeout);
  send();
}

void PostgresConnection::send() {
  watch(PQflush(wire_->pg) > 0 ? net::UvLoop::Ready::Either : net::UvLoop::Ready::Read);
}

void PostgresConnection::watch(net::UvLoop::Ready what) {
  watch_.reset();
  const int socket = PQsocket(wire_->pg);
  // libpq has closed it, and whoever called must not lose the connection meanwhile: the timer finds it so.
  if (socket < 0) return arm(loop_.now());
  watch_ = loop_.watch(socket, what, [this] { on_ready(); });
}

void PostgresConnection::on_ready() {
  if (state_ == State::Connecting) return go_on_connecting();
  if (PQconsumeInput(wire_->pg) == 0) return give_up(one_line(PQerrorMessage(wire_->pg)), {});
  send();
  read();
}

void PostgresConnection::hear() {
  while (PGnotify* const told = PQnotifies(wire_->pg)) {
    const std::string what(told->extra);
    PQfreemem(told);
    if (state_ == State::Up) user_.on_postgres_changed(what);
  }
}

void PostgresConnection::read() {
  hear();
  while ((state_ == State::Preparing || asked_ != Asked::Nothing) && PQisBusy(wire_->pg) == 0) {
    PGresult* const result = PQgetResult(wire_->pg);
    if (result == nullptr) return finish_answer();
    switch (PQresultStatus(result)) {
      case PGRES_COMMAND_OK:
      case PGRES_EMPTY_QUERY: break;
      case PGRES_TUPLES_OK:
        for (int i = 0; i < PQntuples(result); ++i) {
          tiers::PostgresRow& row = answer_.rows.emplace_back();
          for (int k = 0; k < PQnfields(result); ++k) {
            const char* const cell = PQgetvalue(result, i, k);
            const auto size = static_cast<std::size_t>(PQgetlength(result, i, k));
            row.push_back(PQgetisnull(result, i, k) ? std::optional<std::string>() : std::string(cell, size));
          }
        }
        break;
      default: {  // of libpq's statuses the others are errors, or answers to what we never ask
        const char* const code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        answer_.sqlstate = code != nullptr ? code : "08000";
        const char* const message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        answer_.error = one_line(message != nullptr ? message : PQresultErrorMessage(result));
      }
    }
    PQclear(result);
  }
}

void PostgresConnection::finish_answer() {
  PostgresAnswer answer = std::exchange(answer_, {});
  if (PQstatus(wire_->pg) == CONNECTION_BAD) return give_up(one_line(PQerrorMessage(wire_->pg)), {});
  arm(loop_.now() + kHeartbeat);
  if (state_ == State::Preparing) {
    if (!answer.sqlstate.empty()) return give_up(answer.error, tiers::postgres_hint(answer.sqlstate));
    state_ = State::Up;
    retry_ = kRetryFirst;
    complained_ = false;
    log_.info("tenant store connected", {{"addr", settings_.name}, {"listens", 1}});
    return user_.on_postgres_up();
  }
  switch (std::exchange(asked_, Asked::Nothing)) {
    case Asked::Nothing: break;
    case Asked::Question: user_.on_postgres_answer(std::move(answer)); break;
    case Asked::Heartbeat: user_.on_postgres_free(); break;
  }
  hear();  // what came behind the answer
}

void PostgresConnection::give_up(const std::string& why, std::string_view hint) {
  if (!std::exchange(complained_, true))
    log_.warn("tenant store lost", {{"addr", settings_.name}, {"error", why}, {"hint", hint}});
  state_ = State::Down;
  asked_ = Asked::Nothing;
  answer_ = {};
  watch_.reset();
  wire_.reset();
  const auto half = retry_.count() / 2;
  arm(loop_.now() +
      Duration(half + static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(half) + 1))));
  retry_ = std::min<Duration>(retry_ * 2, kRetryMost);
  user_.on_postgres_down();
}

void PostgresConnection::arm(Time at) { loop_.arm(timer_, at); }

void PostgresConnection::on_timer() {
  if (wire_ && PQsocket(wire_->pg) < 0) return give_up(one_line(PQerrorMessage(wire_->pg)), {});
  switch (state_) {
    case State::Down: return connect();
    case State::Starting:
    case State::Connecting: return give_up("no connection in time", kConnectHint);
    case State::Preparing: return give_up("no answer in time", {});
    case State::Up: break;
  }
  if (asked_ != Asked::Nothing) return give_up("no answer in time", {});
  ask({"select 1", {}});
  asked_ = Asked::Heartbeat;
}

}  // namespace pgweir
