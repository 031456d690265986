#include "pooler/tier_control.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "pooler/cached_store.h"
#include "pooler/net/random.h"
#include "pooler/redis_store.h"
#include "tests/net/help.h"

using namespace pgweir;
using Kind = TierControl::Answer::Kind;

namespace {

struct Quiet final : Log {
  void write(LogLevel, std::string_view event, Fields fields) override {
    ++lines;
    const std::lock_guard guard(mutex);
    events += std::string(event) + '\n';
    for (const LogField& field : fields) events += std::string(field.value) + '\n';
  }
  bool enabled(LogLevel) const override { return true; }
  bool has(const char* what) {
    const std::lock_guard guard(mutex);
    return events.find(what) != std::string::npos;
  }
  std::atomic<int> lines{0};
  std::mutex mutex;
  std::string events;  // and the values of their fields
};

std::shared_ptr<const Snapshot> configured() {
  const auto none = [](const std::string& path) -> tl::expected<std::string, std::string> {
    return tl::unexpected(path);
  };
  auto loaded = conf::load(
      "", {{"PGWEIR_BACKENDS__MAIN__HOST", "127.0.0.1"}, {"PGWEIR_POOL__UNKNOWN_TENANTS", "off"}}, none);
  REQUIRE(loaded);
  auto snapshot = make_snapshot(std::move(*loaded), none);
  REQUIRE(snapshot);
  return *snapshot;
}

// Rows that the test changes on the control loop's thread.
struct Table final : TierStore {
  explicit Table(Listener& l) : listener(l) {}
  void start() override {}
  void fetch(Of of, const std::string& name) override {
    if (name == "impossible") return listener.on_no_row(of, name);
    asked.emplace_back(of, name);
  }
  void set(const std::string& name, const tiers::Change& change, const tiers::Fields&, Done done) override {
    if (name == "down") return done("down");
    rows[name] = change.set;
    done("");
    listener.on_changed(name);
  }
  void put_usage(const std::string& key, const tiers::Fields&, Done done) override {
    if (!usage_error.empty()) return done(usage_error);
    usage.push_back(key);
    done("");
  }
  void try_usage(Done done) override { done(usage_error); }
  void flush() override {
    if (mute) return;
    for (auto& [of, name] : std::exchange(asked, {})) {
      if (name == "down") {
        listener.on_failed(of, name);
        continue;
      }
      const auto& table = of == Of::Tenant ? rows : tiers;
      const auto row = table.find(name);
      listener.on_row(of, name, row != table.end() ? row->second : tiers::Fields{});
    }
  }
  Listener& listener;
  bool mute = false;  // it has not answered anything yet
  std::map<std::string, tiers::Fields> rows, tiers;
  std::vector<std::string> usage;
  std::string usage_error;  // it takes none
  std::vector<std::pair<Of, std::string>> asked;
};

// A control thread whose store is a Table, and the loop of a worker that asks it.
struct Control {
  explicit Control(const std::function<void(Table&)>& prepare) {
    control.emplace(*loop, log, configured(), [&](TierStore::Listener& listener) {
      auto made = std::make_unique<Table>(listener);
      table = made.get();
      prepare(*table);
      return made;
    });
  }
  ~Control() { end(); }
  void run() {
    thread = std::thread([this] { loop->run(); });
  }
  void end() {
    if (!thread.joinable()) return;
    loop->stop();
    thread.join();
  }
  TierControl::Figures figures() {
    std::optional<TierControl::Figures> told;
    control->figures(*worker, [&](const TierControl::Figures& are) { told = are; });
    REQUIRE(net::drive(*worker, [&] { return told.has_value(); }));
    return *told;
  }

  Quiet log;
  std::unique_ptr<net::UvLoop> loop = net::UvLoop::make(), worker = net::UvLoop::make();
  Table* table = nullptr;  // of the control thread, while it runs
  std::optional<TierControl> control;
  std::thread thread;
};

}  // namespace

