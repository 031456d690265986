// perf/scrape - what a scrape of /metrics costs with 100,000 known tenants: seconds until the answer is
// there, and how long a worker's loop stood still at most.
//
// Two loops, as a machine with two cores has them, carry ten workers, since each remembers 10,000 tenants
// without clients. Asked over HTTP, as Prometheus and the status page ask.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "pooler/app.h"
#include "pooler/http_service.h"
#include "pooler/net/listen.h"
#include "pooler/net/random.h"
#include "pooler/net/uv_loop.h"
#include "pooler/shared.h"
#include "pooler/worker.h"

using namespace pgweir;
using Steady = std::chrono::steady_clock;
using std::chrono::duration;

namespace {

constexpr std::size_t kTenants = 100'000, kWorkers = 10, kLoops = 2;

class Silent final : public Log {
 public:
  void write(LogLevel, std::string_view, Fields) override {}
  bool enabled(LogLevel) const override { return false; }
};

std::shared_ptr<const Snapshot> configured() {
  const auto none = [](const std::string& path) -> tl::expected<std::string, std::string> {
    return tl::unexpected(path);
  };
  auto loaded = conf::load("", {{"DATABASE_URL", "postgres://app:secret@127.0.0.1:1/app"}}, none);
  auto snapshot = make_snapshot(std::move(*loaded), none);
  return *snapshot;
}

double cpu_ms() {
  timespec spent{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) * 1e3 + static_cast<double>(spent.tv_nsec) / 1e6;
}

// Wants to be called every millisecond, and notes by how much it was later at most, and how much of that the
// loop's thread has worked: the rest is other programs' on a machine that is not idle.
class Watch {
 public:
  explicit Watch(net::Loop& loop)
      : loop_(loop), timer_(this, [](void* self) { static_cast<Watch*>(self)->tick(); }) {}
  void tick() {
    const auto now = Steady::now();
    const double late = duration<double, std::milli>(now - last_).count() - 1;
    if (last_ != Steady::time_point{} && late > longest_ms.load()) longest_ms.store(late);
    last_ = now;
    const double spent = cpu_ms();
    if (worked_ > 0 && spent - worked_ > longest_work_ms.load()) longest_work_ms.store(spent - worked_);
    worked_ = spent;
    loop_.arm(timer_, loop_.now() + std::chrono::milliseconds(1));
  }
  std::atomic<double> longest_ms{0}, longest_work_ms{0};

 private:
  net::Loop& loop_;
  net::Timer timer_;
  Steady::time_point last_{};
  double worked_ = 0;
};

std::string get(std::uint16_t port, const std::string& path) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) std::exit(1);
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  if (::send(fd, request.data(), request.size(), 0) < 0) std::exit(1);
  std::string answer;
  char part[65536];
  for (ssize_t size = 0; (size = ::recv(fd, part, sizeof part, 0)) > 0;)
    answer.append(part, static_cast<std::size_t>(size));
  ::close(fd);
  if (!answer.starts_with("HTTP/1.1 200")) std::exit(1);
  return answer;
}

void measure(const char* what, std::vector<std::unique_ptr<Watch>>& watches, int rounds,
             const std::function<std::size_t()>& ask) {
  double slowest = 0, stall = 0, work = 0;
  std::size_t bytes = 0;
  for (int round = 0; round < rounds; ++round) {
    for (auto& watch : watches) {
      watch->longest_ms.store(0);
      watch->longest_work_ms.store(0);
    }
    const auto began = Steady::now();
    bytes = ask();
    slowest = std::max(slowest, duration<double>(Steady::now() - began).count());
    for (auto& watch : watches) {
      stall = std::max(stall, watch->longest_ms.load());
      work = std::max(work, watch->longest_work_ms.load());
    }
  }
  fmt::print("{:<32} {:6.3f} s at most, longest stall {:8.2f} ms, of work {:6.2f} ms, {:7} bytes\n", what,
             slowest, stall, work, bytes);
}

}  // namespace

int main() {
  Silent log;
  net::SystemRng rngs[kWorkers];
  std::vector<std::unique_ptr<net::UvLoop>> loops;
  for (std::size_t i = 0; i < kLoops; ++i) loops.push_back(net::UvLoop::make());
  std::vector<App::WorkerParts> parts;
  for (std::size_t i = 0; i < kWorkers; ++i) parts.push_back({*loops[i % kLoops], rngs[i]});
  const auto reload = []() -> tl::expected<std::shared_ptr<const Snapshot>, std::string> {
    return tl::unexpected(std::string("no"));
  };
  App app(parts, log, configured(), reload, [] {});
  for (std::size_t i = 0; i < kTenants; ++i) {
    tiers::Tenant record;
    record.name = record.database = fmt::format("tenant_{:06}", i);
    record.limits.name = i % 10 == 0 ? "pro" : "free";
    Tenant& tenant = app.shared().workers[i % kWorkers]->tenant(record);
    tenant.traffic.queries = tenant.traffic.transactions = i;
    tenant.traffic.transaction_us = i * 7919 % kTenants;
  }
  std::size_t known = 0;
  for (const Worker* worker : app.shared().workers) known += worker->tenants().size();

  const auto fd = net::open_listener({"127.0.0.1", 0});
  if (!fd) return 1;
  const std::uint16_t port = net::bound_port(*fd);
  auto http = HttpService::start({*fd}, app.shared());
  if (!http) return 1;
  std::vector<std::unique_ptr<Watch>> watches;
  std::vector<std::thread> threads;
  for (auto& loop : loops) {
    watches.push_back(std::make_unique<Watch>(*loop));
    loop->post([watch = watches.back().get()] { watch->tick(); });
    threads.emplace_back([&loop] { loop->run(); });
  }
  fmt::print("{} tenants on {} loops\n", known, kLoops);
  measure("nothing, for half a second", watches, 1, [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    return std::size_t{0};
  });
  measure("/metrics", watches, 5, [&] { return get(port, "/metrics").size(); });
  measure("/api/v1/tenants?limit=100", watches, 5,
          [&] { return get(port, "/api/v1/tenants?limit=100").size(); });
  measure("/api/v1/tenants/tenant_050000", watches, 5,
          [&] { return get(port, "/api/v1/tenants/tenant_050000").size(); });
  measure("/api/v1/overview", watches, 5, [&] { return get(port, "/api/v1/overview").size(); });
  for (auto& loop : loops) loop->stop();
  for (std::thread& thread : threads) thread.join();
  http->reset();
  watches.clear();
  return 0;
}
