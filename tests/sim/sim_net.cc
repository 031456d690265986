#include "tests/sim/sim_net.h"

#include <algorithm>
#include <chrono>

#include "pooler/base/check.h"

namespace pgweir::sim {

namespace {
constexpr Duration kKeepaliveGivesUp = std::chrono::seconds(60);

std::string key_of(const net::Endpoint& where) {
  return where.is_unix() ? where.host : where.host + ":" + std::to_string(where.port);
}

class SimDetached final : public net::Detached {
 public:
  SimDetached(Network& network, std::shared_ptr<Wire> w, int s)
      : wire(std::move(w)), side(s), network_(network) {}
  ~SimDetached() override {
    if (!wire) return;
    wire->way[1 - side].fin = true;
    wire->way[side].gone = true;
    network_.schedule_arrival(wire, 1 - side);
  }
  std::shared_ptr<Wire> wire;
  int side;

 private:
  Network& network_;
};
}  // namespace

// A port's listener on one loop.
class SimListener final : public net::Listener {
 public:
  SimListener(Network& network, int p, SimLoop& l, net::Acceptor& a)
      : port(p), loop(l), acceptor(a), network_(network) {
    network_.ports_[port].push_back(this);
  }
  ~SimListener() override {
    auto& all = network_.ports_[port];
    all.erase(std::find(all.begin(), all.end(), this));
  }
  int port;
  SimLoop& loop;
  net::Acceptor& acceptor;

