// What a client listens to, by what Postgres says of its server.
#include "pooler/client_channels.h"

#include <catch2/catch.hpp>

using namespace pgweir;

namespace {
using Names = std::vector<std::string>;

std::string list(const ChannelNames& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : " ") + name;
  return all;
}
}  // namespace

TEST_CASE("a mark that the server listens to says that its UNLISTEN stands") {
  struct Row {
    ChannelNames heard;
    std::vector<ClientChannels::Names> unlistens;  // one request each
    Names found;
    std::string heard_after, here_after, gone;
    bool leave;
  };
  const std::string m1 = "pgweir_unlisten_1", m2 = "pgweir_unlisten_2";
  const ClientChannels::Names a{{"a"}, false}, b{{"b"}, false}, all{{}, true};
  for (const Row& row : {
           Row{{}, {}, {}, "", "", "", false}, Row{{}, {}, {"a"}, "", "a", "", true},
           Row{{"a", "b"}, {a}, {m1}, "b", "", "a", true},
           Row{{"a", "b"}, {a}, {}, "a b", "", "", false},            // rolled back
           Row{{"a", "b"}, {a, b}, {m2}, "a", "", "b", true},         // the first, to a savepoint
           Row{{"a", "b"}, {all}, {m1}, "", "", "a b", true},         //
           Row{{"a", "b"}, {all}, {"b", m1}, "b", "", "a", true},     // UNLISTEN *, LISTEN b
           Row{{"a"}, {all}, {"c", m1}, "", "c", "a", true},          // UNLISTEN *, LISTEN c
           Row{{"a"}, {a}, {"a", m1}, "a", "", "", true},             // UNLISTEN a, LISTEN a
           Row{{"a"}, {b}, {m1}, "a", "", "", true},                  // did not hear it anyway
           Row{{"a"}, {}, {"pgweir_unlisten_7"}, "a", "", "", true},  // nobody's
       }) {
    ClientChannels channels;
    channels.heard = row.heard;
    for (const ClientChannels::Names& names : row.unlistens) {
      channels.unlistens(names);
      channels.take_mark();
    }
    for (std::size_t i = 0; i < row.unlistens.size(); ++i) channels.marked(true);
    CAPTURE(row.found, list(row.heard));
    CHECK(list(channels.found(row.found)) == row.gone);
    CHECK(list(channels.heard) == row.heard_after);
    CHECK(list(channels.here) == row.here_after);
    CHECK(channels.leave == row.leave);
  }
}

TEST_CASE("a mark behind a request that has failed says nothing") {
  ClientChannels channels;
  channels.heard = {"a"};
  channels.unlistens({{"a"}, false});
  CHECK(channels.take_mark() == "LISTEN pgweir_unlisten_1");
  channels.marked(false);
  CHECK(channels.found({"pgweir_unlisten_1"}).empty());
  CHECK(list(channels.heard) == "a");
}

TEST_CASE("who hears nothing needs no mark, nor does a request that rolls back") {
  ClientChannels channels;
  channels.unlistens({{}, true});
  CHECK_FALSE(channels.unmarked());
  channels.heard = {"a"};
  channels.unlistens({{"a"}, false});
  CHECK(channels.unmarked());
  channels.forget_request();
  CHECK_FALSE(channels.unmarked());
}

TEST_CASE("a channel that its server has left before the hand-over is wanted no longer") {
  ClientChannels channels;
  channels.found({"a", "b"});
  CHECK(list(channels.found({"b"})) == "a");
  CHECK(list(channels.here) == "b");
  CHECK(list(channels.found({})) == "b");
  CHECK(channels.idle());
}
