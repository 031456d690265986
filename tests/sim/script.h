// tests/sim/script.h - what a model client does next: random requests, in phases.
//
// A phase is sent at once; then the client waits for all answers or does something rude. Every text of a
// client carries tokens "c<client>_<serial>" that nobody else uses, so that an answer tells whose it is.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/oracle.h"
#include "tests/sim/pg_session.h"
#include "tests/sim/world.h"

namespace pgweir::sim {

// How often a client does what; in percent of its steps, the rest being plain queries and transactions.
struct Manners {
  unsigned extended = 20;
  unsigned pipeline = 8;  // with errors in the middle
  unsigned named = 15;    // prepared statements with names
  unsigned prepared = 4;  // by SQL
  unsigned unnamed = 2;   // statements without a name, that are used again
  unsigned shapes = 0;    // statements whose tables change
  unsigned copy = 5;
  unsigned bulk = 4;        // many or big rows, sometimes read slowly
  unsigned settings = 6;    // SET of what follows a client
  unsigned traces = 6;      // what must not outlive the transaction
  unsigned channels = 0;    // LISTEN, UNLISTEN and NOTIFY
  unsigned savepoints = 0;  // and what is set between them
  unsigned holds = 0;       // cursors and locks that outlive their transaction
  unsigned flush = 4;       // batches without a Sync yet
  unsigned cancel = 0;
  unsigned leave = 0;    // in the middle of something
  unsigned tarry = 0;    // longer than a tier's time ceilings allow
  unsigned linger = 0;   // leave behind what no cancel ends
  unsigned desert = 0;   // leave behind what only a cancel ends
  unsigned let_go = 0;   // leave a trace, take it away, and do nothing for long
  unsigned give_up = 0;  // ask for something and cancel it soon
  unsigned work = 0;     // nothing but transactions of so many milliseconds
  unsigned idle = 10;    // pauses before a step
  std::uint32_t bulk_rows = 60, bulk_bytes = 2'000;
  bool startup_settings = false;  // has some: then DISCARD ALL is not asked for
};

struct Phase {
  enum class Then : std::uint8_t {
    Await,      // all answers
    Go,         // on with the next phase, without waiting
    Pause,      // for `pause`
    Cancel,     // ask for a cancel after `pause`
    SlowRead,   // do not read for `pause`
    Reset,      // break the connection
    Close,      // close it without a goodbye
    Terminate,  // say goodbye and close, whatever is owed
  };
  std::vector<std::pair<char, std::string>> messages;
  std::string tail;  // the beginning of a message that will never be finished
  Then then = Then::Await;
  Duration pause{};
};

class Script {
 public:
  Script(World& world, Oracle& oracle, Manners manners, int client)
      : world_(world), oracle_(oracle), manners_(manners), client_(client) {}
  std::vector<Phase> next();
  // Of the last token.
  std::uint64_t serial() const { return serial_; }
  // One insert in a transaction of its own: proof that the client is served.
  std::vector<Phase> sign_of_life();

 private:
  using Messages = std::vector<std::pair<char, std::string>>;
  std::string token();
  std::string row();  // a token for insert
  std::string command();
  std::string trace_command();
  Messages query(const std::string& sql);
  static void add(Messages& to, Messages more);
  Messages unnamed(const std::string& sql, bool parameter, bool sync);
  Messages named_use(const std::string& name, const std::string& value);
  Messages sync() const { return {{'S', {}}}; }
  std::vector<Phase> transaction();
  std::vector<Phase> extended();
  std::vector<Phase> pipeline();
  std::vector<Phase> named();
  std::vector<Phase> prepared();
  std::vector<Phase> unnamed_again();
  std::vector<Phase> shapes();
  std::string prepared_command();
  std::vector<Phase> copy();
  std::vector<Phase> bulk();
  std::string set_zone();
  std::vector<Phase> settings();
  std::vector<Phase> privileges();
  std::vector<Phase> traces();
  std::vector<Phase> channels();
  std::string channel_command();
  Messages deaf_behind();
  std::vector<Phase> savepoints();
  std::vector<Phase> holds();
  std::string hold_command();
  std::vector<Phase> shown();
  Phase sometimes_extended(const std::string& sql);
  std::vector<Phase> flush();
  std::vector<Phase> cancel();
  std::vector<Phase> leave();
  std::vector<Phase> tarry();
  std::vector<Phase> linger();
  std::vector<Phase> desert();
  std::vector<Phase> let_go();
  std::vector<Phase> give_up();
  static Phase await(Messages messages) { return {std::move(messages), {}, Phase::Then::Await, {}}; }
  static Phase go(Messages messages) { return {std::move(messages), {}, Phase::Then::Go, {}}; }

  World& world_;
  Oracle& oracle_;
  Manners manners_;
  int client_;
  std::uint64_t serial_ = 0;
  unsigned shape_ = 0;  // of its table
};

}  // namespace pgweir::sim
