#include "pooler/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "pooler/app.h"
#include "pooler/audit_stream.h"
#include "pooler/base/check.h"
#include "pooler/base/network.h"
#include "pooler/config_file.h"
#include "pooler/config_watch.h"
#include "pooler/deployment.h"
#include "pooler/descriptors.h"
#include "pooler/heartbeat.h"
#include "pooler/http_service.h"
#include "pooler/load_snapshot.h"
#include "pooler/make_store.h"
#include "pooler/net/address.h"
#include "pooler/net/inherited.h"
#include "pooler/net/listen.h"
#include "pooler/net/random.h"
#include "pooler/net/uv_loop.h"
#include "pooler/net/wall_clock.h"
#include "pooler/notify.h"
#include "pooler/shared.h"
#include "pooler/snapshot.h"
#include "pooler/spdlog_log.h"
#include "pooler/tier_control.h"
#include "pooler/version.h"
#include "pooler/watchdog.h"

namespace pgweir::process {

namespace {

using cli::Exit;
using SnapshotRef = std::shared_ptr<const Snapshot>;

constexpr int kBeatsPerWatchdog = 3;        // two of them may come late
constexpr std::uint32_t kThreadsMax = 256;  // client ids hold the worker's index in a byte

LogStyle log_style(const conf::Config& config) {
  switch (config.log_format) {
    case conf::LogFormat::Text: return LogStyle::Text;
    case conf::LogFormat::Json: return LogStyle::Json;
    case conf::LogFormat::Auto: break;
  }
  return ::isatty(STDOUT_FILENO) == 1 ? LogStyle::Text : LogStyle::Json;
}

// Nothing where none is wanted.
Expected<std::unique_ptr<AuditStream>> open_audit(const conf::Config& config, SpdlogLog& log) {
  if (config.audit_target == "off") return nullptr;
  if (config.audit_target == "stdout") return audit_to_log(log);
  return audit_to_file({config.audit_target, config.audit_file_size, config.audit_files}, log);
}

std::uint32_t thread_count(const conf::Config& config) {
  const std::uint32_t wanted = config.threads > 0 ? config.threads : std::thread::hardware_concurrency();
  return std::clamp<std::uint32_t>(wanted, 1, kThreadsMax);
}

// A hostile text takes the SQL parser down to kSqlNestingMax; that needs 4 MB. Where the shell's limit is
// "unlimited", threads would get 2.
void make_room_for_stacks(Log& log) {
  constexpr rlim_t kNeeded = 4 << 20, kWanted = 8 << 20;
  rlimit limit{};
  getrlimit(RLIMIT_STACK, &limit);
  if (limit.rlim_cur < kWanted) {
    limit.rlim_cur = std::min(kWanted, limit.rlim_max);
    setrlimit(RLIMIT_STACK, &limit);
  }
  if (limit.rlim_cur < kNeeded)
    log.warn("the stack limit is too low to read deeply nested SQL safely",
             {{"limit_bytes", limit.rlim_cur}, {"needed_bytes", kNeeded}});
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kWanted);
  pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
}

// The soft limit that a shell gives is for select().
void raise_descriptor_limit(const conf::Config& config, Log& log) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  const std::uint64_t needed = descriptors_needed(config);
  if (limit.rlim_cur >= needed) return;
  log.warn("few file descriptors",
           {{"limit", limit.rlim_cur}, {"wanted", needed}, {"hint", "raise ulimit -n"}});
}

std::string_view variable(const conf::Environment& environment, std::string_view name) {
  const auto place = environment.find(name);
  return place == environment.end() ? std::string_view() : std::string_view(place->second);
}

// A manager that cannot be told is no reason not to serve.
Notifier service_manager(const conf::Environment& environment, Log& log) {
  auto notifier = Notifier::to(variable(environment, "NOTIFY_SOCKET"));
  if (notifier) return std::move(*notifier);
  log.warn("the service manager cannot be told", {{"error", notifier.error().message}});
  return Notifier::to("").value();
}

