#include "tiers/catalog.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#ifdef __SANITIZE_ADDRESS__
// From sanitizer/allocator_interface.h, which g++ does not bring.
extern "C" std::size_t __sanitizer_get_current_allocated_bytes();
#else
#include <malloc.h>
#endif

using namespace pgweir;
using namespace pgweir::tiers;
using namespace std::chrono_literals;
using Kind = Catalog::Answer::Kind;

namespace {

std::size_t allocated() {
#ifdef __SANITIZE_ADDRESS__
  return __sanitizer_get_current_allocated_bytes();
#else
  return mallinfo2().uordblks;
#endif
}

// A catalog with the tiers free (20 clients) and pro (200), a store that the test answers for, and a clock.
struct Stand {
  std::shared_ptr<Directory> directory = std::make_shared<Directory>();
  bool serves_unknown = true, serves_unreachable = true;
  Time now{1000s};
  Catalog catalog{rules()};

  Catalog::Rules rules() {
    Tier free, pro;
    free.name = "free";
    pro.name = "pro";
    pro.max_clients = 200;
    REQUIRE(directory->add_tier(free));
    REQUIRE(directory->add_tier(pro));
    Catalog::Rules rules;
    rules.default_tier = "free";
    rules.first_backend = "main";
    rules.known_max = 1000;
    rules.directory = directory;
    rules.check = [](const Tenant& tenant) -> Expected<void> {
      if (tenant.backend == "main") return {};
      return fail(sqlstate::kConfigFileError, "no backend is named " + tenant.backend);
    };
    rules.unknown = [this](std::string_view name) -> std::optional<Tenant> {
      if (!serves_unknown) return {};
      Tenant record;
      record.name = record.database = name;
      record.limits = *directory->tier("free");
      return record;
    };
    rules.unreachable = [this, unknown = rules.unknown](std::string_view name) {
      return serves_unreachable ? unknown(name) : std::nullopt;
    };
    return rules;
  }

  // "known 200", "unknown 20", "unknown none", "pending".
  static std::string text(const Catalog::Answer& answer) {
    const std::string with =
        answer.record ? std::to_string(answer.record->limits.max_clients) : std::string("none");
    switch (answer.kind) {
      case Kind::Known: return "known " + with;
      case Kind::Unknown: return "unknown " + with;
      case Kind::Unreachable: return "unreachable " + with;
      case Kind::Pending: return "pending";
    }
    return {};
  }
  std::string ask(const std::string& name) { return text(catalog.ask(name, now)); }
  void row(const std::string& name, const Fields& fields) {
    catalog.row(Catalog::Of::Tenant, name, fields, now);
  }
  void tier(const std::string& name, const Fields& fields) {
    catalog.row(Catalog::Of::Tier, name, fields, now);
  }
  void fail_tenant(const std::string& name) { catalog.failed(Catalog::Of::Tenant, name, now); }
  // "fetch acme; settled acme known 200; ..." with tiers as "tier:pro".
  std::string actions() {
    std::string all;
    for (const auto& action : catalog.take_actions()) {
      if (!all.empty()) all += "; ";
      const std::string name = (action.of == Catalog::Of::Tier ? "tier:" : "") + action.name;
      switch (action.kind) {
        case Catalog::Action::Kind::Fetch: all += "fetch " + name; break;
        case Catalog::Action::Kind::Settled: all += "settled " + name + " " + text(action.answer); break;
        case Catalog::Action::Kind::Changed: all += "changed " + name + " " + text(action.answer); break;
        case Catalog::Action::Kind::Strange: all += "strange " + name + ": " + action.reason; break;
        case Catalog::Action::Kind::Refused: all += "refused " + name + ": " + action.reason; break;
      }
    }
    return all;
  }
  // A tenant of tier pro, known now.
  void know(const std::string& name, const Fields& fields = {{"tier", "pro"}}) {
    ask(name);
    row(name, fields);
    tier("pro", {});
    actions();
  }
  Tenant watch(const std::string& name) {
    const auto answer = catalog.ask(name, now);
    REQUIRE(answer.record);
    catalog.watch(*answer.record, now);
    actions();
    return *answer.record;
  }
  void tick(Duration passes) {
    now += passes;
    catalog.tick(now);
  }
};

}  // namespace

