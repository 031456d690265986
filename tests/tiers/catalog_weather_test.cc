// A catalog whose store does whatever stores do, and one that knows many.
#include <algorithm>
#include <random>

#include "tests/tiers/catalog_help.h"

#ifdef __SANITIZE_ADDRESS__
// From sanitizer/allocator_interface.h, which g++ does not bring.
extern "C" std::size_t __sanitizer_get_current_allocated_bytes();
#else
#include <malloc.h>
#endif

using namespace pgweir;
using namespace pgweir::tiers;

namespace {

std::size_t allocated() {
#ifdef __SANITIZE_ADDRESS__
  return __sanitizer_get_current_allocated_bytes();
#else
  return mallinfo2().uordblks;
#endif
}

// A store whose rows change, lie, vanish and fail at random, and clients that come and go.
class Weather {
 public:
  explicit Weather(unsigned seed) : random_(seed) {}

  void run() {
    for (int step = 0; step < 3000; ++step) one_step();
    // It clears up: everything is told as it is, and everybody hears of it.
    for (int round = 0; round < 20; ++round) {
      s_.tick(7s);
      obey();
      while (!fetches_.empty()) answer(0, Mood::Honest);
    }
    CHECK(pending_.empty());
    for (const auto& [name, watched] : watched_) {
      const auto now_is = s_.catalog.ask(name, s_.now);
      REQUIRE(now_is.record);
      CHECK(watched.told.limits == now_is.record->limits);
      CHECK(watched.told.state == now_is.record->state);
      if (rows_.contains(name) && is_good(rows_[name])) CHECK(now_is.kind == Kind::Known);
    }
    all_leave();
    // Whoever comes back after a long time, to a store that is well, is no worse off for it.
    s_.now += 1h;
    for (const auto& [name, fields] : rows_) {
      if (!is_good(fields)) continue;
      s_.catalog.ask(name, s_.now);
      obey();
      while (!fetches_.empty()) answer(0, Mood::Honest);
      const auto now_is = s_.catalog.ask(name, s_.now);
      REQUIRE(now_is.record);
      CHECK_FALSE(now_is.record->stale);
    }
    CHECK(pending_.empty());
    all_leave();
    // Nor does it keep anything of those who come and go while it is down.
    s_.now += 1h;
    for (const char* who : {"a", "b", "new", "newer", "newest"}) {
      ask(who);
      obey();
    }
    while (!fetches_.empty()) answer(0, Mood::Silent);
    CHECK(pending_.empty());
    all_leave();
  }

 private:
  enum class Mood { Honest, Any, Silent };
  using Fetch = std::pair<Catalog::Of, std::string>;
  struct Watched {
    Tenant told;
    int count = 0;
    bool known = false;  // there was an answer of the store
  };

  unsigned dice(unsigned sides) { return static_cast<unsigned>(random_() % sides); }
  std::string name() { return std::string(1, static_cast<char>('a' + dice(8))); }
  static bool is_good(const Fields& fields) {
    return !fields.empty() && fields[0].second != "none" && Row::of_tenant(fields).has_value();
  }