bool chosen(const Snapshot& snapshot, std::string_view key) {
  const auto origin = snapshot.loaded.origins.find(key);
  return origin != snapshot.loaded.origins.end() && origin->second.where != "default";
}

// The sockets that clients connect to. Closes and removes what it still holds.
class Doors {
 public:
  Doors() = default;
  ~Doors() {
    for (const int fd : fds_) ::close(fd);
    for (const Path& path : paths_)
      if (inode_of(path.name) == path.inode)
        ::unlink(path.name.c_str());  // else another process has taken over
  }
  Doors(const Doors&) = delete;
  Doors& operator=(const Doors&) = delete;

  // Sockets that the service manager has opened, which then replace those of the configuration. Their files,
  // if they have any, are its own to remove.
  Expected<void> take(int count) {
    auto inherited = net::take_inherited(count);
    if (!inherited) return tl::unexpected(std::move(inherited.error()));
    for (const net::Inherited& one : *inherited) add(one.fd, one.name);
    return {};
  }

  Expected<void> open(const Snapshot& snapshot, Log& log) {
    const conf::Config& config = snapshot.config();
    const net::ListenOptions options{static_cast<int>(config.backlog), config.unix_socket_mode,
                                     config.reuse_port};
    const bool asked_for = chosen(snapshot, "listen.addresses");
    for (const std::string& address : config.listen_addresses) {
      // Nobody asked for both loopback addresses, and a machine without IPv6 has only one.
      if (!asked_for && !net::machine_has(address)) {
        log.info("address left out: this machine does not have it", {{"address", address}});
        continue;
      }
      const auto fd = net::open_listener({address, config.listen_port}, options);
      if (!fd) return tl::unexpected(fd.error());
      add(*fd, net::text({address, config.listen_port == 0 ? net::bound_port(*fd) : config.listen_port}));
    }
    if (!config.unix_socket_dir.empty()) {
      const std::string path = fmt::format("{}/.s.PGSQL.{}", config.unix_socket_dir, config.listen_port);
      const auto fd = net::open_listener({path, 0}, options);
      if (!fd) return tl::unexpected(fd.error());
      add(*fd, path);
      paths_.push_back({path, inode_of(path)});
    }
    return {};
  }

  // Each worker's own descriptors of all sockets; this object keeps none.
  Expected<std::vector<std::vector<int>>> hand_out(std::size_t workers) {
    std::vector<std::vector<int>> all(workers);
    for (std::size_t i = 0; i < workers; ++i)
      for (const int fd : fds_) {
        const int own = i + 1 == workers ? fd : ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (own < 0)
          return fail(sqlstate::kConfigFileError,
                      fmt::format("cannot share a socket: {}", std::strerror(errno)));
        all[i].push_back(own);
      }
    fds_.clear();
    return all;
  }
  bool empty() const { return names_.empty(); }
  // One that others than this machine reach; empty: none.
  const std::string& public_one() const { return public_one_; }
  const std::string& names() const { return names_; }

 private:
  void add(int fd, const std::string& name) {
    fds_.push_back(fd);
    if (!names_.empty()) names_ += ", ";
    names_ += name;
    std::string host = name.substr(0, name.rfind(':'));
    if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
    if (!name.starts_with('/') && !is_loopback(host)) public_one_ = name;
  }

  std::vector<int> fds_;
  struct Path {
    std::string name;
    ino_t inode;
  };
  static ino_t inode_of(const std::string& path) {
    struct stat what {};
    return ::lstat(path.c_str(), &what) == 0 ? what.st_ino : 0;
  }

  std::vector<Path> paths_;
  std::string names_;
  std::string public_one_;
};