TEST_CASE("a cold tenant waits for one lookup, and for its tier's once") {
  Stand s;
  CHECK(s.ask("acme") == "pending");
  CHECK(s.ask("acme") == "pending");
  CHECK(s.actions() == "fetch acme");
  s.row("acme", {{"tier", "pro"}});
  CHECK(s.actions() == "fetch tier:pro");
  s.tier("pro", {});
  CHECK(s.actions() == "settled acme known 200");
  CHECK(s.ask("acme") == "known 200");
  CHECK(s.ask("beta") == "pending");
  s.row("beta", {{"tier", "pro"}, {"max_clients", "7"}});
  CHECK(s.actions() == "fetch beta; settled beta known 7");
}

TEST_CASE("a known tenant never waits: its last good row answers while a fresh one is fetched") {
  Stand s;
  s.know("acme");
  s.now += 61s;
  CHECK(s.ask("acme") == "known 200");
  CHECK(s.actions() == "fetch acme");
  s.row("acme", {{"tier", "free"}});
  s.tier("free", {});
  CHECK(s.ask("acme") == "known 20");
}

TEST_CASE("a field that nobody knows is told once for each name, up to a bound") {
  Stand s;
  s.know("acme");
  s.ask("beta");
  s.actions();
  s.row("beta", {{"tier", "pro"}, {"max_client", "7"}, {"max_clients", "8"}, {"colour", "blue"}});
  CHECK(s.actions() == "strange beta: max_client; strange beta: colour; settled beta known 8");
  s.row("acme", {{"tier", "pro"}, {"max_client", "9"}});
  CHECK(s.actions().empty());
  s.tier("pro", {{"wieght", "9"}, {"weight", "9"}});
  CHECK(s.actions() == "strange tier:pro: wieght");
  std::size_t told = 3;
  for (std::size_t i = 0; i < Catalog::kStrangeMax; ++i) {
    s.row("acme", {{"tier", "pro"}, {"f" + std::to_string(i), ""}});
    told += s.actions().empty() ? 0 : 1;
  }
  CHECK(told == Catalog::kStrangeMax);
}

TEST_CASE("names that the store does not know are remembered for a while") {
  Stand s;
  s.ask("nobody");
  s.row("nobody", {});
  CHECK(s.actions() == "fetch nobody; settled nobody unknown 20");
  CHECK(s.ask("nobody") == "unknown 20");
  CHECK(s.actions().empty());
  s.serves_unknown = false;
  CHECK(s.ask("nobody") == "unknown none");
  s.now += 11s;
  CHECK(s.ask("nobody") == "pending");
  CHECK(s.actions() == "fetch nobody");
}

TEST_CASE("a store that cannot be asked is not the same as one that does not know") {
  Stand s;
  s.ask("acme");
  s.fail_tenant("acme");
  CHECK(s.actions() == "fetch acme; settled acme unreachable 20");
  CHECK(s.catalog.size() == 0);
  CHECK(s.ask("acme") == "pending");
}

TEST_CASE("while the store is down the last good row holds up to stale_max, then the lower tier") {
  Stand s;
  s.know("acme");
  s.know("tiny", {{"tier", "pro"}, {"max_clients", "3"}});
  s.watch("acme");
  for (int second = 0; second < 15 * 60; ++second) {
    s.tick(1s);
    REQUIRE(s.ask("acme") == "known 200");
    s.fail_tenant("acme");
    REQUIRE(s.actions().find("changed") == std::string::npos);
  }
  s.tick(1s);
  CHECK(s.actions().find("changed acme known 20") != std::string::npos);
  CHECK(s.ask("acme") == "known 20");
  CHECK(s.ask("tiny") == "known 3");  // a ceiling never rises
  s.row("acme", {{"tier", "pro"}});
  CHECK(s.actions().find("changed acme known 200") != std::string::npos);
}

