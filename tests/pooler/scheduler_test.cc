#include "pooler/scheduler.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <vector>

using namespace pgweir;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

// A tenant that always has more transactions to run, and the servers that it holds.
struct Tenant : Share {
  std::uint32_t floor = 0, ceiling = 1000, held = 0;
  Duration shortest = milliseconds(1), longest = milliseconds(1);
  Duration used{};
  Time floor_reached = kNever;
  bool waits = true;
  Rank rank_now() const { return rank_of(held, floor, ceiling); }
};

// Servers that are given to whoever FairQueue says, on virtual time.
class Bench {
 public:
  explicit Bench(std::size_t servers, unsigned seed = 1) : free_(servers), chance_(seed) {}

  Tenant& add(std::uint32_t weight, Duration shortest, Duration longest, std::uint32_t floor = 0) {
    tenants_.push_back(std::make_unique<Tenant>());
    Tenant& tenant = *tenants_.back();
    tenant.set_weight(weight);
    tenant.shortest = shortest;
    tenant.longest = longest;
    tenant.floor = floor;
    return tenant;
  }
  void arrive(Tenant& tenant) { queue_.enter(tenant, tenant.rank_now()); }
  void stop(Tenant& tenant) { queue_.leave(tenant); }

  void run(Duration length) {
    const Time end = now_ + length;
    hand_out();
    while (!running_.empty() && running_.top().ends <= end) {
      const Running done = running_.top();
      running_.pop();
      now_ = done.ends;
      Tenant& tenant = *done.tenant;
      --tenant.held;
      tenant.give_back(done.charged, done.ends - done.began);
      if (done.ends > count_from) tenant.used += done.ends - std::max(done.began, count_from);
      if (tenant.queued()) queue_.update(tenant, tenant.rank_now());
      ++free_;
      hand_out();
    }
    now_ = end;
  }
  Time now() const { return now_; }
  Time count_from{};

 private:
  struct Running {
    Time ends, began;
    Duration charged;
    Tenant* tenant;
    bool operator<(const Running& other) const { return ends > other.ends; }
  };
  void hand_out() {
    while (free_ > 0) {
      auto* const tenant = static_cast<Tenant*>(queue_.first());
      if (!tenant) return;
      --free_;
      queue_.served(*tenant);
      ++tenant->held;
      if (tenant->held >= tenant->floor) tenant->floor_reached = std::min(tenant->floor_reached, now_);
      const Duration charged = tenant->take();
      queue_.update(*tenant, tenant->rank_now());
      std::uniform_int_distribution<Duration::rep> takes(tenant->shortest.count(), tenant->longest.count());
      running_.push({now_ + Duration(takes(chance_)), now_, charged, tenant});
    }
  }

  std::size_t free_;
  std::mt19937 chance_;
  Time now_{};
  FairQueue queue_;
  std::vector<std::unique_ptr<Tenant>> tenants_;
  std::priority_queue<Running> running_;
};

}  // namespace

TEST_CASE("who is below his floor goes first, who is at his ceiling not at all") {
  struct Row {
    std::uint32_t held, floor, ceiling;
    Rank rank;
  };
  for (const Row& row :
       {Row{0, 2, 5, Rank::BelowFloor}, Row{1, 2, 5, Rank::BelowFloor}, Row{2, 2, 5, Rank::AboveFloor},
        Row{4, 2, 5, Rank::AboveFloor}, Row{5, 2, 5, Rank::AtCeiling}, Row{6, 2, 5, Rank::AtCeiling},
        Row{0, 0, 1, Rank::AboveFloor}, Row{2, 2, 2, Rank::AtCeiling}})
    CHECK(rank_of(row.held, row.floor, row.ceiling) == row.rank);

  FairQueue queue;
  Share full, rich, poor;
  poor.use(seconds(1));
  queue.enter(full, Rank::AtCeiling);
  CHECK(queue.first() == nullptr);
  queue.enter(rich, Rank::AboveFloor);
  queue.enter(poor, Rank::BelowFloor);
  CHECK(queue.first() == &poor);
  CHECK(queue.after(poor) == &rich);
  CHECK(queue.after(rich) == nullptr);
  queue.update(poor, Rank::AboveFloor);
  CHECK(queue.first() == &rich);
  for (Share* share : {&full, &rich, &poor}) queue.leave(*share);
  CHECK(queue.empty());
}