TEST_CASE("workers ask about tenants and hear of changes, each on its own thread") {
  Control on([](Table& table) {
    for (int i = 0; i < 100; ++i) table.rows["t" + std::to_string(i)] = {{"tier", "pro"}};
  });
  std::vector<tiers::Tenant> changes;
  std::atomic<int> answered = 0;
  on.control->start(
      {.changed =
           [&](const tiers::Tenant& record) { on.worker->post([&, record] { changes.push_back(record); }); },
       .answered = [&] { ++answered; }});
  on.run();

  std::map<std::string, Kind> answers;
  for (int i = 0; i < 100; ++i)
    for (int twice = 0; twice < 2; ++twice)
      on.control->ask(*on.worker, "t" + std::to_string(i), [&, i](const TierControl::Answer& answer) {
        REQUIRE(answer.record);
        CHECK(answer.record->limits.name == "pro");
        answers["t" + std::to_string(i)] = answer.kind;
        if (i == 7) on.control->watch(*answer.record);
      });
  for (const char* name : {"nobody", "down"})
    on.control->ask(*on.worker, name, [&, name](const TierControl::Answer& answer) {
      CHECK_FALSE(answer.record);
      answers[name] = answer.kind;
    });
  CHECK(net::drive(*on.worker, [&] { return answers.size() == 102; }));
  CHECK(answers["t7"] == Kind::Known);
  CHECK(answers["nobody"] == Kind::Unknown);
  CHECK(answers["down"] == Kind::Unreachable);

  on.loop->post([&] {
    on.table->rows["t7"] = {{"tier", "free"}, {"state", "suspended"}};
    on.table->rows["t8"] = {{"tier", "free"}};
    on.table->listener.on_changed("t7");
    on.table->listener.on_changed("t8");
  });
  CHECK(net::drive(*on.worker, [&] { return !changes.empty(); }));
  std::vector<tiers::Tenant> suspended;
  on.control->suspensions(*on.worker, "", 10,
                          [&](const std::vector<tiers::Tenant>& found) { suspended = found; });
  const TierControl::Figures figures = on.figures();
  on.end();
  REQUIRE(changes.size() == 1);  // nobody watches t8
  CHECK(changes[0].name == "t7");
  CHECK(changes[0].state == tiers::TenantState::Suspended);
  CHECK(figures.known == 100);
  CHECK(figures.watched == 1);
  CHECK(figures.stale == 0);
  CHECK(figures.suspended == 1);
  REQUIRE(suspended.size() == 1);
  CHECK(suspended[0].name == "t7");
  CHECK(figures.totals.failed >= 1);
  CHECK(answered == 1);
}

TEST_CASE("tiers are told in front of the records that follow them") {
  Control on([](Table& table) {
    table.rows["acme"] = {{"tier", "pro"}};
    table.tiers["pro"] = {{"max_clients", "33"}};
  });
  std::vector<std::string> heard;  // on the worker
  const auto hear = [&](const char* what, std::uint32_t max_clients) {
    heard.push_back(what + std::to_string(max_clients));
  };
  on.control->start({.changed =
                         [&](const tiers::Tenant& record) {
                           on.worker->post([&, most = record.limits.max_clients] { hear("record ", most); });
                         },
                     .tiers =
                         [&](const TierControl::Tiers& known) {
                           on.worker->post(
                               [&, most = known->tier("pro")->max_clients] { hear("tier ", most); });
                         }});
  on.run();
  on.control->ask(*on.worker, "acme", [&](const TierControl::Answer& answer) {
    hear("answer ", answer.record->limits.max_clients);
    on.control->watch(*answer.record);
  });
  const auto hears = [&](const char* what) {
    return net::drive(*on.worker, [&] { return std::count(heard.begin(), heard.end(), what) > 0; });
  };
  const auto before = [&](const char* first, const char* second) {
    return std::find(heard.begin(), heard.end(), first) < std::find(heard.begin(), heard.end(), second);
  };
  CHECK(hears("answer 33"));
  CHECK(before("tier 33", "answer 33"));
  on.loop->post([&] {
    on.table->tiers["pro"] = {{"max_clients", "34"}};
    on.table->listener.on_changed("tier:pro");
  });
  CHECK(hears("record 34"));
  CHECK(before("tier 34", "record 34"));
}

