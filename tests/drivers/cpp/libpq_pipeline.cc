// libpq itself: pipeline mode with Flush, errors in the middle, COPY, single rows, chunks of many kinds.
#include <libpq-fe.h>
#include <unistd.h>

#include "contract.h"

struct Connection {
  PGconn* c = PQconnectdb("");
  Connection() {
    if (PQstatus(c) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(c));
  }
  ~Connection() { PQfinish(c); }
  operator PGconn*() const { return c; }
};

static std::string text(PGresult* r) {
  std::string found = PQntuples(r)                           ? PQgetvalue(r, 0, 0)
                      : PQresultStatus(r) == PGRES_TUPLES_OK ? "no row"
                                                             : PQresStatus(PQresultStatus(r));
  if (const char* state = PQresultErrorField(r, PG_DIAG_SQLSTATE)) found = state;
  PQclear(r);
  return found;
}

static std::string next(PGconn* c) {
  PGresult* r = PQgetResult(c);
  return r ? text(r) : "nothing";
}

static void ask(PGconn* c, const std::string& sql, const std::string& parameter) {
  const char* values[] = {parameter.c_str()};
  if (!PQsendQueryParams(c, sql.c_str(), 1, nullptr, values, nullptr, nullptr, 0))
    throw std::runtime_error(PQerrorMessage(c));
}

