#include "pooler/cancel.h"

#include "pooler/base/check.h"
#include "pooler/worker.h"
#include "protocol/messages.h"

namespace pgweir {

namespace {
constexpr std::chrono::seconds kCancelMax{5};
}

CancelConnection::CancelConnection(Worker& worker, CancelTarget target, Server* server,
                                   std::function<void()> done)
    : worker_(worker),
      target_(std::move(target)),
      server_(server),
      done_(std::move(done)),
      deadline_(this, [](void* self) { static_cast<CancelConnection*>(self)->stream_->reset(); }) {
  worker_.loop().arm(deadline_, worker_.loop().now() + kCancelMax);
  stream_ = worker_.loop().connect(target_.address, *this);
}

void CancelConnection::on_connected() {
  if (!target_.tls) return send();
  std::string request;
  protocol::put_ssl_request(request);
  stream_->write(request);
  state_ = State::TlsAnswer;
}

void CancelConnection::on_bytes(Bytes in) {
  if (state_ != State::TlsAnswer) return;  // Postgres answers a cancel with nothing
  // More than the one byte would be read as if it had come encrypted.
  if (in != "S") {
    worker_.log().warn("cancel given up: the server does not offer TLS any more", {{"host", target_.host}});
    return stream_->reset();
  }
  state_ = State::Securing;
  stream_->start_tls(*target_.tls, target_.host);
}

void CancelConnection::on_secured() {
  PGWEIR_CHECK(state_ == State::Securing);
  send();
}

void CancelConnection::send() {
  PGWEIR_CHECK(stream_->secured() == (target_.tls != nullptr));
  std::string request;
  protocol::put_cancel_request(request, target_.pid, target_.key);
  stream_->write(request);
  state_ = State::Sent;
  over_ = false;
}

void CancelConnection::on_closed(const net::Closed& why) {
  if (why.by == net::Closed::By::Peer && why.error.empty()) over_ = true;
  if (state_ != State::Sent && !why.error.empty())
    worker_.log().warn("cancel did not reach the server", {{"host", target_.host}, {"error", why.error}});
  worker_.cancel_ended(*this);
}

}  // namespace pgweir
