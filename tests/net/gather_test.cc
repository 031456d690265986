#include <algorithm>
#include <random>

#include "pooler/net/uv_sends.h"
#include "tests/net/help.h"

using namespace pgweir;
using namespace pgweir::net;

namespace {
// Accepts one raw peer into a stream that gathers its writes.
struct Gathering {
  Net net;
  Raw peer{net.here};
  Ear* ear = nullptr;

  Gathering() {
    REQUIRE(net.until([&] { return net.door.ears.size() == 1; }));
    ear = net.door.ears[0].get();
    ear->stream->gather_writes();
  }
  // What it does with the first bytes that it is told.
  void answer_by(std::function<void()> answer) {
    ear->when_bytes = [answer = std::move(answer), done = false](Bytes) mutable {
      if (!std::exchange(done, true)) answer();
    };
    REQUIRE(peer.send("go") == 2);
  }
  bool peer_has(const std::string& all) {
    return net.until([&] {
      peer.ended();
      return peer.in == all;
    });
  }
};
}  // namespace

TEST_CASE("gathered writes leave when the turn's reads are over, and not before") {
  Gathering one;
  bool early = false;
  one.answer_by([&] {
    one.ear->stream->write("first ");
    one.ear->stream->write("second");
    CHECK(one.ear->stream->unsent() == 0);
    one.peer.ended();
    early = !one.peer.in.empty();
  });
  CHECK(one.peer_has("first second"));
  CHECK_FALSE(early);
  // Outside of a read nothing is kept back: the next turn may be far.
  one.ear->stream->write("!");
  one.peer.ended();
  CHECK(one.peer.in == "first second!");
}

TEST_CASE("gathered writes keep their order, also with one that is too large to be gathered") {
  Gathering one;
  const std::string large = pattern(UvSends::kSmall + 1);
  SECTION("large") {
    one.answer_by([&] {
      for (const Bytes bytes : {Bytes("a"), Bytes(large), Bytes("b")}) one.ear->stream->write(bytes);
    });
    CHECK(one.peer_has("a" + large + "b"));
  }
  SECTION("more than the kernel takes") {
    const std::string huge = pattern(9'000'000);
    one.answer_by([&] {
      one.ear->stream->write("a");
      one.ear->stream->write(huge);
      one.ear->stream->write("b");
      CHECK(one.ear->stream->unsent() > 0);
    });
    CHECK(one.peer_has("a" + huge + "b"));
    CHECK(one.ear->drained == 1);
  }
  SECTION("more small ones than are kept") {
    const std::string block = pattern(UvSends::kSmall);
    std::string all;
    one.answer_by([&] {
      while (all.size() <= 3 * UvSends::kAllMost) {
        one.ear->stream->write(block);
        all += block;
      }
    });
    CHECK(one.peer_has(all));
  }
}

TEST_CASE("what one stream reads goes out on others, in the order of each") {
  Net net;
  std::vector<std::unique_ptr<Raw>> peers;
  for (int i = 0; i < 5; ++i) peers.push_back(std::make_unique<Raw>(net.here));
  REQUIRE(net.until([&] { return net.door.ears.size() == peers.size(); }));
  std::string expected;
  for (auto& ear : net.door.ears) ear->stream->gather_writes();
  net.door.ears[0]->when_bytes = [&](Bytes in) {
    expected += in;
    for (auto& each : net.door.ears) each->stream->write(in.substr(0, in.size() / 2));
    for (auto& each : net.door.ears) each->stream->write(in.substr(in.size() / 2));
  };
  // Ears stand in the order of their connections.
  std::mt19937 chance(11);
  for (int round = 0; round < 50; ++round) {
    peers[0]->send(pattern(1 + chance() % 3000));
    REQUIRE(net.until([&] {
      for (auto& peer : peers) peer->ended();
      return std::all_of(peers.begin(), peers.end(), [&](auto& peer) { return peer->in == expected; });
    }));
  }
}

TEST_CASE("a stream may end with writes gathered") {
  Gathering one;
  SECTION("close delivers them") {
    one.answer_by([&] {
      one.ear->stream->write("bye");
      one.ear->stream->close();
      one.ear->stream->write("dropped");
    });
    REQUIRE(one.net.until([&] { return one.peer.ended(); }));
    CHECK(one.peer.in == "bye");
    CHECK(one.peer.end == "EOF");
    one.peer.shut();
  }
  SECTION("reset does not need to") {
    one.answer_by([&] {
      one.ear->stream->write("bye");
      one.ear->stream->reset();
    });
    REQUIRE(one.net.until([&] { return one.peer.ended(); }));
    CHECK(one.peer.end == "ECONNRESET");
  }
  SECTION("the peer was faster") {
    one.answer_by([&] {
      one.peer.reset();
      one.ear->stream->write("bye");
    });
  }
  SECTION("while reads are paused") {
    one.answer_by([&] {
      one.peer.reset();
      one.ear->stream->write("bye");
      one.ear->stream->pause_reads();
    });
  }
  REQUIRE(one.net.until([&] { return one.ear->is_closed(); }));
  CHECK_FALSE(one.net.until([&] { return one.ear->closed.size() > 1; }, 10ms));
}

TEST_CASE("a loop that stops inside a read has sent what was gathered, and its streams may go") {
  Gathering one;
  one.answer_by([&] {
    one.ear->stream->write("last");
    one.net.loop->stop();
  });
  one.net.loop->run();
  one.peer.ended();
  CHECK(one.peer.in == "last");
  one.ear->stream.reset();
}
