#include "pooler/login_verdict.h"

#include <catch2/catch.hpp>

#include <string>

using namespace pgweir;

TEST_CASE("a login that fails speaks of the backend, or of one database and user") {
  using Outcome = Breaker::Outcome;
  const LoginVerdict down{Outcome::Failed, Outcome::Nothing};
  const LoginVerdict theirs{Outcome::Answered, Outcome::Failed};
  const LoginVerdict full{Outcome::Answered, Outcome::Nothing};
  struct Row {
    const char* about;
    const char* code;
    Teller teller;
    Stage stage;
    LoginVerdict verdict;
  };
  const Row rows[] = {
      {"connection refused, timed out, reset", "57P03", Teller::Ourselves, Stage::Unknown, down},
      {"no proper answer", "08P01", Teller::Ourselves, Stage::Unknown, down},
      {"a challenge that is malformed", "08P01", Teller::Ourselves, Stage::Challenged, theirs},
      {"a challenge of too many iterations", "54000", Teller::Ourselves, Stage::Challenged, theirs},
      {"a challenge that is not supported", "0A000", Teller::Ourselves, Stage::Challenged, theirs},
      {"silence behind a challenge", "57P03", Teller::Ourselves, Stage::Challenged, down},
      {"shutting down behind a challenge", "57P01", Teller::Server, Stage::Challenged, down},
      {"a wrong password behind one", "28P01", Teller::Server, Stage::Challenged, theirs},
      {"does not offer TLS", "08006", Teller::Ourselves, Stage::Unknown, down},
      {"starting up", "57P03", Teller::Server, Stage::Unknown, down},
      {"shutting down", "57P01", Teller::Server, Stage::Unknown, down},
      {"crashed", "57P02", Teller::Server, Stage::Unknown, down},
      {"out of memory", "53200", Teller::Server, Stage::Unknown, down},
      {"wrong password", "28P01", Teller::Server, Stage::Unknown, theirs},
      {"pg_hba.conf rejects", "28000", Teller::Server, Stage::Unknown, theirs},
      {"we have no password that it takes", "28P01", Teller::Ourselves, Stage::Unknown, theirs},
      {"no such database", "3D000", Teller::Server, Stage::Authenticated, theirs},
      {"a database that takes nobody", "55000", Teller::Server, Stage::Authenticated, theirs},
      {"a setting that it does not take", "22023", Teller::Server, Stage::Authenticated, theirs},
      {"a database that is damaged", "XX000", Teller::Server, Stage::Authenticated, theirs},
      {"a database that is locked", "57P03", Teller::Ourselves, Stage::Authenticated, theirs},
      {"something else before that", "0A000", Teller::Server, Stage::Unknown, theirs},
      {"full", "53300", Teller::Server, Stage::Unknown, full},
      {"full for this role or database", "53300", Teller::Server, Stage::Authenticated, full},
  };
  for (const Row& row : rows) {
    INFO(row.about);
    CHECK(login_verdict({row.code, "", {}, {}}, row.teller, row.stage) == row.verdict);
  }
}
