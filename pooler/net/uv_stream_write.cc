// pooler/net/uv_stream_write.cc - the writing half of UvStream: straight to the kernel, and an outbox for the
// rest.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "pooler/base/check.h"
#include "pooler/net/uv_stream.h"

namespace pgweir::net {

namespace {
constexpr std::size_t kGatherMax = 32;
constexpr std::size_t kRecordBytes = 16384;      // the most that TLS puts into one record
constexpr std::size_t kCiphertextBytes = 65536;  // about what goes to the kernel at a time

constexpr int kSendFlags = MSG_NOSIGNAL | MSG_DONTWAIT;

// How many bytes `send` says that the kernel took, or the negative error.
template <class Send>
[[gnu::always_inline]] inline ssize_t taken_by(Send send) {
  for (;;) {
    const ssize_t taken = send();
    if (taken >= 0) return taken;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS) return 0;
    if (errno != EINTR) return -errno;
  }
}

// By syscall(), since send() is a place where threads may be canceled, which costs more than all that is done
// here; and not by uv_try_write(), since nothing is queued in libuv when this is called.
ssize_t offer(int fd, Bytes slice) {
  return taken_by(
      [&] { return syscall(SYS_sendto, fd, slice.data(), slice.size(), kSendFlags, nullptr, 0); });
}

ssize_t offer(int fd, std::span<const Bytes> slices) {
  if (slices.size() == 1) return offer(fd, slices[0]);
  iovec pieces[kGatherMax];
  std::transform(slices.begin(), slices.end(), pieces, [](Bytes slice) {
    return iovec{const_cast<char*>(slice.data()), slice.size()};
  });
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = slices.size();
  return taken_by([&] { return syscall(SYS_sendmsg, fd, &message, kSendFlags); });
}
}  // namespace

void UvStream::write(std::span<const Bytes> slices) {
  if (state_ != State::Connecting && state_ != State::Open) return;
  if (tls_ == nullptr) return send(slices);
  tls_->secured() ? encrypt(slices) : write_early(slices);
}

void UvStream::write_early(std::span<const Bytes> slices) {
  for (const Bytes slice : slices) kept().early.append(slice);
}

std::size_t UvStream::unsent() const { return kept_ == nullptr && outbox_ == nullptr ? 0 : count_unsent(); }

std::size_t UvStream::count_unsent() const {
  std::size_t bytes = kept_ != nullptr ? kept_->early.size() : 0;
  if (outbox_ == nullptr) return bytes;
  if (outbox_->in_flight) bytes += uv_stream_get_write_queue_size(socket_->stream());
  return bytes + outbox_->waiting.size();
}

void UvStream::send(std::span<const Bytes> slices) {
  if (gathers_ && loop_.reads() && outbox_ == nullptr) {
    std::size_t size = 0;
    for (const Bytes slice : slices) size += slice.size();
    if (size <= UvSends::kSmall) {
      gathered_ = true;
      return loop_.sends().add(*this, slices, size);
    }
  }
  send_in_order(slices);
}

void UvStream::send_in_order(std::span<const Bytes> slices) {
  if (gathered_) loop_.sends().flush();
  send_now(slices);
}

int UvStream::fd() {
  if (fd_ < 0) fd_ = socket_->fd();
  return fd_;
}

void UvStream::send_gathered(Bytes bytes) {
  gathered_ = false;
  if (outbox_ != nullptr || state_ != State::Open || write_error_ != 0) return send_now({&bytes, 1});
  const ssize_t rc = offer(fd(), bytes);
  if (rc < 0) return write_failed(static_cast<int>(rc));
  const auto taken = static_cast<std::size_t>(rc);
  if (taken < bytes.size()) put_out({&bytes, 1}, taken);
}