// Where the service manager chooses the addresses, those of the configuration say nothing of who comes.
Expected<void> check_trust(const conf::Config& config, const Doors& doors) {
  if (config.auth_method != conf::AuthMethod::Trust || config.trust_on_network || doors.public_one().empty())
    return {};
  return fail(sqlstate::kConfigFileError,
              fmt::format("auth.method must not be trust on {}: whoever reaches it could be any user. Use "
                          "scram-sha-256, or set auth.trust_on_network",
                          doors.public_one()));
}

// The sockets of http.port. What nobody has asked for is left out where it cannot be had.
Expected<std::vector<int>> open_http(const Snapshot& snapshot, Log& log) {
  const conf::Config& config = snapshot.config();
  std::vector<int> fds;
  if (config.http_port == 0) return fds;
  for (const std::string& address : config.http_addresses) {
    const auto fd = net::open_listener({address, config.http_port},
                                       {.shared = config.reuse_port, .port_setting = "http.port"});
    if (fd) {
      fds.push_back(*fd);
    } else if (!chosen(snapshot, "http.port") && !chosen(snapshot, "http.addresses")) {
      log.warn("no metrics and no health checks over HTTP", {{"error", fd.error().message}});
    } else {
      for (const int open : fds) ::close(open);
      return tl::unexpected(fd.error());
    }
  }
  return fds;
}

// Helper threads resolve names, derive keys and read files. Every worker derives one key at a time
// (pooler/derivations.h), so a flood of logins keeps `workers` of them busy; these four are left, of which
// libuv gives name resolution half of all at most. Without them a flood on four cores would make every
// lookup wait for keys. Only before the first loop: libuv reads this once, and setenv() wants no threads.
void size_thread_pool(std::uint32_t workers) {
  constexpr std::uint32_t kSpare = 4;
  ::setenv("UV_THREADPOOL_SIZE", std::to_string(workers + kSpare).c_str(), 0);
}

// A loop that is never to be ended for standing still is dead after a time that does not come.
Watchdog::Times watchdog_times(const conf::Config& config) {
  Watchdog::Times times;
  times.dead_after =
      config.watchdog.count() > 0 ? config.watchdog : conf::milliseconds(std::chrono::years(1));
  return times;
}

// The stack goes to stderr, where nothing needs the thread that stands still; the log may need what it holds.
void tell_stack(const Watchdog::Stall& stall, const char* what) {
  std::array<char, 200> text;
  const auto end = fmt::format_to_n(text.data(), text.size(), "pgweir: loop {} has stood still for {} ms{}\n",
                                    stall.loop, stall.lasted.count(), what);
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text.data(), std::min(end.size, text.size()));
  stall.stack.write(STDERR_FILENO);
}

Watchdog::Reports watchdog_reports(Log& log) {
  Watchdog::Reports reports;
  reports.stalled = [&log](const Watchdog::Stall& stall) {
    tell_stack(stall, ", here:");
    log.error("loop stalled", {{"loop", stall.loop},
                               {"lasted_ms", stall.lasted.count()},
                               {"stack", stall.stack.depth > 0 ? "on stderr" : "not to be had"}});
  };
  reports.back = [&log](const Watchdog::Stall& stall) {
    log.warn("loop turns again", {{"loop", stall.loop}, {"lasted_ms", stall.lasted.count()}});
  };
  reports.dead = [](const Watchdog::Stall& stall) {
    tell_stack(stall, ", the process aborts:");
    std::abort();
  };
  return reports;
}

