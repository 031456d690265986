#include "pooler/cancel.h"

#include "pooler/worker.h"
#include "protocol/messages.h"

namespace pgweir {

namespace {
constexpr std::chrono::seconds kCancelMax{5};
}

CancelConnection::CancelConnection(Worker& worker, const net::Endpoint& to, std::uint32_t pid,
                                   std::string key, Server* server, std::function<void()> done)
    : worker_(worker),
      pid_(pid),
      key_(std::move(key)),
      server_(server),
      done_(std::move(done)),
      deadline_(this, [](void* self) { static_cast<CancelConnection*>(self)->stream_->reset(); }) {
  worker_.loop().arm(deadline_, worker_.loop().now() + kCancelMax);
  stream_ = worker_.loop().connect(to, *this);
}

void CancelConnection::on_connected() {
  std::string request;
  protocol::put_cancel_request(request, pid_, key_);
  stream_->write(request);
  over_ = false;
}

void CancelConnection::on_closed(const net::Closed& why) {
  if (why.by == net::Closed::By::Peer && why.error.empty()) over_ = true;
  worker_.cancel_ended(*this);
}

}  // namespace pgweir
