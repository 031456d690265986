// pooler/client_channels.h - the channels of one client: those that it hears by the shared connection, and
// those that its server still listens to for it. Rules only.
//
// Whether a LISTEN or an UNLISTEN has committed is for Postgres to say. After a transaction that may have
// done either, the server tells which channels it listens to. What it never listened to it cannot have left:
// so behind an UNLISTEN of a client that hears channels elsewhere, in the same transaction, the server is
// made to LISTEN to a mark. A mark that is there afterwards says that the UNLISTEN stands; savepoints and
// rollbacks take both away.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pooler/listener_core.h"

namespace pgweir {

struct ClientChannels {
  ChannelNames heard;  // by the shared connection
  ChannelNames here;   // on the server, to be handed over

  // A text unlistens; its mark goes behind the request that it belongs to. `names`: for UNLISTEN *, all.
  struct Names {
    std::vector<std::string> names;
    bool all = false;
  };
  void unlistens(Names names);
  // The same request rolls something back: nobody can tell what a mark behind it would mean. The client goes
  // on hearing.
  void forget_request();
  bool unmarked() const { return !pending_.names.empty() || pending_.all; }
  // The request is over: what the server must be told behind it.
  std::string take_mark();
  // Outside of a transaction the mark does not fail with its request, whose end was `well` or not.
  void marked(bool well);

  // What the server listens to. Answers the names that the client no longer hears and wants no longer.
  ChannelNames found(const std::vector<std::string>& names);

  // What the server is being told between two transactions.
  enum class Doing : std::uint8_t { None, Fencing, Leaving };
  Doing doing = Doing::None;
  std::uint64_t fence = 0;
  bool fence_passed = false;
  std::uint64_t tide = 0;  // that its next request waits for; 0: none
  bool leave = false;      // the server must UNLISTEN before anybody else has it

  bool idle() const {
    return heard.empty() && here.empty() && !unmarked() && marks_.empty() && doing == Doing::None && !leave;
  }
  // The server is gone or given back.
  void part();

 private:
  struct Mark {
    std::uint32_t number;
    Names of;
    bool answered = false;
    bool counts = false;
  };
  Names pending_;
  std::vector<Mark> marks_;  // of the transaction
  std::uint32_t last_mark_ = 0;
};

}  // namespace pgweir
