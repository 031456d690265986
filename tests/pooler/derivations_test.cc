#include "pooler/derivations.h"

#include <catch2/catch.hpp>
#include <vector>

#include "pooler/base/check.h"

using namespace pgweir;

namespace {

// Helper threads that finish when the test says so, one step at a time.
class HandLoop final : public net::Loop {
 public:
  void offload(std::function<void()> work, std::function<void()> done) override {
    jobs_.push_back({std::move(work), std::move(done)});
  }
  std::size_t under_way() const { return jobs_.size(); }
  void finish_one(Duration took = Duration(1000)) {
    REQUIRE_FALSE(jobs_.empty());
    const auto [work, done] = std::move(jobs_.front());
    jobs_.erase(jobs_.begin());
    now_ += took;
    work();
    done();
  }

  void arm(net::Timer&, Time) override { PGWEIR_CHECK(false); }
  void disarm(net::Timer&) override { PGWEIR_CHECK(false); }
  std::unique_ptr<net::Stream> connect(const net::Endpoint&, net::Handler&, net::SocketOptions) override {
    return nullptr;
  }
  std::unique_ptr<net::Listener> listen(int, net::Acceptor&) override { return nullptr; }
  std::unique_ptr<net::Stream> adopt(std::unique_ptr<net::Detached>, net::Handler&) override {
    return nullptr;
  }
  void post(std::function<void()>) override { PGWEIR_CHECK(false); }

 private:
  Time clock() override { return now_; }
  std::vector<std::pair<std::function<void()>, std::function<void()>>> jobs_;
  Time now_{};
};

struct Place {
  HandLoop loop;
  Derivations derivations{loop};
  std::string finished;

  Derivations::Job job(char mark, const bool* wanted = nullptr, std::uint32_t iterations = 1) {
    return {std::string(1, mark), "salt", iterations, [wanted] { return !wanted || *wanted; },
            [this, mark](const protocol::ScramKey&) { finished += mark; }};
  }
};

using For = Derivations::For;

}  // namespace

TEST_CASE("keys are derived one at a time, for servers first, then in order") {
  Place p;
  for (const char mark : {'a', 'b', 'c'}) p.derivations.add(For::Client, p.job(mark));
  for (const char mark : {'S', 'T'}) p.derivations.add(For::Server, p.job(mark));
  while (p.loop.under_way() > 0) {
    CHECK(p.loop.under_way() == 1);
    p.loop.finish_one();
  }
  CHECK(p.finished == "aSTbc");
  CHECK(p.derivations.waiting() == 0);
}

TEST_CASE("the keys are those of the password") {
  Place p;
  protocol::ScramKey got{};
  p.derivations.add(For::Client, {"pencil", "salt", 3, [] { return true; },
                                  [&](const protocol::ScramKey& key) { got = key; }});
  p.loop.finish_one();
  CHECK(got == protocol::scram_salted_password("pencil", "salt", 3));
}

TEST_CASE("whoever has left by its turn is passed over without a derivation") {
  Place p;
  bool wanted = true;
  p.derivations.add(For::Client, p.job('a'));
  p.derivations.add(For::Client, p.job('b', &wanted));
  p.derivations.add(For::Client, p.job('c'));
  wanted = false;
  p.loop.finish_one();
  p.loop.finish_one();
  CHECK(p.loop.under_way() == 0);
  CHECK(p.finished == "ac");
}

TEST_CASE("a flood of logins that leave again does not make the queue grow (R12)") {
  Place p;
  bool wanted = false;
  p.derivations.add(For::Client, p.job('a'));
  for (int i = 0; i < 100'000; ++i) p.derivations.add(For::Client, p.job('x', &wanted));
  CHECK(p.derivations.waiting() < 100);
  p.derivations.add(For::Client, p.job('b'));
  p.loop.finish_one();
  p.loop.finish_one();
  CHECK(p.finished == "ab");
}

TEST_CASE("a derivation may ask for the next one") {
  Place p;
  p.derivations.add(For::Client, {"a", "salt", 1, [] { return true; },
                                  [&p](const protocol::ScramKey&) {
                                    p.finished += 'a';
                                    p.derivations.add(For::Client, p.job('c'));
                                  }});
  p.derivations.add(For::Client, p.job('b'));
  while (p.loop.under_way() > 0) {
    CHECK(p.loop.under_way() == 1);
    p.loop.finish_one();
  }
  CHECK(p.finished == "abc");
}

TEST_CASE("the usual time follows the derivations of Postgres's own size") {
  Place p;
  for (int i = 0; i < 50; ++i) {
    p.derivations.add(For::Client, p.job('a', nullptr, protocol::kScramIterations));
    p.loop.finish_one(Duration(8000));
    p.derivations.add(For::Client, p.job('a', nullptr, 1));
    p.loop.finish_one(Duration(1));
  }
  CHECK(p.derivations.usual() > Duration(7000));
  CHECK(p.derivations.usual() <= Duration(8000));
}