TEST_CASE("equals are served in order of arrival") {
  FairQueue queue;
  Share a, b, c;
  for (Share* share : {&b, &a, &c}) queue.enter(*share, Rank::AboveFloor);
  CHECK(queue.first() == &b);
  CHECK(queue.after(b) == &a);
  for (Share* share : {&a, &b, &c}) queue.leave(*share);
}

TEST_CASE("whoever moves in line stands where his rank and use put him") {
  FairQueue queue;
  std::array<Share, 5> shares;
  std::array<Rank, 5> ranks{};
  std::mt19937_64 random(1);
  const auto below = [&](std::uint64_t n) { return random() % n; };
  for (Share& share : shares) queue.enter(share, Rank::BelowFloor);
  for (int round = 0; round < 20'000; ++round) {
    const std::size_t who = below(shares.size());
    // Mostly a little, so that many stay where they are.
    shares[who].use(Duration(static_cast<std::int64_t>(below(round % 10 == 0 ? 1000 : 3))));
    if (below(4) == 0) ranks[who] = static_cast<Rank>(below(3));
    queue.update(shares[who], ranks[who]);
    std::size_t served = 0;
    for (Share* share = queue.first(); share; share = queue.after(*share)) {
      ++served;
      if (const Share* const next = queue.after(*share); next)
        REQUIRE(std::pair(share->rank(), share->turn()) <= std::pair(next->rank(), next->turn()));
    }
    const auto at_ceiling = std::count(ranks.begin(), ranks.end(), Rank::AtCeiling);
    REQUIRE(served == shares.size() - static_cast<std::size_t>(at_ceiling));
    REQUIRE(shares[who].rank() == ranks[who]);
  }
}

TEST_CASE("what was used before a change of weight is billed by the old one") {
  Share share;
  share.set_weight(4);
  share.use(milliseconds(400));
  const std::int64_t before = share.virtual_time();
  share.use(milliseconds(400));
  share.set_weight(1);
  CHECK(share.virtual_time() == 2 * before);
  share.use(milliseconds(100));
  CHECK(share.virtual_time() == 3 * before);
}

TEST_CASE("a server that is taken is charged before it is given back") {
  Share share;
  for (int i = 0; i < 100; ++i) share.give_back(share.take(), milliseconds(80));
  const std::int64_t before = share.virtual_time();
  const Duration charged = share.take();
  CHECK(charged > milliseconds(70));
  CHECK(share.virtual_time() > before);
  share.give_back(charged, milliseconds(1));
  CHECK(share.virtual_time() - before == milliseconds(1) / Duration(1) * 1024);
}