void UvStream::send_now(std::span<const Bytes> slices) {
  if (write_error_ != 0 || state_ == State::Closing) return;
  std::size_t taken = 0;
  // With an outbox, also one whose bytes are out and whose callback is still to come, everything goes behind
  // it.
  if (outbox_ == nullptr && state_ != State::Connecting) {
    const std::span<const Bytes> first = slices.first(std::min(slices.size(), kGatherMax));
    std::size_t offered = 0;
    for (const Bytes slice : first) offered += slice.size();
    const ssize_t rc = offered > 0 ? offer(fd(), first) : 0;
    if (rc < 0) return write_failed(static_cast<int>(rc));
    taken = static_cast<std::size_t>(rc);
    if (taken == offered) {
      if (slices.size() > kGatherMax) send_now(slices.subspan(kGatherMax));
      return;
    }
  }
  put_out(slices, taken);
}

// All but the first bytes, which are `taken`.
void UvStream::put_out(std::span<const Bytes> slices, std::size_t taken) {
  for (Bytes slice : slices) {
    const std::size_t skip = std::min(taken, slice.size());
    taken -= skip;
    slice.remove_prefix(skip);
    if (slice.empty()) continue;
    if (outbox_ == nullptr) outbox_ = new UvOutbox{{}, this, false, {}, {}};
    outbox_->waiting.append(slice);
  }
  if (outbox_ != nullptr && !outbox_->in_flight && state_ != State::Connecting) flush();
}

void UvStream::flush() {
  outbox_->sending.clear();
  outbox_->sending.swap(outbox_->waiting);
  outbox_->in_flight = true;
  outbox_->request.data = outbox_;
  const uv_buf_t buffer = {outbox_->sending.data(), outbox_->sending.size()};
  const int rc =
      uv_write(&outbox_->request, socket_->stream(), &buffer, 1, [](uv_write_t* request, int status) {
        auto* outbox = static_cast<UvOutbox*>(request->data);
        outbox->in_flight = false;
        if (outbox->owner == nullptr) {
          delete outbox;
        } else {
          outbox->owner->sent(status);
        }
      });
  if (rc == 0) return;
  outbox_->in_flight = false;
  write_failed(rc);
}

void UvStream::sent(int status) {
  if (state_ == State::Closing) return;
  if (status < 0) return write_failed(status);
  if (!outbox_->waiting.empty()) return flush();
  drop_outbox();
  if (state_ == State::Ending) return half_close();
  handler_->on_drained();
}

void UvStream::drop_outbox() {
  if (outbox_ == nullptr) return;
  outbox_->owner = nullptr;
  if (!outbox_->in_flight) delete outbox_;
  outbox_ = nullptr;
}

void UvStream::write_failed(int error) {
  drop_outbox();
  if (state_ == State::Ending) return finish_ending();
  write_error_ = static_cast<std::int16_t>(error);
  // A peer that is gone may have said why before it went. While we read, the rest and then the end will come.
  const bool peer_is_gone = error == UV_EPIPE || error == UV_ECONNRESET;
  if (!peer_is_gone || paused_) finish({Closed::By::Failure, uv_strerror(error)});
}

void UvStream::encrypt(std::span<const Bytes> slices) {
  std::string& out = loop_.ciphertext();
  std::size_t total = 0;
  for (const Bytes slice : slices) total += slice.size();
  if (slices.size() > 1 && total <= kRecordBytes) {
    char joined[kRecordBytes];  // one record instead of several tiny ones
    std::size_t size = 0;
    for (const Bytes slice : slices) {
      if (slice.empty()) continue;
      std::memcpy(joined + size, slice.data(), slice.size());
      size += slice.size();
    }
    tls_->send({joined, size}, out);
  } else {
    for (Bytes slice : slices) {
      while (!slice.empty()) {
        tls_->send(slice.substr(0, kCiphertextBytes), out);
        slice.remove_prefix(std::min(slice.size(), kCiphertextBytes));
        if (out.size() >= kCiphertextBytes) send_ciphertext();
      }
    }
  }
  send_ciphertext();
  if (tls_->state() == TlsEngine::State::Failed) settle_tls();
}

void UvStream::send_ciphertext() {
  std::string& out = loop_.ciphertext();
  if (out.empty()) return;
  const Bytes bytes = out;
  send({&bytes, 1});
  out.clear();
}

}  // namespace pgweir::net
