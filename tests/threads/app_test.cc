#include "pooler/app.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "pooler/net/random.h"
#include "pooler/net/uv_loop.h"
#include "pooler/shared.h"
#include "pooler/worker.h"

using namespace pgweir;

namespace {

class Notes final : public Log {
 public:
  void write(LogLevel, std::string_view event, Fields) override { events.emplace_back(event); }
  bool enabled(LogLevel) const override { return true; }
  void set_level(LogLevel least) override { level = least; }
  std::vector<std::string> events;
  LogLevel level = LogLevel::Info;
};

std::shared_ptr<const Snapshot> configured(const char* level) {
  const auto none = [](const std::string& path) -> tl::expected<std::string, std::string> {
    return tl::unexpected(path);
  };
  auto loaded = conf::load(
      "", {{"DATABASE_URL", "postgres://app:secret@127.0.0.1:1/app"}, {"PGWEIR_LOG__LEVEL", level}}, none);
  REQUIRE(loaded);
  auto snapshot = make_snapshot(std::move(*loaded), none);
  REQUIRE(snapshot);
  return *snapshot;
}

// An App of one worker whose files are read as slowly as the test likes.
struct Slow {
  // One reading may end.
  void let_go() {
    {
      const std::lock_guard lock(mutex);
      ++may_end;
    }
    changed.notify_all();
  }
  tl::expected<std::shared_ptr<const Snapshot>, std::string> read() {
    std::unique_lock lock(mutex);
    reader = std::this_thread::get_id();
    ++begun;
    changed.wait(lock, [this] { return may_end > 0; });
    --may_end;
    ++ended;
    return next;
  }
  void drive(const std::function<bool()>& done) {
    if (!done()) {
      tick = [&, this] {
        if (done()) return loop->stop();
        std::this_thread::yield();
        loop->post(tick);
      };
      loop->post(tick);
      loop->run();
    }
  }

  Notes log;
  std::mutex mutex;
  std::condition_variable changed;
  int may_end = 0;
  std::atomic<int> begun{0}, ended{0};
  std::thread::id reader;
  tl::expected<std::shared_ptr<const Snapshot>, std::string> next = configured("debug");
  bool stopped = false;
  std::function<void()> tick;
  net::SystemRng rng;
  std::unique_ptr<net::UvLoop> loop = net::UvLoop::make();
  std::unique_ptr<App> app = std::make_unique<App>(
      std::vector<App::WorkerParts>{{*loop, rng}}, log, configured("info"), [this] { return read(); },
      [this] { stopped = true; });
};

}  // namespace

TEST_CASE("files are read on another thread, and what they say is in force when the answer comes") {
  Slow slow;
  std::vector<bool> answers;
  slow.app->reload([&](bool good) { answers.push_back(good); });
  slow.drive([&] { return slow.begun == 1; });
  CHECK(answers.empty());
  CHECK(slow.log.level == LogLevel::Info);
  slow.let_go();
  slow.drive([&] { return answers.size() == 1; });
  CHECK(answers[0]);
  CHECK(slow.reader != std::this_thread::get_id());
  CHECK(slow.log.level == LogLevel::Debug);
  CHECK(slow.log.events.back() == "configuration reloaded");
}

TEST_CASE("whoever asks for a reload while files are read is answered by one more reading") {
  Slow slow;
  std::vector<int> answers;
  slow.app->reload([&](bool) { answers.push_back(1); });
  slow.drive([&] { return slow.begun == 1; });
  slow.app->reload([&](bool) { answers.push_back(2); });
  slow.app->reload([&](bool) { answers.push_back(3); });
  slow.let_go();
  slow.drive([&] { return slow.begun == 2; });
  CHECK(answers == std::vector{1});
  slow.let_go();
  slow.drive([&] { return answers.size() == 3; });
  CHECK(answers == std::vector{1, 2, 3});
  CHECK(slow.begun == 2);
}

TEST_CASE("a reload that fails is told and leaves the old level in force") {
  Slow slow;
  slow.next = tl::unexpected(std::string("no such file"));
  std::vector<bool> answers;
  slow.app->reload([&](bool good) { answers.push_back(good); });
  slow.let_go();
  slow.drive([&] { return answers.size() == 1; });
  CHECK_FALSE(answers[0]);
  CHECK(slow.log.level == LogLevel::Info);
  CHECK(slow.log.events.back() == "reload failed, the old configuration stays");
}