 private:
  Network& network_;
};

Network::~Network() { PGWEIR_CHECK(streams_.empty()); }

void Network::expose(const net::Endpoint& where, int port) { hosts_[key_of(where)].port = port; }

std::size_t Network::listeners(int port) const {
  const auto found = ports_.find(port);
  return found == ports_.end() ? 0 : found->second.size();
}

SimStream* Network::find(std::uint64_t id) const {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : found->second;
}

std::shared_ptr<Wire> Network::make_wire(const std::string& host) {
  if (wires_.size() >= sweep_wires_at_) {
    std::erase_if(wires_, [](const auto& each) { return each.second.expired(); });
    sweep_wires_at_ = 2 * wires_.size() + 16;
  }
  auto wire = std::make_shared<Wire>();
  wire->id = next_id_++;
  wire->host = host;
  wire->latency = world.between(Duration(5), weather.latency_most);
  std::size_t room = 128;
  while (room < weather.room_most && world.chance(80)) room *= 2;
  wire->room = room;
  wires_[wire->id] = wire;
  return wire;
}

std::vector<std::shared_ptr<Wire>> Network::wires_to(const net::Endpoint& where) {
  std::vector<std::shared_ptr<Wire>> found;
  const std::string key = key_of(where);
  for (const auto& [id, weak] : wires_)
    if (auto wire = weak.lock(); wire && wire->host == key && (wire->end[0] || wire->end[1]))
      found.push_back(std::move(wire));
  return found;
}

void Network::silence_wire(Wire& wire) {
  if (wire.silent) return;
  wire.silent = true;
  world.trace("wire {} falls silent", wire.id);
  // Keepalive finds it out in the end, at both sides.
  for (SimStream* stream : wire.end) {
    if (!stream) continue;
    world.after(kKeepaliveGivesUp, &stream->loop(), [this, id = stream->id()] {
      if (SimStream* left = find(id); left && left->state() != SimStream::State::Dead)
        left->end({net::Closed::By::Failure, "connection timed out"});
    });
  }
}

void Network::silence(const net::Endpoint& where, bool silent) {
  hosts_[key_of(where)].silent = silent;
  if (!silent) return;
  for (const auto& wire : wires_to(where)) silence_wire(*wire);
}

void Network::silence_one(const net::Endpoint& where) {
  const auto wires = wires_to(where);
  if (!wires.empty()) silence_wire(*wires[world.rng().below(wires.size())]);
}

void Network::reset_one(const net::Endpoint& where) {
  const auto wires = wires_to(where);
  if (wires.empty()) return;
  const auto& wire = wires[world.rng().below(wires.size())];
  world.trace("wire {} is reset by the network", wire->id);
  for (int side = 0; side < 2; ++side) {
    Wire::Way& way = wire->way[side];
    way.bytes.resize(world.rng().below(way.bytes.size() + 1));
    way.broken = true;
    schedule_arrival(wire, side);
  }
}

void Network::schedule_arrival(const std::shared_ptr<Wire>& wire, int side) {
  Wire::Way& way = wire->way[side];
  SimStream* stream = wire->end[side];
  if (way.arriving || wire->silent || !stream) return;
  if (way.bytes.empty() && !way.fin && !way.broken) return;
  way.arriving = true;
  const Duration delay = wire->latency + world.between(Duration(0), wire->latency / 4 + Duration(1));
  world.after(delay, &stream->loop(), [this, wire, side, loop = &stream->loop()] {
    wire->way[side].arriving = false;
    SimStream* const reader = wire->end[side];
    if (reader && &reader->loop() != loop) return schedule_arrival(wire, side);  // it has moved meanwhile
    if (reader) reader->arrive();
  });
}

void Network::schedule_writable(SimStream& stream) {
  if (stream.write_waits_) return;
  stream.write_waits_ = true;
  world.after(world.between(Duration(1), Duration(50)), &stream.loop(), [this, id = stream.id()] {
    if (SimStream* writer = find(id)) writer->writable();
  });
}

void Network::dial(SimStream& from, const net::Endpoint& to) {
  const std::string key = key_of(to);
  const std::uint64_t id = from.id();
  const auto refuse = [this, id](const char* why) {
    if (SimStream* stream = find(id); stream && stream->state() == SimStream::State::Connecting)
      stream->end({net::Closed::By::Failure, why});
  };
  const auto found = hosts_.find(key);
  if (found == hosts_.end()) {
    world.after(world.between(Duration(100), Duration(30'000)), &from.loop(),
                [refuse] { refuse("name or service not known"); });
    return;
  }
  if (found->second.silent) return;  // the caller's timer or nobody
  const Duration delay = world.between(Duration(10), weather.latency_most * 2);
  world.after(delay, &from.loop(), [this, id, key, refuse] {
    SimStream* stream = find(id);
    if (!stream || stream->state() != SimStream::State::Connecting) return;
    const Host& host = hosts_[key];
    if (host.silent) return;
    const auto& listeners = ports_[host.port];
    if (listeners.empty()) return refuse("connection refused");
    SimListener* listener = listeners[world.rng().below(listeners.size())];
    auto wire = make_wire(key);
    stream->connected(wire);
    world.trace("wire {}: {} connects to {} at {}", wire->id, stream->loop().name(), key,
                listener->loop.name());
    world.after(world.between(Duration(0), Duration(100)), &listener->loop,
                [this, wire, port = host.port, listener] {
                  const auto& now = ports_[port];
                  if (std::find(now.begin(), now.end(), listener) == now.end()) {
                    wire->way[0].broken = true;
                    wire->way[1].gone = true;
                    return schedule_arrival(wire, 0);
                  }
                  auto accepted = std::make_unique<SimStream>(listener->loop, nullptr, wire, 1);
                  const std::uint64_t accepted_id = accepted->id();
                  listener->acceptor.on_accept(std::move(accepted));
                  SimStream* kept = find(accepted_id);
                  PGWEIR_CHECK(kept && kept->handler_);  // dropped or without a handler
                  schedule_arrival(wire, 1);
                });
    stream->handler_->on_connected();
  });
}

SimLoop::SimLoop(Network& network, std::string name) : network_(network), name_(std::move(name)) {
  network_.world.add_loop(*this);
}

SimLoop::~SimLoop() { PGWEIR_CHECK(streams_ == 0 && timers_.empty()); }

void SimLoop::check_thread() const {
  const SimLoop* current = network_.world.current();
  if (current && current != this)
    network_.world.violation("a call for loop " + name_ + " comes from the thread of " + current->name_);
}

void SimLoop::check_unsent(std::size_t bytes) const {
  if (bytes > unsent_most_)
    network_.world.violation(name_ + " lets " + std::to_string(bytes) + " bytes wait in one stream");
}

void SimLoop::run_timers() { timers_.run(network_.world.now()); }

Time SimLoop::clock() {
  check_thread();
  return network_.world.now();
}

void SimLoop::arm(net::Timer& timer, Time at) {
  check_thread();
  timers_.arm(timer, at);
}

void SimLoop::disarm(net::Timer& timer) {
  check_thread();
  timers_.disarm(timer);
}

std::unique_ptr<net::Stream> SimLoop::connect(const net::Endpoint& to, net::Handler& handler,
                                              net::SocketOptions) {
  check_thread();
  auto stream = std::make_unique<SimStream>(*this, &handler);
  network_.dial(*stream, to);
  return stream;
}

std::unique_ptr<net::Listener> SimLoop::listen(int port, net::Acceptor& acceptor) {
  check_thread();
  return std::make_unique<SimListener>(network_, port, *this, acceptor);
}

std::unique_ptr<net::Detached> SimStream::detach() {
  loop_.check_thread();
  PGWEIR_CHECK(state_ == State::Open && unsent_.empty() && !paused_ && !handshaking_);
  state_ = State::Dead;
  --loop_.streams_;
  wire_->end[side_] = nullptr;
  return std::make_unique<SimDetached>(loop_.network_, std::move(wire_), side_);
}

std::unique_ptr<net::Stream> SimLoop::adopt(std::unique_ptr<net::Detached> connection,
                                            net::Handler& handler) {
  check_thread();
  auto& detached = static_cast<SimDetached&>(*connection);
  PGWEIR_CHECK(detached.wire != nullptr);
  auto wire = std::move(detached.wire);
  auto stream = std::make_unique<SimStream>(*this, &handler, wire, detached.side);
  network_.schedule_arrival(wire, detached.side);
  return stream;
}

void SimLoop::post(std::function<void()> task) {
  World& world = network_.world;
  last_post_ = std::max(last_post_, world.now() + world.between(Duration(1), Duration(80)));
  world.at(last_post_, this, std::move(task));
}

void SimLoop::offload(std::function<void()> work, std::function<void()> done) {
  check_thread();
  World& world = network_.world;
  world.after(world.between(Duration(100), Duration(6'000)), this,
              [work = std::move(work), done = std::move(done)] {
                work();
                done();
              });
}

}  // namespace pgweir::sim
