#include "pooler/audit_stream.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

using namespace pgweir;
namespace fs = std::filesystem;

namespace {

class Directory {
 public:
  Directory() {
    std::string name = (fs::temp_directory_path() / "audit-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Directory() { fs::remove_all(path_); }
  std::string operator/(const char* name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

struct Events final : Log {
  std::mutex mutex;
  std::vector<std::string> names;
  void write(LogLevel, std::string_view event, Fields) override {
    const std::lock_guard<std::mutex> lock(mutex);
    names.emplace_back(event);
  }
  bool enabled(LogLevel) const override { return true; }
};

std::vector<nlohmann::json> lines(const std::string& path) {
  std::vector<nlohmann::json> all;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) all.push_back(nlohmann::json::parse(line));
  return all;
}

std::unique_ptr<AuditStream> open(const AuditFile& file, Log& log) {
  auto opened = audit_to_file(file, log);
  REQUIRE(opened.has_value());
  return std::move(*opened);
}

void suspend(AuditStream& audit, const std::string& tenant) {
  audit.record(AuditEvent::TenantSuspended, AuditOutcome::Success, {{AuditKey::Tenant, tenant}});
}

}  // namespace

TEST_CASE("audit lines come into a file that others cannot read, behind those of the last run") {
  const Directory dir;
  Events log;
  const AuditFile file{dir / "audit.json", 1 << 20, 3};
  for (const char* tenant : {"acme", "globex"}) suspend(*open(file, log), tenant);
  const auto all = lines(file.path);
  REQUIRE(all.size() == 2);
  CHECK(all[0]["pgweir.tenant"] == "acme");
  CHECK(all[1]["pgweir.tenant"] == "globex");
  struct stat facts {};
  REQUIRE(::stat(file.path.c_str(), &facts) == 0);
  CHECK((facts.st_mode & 07777) == 0640);
}

TEST_CASE("a full audit file is put aside, and the oldest beyond those that are kept is deleted") {
  const Directory dir;
  Events log;
  {
    const auto audit = open({dir / "audit.json", 2000, 2}, log);
    for (int i = 0; i < 40; ++i) suspend(*audit, "tenant-" + std::to_string(i));
  }
  CHECK(fs::exists(dir / "audit.1.json"));
  CHECK(fs::exists(dir / "audit.2.json"));
  CHECK_FALSE(fs::exists(dir / "audit.3.json"));
  for (const char* name : {"audit.json", "audit.1.json", "audit.2.json"})
    CHECK(fs::file_size(dir / name) <= 2000);
  CHECK(lines(dir / "audit.json").back()["pgweir.tenant"] == "tenant-39");
}

TEST_CASE("a file that was moved away is opened anew when asked to") {
  const Directory dir;
  Events log;
  {
    const auto audit = open({dir / "audit.json", 1 << 20, 2}, log);
    suspend(*audit, "before");
    while (fs::file_size(dir / "audit.json") == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    fs::rename(dir / "audit.json", dir / "moved");
    audit->reopen();
    suspend(*audit, "after");
  }
  CHECK(lines(dir / "moved").size() == 1);
  REQUIRE(lines(dir / "audit.json").size() == 1);
  CHECK(lines(dir / "audit.json")[0]["pgweir.tenant"] == "after");
}

TEST_CASE("a file that cannot be opened is an error at the start") {
  const Directory dir;
  Events log;
  const auto directory = audit_to_file({dir / "", 1 << 20, 2}, log);
  CHECK_FALSE(directory.has_value());
}

TEST_CASE("lines that the disk does not take are counted and told, and a later one is written again") {
  const Directory dir;
  Events log;
  const std::string path = dir / "audit.json";
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, SIG_IGN);
  {
    const auto audit = open({path, 1 << 20, 2}, log);
    const rlimit none{0, before.rlim_max};  // as a full disk, for this process
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &none) == 0);
    for (int i = 0; i < 3; ++i) suspend(*audit, "lost");
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    const auto told = [&] {
      const std::lock_guard<std::mutex> lock(log.mutex);
      return !log.names.empty();
    };
    while (!told() && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // its retry
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    suspend(*audit, "kept");
  }
  const auto all = lines(path);
  REQUIRE(all.size() == 2);
  CHECK(all[0]["pgweir.tenant"] == "kept");
  CHECK(all[1]["event.action"] == "audit_lines_lost");
  CHECK(all[1]["pgweir.lost"] == 3);
  CHECK(log.names.front() == "audit file takes no line");
}