TEST_CASE("a shutdown does not wait for files that are being read, and what they say comes too late") {
  auto slow = std::make_unique<Slow>();
  bool answered = false;
  slow->app->reload([&](bool) { answered = true; });
  slow->drive([&] { return slow->begun == 1; });
  slow->app->shutdown();
  slow->drive([&] { return slow->stopped; });
  // As in process::serve: the App goes before the loop, and the loop waits for its helper thread.
  slow->app.reset();
  std::thread later([&] { slow->let_go(); });
  slow->loop.reset();
  later.join();
  CHECK(slow->ended == 1);
  CHECK_FALSE(answered);
}

TEST_CASE("a setting that is changed while files are read is changed in what they say") {
  Slow slow;
  slow.app->let_change(
      [](const std::string& path) -> tl::expected<std::string, std::string> { return tl::unexpected(path); });
  std::vector<std::string> answers;
  slow.app->reload([&](bool good) { answers.push_back(good ? "reloaded" : "not"); });
  slow.drive([&] { return slow.begun == 1; });
  slow.app->change("client.max", "77", [&](const App::Changed& changed) {
    answers.push_back(changed ? "changed" : changed.error());
  });
  slow.app->change("client.max", "0", [&](const App::Changed& changed) {
    answers.push_back(changed ? "changed" : changed.error());
  });
  slow.let_go();
  slow.drive([&] { return answers.size() == 3; });
  CHECK(answers ==
        std::vector<std::string>{"reloaded", "changed", "client.max must lie between 1 and 1000000, not 0"});
  const conf::Config& config = slow.app->shared().workers[0]->config();
  CHECK(config.max_clients == 77);
  CHECK(config.log_level == LogLevel::Debug);
  // The next reading takes it back.
  slow.app->reload([&](bool) { answers.push_back("again"); });
  slow.let_go();
  slow.drive([&] { return answers.size() == 4; });
  CHECK(slow.app->shared().workers[0]->config().max_clients == 10'000);
}

TEST_CASE("the home of a tenant is claimed by one worker, until its clients have gone") {
  Notes log;
  Shared shared(log);
  std::atomic<int> homes{0};
  std::vector<std::thread> workers;
  for (std::uint32_t index = 0; index < 4; ++index)
    workers.emplace_back([&, index] { homes += shared.claim_home("acme", index) ? 1 : 0; });
  for (std::thread& worker : workers) worker.join();
  CHECK(homes == 1);
  const std::uint32_t home = shared.home_claimed("acme").value();
  CHECK(shared.claim_home("acme", home));
  shared.leave_home("acme", home + 1);
  CHECK(shared.home_claimed("acme") == home);
  shared.leave_home("acme", home);
  CHECK_FALSE(shared.home_claimed("acme"));
  CHECK(shared.claim_home("acme", 7));
  shared.keep_home("acme", 7);
  shared.leave_home("acme", 7);
  CHECK(shared.home_claimed("acme") == 7);
}

TEST_CASE("a tenant that is changed stays so when a setting is changed, until the next reload") {
  Slow slow;
  slow.app->let_change(
      [](const std::string& path) -> tl::expected<std::string, std::string> { return tl::unexpected(path); });
  std::vector<std::string> answers;
  const auto note = [&](const App::Changed& changed) {
    answers.push_back(changed ? slow.log.events.back() : changed.error());
  };
  const auto tier = [&] { return slow.app->shared().workers[0]->snapshot().tenant("app")->limits.name; };
  slow.app->change_tenant("app", {.set = {{"tier", "pro"}}}, note);
  slow.app->change_tenant("app", {.set = {{"tier", "gold"}}}, note);
  slow.app->change("client.max", "77", note);
  slow.drive([&] { return answers.size() == 3; });
  CHECK(answers[0] == "tenant changed");
  CHECK(answers[1].find("no tier is named \"gold\"") != std::string::npos);
  CHECK(answers[2] == "setting changed");
  CHECK(tier() == "pro");
  slow.app->reload([&](bool) { answers.push_back("again"); });
  slow.let_go();
  slow.drive([&] { return answers.size() == 4; });
  CHECK(tier() == "free");
}