TEST_CASE("a name that no row can have is not the store's first answer") {
  Control on([](Table& table) { table.mute = true; });
  std::atomic<int> answered = 0;
  on.control->start({.answered = [&] { ++answered; }});
  on.run();
  std::optional<Kind> told;
  on.control->ask(*on.worker, "impossible", [&](const TierControl::Answer& answer) { told = answer.kind; });
  CHECK(net::drive(*on.worker, [&] { return told.has_value(); }));
  CHECK(told == Kind::Unknown);
  CHECK(answered == 0);
  on.loop->post([&] {
    on.table->mute = false;
    on.table->flush();
  });
  CHECK(net::drive(*on.worker, [&] { return answered == 1; }));
  on.end();
}

TEST_CASE("a store that takes no usage is told of, and counted, until it does") {
  Control on([](Table& table) { table.usage_error = "NOPERM"; });
  on.control->keep_usage("run");
  on.control->start({});
  on.run();
  std::optional<std::string> tried;
  on.control->try_usage(*on.worker, [&](const std::string& error) { tried = error; });
  CHECK(net::drive(*on.worker, [&] { return tried.has_value(); }));
  CHECK(tried == "NOPERM");

  CHECK(on.figures().usage_failures == 0);
  UsageDelta delta{"acme", {}, 1, 1};
  delta.passed.queries = 7;
  on.control->add_usage({delta});
  const TierControl::Figures refused = on.figures();
  CHECK(refused.usage_failures == 1);
  CHECK(refused.usage_late > Duration{});
  CHECK(on.log.has("usage is not kept\nNOPERM\n"));

  on.loop->post([&] { on.table->usage_error.clear(); });
  CHECK(net::drive(*on.worker, [&] { return on.log.has("usage is kept again"); }));
  const TierControl::Figures taken = on.figures();
  CHECK(taken.usage_late == Duration{});
  CHECK(taken.usage_failures == 1);
  on.end();
  CHECK(on.table->usage.size() == 1);
}

TEST_CASE("usage that there is no room for is told of and counted") {
  Control on([](Table& table) { table.usage_error = "NOPERM"; });
  on.control->keep_usage("run");
  on.control->start({});
  on.run();
  std::vector<UsageDelta> deltas(UsageBook::kRowsMax + 2);
  for (std::size_t i = 0; i < deltas.size(); ++i) deltas[i].tenant = "t" + std::to_string(i);
  on.control->add_usage({deltas.front()});
  const std::uint64_t refused = on.figures().usage_failures;
  CHECK_FALSE(on.log.has("usage of further tenants is not kept"));
  on.control->add_usage(std::move(deltas));
  CHECK(on.figures().usage_failures >= refused + 2);
  CHECK(on.log.has("usage of further tenants is not kept\n200000\n"));
}

namespace {

// A Redis that says what the test wants, behind a real socket.
struct FakeRedis : net::Net {
  std::function<std::string(const std::string& command, int connection)> says;
  Quiet log;
  net::SystemRng rng;
  std::vector<std::string> heard;  // what came of the store

  struct Hears final : TierStore::Listener {
    explicit Hears(FakeRedis& r) : redis(r) {}
    void on_row(TierStore::Of, const std::string& name, const Expected<tiers::Fields>& fields) override {
      redis.heard.push_back(name + (fields ? ":" + std::to_string(fields->size()) : " garbage"));
    }
    void on_no_row(TierStore::Of, const std::string& name) override { redis.heard.push_back(name + " none"); }
    void on_failed(TierStore::Of, const std::string& name) override {
      redis.heard.push_back(name + " failed");
    }
    void on_changed(const std::string& what) override { redis.heard.push_back("changed " + what); }
    FakeRedis& redis;
  } hears{*this};

