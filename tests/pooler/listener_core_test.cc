// The channels of a group: what its listener asks of Postgres, and who hears what.
#include "pooler/listener_core.h"

#include <catch2/catch.hpp>

#include "protocol/wire.h"

using namespace pgweir;

namespace {
struct Ear final : ListenerCore::Hearer {
  void on_listener_changed() override {}
  void on_notification(Bytes) override {}
};

std::string body(Bytes channel, Bytes payload) {
  std::string out;
  protocol::Writer(out, 'A').u32(7).c_string(channel).c_string(payload);
  return out.substr(5);
}

std::size_t hear(ListenerCore& core, Bytes channel, Bytes payload = "") {
  const std::string said = body(channel, payload);
  return core.notified(Notification(said)).size();
}

struct Connected : ListenerCore {
  Connected() {
    name_fence("f");
    connected();
  }
  // Until nothing is left to ask; the requests, one after the other.
  std::string asks() {
    std::string all;
    for (std::string sql = next_request(); !sql.empty(); sql = next_request()) {
      all += (all.empty() ? "" : " | ") + sql;
      CHECK(next_request().empty());
      REQUIRE(answered(true));
    }
    return all;
  }
};
}  // namespace

TEST_CASE("a channel is listened to once, for as long as somebody wants it") {
  Connected core;
  Ear one, two;
  CHECK(core.want(one, {"a", "b"}));
  CHECK_FALSE(core.ready({"a"}));
  CHECK(core.asks() == "LISTEN f;LISTEN \"a\";LISTEN \"b\"");
  CHECK(core.ready({"a", "b"}));
  CHECK(core.want(two, {"b", "c\"d"}));
  CHECK(core.asks() == "LISTEN \"c\"\"d\"");
  core.forget(one, {"a", "b"});
  CHECK(core.asks() == "UNLISTEN \"a\"");
  CHECK(core.needed());
  core.forget(two, {"b", "c\"d"});
  CHECK_FALSE(core.needed());
  CHECK(core.asks() == "UNLISTEN \"b\";UNLISTEN \"c\"\"d\"");
  CHECK(core.size() == 0);
}

TEST_CASE("who comes back while a channel is being left is listened for again") {
  Connected core;
  Ear ear;
  core.want(ear, {"a"});
  core.asks();
  core.forget(ear, {"a"});
  CHECK(core.next_request() == "UNLISTEN \"a\"");
  core.want(ear, {"a"});
  CHECK_FALSE(core.ready({"a"}));
  core.answered(true);
  CHECK(core.asks() == "LISTEN \"a\"");
  CHECK(core.ready({"a"}));
}

TEST_CASE("a client that has found the fence's name takes it from nobody") {
  Connected core;
  Ear ear;
  core.want(ear, {"a", "f"});
  CHECK(core.asks() == "LISTEN f;LISTEN \"a\";LISTEN \"f\"");
  core.forget(ear, {"f"});
  CHECK(core.asks().empty());
  CHECK(core.size() == 1);
  core.want(ear, {"f"});
  CHECK(core.asks() == "LISTEN \"f\"");
  CHECK(core.ready({"a", "f"}));
}

TEST_CASE("a client hears from its fence on") {
  Connected core;
  Ear one, two;
  core.want(one, {"a"});
  core.want(two, {"a"});
  core.asks();
  CHECK(hear(core, "a") == 0);
  const std::uint64_t first = core.fence(one, {"a"});
  const std::uint64_t second = core.fence(two, {"a"});
  CHECK(first != second);
  CHECK(hear(core, "a") == 0);
  CHECK(hear(core, "f", std::to_string(first)) == 0);
  CHECK(core.notified(Notification(body("a", ""))) == std::vector<ListenerCore::Hearer*>{&one});
  hear(core, "f", "99");
  hear(core, "g", std::to_string(second));
  CHECK_FALSE(core.hears(two, "a"));
  hear(core, "f", std::to_string(second));
  CHECK(hear(core, "a") == 2);
  CHECK(hear(core, "b") == 0);
  core.forget(one, {"a"});
  CHECK(hear(core, "a") == 1);
}

TEST_CASE("what was listened to is listened to again by the next connection") {
  Connected core;
  Ear hears, fenced, waits;
  core.want(hears, {"a"});
  core.want(fenced, {"a", "b"});
  core.asks();
  hear(core, "f", std::to_string(core.fence(hears, {"a"})));
  core.fence(fenced, {"a", "b"});
  core.want(waits, {"b"});
  core.lost();
  CHECK(core.failing());
  CHECK_FALSE(core.ready({"a"}));
  CHECK(core.waiting() == std::vector<ListenerCore::Hearer*>{&waits});
  core.connected();
  CHECK_FALSE(core.failing());
  CHECK(core.asks() == "LISTEN f;LISTEN \"a\";LISTEN \"b\"");
  CHECK(core.hears(hears, "a"));
  CHECK(core.hears(fenced, "b"));  // its server has been cut off, whoever has read the fence
  CHECK_FALSE(core.hears(waits, "b"));
}

TEST_CASE("a group listens to so many channels and no more") {
  Connected core;
  Ear one, two;
  for (std::size_t i = 0; i < ListenerCore::kChannelsMost; ++i)
    REQUIRE(core.want(one, {"c" + std::to_string(i)}));
  CHECK_FALSE(core.want(two, {"c1", "more"}));
  CHECK(core.waiting() == std::vector<ListenerCore::Hearer*>{&one});
  CHECK(core.want(two, {"c1"}));
  core.forget(one, {"c0"});
  CHECK(core.want(two, {"more"}));
}
