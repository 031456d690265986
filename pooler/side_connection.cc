#include "pooler/side_connection.h"

#include "pooler/base/check.h"
#include "pooler/login_policy.h"
#include "protocol/messages.h"

namespace pgweir {

namespace {

// What is seldom opened takes TLS where it is offered, even where `allow` would rather do without.
ServerLogin::Policy side_policy(const BackendView& backend) {
  ServerLogin::Policy policy = login_policy(backend, false);
  if (backend.settings.tls_mode == conf::TlsMode::Allow && !backend.is_unix())
    policy.tls = ServerLogin::Tls::IfOffered;
  return policy;
}

ServerCredentials side_credentials(const conf::Backend& settings) {
  ServerCredentials credentials{settings.side_user, {}, {}};
  if (!settings.side_password.empty()) credentials.secret = protocol::PlainSecret{settings.side_password};
  return credentials;
}

}  // namespace

SideConnection::To SideConnection::role_on(const BackendView& backend, const net::Endpoint& host) {
  return {host,
          backend.tls,
          side_policy(backend),
          side_credentials(backend.settings),
          backend.settings.side_database,
          kPatience};
}

SideConnection::SideConnection(net::Loop& loop, Derivations& derivations, To to, std::string nonce,
                               std::function<void()> over)
    : loop_(loop),
      derivations_(derivations),
      over_(std::move(over)),
      endpoint_(std::move(to.host)),
      tls_(std::move(to.tls)),
      patience_(to.patience),
      login_(to.policy, std::move(to.credentials), std::move(to.database), std::move(nonce),
             {{"application_name", "pgweir"}}),
      deadline_(this,
                [](void* self) {
                  auto& side = *static_cast<SideConnection*>(self);
                  side.timed_out_ = true;
                  side.give_up({sqlstate::kConnectionFailure, "no answer over the side connection", {}, {}});
                }),
      self_(std::make_shared<SideConnection*>(this)) {
  loop_.arm(deadline_, loop_.now() + patience_);
  stream_ = loop_.connect(endpoint_, *this);
}

SideConnection::~SideConnection() {
  *self_ = nullptr;
  loop_.disarm(deadline_);
}

void SideConnection::ask(std::string sql, Done done) {
  PGWEIR_CHECK(!closing());
  questions_.push_back({std::move(sql), std::move(done)});
}

void SideConnection::on_connected() {
  ServerLogin::Out out;
  login_.connected(out);
  obey(out);
}

void SideConnection::on_secured() {
  ServerLogin::Out out;
  login_.secured(out);
  obey(out);
}

void SideConnection::obey(ServerLogin::Out& out) {
  if (!out.send.empty()) stream_->write(out.send);
  switch (out.want) {
    case ServerLogin::Out::Want::More: return;
    case ServerLogin::Out::Want::StartTls: return stream_->start_tls(*tls_, endpoint_.host);
    case ServerLogin::Out::Want::Derive:
      derivations_.add(Derivations::For::Server,
                       {login_.password(), login_.challenge().salt, login_.challenge().iterations,
                        [self = self_] { return *self != nullptr; },
                        [self = self_](const protocol::ScramKey& keys) {
                          if (*self == nullptr || (*self)->closing()) return;
                          ServerLogin::Out next;
                          (*self)->login_.derived(keys, next);
                          (*self)->obey(next);
                        }});
      return;
    case ServerLogin::Out::Want::Done: state_ = State::Open; return send_next();
    case ServerLogin::Out::Want::Failed: return give_up(out.error);
  }
}

void SideConnection::send_next() {
  std::string out;
  if (questions_.empty()) {
    state_ = State::Closing;
    loop_.disarm(deadline_);
    protocol::put_terminate(out);
    stream_->write(out);
    return stream_->close();
  }
  protocol::put_query(out, questions_.front().sql);
  stream_->write(out);
  loop_.arm(deadline_, loop_.now() + patience_);
}

void SideConnection::on_bytes(Bytes in) {
  switch (state_) {
    case State::Login: {
      ServerLogin::Out out;
      login_.bytes(in, out);
      return obey(out);
    }
    case State::Open: {
      const auto complete = answers_.read(in);
      for (const SideAnswer& answer : complete) {
        if (questions_.empty())
          return give_up({sqlstate::kProtocolViolation, "the server answered what nobody asked", {}, {}});
        const Done done = std::move(questions_.front().done);
        questions_.pop_front();
        done(answer);
      }
      if (answers_.broken()) return give_up(*answers_.broken());
      if (!complete.empty()) send_next();
      return;
    }
    case State::Closing: return;
  }
}

void SideConnection::give_up(const Error& why) {
  if (closing()) return;
  why_closed_ = why;
  state_ = State::Closing;
  loop_.disarm(deadline_);
  stream_->reset();
}

void SideConnection::on_closed(const net::Closed& why) {
  if (!closing())
    why_closed_ = {sqlstate::kConnectionFailure,
                   why.error.empty() ? "the server closed the side connection" : why.error,
                   {},
                   {}};
  state_ = State::Closing;
  for (auto left = std::exchange(questions_, {}); Question & each : left)
    each.done(tl::unexpected(why_closed_));
  const std::function<void()> over = std::move(over_);
  over();
}

}  // namespace pgweir