  FakeRedis() {
    door.greet = [this](net::Ear& ear) {
      const int connection = static_cast<int>(door.ears.size()) - 1;
      ear.when_bytes = [this, &ear, connection](Bytes in) {
        if (const std::string answer = says(std::string(in), connection); !answer.empty())
          ear.stream->write(answer);
      };
    };
  }
  RedisSettings settings() {
    RedisSettings made;
    made.endpoint = here;
    made.timeout = std::chrono::milliseconds(150);
    return made;
  }
  // Answers to what every connection begins with.
  static std::string welcome(const std::string& command) {
    if (command.find("SUBSCRIBE") != std::string::npos)
      return "+PONG\r\n*3\r\n$9\r\nsubscribe\r\n$14\r\npgweir:changed\r\n:1\r\n";
    return command.find("PING") != std::string::npos ? "+PONG\r\n" : "";
  }
  bool has(const std::string& what) const {
    return std::find(heard.begin(), heard.end(), what) != heard.end();
  }
};

}  // namespace

TEST_CASE("rows come in the order in which they were asked for, and garbage is told from refusals") {
  FakeRedis redis;
  redis.says = [](const std::string& command, int) {
    std::string answer = FakeRedis::welcome(command);
    for (std::size_t at = command.find("HGETALL"); at != std::string::npos;
         at = command.find("HGETALL", at + 1)) {
      const std::string name = command.substr(command.find("pgweir:", at), 20);
      if (name.find("wrong") != std::string::npos)
        answer += "-WRONGTYPE Operation\r\n";
      else if (name.find("loads") != std::string::npos)
        answer += "-LOADING Redis is loading\r\n";
      else
        answer += "*2\r\n$4\r\ntier\r\n$3\r\npro\r\n";
    }
    return answer;
  };
  RedisStore store(*redis.loop, redis.rng, redis.log, redis.settings(), redis.hears);
  store.start();
  for (const char* name : {"right", "wrong", "loads", "last"}) store.fetch(TierStore::Of::Tenant, name);
  store.flush();
  CHECK(redis.until([&] { return redis.heard.size() == 5; }));
  std::erase(redis.heard, "changed *");
  CHECK(redis.heard == std::vector<std::string>{"right:1", "wrong garbage", "loads failed", "last:1"});
}