int main() {
  { Connection first; }
  begin(std::to_string(PQlibVersion()));

  say("pipeline_of_syncs", [] {
    Connection c;
    PQenterPipelineMode(c);
    for (int turn = 0; turn < 10; ++turn) {
      for (int n = 0; n < 20; ++n) {
        ask(c, "select $1::text || '/" + std::to_string(n) + "'", token);
        PQpipelineSync(c);
      }
      for (int n = 0; n < 20; ++n) {
        equal(next(c), token + "/" + std::to_string(n));
        equal(next(c), std::string("nothing"));
        equal(next(c), std::string("PGRES_PIPELINE_SYNC"));
      }
    }
  });
  say("pipeline_with_flush_and_no_sync", [] {
    Connection c;
    PQenterPipelineMode(c);
    for (int n = 0; n < 20; ++n) {
      ask(c, "select $1::text || '/" + std::to_string(n) + "'", token);
      PQsendFlushRequest(c);
      PQflush(c);
      equal(next(c), token + "/" + std::to_string(n));
      equal(next(c), std::string("nothing"));
    }
    PQpipelineSync(c);
    equal(next(c), std::string("PGRES_PIPELINE_SYNC"));
  });
  say("pipeline_errors", [] {
    Connection c;
    PQenterPipelineMode(c);
    for (int turn = 0; turn < 5; ++turn) {
      ask(c, "select $1::text", token);
      ask(c, "select 1 / $1::int", "0");
      ask(c, "select $1::text", "skipped");
      PQpipelineSync(c);
      ask(c, "select $1::text", token);
      PQpipelineSync(c);
      for (const char* wanted :
           {token.c_str(), "nothing", "22012", "nothing", "PGRES_PIPELINE_ABORTED", "nothing",
            "PGRES_PIPELINE_SYNC", token.c_str(), "nothing", "PGRES_PIPELINE_SYNC"})
        equal(next(c), std::string(wanted));
    }
  });
  say("prepare_in_a_pipeline", [] {
    Connection c;
    PQenterPipelineMode(c);
    for (int turn = 0; turn < 10; ++turn) {
      std::string name = "s" + std::to_string(turn),
                  sql = "select $1::text || '/" + std::to_string(turn) + "'";
      const char* values[] = {token.c_str()};
      PQsendPrepare(c, name.c_str(), sql.c_str(), 0, nullptr);
      for (int n = 0; n < 3; ++n) PQsendQueryPrepared(c, name.c_str(), 1, values, nullptr, nullptr, 0);
      PQsendDescribePrepared(c, name.c_str());
      PQpipelineSync(c);
      equal(next(c), std::string("PGRES_COMMAND_OK"));
      equal(next(c), std::string("nothing"));
      for (int n = 0; n < 3; ++n) {
        equal(next(c), token + "/" + std::to_string(turn));
        equal(next(c), std::string("nothing"));
      }
      equal(next(c), std::string("PGRES_COMMAND_OK"));
      equal(next(c), std::string("nothing"));
      equal(next(c), std::string("PGRES_PIPELINE_SYNC"));
    }
  });
  say("transactions_in_a_pipeline", [] {
    Connection c;
    PQclear(PQexec(c, ("create table p_" + token + " (n int primary key)").c_str()));
    PQenterPipelineMode(c);
    for (int turn = 0; turn < 10; ++turn) {
      PQsendQueryParams(c, "begin", 0, nullptr, nullptr, nullptr, nullptr, 0);
      ask(c, "insert into p_" + token + " values ($1::int)", std::to_string(turn));
      PQpipelineSync(c);
      PQsendQueryParams(c, turn % 2 ? "commit" : "rollback", 0, nullptr, nullptr, nullptr, nullptr, 0);
      PQpipelineSync(c);
      for (const char* wanted : {"PGRES_COMMAND_OK", "nothing", "PGRES_COMMAND_OK", "nothing",
                                 "PGRES_PIPELINE_SYNC", "PGRES_COMMAND_OK", "nothing", "PGRES_PIPELINE_SYNC"})
        equal(next(c), std::string(wanted));
    }
    PQexitPipelineMode(c);
    equal(text(PQexec(c, ("select count(*) from p_" + token).c_str())), std::string("5"));
  });
  say("a_big_pipeline", [] {
    Connection c;
    PQenterPipelineMode(c);
    PQsetnonblocking(c, 0);
    std::string big(20000, 'x');
    for (int n = 0; n < 50; ++n) ask(c, "select '" + token + "' || length($1)", big);
    PQpipelineSync(c);
    for (int n = 0; n < 50; ++n) {
      equal(next(c), token + "20000");
      equal(next(c), std::string("nothing"));
    }
    equal(next(c), std::string("PGRES_PIPELINE_SYNC"));
  });
  say("unnamed_statement_over_round_trips", [] {
    Connection c;
    for (int n = 0; n < 40; ++n) {
      std::string sql = "select $1::text || '/" + std::to_string(n) + "'";
      const char* values[] = {token.c_str()};
      equal(text(PQprepare(c, "", sql.c_str(), 0, nullptr)), std::string("PGRES_COMMAND_OK"));
      equal(text(PQdescribePrepared(c, "")), std::string("PGRES_COMMAND_OK"));
      for (int k = 0; k < 2; ++k)
        equal(text(PQexecPrepared(c, "", 1, values, nullptr, nullptr, 0)), token + "/" + std::to_string(n));
    }
  });
  say("function_call", [] {
    Connection c;
    for (int n = 0; n < 10; ++n) {
      int answer = 0, length = 0;
      PQArgBlock arguments[2] = {{4, 1, {}}, {4, 1, {}}};
      arguments[0].u.integer = n;
      arguments[1].u.integer = atoi(me.c_str());
      PGresult* r = PQfn(c, 177 /* int4pl */, &answer, &length, 1, arguments, 2);
      PQclear(r);
      equal(answer, n + atoi(me.c_str()));
    }
  });
  say("single_row_mode", [] {
    Connection c;
    PQsendQuery(c, ("select '" + token + "' from generate_series(1, 300)").c_str());
    PQsetSingleRowMode(c);
    for (int n = 0; n < 300; ++n) equal(next(c), token);
    equal(next(c), std::string("no row"));
    equal(next(c), std::string("nothing"));
  });
  say("cancel", [] {
    Connection c;
    char error[256];
    for (int n = 0; n < 2; ++n) {
      PQsendQuery(c, "select pg_sleep(20)");
      usleep(300000);
      PGcancel* cancel = PQgetCancel(c);
      PQcancel(cancel, error, sizeof error);
      PQfreeCancel(cancel);
      equal(next(c), std::string("57014"));
      equal(next(c), std::string("nothing"));
      equal(text(PQexec(c, ("select '" + token + "'").c_str())), token);
    }
  });
  say("ping", [] { equal(int(PQping("")), int(PQPING_OK)); });
  std::cout << "done" << std::endl;
}
