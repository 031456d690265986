#include "pooler/metrics_gather.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "pooler/app.h"
#include "pooler/net/random.h"
#include "pooler/net/uv_loop.h"
#include "pooler/shared.h"
#include "pooler/walk.h"
#include "pooler/worker.h"

using namespace pgweir;

namespace {

class Silent final : public Log {
 public:
  void write(LogLevel, std::string_view, Fields) override {}
  bool enabled(LogLevel) const override { return false; }
  void set_level(LogLevel) override {}
};

std::shared_ptr<const Snapshot> configured() {
  const auto none = [](const std::string& path) -> tl::expected<std::string, std::string> {
    return tl::unexpected(path);
  };
  auto loaded = conf::load("", {{"DATABASE_URL", "postgres://app:secret@127.0.0.1:1/app"}}, none);
  REQUIRE(loaded);
  auto snapshot = make_snapshot(std::move(*loaded), none);
  REQUIRE(snapshot);
  return *snapshot;
}

// Workers on one loop, on which `count` tenants have done something.
struct Pooler {
  explicit Pooler(int count) {
    for (int i = 0; i < count; ++i) {
      tiers::Tenant record;
      record.name = "t" + std::to_string(i);
      record.database = record.name;
      record.limits.name = i % 4 == 0 ? "pro" : "free";
      Worker* const home = app.shared().workers[static_cast<std::size_t>(i % 2)];
      Tenant& tenant = home->tenant(record);
      tenant.traffic.queries = 1;
      tenant.traffic.transaction_us = static_cast<std::uint64_t>(i);
    }
  }
  // Answers how often the loop turned meanwhile.
  int scrape(
      std::size_t most, const std::function<void()>& each_turn = [] {}) {
    int turns = 0;
    bool ended = false;
    std::function<void()> tick = [&] {
      if (ended) return loop->stop();
      ++turns;
      each_turn();
      loop->post(tick);
    };
    tick();
    metrics::gather(*app.shared().workers[0], most, [&](std::vector<metrics::Sample> parts) {
      sample = metrics::unite(std::move(parts), most);
      ended = true;
    });
    loop->run();
    return turns;
  }

  Silent log;
  std::unique_ptr<net::UvLoop> loop = net::UvLoop::make();
  net::SystemRng rng;
  App app{{{*loop, rng}, {*loop, rng}},
          log,
          configured(),
          []() -> tl::expected<std::shared_ptr<const Snapshot>, std::string> {
            return tl::unexpected(std::string("no"));
          },
          [] {}};
  metrics::Sample sample;
};

}  // namespace

TEST_CASE("a scrape counts every tenant of every worker, a part of them a turn") {
  Pooler pooler(10'000);
  CHECK(pooler.scrape(3) >= 10'000 / 2 / static_cast<int>(kWalkAtOnce));
  const metrics::Sample& sample = pooler.sample;
  CHECK(sample.tiers.at("pro").tenants == 2'500);
  CHECK(sample.tiers.at("free").tenants == 7'500);
  CHECK(sample.tiers.at("pro").meter.total.queries == 2'500);
  CHECK(sample.tiers.at("free").meter.total.queries == 7'500);
  REQUIRE(sample.top.size() == 3);
  CHECK(sample.top[0].name == "t9999");
  CHECK(sample.top[2].name == "t9997");
  CHECK(sample.workers.size() == 2);
}

TEST_CASE("tenants that come during a scrape make no total wrong") {
  Pooler pooler(2'000);
  int next = 10'000;
  const auto come = [&] {
    for (int i = 0; i < 500 && next < 14'000; ++i) {
      tiers::Tenant record;
      record.name = "t" + std::to_string(next++);
      record.limits.name = "free";
      pooler.app.shared().workers[0]->tenant(record).traffic.queries = 1;
    }
  };
  pooler.scrape(1, come);
  const std::uint64_t first = pooler.sample.tiers.at("free").meter.total.queries;
  CHECK(first >= 1'500);
  CHECK(first <= 5'500);
  pooler.scrape(1);
  CHECK(pooler.sample.tiers.at("free").meter.total.queries ==
        1'500 + static_cast<std::uint64_t>(next - 10'000));
  CHECK(pooler.sample.tiers.at("free").tenants == 1'500 + static_cast<std::uint64_t>(next - 10'000));
  CHECK(pooler.sample.tiers.at("pro").meter.total.queries == 500);
}
