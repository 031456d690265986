#include "pooler/net/stream.h"

#include <algorithm>
#include <random>

#include "tests/net/help.h"

using namespace pgweir;
using namespace pgweir::net;

TEST_CASE("bytes come back from an echo, however they were cut") {
  Net net;
  net.door.greet = [](Ear& ear) { ear.echo(); };
  Ear client;
  net.join(client);
  const std::string all = pattern(300'000);
  std::mt19937 chance(7);
  std::size_t at = 0;
  const auto send_some = [&] {
    for (int i = 0; i < 20 && at < all.size(); ++i) {
      const std::size_t size = std::min<std::size_t>(all.size() - at, chance() % 3000);
      client.stream->write(Bytes(all).substr(at, size));
      at += size;
    }
    return client.in.size() == all.size();
  };
  REQUIRE(net.until(send_some));
  CHECK(client.in == all);
  CHECK(client.stream->unsent() == 0);
  CHECK(client.closed.empty());
}

TEST_CASE("a gathered write keeps the order of its slices") {
  Net net;
  Ear client;
  Ear& server = net.join(client);
  SECTION("a few, some of them empty") {
    const Bytes slices[] = {"", "select", " ", "", "1", ";"};
    client.stream->write(slices);
    REQUIRE(net.until([&] { return server.in == "select 1;"; }));
  }
  SECTION("more than one system call takes") {
    const std::string text = pattern(1000);
    std::vector<Bytes> slices;
    for (std::size_t i = 0; i < text.size(); ++i) slices.push_back(Bytes(text).substr(i, 1));
    client.stream->write(slices);
    REQUIRE(net.until([&] { return server.in == text; }));
  }
  SECTION("more bytes than the kernel takes") {
    const std::string text = pattern(9'000'000);
    const Bytes slices[] = {Bytes(text).substr(0, 10), Bytes(text).substr(10, 8'000'000),
                            Bytes(text).substr(8'000'010)};
    client.stream->write(slices);
    CHECK(client.stream->unsent() > 0);
    client.stream->write("the end");  // must not overtake
    REQUIRE(net.until([&] { return server.in.size() == text.size() + 7; }));
    CHECK(server.in == text + "the end");
    CHECK(client.drained == 1);
    CHECK(client.stream->unsent() == 0);
  }
  SECTION("nothing at all") {
    client.stream->write(std::span<const Bytes>());
    client.stream->write("");
    CHECK(client.stream->unsent() == 0);
  }
}

TEST_CASE("who waits for many bytes is woken once for them, and for the last ones") {
  Net net;
  Ear client;
  Ear& server = net.join(client);
  std::vector<std::size_t> came;
  server.when_bytes = [&](Bytes bytes) { came.push_back(bytes.size()); };
  server.stream->read_at_least(1000);
  client.stream->write(pattern(10));
  net.until([&] { return !came.empty(); }, 50ms);
  CHECK(came.empty());
  client.stream->write(pattern(990));
  REQUIRE(net.until([&] { return !came.empty(); }));
  CHECK(came == std::vector<std::size_t>{1000});
  SECTION("no more, when it says so") {
    server.stream->read_at_least(1);
    client.stream->write("x");
    CHECK(net.until([&] { return came.size() == 2; }));
  }
  SECTION("what was there before counts") {
    client.stream->write("x");
    net.until([&] { return came.size() > 1; }, 50ms);
    server.stream->read_at_least(1);
    CHECK(net.until([&] { return came.size() == 2; }));
  }
  SECTION("the peer leaves") {
    client.stream->write("bye");
    client.stream->close();
    REQUIRE(net.until([&] { return server.closed.size() == 1; }));
    CHECK(server.in.ends_with("bye"));
    CHECK(server.closed[0].error.empty());
  }
}

TEST_CASE("back-pressure: what a slow reader does not take is unsent, and on_drained tells when it is gone") {
  Net net;
  Ear client;
  Ear& server = net.join(client);
  server.stream->pause_reads();
  std::string sent;
  const std::string block = pattern(100'000);
  while (client.stream->unsent() < 3'000'000) {
    client.stream->write(block);
    sent += block;
  }
  CHECK_FALSE(net.until([&] { return client.drained > 0; }, 30ms));
  CHECK(client.stream->unsent() > 0);
  CHECK(server.in.empty());
  server.stream->resume_reads();
  REQUIRE(net.until([&] { return server.in.size() == sent.size() && client.drained == 1; }));
  CHECK(server.in == sent);
  CHECK(client.stream->unsent() == 0);
}

TEST_CASE("what is written in on_drained goes behind, and is drained again") {
  Net net;
  Ear client;
  Ear& server = net.join(client);
  const std::string big = pattern(9'000'000);
  client.when_drained = [&] {
    if (client.drained == 1) client.stream->write(big);
  };
  client.stream->write(big);
  REQUIRE(net.until([&] { return client.drained == 2 && server.in.size() == 2 * big.size(); }));
  CHECK(server.in == big + big);
}

TEST_CASE("paused reads deliver nothing until they are resumed") {
  Net net;
  Ear client;
  Ear& server = net.join(client);
  server.when_bytes = [&](Bytes) { server.stream->pause_reads(); };
  client.stream->write("one");
  REQUIRE(net.until([&] { return server.in == "one"; }));
  client.stream->write("two");
  client.stream->close();
  CHECK_FALSE(net.until([&] { return server.in != "one" || server.is_closed(); }, 30ms));
  server.when_bytes = nullptr;
  server.stream->resume_reads();
  server.stream->resume_reads();  // twice is once
  REQUIRE(net.until([&] { return server.is_closed(); }));
  CHECK(server.in == "onetwo");
  CHECK(server.by() == Closed::By::Peer);
}

TEST_CASE("a close is an EOF for the peer, behind everything that was written") {
  Net net;
  Raw peer(net.here);
  REQUIRE(net.until([&] { return net.door.ears.size() == 1; }));
  Ear& server = *net.door.ears[0];
  const std::string last = pattern(8'000'000);
  server.stream->write(last);
  server.stream->close();
  server.stream->close();
  server.stream->write("dropped");
  REQUIRE(net.until([&] { return peer.ended(); }));
  CHECK(peer.end == "EOF");
  CHECK(peer.in == last);
  CHECK(server.closed.empty());  // it waits for the peer's FIN
  peer.shut();
  REQUIRE(net.until([&] { return server.is_closed(); }));
  CHECK(server.by() == Closed::By::Us);
  CHECK(server.error() == "");
  CHECK(server.drained == 0);
}

TEST_CASE("the last words arrive even when the peer is in the middle of sending") {
  Net net;
  Raw peer(net.here);
  const std::string noise = pattern(300'000);
  std::size_t noised = peer.send(noise);
  REQUIRE(net.until([&] { return !net.door.ears.empty() && !net.door.ears[0]->in.empty(); }));
  Ear& server = *net.door.ears[0];
  server.stream->write("FATAL: go away");
  server.stream->close();
  const std::size_t heard = server.in.size();
  REQUIRE(net.until([&] {
    if (noised < noise.size()) noised += peer.send(Bytes(noise).substr(noised));
    return peer.ended() && noised == noise.size();
  }));
  CHECK(peer.in == "FATAL: go away");
  CHECK(peer.end == "EOF");
  CHECK(server.in.size() == heard);  // nothing after close()
}

TEST_CASE("a peer that goes on sending for ever after a close is cut off") {
  Net net;
  Raw peer(net.here);
  REQUIRE(net.until([&] { return net.door.ears.size() == 1; }));
  Ear& server = *net.door.ears[0];
  server.stream->close();
  const std::string noise = pattern(100'000);
  std::size_t sent = 0;
  const auto closed = [&] {
    sent += peer.send(noise);
    return server.is_closed();
  };
  REQUIRE(net.until(closed, 3s));  // by the bytes, not by the 5 seconds
  CHECK(sent > 1'000'000);
  CHECK(server.by() == Closed::By::Us);
}

TEST_CASE("a peer that takes nothing after a close is reset after 5 seconds") {
  Net net;
  Raw peer(net.here);
  REQUIRE(net.until([&] { return net.door.ears.size() == 1; }));
  Ear& server = *net.door.ears[0];
  server.stream->write(pattern(20'000'000));
  const Time before = net.loop->now();
  server.stream->close();
  REQUIRE(net.until([&] { return server.is_closed(); }));
  CHECK(net.loop->now() - before > 4900ms);
  CHECK(net.loop->now() - before < 8s);
  CHECK_THAT(server.error(), Catch::StartsWith("cut off: the peer did not take the last "));
  REQUIRE(net.until([&] { return peer.ended(); }));
  CHECK(peer.end == "ECONNRESET");
}

TEST_CASE("a reset is an ECONNRESET for the peer") {
  Net net;
  Raw peer(net.here);
  REQUIRE(net.until([&] { return net.door.ears.size() == 1; }));
  Ear& server = *net.door.ears[0];
  SECTION("at once") {}
  SECTION("with bytes unsent") { server.stream->write(pattern(20'000'000)); }
  SECTION("also after a close") {
    server.stream->write(pattern(20'000'000));
    server.stream->close();
  }
  server.stream->reset();
  server.stream->reset();
  CHECK(server.closed.empty());  // never from inside a call
  REQUIRE(net.until([&] { return server.is_closed(); }));
  REQUIRE(net.until([&] { return peer.ended(); }));
  CHECK(peer.end == "ECONNRESET");
  CHECK(server.by() == Closed::By::Us);
  CHECK_FALSE(net.until([&] { return server.closed.size() > 1; }, 10ms));
}

TEST_CASE("the peer's end is told as what it was") {
  Net net;
  Raw peer(net.here);
  peer.send("last words");
  SECTION("FIN") {
    peer.shut();
    REQUIRE(net.until([&] { return !net.door.ears.empty() && net.door.ears[0]->is_closed(); }));
    CHECK(net.door.ears[0]->by() == Closed::By::Peer);
    CHECK(net.door.ears[0]->error() == "");
  }
  SECTION("RST") {
    peer.reset();
    REQUIRE(net.until([&] { return !net.door.ears.empty() && net.door.ears[0]->is_closed(); }));
    CHECK(net.door.ears[0]->by() == Closed::By::Failure);
    CHECK(net.door.ears[0]->error() == "connection reset by peer");
  }
  CHECK(net.door.ears[0]->in == "last words");
  CHECK(net.door.ears[0]->stream->peer().host == "127.0.0.1");
}

TEST_CASE("a peer's last words are heard although a write has failed before") {
  Net net;
  Raw peer(net.here);
  REQUIRE(net.until([&] { return net.door.ears.size() == 1; }));
  Ear& server = *net.door.ears[0];
  peer.send("FATAL: shutting down");
  peer.reset();
  // Nothing was read yet, for the loop has not run: the writes meet the RST first.
  server.stream->write("query");
  server.stream->write("query");
  server.stream->write("query");
  CHECK(server.closed.empty());
  SECTION("reading on") {
    REQUIRE(net.until([&] { return server.is_closed(); }));
    CHECK(server.in == "FATAL: shutting down");
  }
  SECTION("or not, if reads are paused") {
    server.stream->pause_reads();
    REQUIRE(net.until([&] { return server.is_closed(); }));
    CHECK(server.in == "");
  }
  CHECK(server.by() == Closed::By::Failure);
  CHECK(server.closed.size() == 1);
}

TEST_CASE("a peer that dies under back-pressure ends the connection") {
  Net net;
  Raw peer(net.here);
  REQUIRE(net.until([&] { return net.door.ears.size() == 1; }));
  Ear& server = *net.door.ears[0];
  server.stream->write(pattern(20'000'000));
  CHECK(server.stream->unsent() > 0);
  SECTION("while we read") {}
  SECTION("while reads are paused") { server.stream->pause_reads(); }
  peer.reset();
  REQUIRE(net.until([&] { return server.is_closed(); }));
  CHECK(server.by() == Closed::By::Failure);
  CHECK(server.drained == 0);
}

TEST_CASE("a handler may close, reset or destroy from inside its calls") {
  Net net;
  Ear client;
  SECTION("close in on_bytes") {
    net.door.greet = [](Ear& ear) {
      ear.when_bytes = [&ear](Bytes) {
        ear.stream->write("bye");
        ear.stream->close();
        ear.stream->write("dropped");
      };
    };
    Ear& server = net.join(client);
    client.stream->write(pattern(200'000));
    REQUIRE(net.until([&] { return client.is_closed(); }));
    CHECK(client.in == "bye");
    CHECK(client.by() == Closed::By::Peer);
    REQUIRE(net.until([&] { return server.is_closed(); }));
    CHECK(server.in.size() <= 65536);  // one call, none after close()
  }
  SECTION("reset in on_bytes") {
    net.door.greet = [](Ear& ear) { ear.when_bytes = [&ear](Bytes) { ear.stream->reset(); }; };
    net.join(client);
    client.stream->write("x");
    REQUIRE(net.until([&] { return client.is_closed(); }));
    CHECK(client.error() == "connection reset by peer");
  }
  SECTION("reset in on_connected, destroy in on_closed") {
    client.when_connected = [&] {
      client.stream->write("x");
      client.stream->reset();
    };
    client.when_closed = [&] { client.stream.reset(); };
    client.stream = net.loop->connect(net.here, client);
    REQUIRE(net.until([&] { return client.is_closed(); }));
    CHECK(client.by() == Closed::By::Us);
    CHECK(client.stream == nullptr);
  }
  SECTION("refuse in on_accept") {
    net.door.greet = [](Ear& ear) {
      ear.stream->write("no");
      ear.stream->close();
    };
    net.join(client);
    REQUIRE(net.until([&] { return client.is_closed(); }));
    CHECK(client.in == "no");
  }
}

TEST_CASE("bytes written before the connection stands go out once it does") {
  Net net;
  Ear client;
  client.when_connected = [&] { client.stream->write("two"); };
  client.stream = net.loop->connect(net.here, client);
  client.stream->write("one");
  CHECK(client.stream->unsent() == 3);
  REQUIRE(net.until([&] { return net.door.ears.size() == 1 && net.door.ears[0]->in == "onetwo"; }));
}

TEST_CASE("streams know both ends") {
  Net net;
  Ear client;
  Ear& server = net.join(client);
  CHECK(client.stream->peer().host == "127.0.0.1");
  CHECK(client.stream->peer().port == net.here.port);
  CHECK(server.stream->peer().port == client.stream->local().port);
  CHECK(server.stream->local().port == net.here.port);
  CHECK(server.stream->peer_uid() == -1);
  CHECK_FALSE(server.stream->secured());
}

TEST_CASE("a loop in a hurry waits for no peer that keeps its side open") {
  Net net;
  std::vector<std::unique_ptr<Raw>> peers;
  for (int i = 0; i < 3; ++i) peers.push_back(std::make_unique<Raw>(net.here));
  REQUIRE(net.until([&] { return net.door.ears.size() == 3; }));
  const auto all_closed = [&] {
    return std::all_of(net.door.ears.begin(), net.door.ears.end(),
                       [](auto& ear) { return ear->is_closed(); });
  };
  const std::string unread(20'000'000, 'x');
  net.door.ears[0]->stream->write("last words");
  net.door.ears[0]->stream->close();
  net.door.ears[1]->stream->write(unread);
  net.door.ears[1]->stream->close();
  CHECK_FALSE(net.until(all_closed, 300ms));
  net.loop->hurry();
  net.door.ears[2]->stream->write("last words");
  net.door.ears[2]->stream->close();
  REQUIRE(net.until(all_closed, 4s));
  for (const int reads : {0, 2}) {
    Raw& peer = *peers[static_cast<std::size_t>(reads)];
    REQUIRE(net.until([&] { return peer.ended(); }));
    CHECK(peer.in == "last words");
    CHECK(peer.end == "EOF");
  }
  CHECK(net.door.ears[1]->error().find("cut off: the peer did not take the last") == 0);
  REQUIRE(net.until([&] { return peers[1]->ended(); }));
  CHECK(peers[1]->end == "ECONNRESET");
}
