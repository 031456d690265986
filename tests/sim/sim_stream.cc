#include <algorithm>
#include <cstring>

#include "pooler/base/check.h"
#include "tests/sim/sim_net.h"

namespace pgweir::sim {

namespace {
constexpr std::size_t kReadMost = 64 << 10;
constexpr Duration kCloseWaits = std::chrono::seconds(5);
constexpr Duration kUnacknowledged = std::chrono::seconds(15);
}  // namespace

SimStream::SimStream(SimLoop& loop, net::Handler* handler)
    : loop_(loop), handler_(handler), id_(loop.network_.next_id_++), state_(State::Connecting) {
  loop_.network_.streams_[id_] = this;
  ++loop_.streams_;
}

SimStream::SimStream(SimLoop& loop, net::Handler* handler, std::shared_ptr<Wire> wire, int side)
    : loop_(loop),
      handler_(handler),
      wire_(std::move(wire)),
      side_(side),
      id_(loop.network_.next_id_++),
      state_(State::Open) {
  loop_.network_.streams_[id_] = this;
  ++loop_.streams_;
  wire_->end[side_] = this;
}

SimStream::~SimStream() {
  PGWEIR_CHECK(state_ == State::Dead);  // destroyed before on_closed
  loop_.network_.streams_.erase(id_);
}

void SimStream::connected(std::shared_ptr<Wire> wire) {
  wire_ = std::move(wire);
  side_ = 0;
  wire_->end[0] = this;
  state_ = State::Open;
  fill_kernel();
}

void SimStream::write(std::span<const Bytes> slices) {
  loop_.check_thread();
  if (state_ != State::Open && state_ != State::Connecting) return;
  std::size_t size = 0;
  for (const Bytes slice : slices) {
    unsent_.append(slice);
    size += slice.size();
  }
  if (state_ == State::Connecting || size == 0) return;
  World& world = loop_.network_.world;
  world.trace("wire {} {}: {} writes {}", wire_->id, side_, loop_.name(), size);
  if (write_failed_) return unsent_.clear();
  if (unsent_.size() > size || write_waits_) return loop_.check_unsent(unsent_.size());  // behind what waits
  if (world.chance(loop_.network_.weather.short_percent)) {
    const std::size_t part = world.rng().below(size);
    const std::string rest = unsent_.substr(part);
    unsent_.resize(part);
    fill_kernel();
    unsent_ += rest;
    loop_.check_unsent(unsent_.size());
    return loop_.network_.schedule_writable(*this);
  }
  fill_kernel();
  loop_.check_unsent(unsent_.size());
}

// Moves what fits. Bytes to a peer that is gone come back as a reset.
void SimStream::fill_kernel() {
  if (unsent_.empty()) return;
  Wire::Way& out = outward();
  if (out.gone || inward().broken) {
    if (!inward().broken) inward().bytes.resize(loop_.network_.world.rng().below(inward().bytes.size() + 1));
    inward().broken = true;
    return write_failed();
  }
  const std::size_t free = wire_->room > out.bytes.size() ? wire_->room - out.bytes.size() : 0;
  const std::size_t part = std::min(free, unsent_.size());
  if (wire_->silent) expect_acknowledgement();
  if (part == 0) return;
  out.bytes.append(unsent_, 0, part);
  unsent_.erase(0, part);
  loop_.network_.schedule_arrival(wire_, 1 - side_);
}

// What the peer sent before it went comes first: while we read, reading tells the end.
void SimStream::write_failed() {
  unsent_.clear();
  write_failed_ = true;
  if (state_ == State::Closing) return end({net::Closed::By::Us, {}});
  if (paused_) return end({net::Closed::By::Failure, "broken pipe"});
  loop_.network_.schedule_arrival(wire_, side_);
}

// The kernel gives up on a peer that acknowledges nothing.
void SimStream::expect_acknowledgement() {
  loop_.network_.world.after(kUnacknowledged, &loop_, [&network = loop_.network_, id = id_] {
    SimStream* left = network.find(id);
    if (left && left->state_ != State::Dead && left->wire_->silent)
      left->end({net::Closed::By::Failure, "connection timed out"});
  });
}

void SimStream::writable() {
  write_waits_ = false;
  if (state_ != State::Open && state_ != State::Closing) return;
  if (unsent_.empty()) return;
  fill_kernel();
  if (!unsent_.empty() || write_failed_) return;
  if (state_ == State::Closing) return say_fin();
  if (state_ == State::Open) handler_->on_drained();
}

// A delivery has come to this end. Its bytes are lent and spoilt afterwards.
void SimStream::arrive() {
  if (wire_->silent) return;
  Network& network = loop_.network_;
  World& world = network.world;
  Wire::Way& in = inward();
  const auto wire = wire_;
  const int side = side_;
  if (state_ == State::Closing) {
    in.bytes.clear();
    if (in.broken || (in.fin && fin_said_)) return end({net::Closed::By::Us, {}});
    if (SimStream* writer = wire->end[1 - side]; writer && !writer->unsent_.empty())
      network.schedule_writable(*writer);
    return;
  }
  if (state_ != State::Open || handshaking_) return;
  if (paused_) {
    if (in.broken && !unsent_.empty()) write_failed();
    return;
  }
  if (in.bytes.empty()) {
    if (in.broken) return end({net::Closed::By::Failure, "connection reset by peer"});
    if (in.fin) return end({net::Closed::By::Peer, {}});
    return;
  }
  if (in.bytes.size() < std::min(least_, wire_->room) && !in.fin && !in.broken) return;
  std::size_t size = std::min(in.bytes.size(), kReadMost);
  if (world.chance(network.weather.cut_percent)) {
    const std::size_t most = world.chance(50) ? std::min<std::size_t>(size, 12) : size;
    size = world.between(1, most);
  }
  auto lent = std::make_unique<char[]>(size);
  std::memcpy(lent.get(), in.bytes.data(), size);
  in.bytes.erase(0, size);
  world.trace("wire {} {}: {} reads {}", wire->id, side, loop_.name(), size);
  if (SimStream* writer = wire->end[1 - side]; writer && !writer->unsent_.empty())
    network.schedule_writable(*writer);
  handler_->on_bytes(Bytes(lent.get(), size));  // may destroy this
  std::memset(lent.get(), 0xdb, size);
  network.schedule_arrival(wire, side);
}

void SimStream::pause_reads() {
  loop_.check_thread();
  paused_ = true;
  if (write_failed_ && state_ == State::Open) end({net::Closed::By::Failure, "broken pipe"});
}

void SimStream::resume_reads() {
  loop_.check_thread();
  if (!paused_) return;
  paused_ = false;
  if (state_ == State::Open) loop_.network_.schedule_arrival(wire_, side_);
}

void SimStream::read_at_least(std::size_t bytes) {
  loop_.check_thread();
  if (state_ != State::Open) return;
  least_ = bytes;
  loop_.network_.schedule_arrival(wire_, side_);
}

void SimStream::close() {
  loop_.check_thread();
  if (state_ == State::Connecting) return end({net::Closed::By::Us, {}});
  if (state_ != State::Open) return;
  loop_.network_.world.trace("wire {} {}: {} closes", wire_->id, side_, loop_.name());
  state_ = State::Closing;
  if (write_failed_) return end({net::Closed::By::Us, {}});
  loop_.network_.world.after(kCloseWaits, &loop_, [&network = loop_.network_, id = id_] {
    if (SimStream* left = network.find(id); left && left->state() == State::Closing) left->cut_off();
  });
  if (unsent_.empty()) say_fin();
  if (state_ == State::Closing) loop_.network_.schedule_arrival(wire_, side_);
}

void SimStream::say_fin() {
  fin_said_ = true;
  outward().fin = true;
  loop_.network_.schedule_arrival(wire_, 1 - side_);
  if (outward().gone || inward().fin) loop_.network_.schedule_arrival(wire_, side_);
}

void SimStream::cut_off() {
  const bool left_bytes = !unsent_.empty();
  let_go_of_wire(true);
  end({net::Closed::By::Us, left_bytes ? "cut off: the peer did not take the last bytes" : ""});
}

void SimStream::reset() {
  loop_.check_thread();
  if (state_ == State::Ended || state_ == State::Dead) return;
  if (wire_) {
    loop_.network_.world.trace("wire {} {}: {} resets", wire_->id, side_, loop_.name());
    let_go_of_wire(true);
  }
  end({net::Closed::By::Us, {}});
}

void SimStream::let_go_of_wire(bool broken) {
  unsent_.clear();
  Wire::Way& out = outward();
  out.bytes.resize(loop_.network_.world.rng().below(out.bytes.size() + 1));
  (broken ? out.broken : out.fin) = true;
  loop_.network_.schedule_arrival(wire_, 1 - side_);
}

void SimStream::die() {
  if (state_ != State::Open && state_ != State::Closing) return;
  let_go_of_wire(loop_.network_.world.chance(50));
  end({net::Closed::By::Us, {}});
}

bool SimStream::peer_open() const {
  if (!wire_) return false;
  const SimStream* peer = wire_->end[1 - side_];
  return peer && peer->state_ == State::Open;
}

// From here on nothing is told but on_closed, a little later.
void SimStream::end(net::Closed why) {
  if (state_ == State::Ended || state_ == State::Dead) return;
  state_ = State::Ended;
  unsent_.clear();
  if (wire_) {
    inward().gone = true;
    inward().bytes.clear();
    if (why.by == net::Closed::By::Failure) outward().broken = true;
    if (SimStream* writer = wire_->end[1 - side_]; writer && !writer->unsent_.empty())
      loop_.network_.schedule_writable(*writer);
    wire_->end[side_] = nullptr;
    if (why.by != net::Closed::By::Us) {
      // The peer of an end that has gone hears of it, if it has not said goodbye itself.
      outward().fin = true;
      loop_.network_.schedule_arrival(wire_, 1 - side_);
    }
  }
  World& world = loop_.network_.world;
  world.after(world.between(Duration(1), Duration(30)), &loop_,
              [&network = loop_.network_, id = id_, why = std::move(why)] {
                SimStream* ended = network.find(id);
                PGWEIR_CHECK(ended != nullptr);
                ended->state_ = State::Dead;
                --ended->loop_.streams_;
                network.world.trace("stream {} of {} is closed: {}", id, ended->loop_.name(), why.error);
                ended->handler_->on_closed(why);
              });
}

void SimStream::start_tls(net::TlsContext&, const std::string&, Bytes) {
  loop_.check_thread();
  PGWEIR_CHECK(state_ == State::Open && unsent_.empty() && !handshaking_);
  handshaking_ = true;
  World& world = loop_.network_.world;
  world.after(world.between(Duration(500), Duration(5'000)), &loop_, [&network = loop_.network_, id = id_] {
    SimStream* stream = network.find(id);
    if (!stream || stream->state_ != State::Open) return;
    stream->handshaking_ = false;
    stream->secured_ = true;
    network.schedule_arrival(stream->wire_, stream->side_);
    stream->handler_->on_secured();
  });
}

// A name here has one address, itself.
net::Peer SimStream::peer() const {
  const std::string where = wire_ ? wire_->host : "";
  const std::size_t colon = where.rfind(':');
  if (side_ != 0 || colon == std::string::npos) return {"10.0.0.2", 5432};
  return {where.substr(0, colon), static_cast<std::uint16_t>(std::stoi(where.substr(colon + 1)))};
}
net::Peer SimStream::local() const { return {side_ == 0 ? "10.0.0.2" : "10.0.0.1", 5432}; }

}  // namespace pgweir::sim
