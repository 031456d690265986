// tests/sim/sim_net.h - a network in memory that keeps the contract of net/stream.h and makes its rare paths
// frequent: cut deliveries, short writes, small kernel buffers, resets, silence, refusals.
//
// A Wire joins two ends by two runs of bytes. A stream is one end; a port is what listen() is given as `fd`.
// Every call checks that it comes from the stream's own loop.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "pooler/net/loop.h"
#include "tests/sim/world.h"

namespace pgweir::sim {

class Network;
class SimStream;
class SimListener;

// One connection. way[i] leads to end i.
struct Wire {
  struct Way {
    std::string bytes;      // in the kernels and on the cable
    bool fin = false;       // the end of it follows the bytes
    bool broken = false;    // a reset follows the bytes
    bool arriving = false;  // a delivery is on its way
    bool gone = false;      // nobody will read it any more
  };
  Way way[2];
  SimStream* end[2] = {nullptr, nullptr};
  std::size_t room = 0;  // of each kernel buffer
  Duration latency{};
  bool silent = false;  // nothing arrives any more, and nobody is told
  std::string host;     // that the connecting side asked for
  std::uint64_t id = 0;
};

class SimLoop final : public net::Loop {
 public:
  SimLoop(Network& network, std::string name);
  ~SimLoop() override;
  const std::string& name() const { return name_; }
  Network& network() { return network_; }
  Time next_timer() const { return timers_.next(); }
  void run_timers();
  // What still lives on this loop, for the end of a run.
  std::size_t streams() const { return streams_; }
  // More bytes that wait in one stream are a violation.
  void allow_unsent(std::size_t most) { unsent_most_ = most; }
  bool has_timers() const { return !timers_.empty(); }

  void arm(net::Timer& timer, Time at) override;
  void disarm(net::Timer& timer) override;
  std::unique_ptr<net::Stream> connect(const net::Endpoint& to, net::Handler& handler,
                                       net::SocketOptions options) override;
  std::unique_ptr<net::Listener> listen(int port, net::Acceptor& acceptor) override;
  std::unique_ptr<net::Stream> adopt(std::unique_ptr<net::Detached> connection,
                                     net::Handler& handler) override;
  void post(std::function<void()> task) override;
  void offload(std::function<void()> work, std::function<void()> done) override;

 private:
  friend class SimStream;
  Time clock() override;
  void check_thread() const;
  void check_unsent(std::size_t bytes) const;
  Network& network_;
  std::string name_;
  net::TimerHeap timers_;
  Time last_post_{};
  std::size_t unsent_most_ = SIZE_MAX;
  std::size_t streams_ = 0;
};

class SimStream final : public net::Stream {
 public:
  enum class State : std::uint8_t { Connecting, Open, Closing, Ended, Dead };

  SimStream(SimLoop& loop, net::Handler* handler);
  SimStream(SimLoop& loop, net::Handler* handler, std::shared_ptr<Wire> wire, int side);
  ~SimStream() override;

  void write(std::span<const Bytes> slices) override;
  using net::Stream::write;
  std::size_t unsent() const override { return unsent_.size(); }
  void pause_reads() override;
  void resume_reads() override;
  void read_at_least(std::size_t bytes) override;
  void close() override;
  void reset() override;
  void set_handler(net::Handler& handler) override { handler_ = &handler; }
  void start_tls(net::TlsContext& context, const std::string& host, Bytes received) override;
  bool secured() const override { return secured_; }
  std::string tls_alpn() const override { return {}; }
  std::string tls_sni() const override { return {}; }
  std::string tls_description() const override { return {}; }
  std::unique_ptr<net::Detached> detach() override;
  net::Peer peer() const override;
  net::Peer local() const override;
  std::int64_t peer_uid() const override { return -1; }

  State state() const { return state_; }
  std::uint64_t id() const { return id_; }
  SimLoop& loop() { return loop_; }
  const std::shared_ptr<Wire>& wire() const { return wire_; }
  // The other end has not begun to close.
  bool peer_open() const;
  // The process behind this end dies: the peer gets a part of what was under way, then an end or a reset.
  void die();

 private:
  friend class Network;
  friend class SimLoop;
  Wire::Way& inward() { return wire_->way[side_]; }
  Wire::Way& outward() { return wire_->way[1 - side_]; }
  void connected(std::shared_ptr<Wire> wire);
  void fill_kernel();
  void writable();
  void arrive();
  void write_failed();
  void expect_acknowledgement();
  void say_fin();
  void cut_off();
  void end(net::Closed why);
  void let_go_of_wire(bool broken);

  SimLoop& loop_;
  net::Handler* handler_;
  std::shared_ptr<Wire> wire_;
  int side_ = 0;
  std::uint64_t id_;
  State state_;
  bool paused_ = false;
  std::size_t least_ = 1;  // bytes that it is woken for
  bool secured_ = false;
  bool handshaking_ = false;
  bool write_waits_ = false;  // a writable() is on its way
  bool write_failed_ = false;
  bool fin_said_ = false;
  std::string unsent_;
};

class Network {
 public:
  explicit Network(World& w) : world(w) {}
  ~Network();

  struct Weather {
    Duration latency_most{300};
    unsigned cut_percent = 30;   // deliveries that are cut
    unsigned short_percent = 5;  // writes that the kernel takes in part
    std::size_t room_most = 256 << 10;
  };
  World& world;
  Weather weather;

  // `host` answers at `port`. Hosts that were never exposed do not resolve.
  void expose(const net::Endpoint& where, int port);
  void silence(const net::Endpoint& where, bool silent);  // all its wires, and connects from now on
  // Breaks, or silences, one random wire whose connecting side asked for this host.
  void reset_one(const net::Endpoint& where);
  void silence_one(const net::Endpoint& where);
  std::size_t listeners(int port) const;

  // For SimLoop and SimStream.
  SimStream* find(std::uint64_t id) const;
  void schedule_arrival(const std::shared_ptr<Wire>& wire, int side);
  void schedule_writable(SimStream& stream);
  void dial(SimStream& from, const net::Endpoint& to);

 private:
  friend class SimStream;
  friend class SimLoop;
  friend class SimListener;
  struct Host {
    int port = 0;
    bool silent = false;
  };
  void silence_wire(Wire& wire);
  std::vector<std::shared_ptr<Wire>> wires_to(const net::Endpoint& where);
  std::shared_ptr<Wire> make_wire(const std::string& host);
  std::map<std::string, Host> hosts_;
  std::map<int, std::vector<SimListener*>> ports_;
  std::map<std::uint64_t, SimStream*> streams_;
  std::map<std::uint64_t, std::weak_ptr<Wire>> wires_;
  std::size_t sweep_wires_at_ = 0;  // when there are so many, those that are gone are forgotten
  std::uint64_t next_id_ = 1;
};

}  // namespace pgweir::sim
