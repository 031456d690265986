// pooler/postgres_store.h - rows from a platform's Postgres: what is asked for while one question is under
// way goes into the next one together.
//
// Rows that are asked for go first, since clients wait for them; then orders; then usage, many rows by one
// statement, which is not put off by the others for longer than the timeout. Where one row of usage is
// refused, ever fewer are written together until it is known which; where they took too long, fewer from then
// on.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "pooler/base/batch_size.h"
#include "pooler/postgres_connection.h"
#include "pooler/tier_store.h"

namespace pgweir {

class PostgresStore final : public TierStore, private PostgresConnection::User {
 public:
  static constexpr std::size_t kAtOnceMax = 64;       // rows of one question
  static constexpr std::size_t kUsageTogether = 500;  // rows of one statement

  PostgresStore(net::UvLoop& loop, Rng& rng, Log& log, PostgresSettings settings, Listener& listener);

  void start() override { connection_.start(); }
  void fetch(Of of, const std::string& name) override;
  void set(const std::string& tenant, const tiers::Change& change, const tiers::Fields& whole,
           Done done) override;
  void put_usage(const std::string& key, const tiers::Fields& fields, Done done) override;
  std::size_t usage_at_once() const override { return 2 * kUsageTogether; }  // the next are at hand
  void try_usage(Done done) override;
  void flush() override;

 private:
  struct Fetch {
    Of of;
    std::string name;
    Time deadline;
    bool alone = false;  // it failed together with others
  };
  struct Order {
    tiers::PostgresQuery query;
    Time deadline;
    bool must_find = false;  // a row
    Done done;
  };
  struct Usage {
    tiers::PostgresUsage row;
    Time since;
    Done done;
  };

  void on_postgres_up() override;
  void on_postgres_answer(PostgresAnswer answer) override;
  void on_postgres_free() override { flush(); }
  void on_postgres_changed(const std::string& what) override { listener_.on_changed(what); }
  void on_postgres_down() override;

  void ask_for_rows();
  void fetched(std::vector<Fetch> asked, PostgresAnswer answer);
  void order(tiers::PostgresQuery query, bool must_find, Done done);
  bool usage_is_late() const;
  void write_usage();
  void usage_written(std::vector<Usage> rows, const PostgresAnswer& answer);
  void complain(const char* event, bool& complained, const PostgresAnswer& answer);
  void expire();
  void arm();

  net::UvLoop& loop_;
  Log& log_;
  const PostgresSettings settings_;
  Listener& listener_;
  PostgresConnection connection_;
  std::deque<Fetch> waiting_;
  std::deque<Order> orders_;
  std::deque<Usage> usage_;
  // Under way is one of:
  std::vector<Fetch> asked_;
  std::optional<Order> ordered_;
  std::vector<Usage> writing_;
  BatchSize usage_together_{kUsageTogether};
  bool answering_ = false;      // what an answer makes others ask for goes together
  bool usage_went_ = false;     // as the last thing
  bool refused_ = false;        // has been logged since the last good answer
  bool order_refused_ = false;  // the same of orders
  net::Timer timer_;            // for what waits
};

}  // namespace pgweir
