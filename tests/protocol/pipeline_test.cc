#include "protocol/pipeline.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "protocol/frame.h"

using pgweir::protocol::Owed;
using pgweir::protocol::Pipeline;
using Verdict = Pipeline::Reply::Verdict;
using Whose = Pipeline::Whose;
using Op = Pipeline::Op;

namespace {

constexpr Owed kKinds[] = {Owed::Query, Owed::Function, Owed::Sync,    Owed::Parse,
                           Owed::Bind,  Owed::Describe, Owed::Execute, Owed::Close};
constexpr const char* kKindNames[] = {"Query", "Function", "Sync",    "Parse",
                                      "Bind",  "Describe", "Execute", "Close"};

std::vector<char> server_types() {
  std::vector<char> types;
  for (int c = 0; c < 256; ++c)
    if (pgweir::protocol::server_message_limit(static_cast<char>(c)) > 0)
      types.push_back(static_cast<char>(c));
  return types;
}

// Requests as letters (Q F S P B D E C, R for a Q with an operation, c for CopyEnd; small: ours), answers
// behind them.
void push(Pipeline& pipeline, const std::string& requests) {
  for (const char c : requests) {
    switch (c) {
      case 'Q': pipeline.push(Owed::Query); break;
      case 'R': pipeline.push(Owed::Query, Whose::Clients, Op::Statement); break;
      case 'F': pipeline.push(Owed::Function); break;
      case 'S': pipeline.push(Owed::Sync); break;
      case 'P': pipeline.push(Owed::Parse, Whose::Clients, Op::Statement); break;
      case 'B': pipeline.push(Owed::Bind); break;
      case 'D': pipeline.push(Owed::Describe); break;
      case 'E': pipeline.push(Owed::Execute); break;
      case 'C': pipeline.push(Owed::Close); break;
      case 'c': pipeline.push(Owed::CopyEnd); break;
      case 'p': pipeline.push(Owed::Parse, Whose::Ours, Op::Statement); break;
      case 'b': pipeline.push(Owed::Bind, Whose::Ours); break;
      case 's': pipeline.push(Owed::Sync, Whose::Ours); break;
      default: FAIL("unknown request");
    }
  }
}
// f forward, w swallow, ! violation, * poisoned
std::string verdicts(Pipeline& pipeline, const std::string& types) {
  std::string out;
  for (const char type : types) {
    switch (pipeline.reply(type).verdict) {
      case Verdict::Forward: out += 'f'; break;
      case Verdict::Swallow: out += 'w'; break;
      case Verdict::Violation: out += '!'; break;
      case Verdict::Poisoned: out += '*'; break;
    }
  }
  return out;
}

}  // namespace

TEST_CASE("each kind of request may be answered by these messages and by no other") {
  // N, S and A may come at any time, E to anything. A capital letter completes the request.
  const std::string answers[] = {"TDCIGHZ", "VZ", "Z", "1", "2", "tTn", "DCIsGH", "3"};
  const std::string completing[] = {"Z", "Z", "Z", "1", "2", "Tn", "CIs", "3"};
  for (std::size_t i = 0; i < std::size(kKinds); ++i)
    for (const Whose whose : {Whose::Clients, Whose::Ours})
      for (const char type : server_types()) {
        CAPTURE(kKindNames[i], type, whose == Whose::Ours);
        Pipeline pipeline;
        REQUIRE(pipeline.push(kKinds[i], whose));
        CHECK(pipeline.front_ours() == (whose == Whose::Ours));
        const Pipeline::Reply reply = pipeline.reply(type);
        const bool any_time = std::string("NSAE").find(type) != std::string::npos;
        if (!any_time && answers[i].find(type) == std::string::npos) {
          CHECK(reply.verdict == Verdict::Violation);
          CHECK(pipeline.owed() == 1);
          continue;
        }
        CHECK(reply.verdict == (whose == Whose::Ours && type != 'A' ? Verdict::Swallow : Verdict::Forward));
        const bool completes = !any_time && completing[i].find(type) != std::string::npos;
        CHECK(reply.finished == completes);
        CHECK(reply.ready == (type == 'Z'));
        CHECK(reply.ours_failed == (type == 'E' && whose == Whose::Ours));
      }
}