TEST_CASE("shares of saturating tenants follow their weights within 5 %") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937 chance(seed);
    const auto between = [&](unsigned a, unsigned b) {
      return std::uniform_int_distribution<unsigned>(a, b)(chance);
    };
    const std::size_t servers = between(1, 40);
    Bench bench(servers, seed);
    std::vector<Tenant*> tenants;
    std::uint32_t weights = 0;
    const std::uint32_t choice[] = {1, 2, 4, 8};
    for (unsigned left = between(2, 12); left > 0; --left) {
      const Duration shortest(between(100, 20'000));
      tenants.push_back(&bench.add(choice[between(0, 3)], shortest, shortest + Duration(between(0, 30'000))));
      weights += tenants.back()->weight();
      bench.arrive(*tenants.back());
    }
    bench.run(seconds(2));
    bench.count_from = bench.now();
    bench.run(seconds(60));
    for (const Tenant* tenant : tenants) {
      const double fair = 60e6 * static_cast<double>(servers) * tenant->weight() / weights;
      INFO("seed " << seed << ", " << servers << " servers, weight " << tenant->weight() << " of "
                   << weights);
      CHECK(std::abs(static_cast<double>(tenant->used.count()) / fair - 1) < 0.05);
    }
  }
}

TEST_CASE("one tenant of an idle system has everything up to its ceiling") {
  Bench bench(20);
  Tenant& tenant = bench.add(1, milliseconds(1), milliseconds(5), 2);
  tenant.ceiling = 15;
  bench.arrive(tenant);
  bench.run(seconds(10));
  CHECK(tenant.held == 15);
  CHECK(std::abs(static_cast<double>(tenant.used.count()) / (15 * 10e6) - 1) < 0.01);
}

TEST_CASE("a floor is reached within one transaction time") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    Bench bench(10, seed);
    bench.arrive(bench.add(8, milliseconds(20), milliseconds(50), 2));
    bench.arrive(bench.add(8, milliseconds(20), milliseconds(50), 2));
    bench.run(seconds(1 + seed % 3));
    Tenant& late = bench.add(1, milliseconds(20), milliseconds(50), 3);
    late.use(seconds(100));  // a floor is a floor, whatever he has used
    const Time came = bench.now();
    bench.arrive(late);
    bench.run(seconds(1));
    CHECK(late.floor_reached - came <= milliseconds(50));
  }
}

TEST_CASE("who was away has no credit beyond what is remembered, and no debt either") {
  Bench bench(1);
  Tenant& busy = bench.add(1, milliseconds(10), milliseconds(10));
  Tenant& away = bench.add(1, milliseconds(10), milliseconds(10));
  bench.arrive(busy);
  bench.arrive(away);
  bench.run(seconds(1));
  bench.stop(away);
  bench.run(seconds(100));
  bench.count_from = bench.now();
  bench.arrive(away);
  bench.run(seconds(10));
  // 10 s to share, of which he gets at most the second that is remembered beforehand.
  CHECK(busy.used >= milliseconds(4'400));
  CHECK(away.used >= milliseconds(4'900));
}

TEST_CASE("nobody starves, however long the others' transactions and however heavy they are") {
  Bench bench(4);
  Tenant& light = bench.add(1, milliseconds(1), milliseconds(1));
  for (int i = 0; i < 10; ++i) bench.arrive(bench.add(8, milliseconds(100), seconds(1)));
  bench.run(seconds(5));
  bench.count_from = bench.now();
  bench.arrive(light);
  bench.run(seconds(100));
  CHECK(std::abs(static_cast<double>(light.used.count()) / (400e6 / 81) - 1) < 0.1);
}

TEST_CASE("a connection that has come free goes to others by rank, need and run") {
  struct Row {
    Rank without;
    bool wanted, run_over;
    Rank first;
    bool used_more, gives_up;
  };
  const Rank below = Rank::BelowFloor, above = Rank::AboveFloor;
  const std::vector<Row> rows{
      // Nobody of his own wants it: above his floor it goes, within it only to one below his own.
      {above, false, false, above, false, true},
      {above, false, false, below, false, true},
      {below, false, false, above, true, false},
      {below, false, true, below, false, true},
      // His own clients want it: a floor goes first, at once.
      {above, true, false, below, false, true},
      {below, true, true, above, true, false},
      // Among equals he finishes his run, and goes on when he has used less.
      {above, true, false, above, true, false},
      {above, true, true, above, true, true},
      {above, true, true, above, false, false},
      {below, true, true, below, true, true},
      {below, true, false, below, true, false},
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    INFO("row " << i);
    FairQueue queue;
    Share first;
    first.use(milliseconds(5));
    queue.enter(first, row.first);
    const std::int64_t used = first.virtual_time() + (row.used_more ? 1 : -1);
    CHECK(gives_up(row.without, used, row.wanted, row.run_over, first) == row.gives_up);
    queue.leave(first);
  }
}

TEST_CASE("a run is over by time or by count") {
  const Time begin = Time(seconds(5));
  CHECK_FALSE((Run{begin, 1}.over(begin + Run::kLongest - Duration(1))));
  CHECK((Run{begin, 1}.over(begin + Run::kLongest)));
  CHECK_FALSE((Run{begin, Run::kTransactions - 1}.over(begin)));
  CHECK((Run{begin, Run::kTransactions}.over(begin)));
}