TEST_CASE("how long the store has been silent, and who is held to less because of it, is known") {
  Stand s;
  CHECK(s.catalog.silent(s.now) == Duration{});
  s.know("acme");
  s.know("unused");
  s.watch("acme");
  CHECK(s.catalog.stale() == 0);
  s.now += 10s;
  s.fail_tenant("acme");
  s.now += 5s;
  s.fail_tenant("acme");
  CHECK(s.catalog.silent(s.now) == 5s);
  s.catalog.ask("\xff", s.now);
  s.catalog.no_row(Catalog::Of::Tenant, "\xff", s.now);  // which the store never heard of
  CHECK(s.catalog.silent(s.now) == 5s);
  s.now += 20min;
  CHECK(s.catalog.silent(s.now) == 20min + 5s);
  CHECK(s.catalog.stale() == 0);  // nobody has looked yet
  s.catalog.tick(s.now);
  CHECK(s.catalog.stale() == 1);
  // That there is no such row is an answer, too.
  s.row("other", {});
  CHECK(s.catalog.silent(s.now) == Duration{});
  CHECK(s.catalog.stale() == 1);
  s.row("acme", {{"tier", "pro"}});
  CHECK(s.catalog.stale() == 0);
}

TEST_CASE("garbage never replaces a good row, and is told once") {
  Stand s;
  s.know("acme");
  for (int round = 0; round < 3; ++round) s.row("acme", {{"max_clients", "-1"}});
  CHECK(s.actions() == "refused acme: max_clients must be a whole number between 1 and 100000, not '-1'");
  CHECK(s.ask("acme") == "known 200");
  CHECK(s.catalog.totals().refused == 3);
  s.catalog.row(Catalog::Of::Tenant, "acme", fail(sqlstate::kConfigFileError, "must be a hash"), s.now);
  CHECK(s.actions().empty());
  s.row("acme", {{"tier", "pro"}, {"backend", "elsewhere"}});
  s.row("acme", {{"tier", "no such"}});
  s.tier("no such", {});
  CHECK(s.ask("acme") == "known 200");
  s.row("acme", {{"tier", "pro"}});
  s.actions();
  s.row("acme", {{"version", "x"}});
  CHECK(s.actions().find("refused acme: version") == 0);

  s.ask("liar");
  s.row("liar", {{"tier", ""}});
  CHECK(
      s.actions() ==
      "fetch liar; refused liar: tier must be the name of a tier, of 1 to 63 bytes; settled liar unknown 20");
}

TEST_CASE("a store that was emptied takes nobody's tier away before stale_max") {
  Stand s;
  s.know("acme");
  s.watch("acme");
  s.row("acme", {});
  CHECK(s.actions().empty());
  CHECK(s.ask("acme") == "known 200");
  CHECK(s.catalog.totals().vanished == 1);
  s.now += 16min;
  s.row("acme", {});
  CHECK(s.actions().find("changed acme unknown 20") != std::string::npos);
}

