// libpqxx 6.
#include <pqxx/pqxx>

#include "contract.h"

int main() {
  { pqxx::connection first; }
  begin(std::string(PQXX_VERSION));

  say("parameters", [] {
    pqxx::connection c;
    for (int n = 0; n < 40; ++n) {
      pqxx::work tx(c);
      auto r = tx.exec_params("select $1::text, $2::int", token, n);
      equal(r[0][0].as<std::string>(), token);
      equal(r[0][1].as<int>(), n);
      tx.commit();
    }
  });
  say("nontransaction", [] {
    pqxx::connection c;
    pqxx::nontransaction tx(c);
    for (int n = 0; n < 60; ++n) {
      auto r = tx.exec_params("select $1::text || '/' || $2::int", token, n);
      equal(r[0][0].as<std::string>(), token + "/" + std::to_string(n));
    }
  });
  say("prepared_statements", [] {
    pqxx::connection c;
    c.prepare("mine", "select $1::int + 1, '" + token + "'");
    for (int n = 0; n < 40; ++n) {
      pqxx::work tx(c);
      auto r = tx.exec_prepared("mine", n);
      equal(r[0][0].as<int>(), n + 1);
      equal(r[0][1].as<std::string>(), token);
      tx.commit();
    }
  });
  say("unprepare", [] {
    pqxx::connection c;
    for (int n = 0; n < 20; ++n) {
      c.prepare("again", "select '" + token + "/" + std::to_string(n) + "'");
      pqxx::work tx(c);
      equal(tx.exec_prepared("again")[0][0].as<std::string>(), token + "/" + std::to_string(n));
      tx.commit();
      c.unprepare("again");
    }
  });
  say("many_prepared_statements", [] {
    pqxx::connection c;
    for (int n = 0; n < 220; ++n) c.prepare("s" + std::to_string(n), "select $1::text, " + std::to_string(n));
    for (int n = 0; n < 220; ++n) {
      pqxx::nontransaction tx(c);
      auto r = tx.exec_prepared("s" + std::to_string(n), token);
      equal(r[0][0].as<std::string>(), token);
      equal(r[0][1].as<int>(), n);
    }
  });
  say("errors_and_subtransactions", [] {
    pqxx::connection c;
    {
      pqxx::work tx(c);
      tx.exec("create table t_" + token + " (n int primary key)");
      tx.commit();
    }
    for (int n = 0; n < 10; ++n) {
      pqxx::work tx(c);
      tx.exec("insert into t_" + token + " values (" + std::to_string(n) + ")");
      try {
        pqxx::subtransaction inner(tx, "inner");
        inner.exec("insert into t_" + token + " values (" + std::to_string(n) + ")");
        throw std::logic_error("no error");
      } catch (const pqxx::unique_violation& error) {
        equal(error.sqlstate(), std::string("23505"));
      }
      if (n % 3) tx.commit();
    }
    pqxx::work tx(c);
    equal(tx.exec("select count(*) from t_" + token)[0][0].as<int>(), 6);
  });
  say("robust_transaction", [] {
    pqxx::connection c;
    pqxx::nontransaction(c).exec("create table r_" + token + " (n int)");
    for (int n = 0; n < 5; ++n) {
      pqxx::transaction<pqxx::serializable> tx(c);
      tx.exec("insert into r_" + token + " values (1)");
      equal(tx.exec("show transaction_isolation")[0][0].as<std::string>(), std::string("serializable"));
      tx.commit();
    }
  });
  say("streams", [] {
    pqxx::connection c;
    pqxx::work tx(c);
    tx.exec("create table st_" + token + " (n int, who text)");
    pqxx::stream_to out(tx, "st_" + token, std::vector<std::string>{"n", "who"});
    for (int n = 0; n < 2000; ++n) out << std::make_tuple(n, token);
    out.complete();
    equal(tx.exec("select count(*) from st_" + token + " where who = '" + token + "'")[0][0].as<int>(), 2000);
    tx.commit();
  });
  say("cursor_stream", [] {
    pqxx::connection c;
    pqxx::work tx(c);
    pqxx::icursorstream cursor(tx, "select n, '" + token + "' from generate_series(1, 500) n", "cur", 70);
    pqxx::result piece;
    long sum = 0;
    while (cursor >> piece)
      for (auto row : piece) sum += row[0].as<int>();
    equal(sum, 125250L);
  });
  say("pipeline", [] {
    pqxx::connection c;
    pqxx::work tx(c);
    pqxx::pipeline pipe(tx);
    std::vector<pqxx::pipeline::query_id> ids;
    for (int n = 0; n < 30; ++n)
      ids.push_back(pipe.insert("select '" + token + "/" + std::to_string(n) + "'"));
    for (int n = 0; n < 30; ++n)
      equal(pipe.retrieve(ids[n])[0][0].as<std::string>(), token + "/" + std::to_string(n));
  });
  say("variables", [] {
    pqxx::connection c;
    c.set_variable("timezone", "'Etc/GMT+" + me + "'");
    for (int n = 0; n < 4; ++n)
      equal(pqxx::nontransaction(c).exec("show timezone")[0][0].as<std::string>(), "Etc/GMT+" + me);
  });
  say("large_objects", [] {
    pqxx::connection c;
    pqxx::work tx(c);
    pqxx::largeobjectaccess object(tx);
    object.write(token);
    object.seek(0, std::ios::beg);
    char text[20] = {};
    object.read(text, sizeof text);
    equal(std::string(text), token);
    object.remove(tx);
    tx.commit();
  });
  std::cout << "done" << std::endl;
}