TEST_CASE("with nothing owed a server may give news or its last words") {
  for (const char type : server_types()) {
    CAPTURE(type);
    Pipeline pipeline;
    const bool news = std::string("NSAE").find(type) != std::string::npos;
    CHECK(pipeline.reply(type).verdict == (news ? Verdict::Forward : Verdict::Violation));
    CHECK(pipeline.empty());
  }
}

TEST_CASE("answers come in the order of requests, and errors skip to the next Sync") {
  struct Row {
    const char* what;
    std::string requests, answers, verdicts;
    std::size_t owed;  // afterwards
    bool empty;
  };
  const Row table[] = {
      {"a simple query", "Q", "TDDCZ", "fffff", 0, true},
      {"several statements", "Q", "TDCTDCCZ", "ffffffff", 0, true},
      {"two queries", "QQ", "CZCZ", "ffff", 0, true},
      {"a batch", "PBDES", "12TDCZ", "ffffff", 0, true},
      {"a batch without Sync", "PBE", "12C", "fff", 0, false},
      {"a query ends a batch", "PBEQ", "12CCZ", "fffff", 0, true},
      {"an error in a query", "Q", "TDEZ", "ffff", 0, true},
      {"an error skips", "PBES", "EZ", "ff", 0, true},
      {"an error skips to the first Sync only", "PBESPBES", "1EZ12CZ", "fffffff", 0, true},
      {"an error without Sync", "PBE", "1E", "ff", 0, false},
      {"an error skips a query too", "PQS", "EZ", "ff", 0, true},
      {"an error at Sync", "BES", "2CEZ", "ffff", 0, true},
      {"an answer that was skipped", "PBES", "E2", "f!", 1, false},
      {"one of ours in front", "pBES", "12CZ", "wfff", 0, true},
      {"one of ours fails: the client sees it", "pBES", "EZ", "ff", 0, true},
      {"a batch of ours, then the client's", "bsQ", "2ZCZ", "wwff", 0, true},
      {"a batch of ours fails", "bsQ", "EZCZ", "wwff", 0, true},
      {"news is for whom the answer is, but for notifications", "bsQ", "NS2AZNZ", "wwwfwff", 0, true},
      {"COPY out", "Q", "HddcCZ", "ffffff", 0, true},
      {"COPY out does not end with C", "Q", "HdC", "ff!", 1, false},
      {"COPY out fails", "Q", "HdEZ", "ffff", 0, true},
      {"COPY in of a query, all at once", "QcQ", "GCZCZ", "fffff", 0, true},
      {"COPY in of a query that fails at once", "QcQ", "EZCZ", "ffff", 0, true},
      {"two COPYs in a query", "Qcc", "GCGCZ", "fffff", 0, true},
      {"COPY in of a batch, Sync ahead and behind", "PBEScS", "12GCZ", "fffff", 0, true},
      {"COPY in of a batch, many Syncs ahead", "ESSScS", "GCZ", "fff", 0, true},
      {"COPY in, Sync ahead, none behind", "ESc", "GC", "ff", 0, false},
      {"COPY in with a query behind", "QQ", "G", "*", 2, false},
      {"COPY in with a batch behind", "ESPBES", "G", "*", 6, false},
      {"Ready does not end COPY in", "Q", "GZ", "f!", 1, false},
      {"CommandComplete does not end COPY in", "Q", "GC", "f!", 1, false},
      {"a stray end of COPY", "cQc", "CZ", "ff", 0, true},
  };
  for (const Row& row : table) {
    CAPTURE(row.what);
    Pipeline pipeline;
    push(pipeline, row.requests);
    CHECK(verdicts(pipeline, row.answers) == row.verdicts);
    CHECK(pipeline.owed() == row.owed);
    CHECK(pipeline.empty() == row.empty);
  }
}