TEST_CASE("a row that somebody deleted is gone at once") {
  Stand s;
  const auto believe = [&] {
    auto rules = s.rules();
    rules.vanished = Catalog::Vanished::Believed;
    s.catalog.set_rules(std::move(rules), s.now);
  };
  believe();
  s.know("acme");
  s.know("beta");
  s.watch("acme");
  s.row("acme", {});
  CHECK(s.actions() == "changed acme unknown 20");
  CHECK(s.ask("acme") == "unknown 20");
  CHECK(s.catalog.totals().vanished == 1);
  // Where nothing else serves him, his clients end as those of a suspended tenant, until he is back.
  s.row("acme", {{"tier", "pro"}});
  s.actions();
  s.serves_unknown = false;
  believe();
  s.row("acme", {});
  const auto actions = s.catalog.take_actions();
  REQUIRE(actions.size() == 1);
  REQUIRE(actions[0].answer.record);
  CHECK(actions[0].answer.record->state == TenantState::Suspended);
  CHECK(actions[0].answer.record->reason == "it is not in the tenant store any more");
  CHECK(s.ask("acme") == "unknown none");
  s.row("acme", {});
  CHECK(s.actions().empty());
  s.row("acme", {{"tier", "pro"}});
  CHECK(s.actions() == "changed acme known 200");
  // One without clients.
  s.row("beta", {});
  CHECK(s.actions().empty());
  CHECK(s.ask("beta") == "unknown none");
  s.catalog.unwatch("acme");
  // Who never had a row is none that was deleted.
  s.serves_unknown = true;
  s.ask("gamma");
  s.row("gamma", {});
  s.watch("gamma");
  s.serves_unknown = false;
  believe();
  CHECK(s.actions().empty());
  s.catalog.unwatch("gamma");
}

TEST_CASE("a tier that nobody has used yet is asked for") {
  Stand s;
  CHECK(s.catalog.has_tier("pro", s.now));
  CHECK_FALSE(s.catalog.has_tier("huge", s.now));
  CHECK(s.catalog.ask_tier("huge"));
  CHECK(s.catalog.ask_tier("huge"));
  CHECK(s.actions() == "fetch tier:huge");
  s.tier("huge", {});
  CHECK_FALSE(s.catalog.has_tier("huge", s.now));
  CHECK(s.catalog.ask_tier("huge"));  // that there was none is not believed for long
  CHECK(s.actions() == "fetch tier:huge");
  s.tier("huge", {{"max_clients", "3000"}});
  CHECK(s.catalog.has_tier("huge", s.now));
  const Error none = s.catalog.no_tier("hugo", s.now);
  CHECK(none.message == "no tier is named 'hugo'; did you mean huge?");
  CHECK(none.hint == "There are free, huge, pro.");
  for (int i = 0; i < 9; ++i) {
    const std::string name = "a" + std::to_string(i);
    s.catalog.ask_tier(name);
    s.tier(name, {{"max_clients", "1"}});
  }
  CHECK(s.catalog.no_tier("x", s.now).hint ==
        "There are a0, a1, a2, a3, a4, a5, a6, a7, a8, free and 2 more.");
}

TEST_CASE("changes reach watched tenants, once each") {
  Stand s;
  s.know("acme");
  const Tenant first = s.watch("acme");
  s.catalog.changed("acme", s.now);
  CHECK(s.actions() == "fetch acme");
  // It changes again while it is fetched: what comes may be older.
  s.catalog.changed("acme", s.now);
  CHECK(s.actions().empty());
  s.row("acme", {{"tier", "pro"}, {"max_clients", "50"}});
  CHECK(s.actions() == "changed acme known 50; fetch acme");
  s.row("acme", {{"tier", "pro"}, {"max_clients", "50"}});
  CHECK(s.actions().empty());
  s.catalog.changed("acme", s.now);
  s.row("acme", {{"tier", "pro"}, {"state", "suspended"}, {"reason", "unpaid"}});
  const auto actions = s.catalog.take_actions();
  REQUIRE(actions.size() == 2);
  REQUIRE(actions[1].answer.record);
  CHECK(actions[1].answer.record->state == TenantState::Suspended);
  CHECK(actions[1].answer.record->revision > first.revision);
  s.catalog.unwatch("acme");
  s.row("acme", {{"tier", "pro"}});
  CHECK(s.actions().empty());
}