TEST_CASE("a change is done when Redis says so, not when it says anything") {
  struct Case {
    std::string hset, expire, error;
  };
  const std::string much = "$70000\r\n" + std::string(70'000, 'x') + "\r\n";
  const std::string strange = "Redis answers something else than a number";
  const Case cases[] = {{":1\r\n", ":1\r\n", ""},
                        {much, ":1\r\n", strange},
                        {":1\r\n", much, strange},
                        {"+OK\r\n", ":1\r\n", strange},
                        {":1\r\n", "$-1\r\n", strange},
                        {":1\r\n", "*1\r\n:1\r\n", strange},
                        {"-OOM full\r\n", ":0\r\n", "OOM full"}};
  for (const Case& one : cases) {
    INFO(one.hset.substr(0, 9) << one.expire.substr(0, 9));
    FakeRedis redis;
    redis.says = [&one](const std::string& command, int) {
      return FakeRedis::welcome(command) + (command.find("HSET") != std::string::npos ? one.hset : "") +
             (command.find("EXPIRE") != std::string::npos ? one.expire : "");
    };
    RedisStore store(*redis.loop, redis.rng, redis.log, redis.settings(), redis.hears);
    store.start();
    std::optional<std::string> said;
    store.put_usage("2026-01-31:run:acme", {{"queries", "5"}}, [&](const std::string& why) { said = why; });
    store.flush();
    CHECK(redis.until([&] { return said.has_value(); }));
    CHECK((said ? *said : "nothing").find(one.error) != std::string::npos);
    CHECK((said && said->empty()) == one.error.empty());
  }
}

TEST_CASE("a Redis that does not answer in time is given up and tried again") {
  FakeRedis redis;
  bool silent = true;
  redis.says = [&](const std::string& command, int) {
    const std::string answer = FakeRedis::welcome(command);
    return answer.empty() && !silent && command.find("HGETALL") != std::string::npos ? "*0\r\n" : answer;
  };
  RedisStore store(*redis.loop, redis.rng, redis.log, redis.settings(), redis.hears);
  store.start();
  store.fetch(TierStore::Of::Tenant, "first");
  CHECK(redis.until([&] { return redis.has("first failed"); }));
  // Lost a moment ago: nobody waits for it now.
  store.fetch(TierStore::Of::Tenant, "second");
  CHECK(redis.heard.back() == "second failed");
  silent = false;
  CHECK(redis.until([&] {
    return redis.door.ears.size() == 3 && redis.door.ears[2]->in.find("PING") != std::string::npos;
  }));
  store.fetch(TierStore::Of::Tier, "third");
  store.flush();
  CHECK(redis.until([&] { return redis.has("third:0"); }));
}

TEST_CASE("what nobody asked for ends the connection; changes are heard, and missed ones are asked for") {
  FakeRedis redis;
  redis.says = [](const std::string& command, int connection) {
    std::string answer = FakeRedis::welcome(command);
    if (command.find("SUBSCRIBE") == std::string::npos) return answer;
    answer += "*3\r\n$7\r\nmessage\r\n$14\r\npgweir:changed\r\n$4\r\nacme\r\n";
    if (connection < 2) answer += ":1\r\n";
    return answer;
  };
  RedisStore store(*redis.loop, redis.rng, redis.log, redis.settings(), redis.hears);
  store.start();
  CHECK(redis.until([&] { return redis.heard.size() == 4; }));
  CHECK(redis.heard == std::vector<std::string>{"changed *", "changed acme", "changed *", "changed acme"});
}

TEST_CASE("the master is where a sentinel says, if it says so itself") {
  FakeRedis redis;
  const std::string port = std::to_string(redis.here.port);
  int asked = 0, masters = 0;
  redis.says = [&](const std::string& command, int) -> std::string {
    if (command.find("SENTINEL") != std::string::npos) {
      ++asked;
      if (asked == 1) return "*-1\r\n";
      return "*2\r\n$9\r\n127.0.0.1\r\n$" + std::to_string(port.size()) + "\r\n" + port + "\r\n";
    }
    std::string answer = FakeRedis::welcome(command);
    if (command.find("INFO") != std::string::npos) {
      const std::string text =
          std::string("# Replication\r\nrole:") + (++masters > 2 ? "master" : "slave") + "\r\n";
      answer.insert(7, "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n");
    }
    if (command.find("HGETALL") != std::string::npos) answer += "*2\r\n$4\r\ntier\r\n$3\r\npro\r\n";
    if (command.find("HSET") != std::string::npos)
      answer += "-READONLY You can't write against a replica\r\n";
    return answer;
  };
  RedisSettings settings = redis.settings();
  settings.endpoint = {};
  settings.sentinels = {{"127.0.0.1", 1}, redis.here};
  settings.master = "mymaster";
  RedisStore store(*redis.loop, redis.rng, redis.log, settings, redis.hears);
  store.start();
  const auto connections = [&] { return redis.door.ears.size(); };
  // Both connections ask the sentinel that lives, twice, and find a replica before the master.
  CHECK(redis.until([&] { return redis.has("changed *"); }));
  CHECK(redis.until([&] {
    if (redis.heard.back() != "changed *" && !redis.has("acme failed")) return redis.has("acme:1");
    redis.heard = {"waits"};
    store.fetch(TierStore::Of::Tenant, "acme");
    store.flush();
    return false;
  }));
  CHECK(asked >= 4);
  CHECK(masters >= 3);
  // Replaced since: it is looked for again.
  std::string error;
  const auto try_to_set = [&] {
    store.set("acme", {.set = {{"tier", "free"}}}, {}, [&](const std::string& why) { error = why; });
    store.flush();
  };
  CHECK(redis.until([&] {
    if (error.empty() || error == "Redis does not answer") try_to_set();
    return error.find("READONLY") != std::string::npos;
  }));
  const std::size_t before = connections();
  CHECK(redis.until([&] { return connections() >= before + 2; }));
}

TEST_CASE("copies are used until the source tells of a change, or was away") {
  FakeRedis redis;
  int copies = 0, dropped = 0, kept = 0;
  redis.says = [&](const std::string& command, int) {
    std::string answer = FakeRedis::welcome(command);
    // In the order of the commands; only these come.
    for (std::size_t at = 0; at < command.size(); ++at) {
      if (command.compare(at, 7, "HGETALL") == 0) {
        ++copies;
        answer += "*2\r\n$4\r\ntier\r\n$3\r\nold\r\n";
      } else if (command.compare(at, 9, "$3\r\nDEL\r\n") == 0) {
        ++dropped;
        answer += ":1\r\n";
      } else if (command.compare(at, 4, "EVAL") == 0) {
        ++kept;
        answer += ":1\r\n";
      }
    }
    return answer;
  };
  struct Source final : TierStore {
    explicit Source(Listener& l) : listener(l) {}
    void start() override { listener.on_changed("*"); }
    void fetch(Of of, const std::string& name) override {
      listener.on_row(of, name, tiers::Fields{{"tier", "new"}, {"version", "2"}});
    }
    void set(const std::string&, const tiers::Change&, const tiers::Fields&, Done done) override { done(""); }
    void put_usage(const std::string&, const tiers::Fields&, Done done) override { done(""); }
    void try_usage(Done done) override { done(""); }
    void flush() override {}
    Listener& listener;
  };
  Source* source = nullptr;
  CachedStore store(*redis.loop, redis.rng, redis.log, redis.settings(), std::chrono::hours(1), redis.hears,
                    [&](TierStore::Listener& listener) {
                      auto made = std::make_unique<Source>(listener);
                      source = made.get();
                      return made;
                    });
  store.start();
  // "acme:1" is the copy, "acme:2" what the source says.
  const auto fetched = [&](TierStore::Of of, const std::string& name) {
    redis.heard.clear();
    store.fetch(of, name);
    store.flush();
    CHECK(redis.until([&] { return !redis.heard.empty(); }));
    store.flush();
    return redis.heard.empty() ? std::string() : redis.heard.back();
  };
  CHECK(fetched(TierStore::Of::Tenant, "acme") == "acme:1");
  CHECK(fetched(TierStore::Of::Tier, "pro") == "pro:1");
  source->listener.on_changed("acme");
  source->listener.on_changed("tier:pro");
  CHECK(redis.has("changed acme"));
  CHECK(fetched(TierStore::Of::Tenant, "acme") == "acme:2");
  CHECK(fetched(TierStore::Of::Tier, "pro") == "pro:2");
  CHECK(fetched(TierStore::Of::Tenant, "beta") == "beta:1");
  CHECK(redis.until([&] { return dropped == 2 && kept == 2; }));
  const int before = copies;
  source->listener.on_changed("*");
  CHECK(fetched(TierStore::Of::Tenant, "beta") == "beta:2");
  CHECK(fetched(TierStore::Of::Tenant, "acme") == "acme:2");
  CHECK(copies == before);
}