TEST_CASE("what passes is what reply() would forward, and leaves the same behind") {
  for (const std::string requests :
       {"Q", "QQ", "E", "ES", "Es", "b", "bQ", "P", "pS", "D", "DE", "C", "F", "S", "SQ", "Ec", "Qc", ""})
    for (const std::string before : {"", "G", "H", "T", "1", "C", "E"})
      for (const char type : server_types()) {
        CAPTURE(requests, before, type);
        Pipeline asked;
        push(asked, requests);
        verdicts(asked, before);
        Pipeline passed = asked;
        if (!passed.pass(type)) continue;
        const Pipeline::Reply reply = asked.reply(type);
        CHECK(reply.verdict == Verdict::Forward);
        CHECK_FALSE((reply.op || reply.ours_failed || reply.dropped_ops > 0));
        CHECK(reply.ready == (type == 'Z'));
        CHECK(passed.owed() == asked.owed());
        CHECK(passed.empty() == asked.empty());
        CHECK(passed.copy_in() == asked.copy_in());
        CHECK(passed.batch_open() == asked.batch_open());
        CHECK(verdicts(passed, "CZ") == verdicts(asked, "CZ"));
      }
}

TEST_CASE("what is sent while the server skips is not owed") {
  Pipeline pipeline;
  push(pipeline, "PB");
  CHECK(verdicts(pipeline, "E") == "f");
  for (const Owed kind : kKinds)
    if (kind != Owed::Sync) CHECK_FALSE(pipeline.push(kind));
  CHECK(pipeline.owed() == 0);
  CHECK_FALSE(pipeline.empty());
  CHECK_FALSE(pipeline.owes_ready());
  CHECK(pipeline.push(Owed::Sync));
  CHECK(pipeline.owes_ready());
  CHECK(verdicts(pipeline, "Z") == "f");
  CHECK(pipeline.empty());
}

TEST_CASE("what is owed to a client is told from what is owed to us") {
  for (const auto& [requests, owes] :
       {std::pair<std::string, bool>{"", false}, {"Q", true}, {"pbs", false}, {"bsQ", true}, {"bE", true}}) {
    CAPTURE(requests);
    Pipeline pipeline;
    push(pipeline, requests);
    CHECK(pipeline.owes_client() == owes);
  }
}

TEST_CASE("statement operations are counted when an error drops them") {
  Pipeline pipeline;
  push(pipeline,
       "PBPpES"
       "P");
  CHECK(pipeline.reply('1').op);
  const Pipeline::Reply reply = pipeline.reply('E');
  CHECK(reply.dropped_ops == 2);
  CHECK_FALSE(reply.op);  // it was the Bind that failed
  CHECK(pipeline.owed() == 2);
}

TEST_CASE("while COPY reads its data only COPY messages are owed nothing") {
  Pipeline pipeline;
  push(pipeline, "E");
  CHECK(verdicts(pipeline, "G") == "f");
  CHECK(pipeline.copy_in());
  CHECK_FALSE(pipeline.push(Owed::Sync));
  CHECK_FALSE(pipeline.push(Owed::CopyEnd));
  CHECK_FALSE(pipeline.copy_in());
  CHECK(pipeline.push(Owed::Sync));
  CHECK(verdicts(pipeline, "CZ") == "ff");
  CHECK(pipeline.empty());
  CHECK_FALSE(pipeline.unfit());
}

TEST_CASE("a COPY that fails behind early Syncs leaves a server that nobody can count on") {
  // Postgres 15: it ignores the Syncs that it read as data and answers those that it reads after the error.
  for (const std::string answers : {"GEZ", "GEZZ", "GEZZZ"}) {
    CAPTURE(answers);
    Pipeline pipeline;
    push(pipeline, "ESS");
    verdicts(pipeline, "G");
    push(pipeline, "cS");
    CHECK(verdicts(pipeline, answers.substr(1)) == std::string(answers.size() - 1, 'f'));
    CHECK(pipeline.unfit());
    CHECK(pipeline.empty());
  }
  Pipeline pipeline;
  push(pipeline, "ES");
  CHECK(verdicts(pipeline, "GEZZ") == "fff!");
}

TEST_CASE("batches are told apart by their Syncs") {
  Pipeline pipeline;
  const std::uint32_t first = pipeline.batch();
  push(pipeline, "PB");
  CHECK(pipeline.batch() == first);
  CHECK(pipeline.batch_open());
  push(pipeline, "S");
  CHECK(pipeline.batch() != first);
  CHECK_FALSE(pipeline.batch_open());
  CHECK(pipeline.owes_ready());
}