// The loops and their threads; the first loop is run by whoever calls run().
class Threads {
 public:
  Threads(std::size_t workers, bool control) : rngs_(workers) {
    for (std::size_t i = 0; i < workers; ++i) loops_.push_back(net::UvLoop::make());
    if (control) control_ = net::UvLoop::make();
  }
  net::UvLoop& first() { return *loops_[0]; }
  net::UvLoop& control() { return *control_; }  // for what may wait; only if asked for
  std::size_t size() const { return loops_.size(); }
  std::vector<net::Loop*> all() {
    std::vector<net::Loop*> all;
    for (auto& loop : loops_) all.push_back(loop.get());
    if (control_) all.push_back(control_.get());
    return all;
  }
  std::vector<App::WorkerParts> parts() {
    std::vector<App::WorkerParts> parts;
    for (std::size_t i = 0; i < loops_.size(); ++i) parts.push_back({*loops_[i], rngs_[i]});
    return parts;
  }
  void run() {
    std::vector<std::thread> others;
    for (std::size_t i = 1; i < loops_.size(); ++i) others.emplace_back([&loop = *loops_[i]] { loop.run(); });
    if (control_) others.emplace_back([this] { control_->run(); });
    loops_[0]->run();
    for (std::thread& other : others) other.join();
  }
  void stop() {
    for (auto& loop : loops_) loop->stop();
    if (control_) control_->stop();
  }

 private:
  std::vector<std::unique_ptr<net::UvLoop>> loops_;
  std::unique_ptr<net::UvLoop> control_;
  std::vector<net::SystemRng> rngs_;
};

}  // namespace

Exit check_config(const std::string& path) {
  const auto snapshot = load_snapshot(path, read_environment());
  if (snapshot) return Exit::Fine;
  tell(snapshot.error());
  return Exit::Config;
}

Exit print_config(const std::string& path) {
  const auto snapshot = load_snapshot(path, read_environment());
  if (!snapshot) {
    tell(snapshot.error());
    return Exit::Config;
  }
  for (const conf::Shown& shown : conf::show((*snapshot)->loaded, conf::Reader::Admin)) {
    std::string place = shown.origin.where;
    if (shown.origin.line > 0) place += fmt::format(":{}", shown.origin.line);
    fmt::print("{} = {}  # {}\n", shown.key, shown.value, place);
  }
  return Exit::Fine;
}

// Who sends them may have seen our listening sockets before we are ready: until then they wait.
void hold_signals(int how) {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signum : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signum);
  PGWEIR_CHECK(pthread_sigmask(how, &signals, nullptr) == 0);
}