  void one_step() {
    const std::string who = name();
    switch (dice(8)) {
      case 0:
      case 1: ask(who); break;
      case 2:
        if (!fetches_.empty()) answer(dice(static_cast<unsigned>(fetches_.size())), Mood::Any);
        break;
      case 3: change(who); break;
      case 4: leave(who); break;
      case 5: s_.tick(std::chrono::milliseconds(dice(20'000))); break;
      case 6: s_.tick(dice(100) == 0 ? Duration(20min) : Duration(250ms)); break;
      case 7: s_.catalog.changed(dice(10) == 0 ? "*" : dice(5) == 0 ? "tier:pro" : who, s_.now); break;
    }
    obey();
  }

  void ask(const std::string& who) {
    const auto answer = s_.catalog.ask(who, s_.now);
    if (answer.kind == Kind::Pending) {
      pending_[who] = true;
      // Whoever was good lately is known, and whoever has clients never waits.
      const auto good = good_at_.find(who);
      CHECK((good == good_at_.end() || s_.now - good->second > 15min));
      CHECK_FALSE((watched_.contains(who) && watched_[who].known));
      return;
    }
    came(who, answer);
  }

  void came(const std::string& who, const Catalog::Answer& answer) {
    if (!answer.record) return;
    CHECK(answer.record->revision > last_revision_);
    last_revision_ = answer.record->revision;
    CHECK(check_tier(answer.record->limits));
    if (answer.record->stale) {
      // Nobody is held to less only because he was away.
      CHECK((vain_.contains(who) || s_.catalog.silent(s_.now) >= Catalog::kRetry));
      const auto good = good_at_.find(who);
      CHECK((good == good_at_.end() || s_.now - good->second > 15min));
    }
    if (dice(2) == 0) return;
    Watched& place = watched_[who];
    if (place.count++ == 0) place.told = *answer.record;
    place.known = place.known || answer.kind != Kind::Unreachable;
    s_.catalog.watch(*answer.record, s_.now);
  }

  void all_leave() {
    for (const auto& [name, watched] : watched_)
      for (int i = 0; i < watched.count; ++i) s_.catalog.unwatch(name);
    watched_.clear();
    CHECK(s_.catalog.watched() == 0);
    CHECK(s_.catalog.asked() == 0);
  }

  void leave(const std::string& who) {
    const auto place = watched_.find(who);
    if (place == watched_.end()) return;
    s_.catalog.unwatch(who);
    if (--place->second.count == 0) watched_.erase(place);
  }

  void change(const std::string& who) {
    static const Fields kinds[] = {{{"tier", "pro"}},
                                   {{"tier", "free"}, {"state", "suspended"}},
                                   {{"tier", "pro"}, {"max_clients", "7"}, {"pool_size", "9"}},
                                   {{"max_clients", "-7"}},
                                   {{"tier", "none"}, {"x", "y"}},
                                   {}};
    rows_[who] = kinds[dice(6)];
    if (dice(4) == 0)
      tiers_["pro"] =
          dice(2) == 0 ? Fields{} : Fields{{"max_server_connections", std::to_string(1 + dice(9))}};
    s_.catalog.changed(who, s_.now);
  }

  void answer(std::size_t which, Mood mood) {
    const Fetch fetch = fetches_[which];
    fetches_.erase(fetches_.begin() + static_cast<std::ptrdiff_t>(which));
    const auto& [of, who] = fetch;
    vain_.insert(who);  // unless it is good
    if (mood == Mood::Silent || (mood == Mood::Any && dice(4) == 0)) {
      s_.catalog.failed(of, who, s_.now);
    } else {
      const Fields fields = of == Catalog::Of::Tier ? tiers_[who] : rows_[who];
      s_.catalog.row(of, who, fields, s_.now);
      obey();
      // Of a tier that the configuration has, and that nobody waits for.
      const bool waits = std::count(fetches_.begin(), fetches_.end(), Fetch{Catalog::Of::Tier, "free"}) > 0;
      if (of == Catalog::Of::Tenant && is_good(fields) && fields[0].second == "free" && !waits)
        good_at_[who] = s_.now, vain_.erase(who);
    }
    obey();
  }

  void obey() {
    for (auto actions = s_.catalog.take_actions(); !actions.empty(); actions = s_.catalog.take_actions())
      obey(actions);
  }

  void obey(const std::vector<Catalog::Action>& actions) {
    for (const auto& action : actions) {
      switch (action.kind) {
        case Catalog::Action::Kind::Fetch: {
          const Fetch fetch{action.of, action.name};
          CHECK(std::find(fetches_.begin(), fetches_.end(), fetch) == fetches_.end());
          fetches_.push_back(fetch);
          break;
        }
        case Catalog::Action::Kind::Settled:
          CHECK(action.answer.kind != Kind::Pending);
          pending_.erase(action.name);
          came(action.name, action.answer);
          break;
        case Catalog::Action::Kind::Changed: {
          REQUIRE(watched_.contains(action.name));
          REQUIRE(action.answer.record);
          CHECK(action.answer.record->revision > watched_[action.name].told.revision);
          watched_[action.name].told = *action.answer.record;
          watched_[action.name].known = true;
          break;
        }
        case Catalog::Action::Kind::Differs:
        case Catalog::Action::Kind::Strange:
        case Catalog::Action::Kind::Refused:
        case Catalog::Action::Kind::Lowered: break;
      }
    }
  }

  std::mt19937 random_;
  Stand s_;
  std::map<std::string, Fields> rows_, tiers_;
  std::vector<Fetch> fetches_;
  std::map<std::string, bool> pending_;
  std::map<std::string, Watched> watched_;
  std::map<std::string, Time> good_at_;
  std::set<std::string> vain_;  // who was asked for since, and nothing good came
  std::uint64_t last_revision_ = 0;
};

}  // namespace

TEST_CASE(
    "whatever a store does, who is known never waits, all are answered, and clients hear the last word") {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    INFO("seed " << seed);
    Weather(seed).run();
  }
}

TEST_CASE("a hundred thousand known tenants fit") {
  constexpr std::size_t kTenants = 100'000;
  Stand s;
  Catalog::Rules rules = s.rules();
  rules.known_max = kTenants;
  Catalog catalog(std::move(rules));
  catalog.ask("first", s.now);
  catalog.row(Catalog::Of::Tenant, "first", Fields{{"tier", "pro"}}, s.now);
  catalog.row(Catalog::Of::Tier, "pro", Fields{}, s.now);
  catalog.take_actions();
  const std::size_t before = allocated();
  for (std::size_t i = 1; i < kTenants; ++i) {
    const std::string name = "tenant_" + std::to_string(i);
    catalog.ask(name, s.now);
    catalog.row(
        Catalog::Of::Tenant, name,
        Fields{{"tier", "pro"}, {"backend", "main"}, {"database", "db_" + name}, {"user", "u_" + name}},
        s.now);
    catalog.take_actions();
  }
  const std::size_t each = (allocated() - before) / kTenants;
  CHECK(catalog.known() == kTenants);
  WARN("bytes per known tenant: " << each);
  CHECK(each < 400);
}