TEST_CASE("a full pipeline says so and drains in order") {
  Pipeline pipeline;
  for (std::size_t i = 0; i < Pipeline::kMaxOwed; ++i) {
    CHECK_FALSE(pipeline.full());
    pipeline.push(i % 2 ? Owed::Sync : Owed::Bind);
  }
  CHECK(pipeline.full());
  for (std::size_t i = 0; i < Pipeline::kMaxOwed; ++i)
    REQUIRE(pipeline.reply(i % 2 ? 'Z' : '2').verdict == Verdict::Forward);
  CHECK(pipeline.empty());
}

TEST_CASE("thousands of Syncs in front of COPY data cost one pass") {
  Pipeline pipeline;
  push(pipeline, "E" + std::string(Pipeline::kMaxOwed - 1, 'S'));
  CHECK(verdicts(pipeline, "G") == "f");
  CHECK(pipeline.owed() == 1);
}

TEST_CASE("a simple query's operation is told with its error, and over with its ReadyForQuery") {
  Pipeline pipeline;
  push(pipeline, "RQ");
  CHECK_FALSE(pipeline.pass('C'));
  const Pipeline::Reply failed = pipeline.reply('E');
  CHECK(failed.op);
  CHECK_FALSE(failed.finished);
  CHECK(failed.dropped_ops == 0);
  CHECK(pipeline.owed() == 2);
  CHECK_FALSE(pipeline.pass('Z'));
  const Pipeline::Reply ready = pipeline.reply('Z');
  CHECK((ready.op && ready.finished && ready.ready));
  CHECK_FALSE(pipeline.reply('E').op);
  CHECK_FALSE(pipeline.reply('Z').op);
  CHECK(pipeline.empty());
}

TEST_CASE("a simple query that a failed batch skips drops its operation") {
  Pipeline pipeline;
  push(pipeline, "BRS");
  CHECK(pipeline.reply('E').dropped_ops == 1);
  CHECK(verdicts(pipeline, "Z") == "f");
  CHECK(pipeline.empty());
}

TEST_CASE("a stream goes both ways until both sides have ended it") {
  struct Row {
    std::string steps;     // small: what the client sends; large or after '<': what the server answers
    std::string verdicts;  // of the answers
  };
  // c: the client's CopyDone. W, d as <d, CopyDone of the server as <c.
  for (const auto& [steps, wanted] : {Row{"W<d<dc<d<cCZ", "fffffff"},  // the client has ended it first
                                      Row{"W<d<ccTDCCZ", "ffffffff"},  // the server: a timeline is over
                                      Row{"W<dC", "fff"},              // it shuts down
                                      Row{"W<dEZ", "ffff"}, Row{"WZ", "f!"}, Row{"WW", "f!"}, Row{"WG", "f!"},
                                      Row{"W<c<d", "ff!"}, Row{"W<c<c", "ff!"}}) {
    CAPTURE(steps);
    Pipeline pipeline;
    pipeline.expect_streams();
    push(pipeline, "Q");
    std::string seen;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (steps[i] == 'c') {
        CHECK(pipeline.copy_both());
        CHECK_FALSE(pipeline.push(Owed::CopyEnd));
        continue;
      }
      if (steps[i] == '<') ++i;
      seen += verdicts(pipeline, std::string(1, steps[i]));
    }
    CHECK(seen == wanted);
    if (steps.back() != 'Z' || wanted.back() != 'f') continue;
    CHECK(pipeline.empty());
    CHECK_FALSE(pipeline.copy_both());
  }
}

TEST_CASE("only a walsender may begin a stream, and only by a command") {
  Pipeline ordinary;
  push(ordinary, "Q");
  CHECK(verdicts(ordinary, "W") == "!");
  Pipeline pipeline;
  pipeline.expect_streams();
  push(pipeline, "E");
  CHECK(verdicts(pipeline, "W") == "!");
  CHECK_FALSE(pipeline.copy_both());
}