Exit serve(const std::string& path) {
  hold_signals(SIG_BLOCK);
  if (::geteuid() == 0) {
    fmt::print(
        stderr,
        "pgweir: refuses to serve as root, because it needs none of root's rights.\n"
        "Start it as a user of its own: runuser -u postgres -- pgweir ..., or User= in its systemd unit.\n");
    return Exit::Root;
  }
  ConfigFile file(path, read_environment());
  const conf::Environment& environment = file.environment();
  const auto snapshot = file.load();
  if (!snapshot) {
    tell(snapshot.error());
    return Exit::Config;
  }
  const conf::Config& config = (*snapshot)->config();
  size_thread_pool(thread_count(config));
  SpdlogLog log(STDOUT_FILENO, log_style(config), config.log_level, deployment_fields(environment));
  raise_descriptor_limit(config, log);
  make_room_for_stacks(log);
  const auto audit = open_audit(config, log);
  if (!audit) {
    fmt::print(stderr, "pgweir: audit.target: {}\n", audit.error().message);
    return Exit::StartFailed;
  }

  Doors doors;
  const int inherited = net::inherited_count(variable(environment, "LISTEN_PID"),
                                             variable(environment, "LISTEN_FDS"), ::getpid());
  if (const auto opened = inherited > 0 ? doors.take(inherited) : doors.open(**snapshot, log); !opened) {
    fmt::print(stderr, "pgweir: {}\n", opened.error().message);
    return Exit::StartFailed;
  }
  if (doors.empty()) {
    fmt::print(stderr, "pgweir: nothing to listen on; give listen.addresses or listen.unix_socket_dir\n");
    return Exit::Config;
  }

  if (const auto trusted = check_trust(config, doors); !trusted) {
    fmt::print(stderr, "pgweir: {}\n", trusted.error().message);
    return Exit::Config;
  }

  const bool stored = (*snapshot)->config().store_kind != conf::StoreKind::File;
  const auto http_sockets = open_http(**snapshot, log);
  if (!http_sockets) {
    fmt::print(stderr, "pgweir: http: {}\n", http_sockets.error().message);
    return Exit::StartFailed;
  }

  Threads threads(thread_count(config), stored);
  // On a helper thread, for which the loops wait when they go: both outlive them.
  const auto reload = [&file, &doors]() -> tl::expected<SnapshotRef, std::string> {
    auto fresh = file.load();
    if (fresh) {
      if (auto trusted = check_trust((*fresh)->config(), doors); !trusted)
        return tl::unexpected(std::move(trusted.error().message));
      return std::move(*fresh);
    }
    std::string all;
    for (const conf::Problem& problem : fresh.error())
      (all += all.empty() ? "" : "; ") += conf::describe(problem);
    return tl::unexpected(std::move(all));
  };
  net::SystemRng rng;
  std::optional<TierControl> tiers;
  if (stored)
    tiers.emplace(threads.control(), log, *snapshot, [&](TierStore::Listener& listener) {
      return make_store(**snapshot, threads.control(), rng, log, listener);
    });
  if (tiers) {
    std::uint64_t run = 0;
    rng.fill(reinterpret_cast<char*>(&run), sizeof run);
    tiers->keep_usage(fmt::format("{}-{:016x}", net::wall_clock_s(), run));
  }
  std::optional<Watchdog> watchdog;
  App app(threads.parts(), log, *snapshot, reload, [&threads, &watchdog] {
    watchdog->rest();
    threads.stop();
  });
  app.let_change(read_file);
  app.shared().audit = audit->get();

  auto sockets = doors.hand_out(threads.size());
  if (!sockets) {
    fmt::print(stderr, "pgweir: {}\n", sockets.error().message);
    return Exit::StartFailed;
  }
  if (tiers) app.use(*tiers);
  app.listen(*sockets);
  const auto http = HttpService::start(*http_sockets, app.shared(), deployment_labels(environment));
  if (!http) {
    fmt::print(stderr, "pgweir: {}\n", http.error().message);
    return Exit::StartFailed;
  }

  Notifier manager = service_manager(environment, log);
  std::optional<Heartbeat> heartbeat;
  if (const auto patience = watchdog_time(variable(environment, "WATCHDOG_USEC"),
                                          variable(environment, "WATCHDOG_PID"), ::getpid()))
    heartbeat.emplace(threads.all(), *patience / kBeatsPerWatchdog, [&manager] { manager.alive(); });

  watchdog.emplace(threads.all(), watchdog_times(config), watchdog_reports(log));

  app.tell_of_shutdown([&manager] { manager.stopping(); });
  const auto end = [&](const char* name) {
    return [&, name] {
      log.info(app.stopping() ? "signal: ends at once" : "signal: ends in order", {{"signal", name}});
      app.shutdown();
    };
  };
  threads.first().watch_signal(SIGTERM, end("SIGTERM"));
  threads.first().watch_signal(SIGINT, end("SIGINT"));
  threads.first().watch_signal(SIGHUP, [&] {
    manager.reloading(threads.first().now());
    if (*audit) (*audit)->reopen();
    app.reload([&manager](bool) { manager.ready(); });  // a bad file leaves it as ready as it was
  });
  std::optional<ConfigWatch> file_watch;
  if (config.watch_file && !path.empty())
    file_watch.emplace(threads.first(), log, file, [&app, &log, &path] {
      log.info("configuration file has changed", {{"file", path}});
      app.reload([](bool) {});  // what is wrong with it is in the log
    });
  hold_signals(SIG_UNBLOCK);
  log.info("pgweir ready",
           {{"version", kVersion}, {"addresses", doors.names()}, {"threads", threads.size()}});
  manager.ready();
  threads.run();
  log.info("pgweir stopped");
  return app.cut_off() > 0 ? Exit::CutOff : Exit::Fine;
}

}  // namespace pgweir::process