TEST_CASE("what changed between the answer and the first client is told to it") {
  Stand s;
  s.know("acme");
  const auto answer = s.catalog.ask("acme", s.now);
  s.row("acme", {{"tier", "pro"}, {"max_clients", "1"}});
  s.catalog.watch(*answer.record, s.now);
  CHECK(s.actions() == "changed acme known 1");
  s.catalog.watch(*answer.record, s.now);
  s.catalog.unwatch("acme");
  CHECK(s.catalog.watched() == 1);
}

TEST_CASE("a tier of the store lies over the configuration's, and changing it changes its tenants") {
  Stand s;
  s.know("acme");
  s.know("beta", {{"tier", "pro"}, {"max_clients", "7"}});
  s.watch("acme");
  s.watch("beta");
  const std::uint64_t before = s.catalog.tiers_version();
  s.catalog.changed("tier:pro", s.now);
  CHECK(s.actions() == "fetch tier:pro");
  s.tier("pro", {});
  CHECK(s.catalog.tiers_version() == before);
  s.catalog.changed("tier:pro", s.now);
  s.actions();
  s.tier("pro", {{"max_clients", "300"}});
  CHECK(s.catalog.tiers_version() != before);
  CHECK(s.catalog.tiers(s.now)->tier("pro")->max_clients == 300);
  CHECK(s.actions() == "changed acme known 300");
  CHECK(s.ask("beta") == "known 7");
  s.tier("pro", {{"max_clients", "none"}});
  CHECK(s.actions().find("refused tier:pro: max_clients") == 0);
  CHECK(s.ask("acme") == "known 300");
  // One that the configuration has not is among those that are known, and only once it has a row.
  REQUIRE(s.catalog.ask_tier("huge"));
  CHECK(s.actions() == "fetch tier:huge");
  CHECK(s.catalog.tiers(s.now)->tiers().size() == 2);
  s.tier("huge", {{"max_clients", "900"}});
  CHECK(s.catalog.tiers(s.now)->tiers().size() == 3);
  CHECK(s.catalog.tiers(s.now)->tier("huge")->max_clients == 900);
  CHECK(s.catalog.tiers(s.now)->tier("free")->max_clients == 20);
  // A tenant that the store does not know follows the default tier.
  s.ask("nobody");
  s.row("nobody", {});
  s.tick(0s);
  s.tier("free", {{"max_clients", "2"}});
  CHECK(s.ask("nobody") == "unknown 2");
}

TEST_CASE("a tier that only the store has serves its tenants; one that nobody has refuses the row") {
  Stand s;
  s.ask("acme");
  s.row("acme", {{"tier", "gold"}});
  s.tier("gold", {{"max_clients", "900"}});
  CHECK(s.actions() == "fetch acme; fetch tier:gold; settled acme known 900");
  s.ask("beta");
  s.row("beta", {{"tier", "lead"}});
  s.tier("lead", {});
  CHECK(
      s.actions() ==
      "fetch beta; fetch tier:lead; refused beta: tier must be the name of a tier, not 'lead'; settled beta "
      "unknown 20");
  s.ask("gamma");
  s.row("gamma", {{"tier", "pro"}});
  s.catalog.failed(Catalog::Of::Tier, "pro", s.now);
  CHECK(s.actions() == "fetch gamma; fetch tier:pro; settled gamma known 200");
}

TEST_CASE("'*' asks for all that is watched, at most once a second") {
  Stand s;
  for (const char* name : {"a", "b", "c"}) {
    s.know(name);
    if (*name != 'c') s.watch(name);
  }
  s.tick(0s);
  s.tier("free", {});
  s.actions();
  s.catalog.changed("*", s.now);
  CHECK(s.actions() == "fetch tier:free; fetch tier:pro; fetch a; fetch b");
  for (const char* name : {"a", "b"}) s.row(name, {{"tier", "pro"}});
  for (const char* name : {"free", "pro"}) s.tier(name, {});
  for (int i = 0; i < 1000; ++i) s.catalog.changed("*", s.now);
  CHECK(s.actions().empty());
  s.tick(1s);
  CHECK(s.actions() == "fetch tier:free; fetch tier:pro; fetch a; fetch b");
  CHECK(s.ask("c") == "known 200");
  CHECK(s.actions() == "fetch c");
}

