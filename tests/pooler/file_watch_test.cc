#include "pooler/file_watch.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "pooler/config_watch.h"

using namespace pgweir;

namespace {

using Stamp = FileWatch::Stamp;

std::string name(FileWatch::Look look) {
  switch (look) {
    case FileWatch::Look::Known: return "known";
    case FileWatch::Look::Settling: return "settling";
    case FileWatch::Look::Read: return "read";
    case FileWatch::Look::Missing: return "missing";
  }
  return {};
}

constexpr std::nullopt_t kMissing = std::nullopt;
constexpr Stamp kOld{1, 10, 500, 100, 100};
constexpr Stamp kAppended{1, 10, 600, 200, 200};
constexpr Stamp kRewritten{1, 10, 500, 200, 200};     // in place, to the same size
constexpr Stamp kRenamed{1, 11, 500, 100, 300};       // another file over it, as old as the former
constexpr Stamp kOtherVolume{2, 10, 500, 100, 100};   // a link that leads elsewhere now
constexpr Stamp kEmpty{1, 10, 0, 200, 200};           // truncated, not written yet
constexpr Stamp kCopyKeptTime{1, 10, 500, 100, 300};  // written in place, and its mtime set back

struct Seen {
  int at_ms;
  std::optional<Stamp> file;
  std::string look;
};

struct Case {
  const char* what;
  std::vector<Seen> looks;  // after kOld was read
};

const std::vector<Case> kCases{
    {"nothing changes", {{1000, kOld, "known"}, {2000, kOld, "known"}}},
    {"more is written",
     {{1000, kAppended, "settling"}, {1200, kAppended, "read"}, {2200, kAppended, "known"}}},
    {"rewritten in place", {{1000, kRewritten, "settling"}, {1200, kRewritten, "read"}}},
    {"renamed over", {{1000, kRenamed, "settling"}, {1200, kRenamed, "read"}}},
    {"a link to another volume", {{1000, kOtherVolume, "settling"}, {1200, kOtherVolume, "read"}}},
    {"its time of writing is kept", {{1000, kCopyKeptTime, "settling"}, {1200, kCopyKeptTime, "read"}}},
    {"looked at too soon",
     {{1000, kRenamed, "settling"}, {1199, kRenamed, "settling"}, {1200, kRenamed, "read"}}},
    {"written in two halves",
     {{1000, kRewritten, "settling"},
      {1200, kAppended, "settling"},
      {1300, kAppended, "settling"},
      {1400, kAppended, "read"}}},
    {"gone, and not back", {{1000, kMissing, "known"}, {2000, kMissing, "known"}}},
    {"gone, and back as it was", {{1000, kMissing, "known"}, {2000, kOld, "known"}}},
    {"gone, and another one comes",
     {{1000, kMissing, "known"}, {2000, kRenamed, "settling"}, {2200, kRenamed, "read"}}},
    {"gone for long, and again",
     {{1000, kMissing, "known"},
      {5999, kEmpty, "known"},
      {6000, kMissing, "missing"},
      {7000, kMissing, "known"},
      {60000, kEmpty, "known"},
      {61000, kOld, "known"},
      {62000, kEmpty, "known"},
      {67000, kEmpty, "missing"},
      {68000, kRenamed, "settling"},
      {68200, kRenamed, "read"}}},
    {"gone while it settles",
     {{1000, kRenamed, "settling"},
      {1200, kMissing, "known"},
      {1300, kRenamed, "settling"},
      {1400, kRenamed, "settling"},
      {1500, kRenamed, "read"}}},
    {"truncated first",
     {{1000, kEmpty, "known"},
      {1200, kEmpty, "known"},
      {2000, kRewritten, "settling"},
      {2200, kRewritten, "read"}}},
    {"put back before it was read",
     {{1000, kRenamed, "settling"}, {1200, kOld, "known"}, {2000, kOld, "known"}}},
};

}  // namespace

TEST_CASE("a file is read when it is another one and has settled") {
  for (const Case& each : kCases) {
    FileWatch watch;
    REQUIRE(name(watch.look(kOld, Time{})) == "settling");
    REQUIRE(name(watch.look(kOld, Time{} + FileWatch::kSettle)) == "read");
    for (const Seen& seen : each.looks) {
      INFO(each.what << " at " << seen.at_ms << " ms");
      CHECK(name(watch.look(seen.file, Time{} + std::chrono::milliseconds(seen.at_ms))) == seen.look);
    }
  }
}

TEST_CASE("a file is read well within a second, whenever it was written") {
  using std::chrono::milliseconds;
  for (milliseconds written{1}; written < ConfigWatch::kInterval; ++written) {
    FileWatch watch;
    REQUIRE(name(watch.look(kOld, Time{} - FileWatch::kSettle)) == "settling");
    REQUIRE(name(watch.look(kOld, Time{})) == "read");
    milliseconds now = ConfigWatch::kInterval;  // as ConfigWatch looks
    std::string look;
    while ((look = name(watch.look(now > written ? kRenamed : kOld, Time{} + now))) != "read")
      now += look == "settling" ? FileWatch::kSettle : ConfigWatch::kInterval;
    INFO("written at " << written.count() << " ms");
    CHECK(now - written < milliseconds(800));  // and a while for what the file says to hold
  }
}

TEST_CASE("a file that never was there is missed by nobody") {
  FileWatch watch;
  CHECK(name(watch.look(kMissing, Time{})) == "known");
  CHECK(name(watch.look(kEmpty, Time{} + std::chrono::hours(1))) == "known");
}
