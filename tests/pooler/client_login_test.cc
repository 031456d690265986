// The time that a login takes until its first answer, on virtual time: logins of a Worker whose loop and
// streams belong to the test.
#include "pooler/client_login.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "conf/load.h"
#include "pooler/net/random.h"
#include "pooler/shared.h"
#include "pooler/worker.h"
#include "tests/support/logins.h"

using namespace pgweir;
using namespace pgweir::test;

namespace {

constexpr Duration kDerivation{8'000};  // takes so long here
constexpr int kUsers = 12;

class NoLog final : public Log {
 public:
  void write(LogLevel, std::string_view, Fields) override {}
  bool enabled(LogLevel) const override { return false; }
};

struct Peer {
  net::Handler* handler = nullptr;
  std::string heard;
};

// A connection that takes whatever is written at once.
class HandStream final : public net::Stream {
 public:
  explicit HandStream(Peer& peer) : peer_(peer) {}
  void write(std::span<const Bytes> slices) override {
    for (const Bytes slice : slices) peer_.heard += slice;
  }
  std::size_t unsent() const override { return 0; }
  void pause_reads() override {}
  void resume_reads() override {}
  void close() override {}
  void reset() override {}
  void set_handler(net::Handler& handler) override { peer_.handler = &handler; }
  void start_tls(net::TlsContext&, const std::string&, Bytes) override {}
  bool secured() const override { return false; }
  std::string tls_alpn() const override { return {}; }
  std::string tls_sni() const override { return {}; }
  std::string tls_description() const override { return {}; }
  std::unique_ptr<net::Detached> detach() override { return nullptr; }
  net::Peer peer() const override { return {"192.0.2.1", 1}; }
  net::Peer local() const override { return {"192.0.2.2", 5432}; }
  std::int64_t peer_uid() const override { return -1; }

 private:
  Peer& peer_;
};

// Time goes on when nothing else is left to do, and every job of a helper thread takes kDerivation.
class HandLoop final : public net::Loop {
 public:
  void arm(net::Timer& timer, Time at) override { timers_.arm(timer, at); }
  void disarm(net::Timer& timer) override { timers_.disarm(timer); }
  std::unique_ptr<net::Stream> connect(const net::Endpoint&, net::Handler&, net::SocketOptions) override {
    return nullptr;
  }
  std::unique_ptr<net::Listener> listen(int, net::Acceptor& acceptor) override {
    acceptor_ = &acceptor;
    return std::make_unique<net::Listener>();
  }
  std::unique_ptr<net::Stream> adopt(std::unique_ptr<net::Detached>, net::Handler&) override {
    return nullptr;
  }
  void post(std::function<void()> task) override { posted_.push_back(std::move(task)); }
  void offload(std::function<void()> work, std::function<void()> done) override {
    work();
    jobs_.push_back({now_ + kDerivation, std::move(done)});
  }

  void accept(Peer& peer) { acceptor_->on_accept(std::make_unique<HandStream>(peer)); }
  // The next thing that happens.
  void step() {
    if (!posted_.empty()) {
      const auto task = std::move(posted_.front());
      posted_.pop_front();
      return task();
    }
    const Time job = jobs_.empty() ? kNever : jobs_.front().at;
    now_ = std::min(job, timers_.next());
    REQUIRE(now_ != kNever);
    if (now_ < job) return timers_.run(now_);
    const auto done = std::move(jobs_.front().done);
    jobs_.pop_front();
    done();
  }
  void settle() {
    while (!posted_.empty()) step();
  }

 private:
  struct Job {
    Time at;
    std::function<void()> done;
  };
  Time clock() override { return now_; }
  net::TimerHeap timers_;
  std::deque<std::function<void()>> posted_;
  std::deque<Job> jobs_;
  net::Acceptor* acceptor_ = nullptr;
  Time now_{Duration(1)};
};

std::shared_ptr<const Snapshot> configured() {
  const auto read = [](const std::string&) -> tl::expected<std::string, std::string> {
    std::string users;
    for (int i = 0; i < kUsers; ++i) users += "\"user" + std::to_string(i) + "\" \"secret\"\n";
    return users;
  };
  auto loaded = conf::load("",
                           {{"DATABASE_URL", "postgres://127.0.0.1:1/app"},
                            {"PGWEIR_AUTH__METHOD", "scram-sha-256"},
                            {"PGWEIR_AUTH__USERS_FILE", "users"}},
                           read);
  REQUIRE(loaded);
  auto snapshot = make_snapshot(std::move(*loaded), read);
  REQUIRE(snapshot);
  return *snapshot;
}

struct Place {
  Place() {
    shared.workers.push_back(&worker);
    worker.listen(0);
  }
  ~Place() { loop.settle(); }

  // How long it takes until the client is asked for its proof; then it leaves.
  Duration asked_after(const std::string& user) {
    Peer peer;
    loop.accept(peer);
    const Time begun = loop.now();
    peer.handler->on_bytes(startup({{"user", user}, {"database", "app"}}));
    while (peer.heard.empty()) loop.step();
    const Duration took = loop.now() - begun;
    CHECK(peer.heard == auth_sasl());
    peer.handler->on_closed({});
    loop.settle();
    return took;
  }

  NoLog log;
  net::SystemRng rng;
  HandLoop loop;
  Shared shared{log};
  Worker worker{0, loop, rng, shared, configured()};
};

}  // namespace

TEST_CASE("a user that nobody knows is answered no sooner than one whose keys must be derived (R8)") {
  Place place;
  for (int i = 0; i < kUsers; ++i) CHECK(place.asked_after("user" + std::to_string(i)) == kDerivation);
  const Duration usual = place.worker.derivations().usual();
  CHECK(usual > kDerivation * 3 / 4);
  for (const char* const stranger : {"nobody", "somebody"}) {
    CAPTURE(stranger);
    const Duration took = place.asked_after(stranger);
    CHECK(took >= usual);
    CHECK(took <= kDerivation);
  }
}

TEST_CASE("a user who has asked before is answered at once, whether anybody knows him or not (R8)") {
  Place place;
  for (const char* const user : {"user0", "nobody"}) {
    CAPTURE(user);
    CHECK(place.asked_after(user) > Duration(0));
    CHECK(place.asked_after(user) == Duration(0));
  }
}