TEST_CASE("what nobody uses is forgotten beyond a bound, the longest unused first; who is watched stays") {
  Stand s;
  s.know("watched");
  s.watch("watched");
  for (int i = 0; i < 1500; ++i) s.know("t" + std::to_string(i));
  CHECK(s.catalog.known() == 1001);
  CHECK(s.ask("t1499") == "known 200");
  CHECK(s.ask("t500") == "known 200");
  CHECK(s.ask("t499") == "pending");
  CHECK(s.ask("watched") == "known 200");
  s.row("t499", {});
  for (std::size_t i = 0; i < Catalog::kAbsentMax + 500; ++i) {
    s.ask("n" + std::to_string(i));
    s.row("n" + std::to_string(i), {});
  }
  CHECK(s.catalog.size() == 1001 + Catalog::kAbsentMax);
  s.actions();
  for (std::size_t i = 0; i < Catalog::kAskedMax; ++i) s.ask("q" + std::to_string(i));
  CHECK(s.ask("one more") == "unreachable 20");
  s.serves_unreachable = false;
  CHECK(s.ask("one more") == "unreachable none");
  s.catalog.unwatch("watched");
}

namespace {

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
    for (const auto& [name, watched] : watched_)
      for (int i = 0; i < watched.count; ++i) s_.catalog.unwatch(name);
    CHECK(s_.catalog.watched() == 0);
  }

 private:
  enum class Mood { Honest, Any };
  using Fetch = std::pair<Catalog::Of, std::string>;
  struct Watched {
    Tenant told;
    int count = 0;
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
      CHECK_FALSE(watched_.contains(who));
      return;
    }
    came(who, answer);
  }

  void came(const std::string& who, const Catalog::Answer& answer) {
    if (answer.kind == Kind::Unreachable || !answer.record) return;
    CHECK(answer.record->revision > last_revision_);
    last_revision_ = answer.record->revision;
    CHECK(check_tier(answer.record->limits));
    if (dice(2) == 0) return;
    Watched& place = watched_[who];
    if (place.count++ == 0) place.told = *answer.record;
    s_.catalog.watch(*answer.record, s_.now);
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
    if (mood == Mood::Any && dice(4) == 0) {
      s_.catalog.failed(of, who, s_.now);
    } else {
      const Fields fields = of == Catalog::Of::Tier ? tiers_[who] : rows_[who];
      s_.catalog.row(of, who, fields, s_.now);
      obey();
      // Of a tier that the configuration has, and that nobody waits for.
      const bool waits = std::count(fetches_.begin(), fetches_.end(), Fetch{Catalog::Of::Tier, "free"}) > 0;
      if (of == Catalog::Of::Tenant && is_good(fields) && fields[0].second == "free" && !waits)
        good_at_[who] = s_.now;
    }
    obey();
  }

  void obey() {
    for (const auto& action : s_.catalog.take_actions()) {
      switch (action.kind) {
        case Catalog::Action::Kind::Fetch: {
          const Fetch fetch{action.of, action.name};
          CHECK(std::find(fetches_.begin(), fetches_.end(), fetch) == fetches_.end());
          fetches_.push_back(fetch);
          break;
        }
        case Catalog::Action::Kind::Settled: pending_.erase(action.name); break;
        case Catalog::Action::Kind::Changed: {
          REQUIRE(watched_.contains(action.name));
          REQUIRE(action.answer.record);
          CHECK(action.answer.record->revision > watched_[action.name].told.revision);
          watched_[action.name].told = *action.answer.record;
          break;
        }
        case Catalog::Action::Kind::Strange:
        case Catalog::Action::Kind::Refused: break;
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
