// pooler/server_core.h - what is known about one server connection after its login: what it owes, what state
// it carries, and how far into a message its output stands. Rules only: no socket, no clock.
//
//   bytes from Postgres -> read() -> slices for the client + events for the Audience
//
// A server may be lent again only while clean() holds (R5).
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pooler/audit.h"
#include "pooler/base/bytes.h"
#include "pooler/settings.h"
#include "pooler/statements.h"
#include "pooler/tenant_token.h"
#include "protocol/gather.h"
#include "protocol/pipeline.h"

namespace pgweir {

class ServerCore {
 public:
  // Whoever the server works for, and what it may want to hear. Called from inside read(), at message
  // boundaries. Views live as long as the call.
  class Audience {
   public:
    virtual ~Audience() = default;
    // A parameter's value, changed by the client's own request. Answers the value that the client is
    // told, if any.
    virtual std::optional<Bytes> on_parameter(Bytes /*name*/, Bytes value) { return value; }
    virtual void on_op_dropped(StatementOp&) {}            // newest first; those that remain are in `ops`
    virtual void on_unnamed_failed() {}                    // the client's Parse without a name
    virtual void on_deallocated(StatementOp&) {}           // of a query that has ended: some of `taken`
    virtual void on_all_deallocated() {}                   // DISCARD ALL or DEALLOCATE ALL succeeded
    virtual void on_all_discarded() {}                     // the former
    virtual void on_definitions_changed(Bytes /*tag*/) {}  // CREATE, ALTER, DROP or GRANT succeeded
    // What the client calls it; empty: nothing.
    virtual std::string name_of(const Statement&) { return {}; }
    virtual void on_stale(Statement&) {}  // its result has other columns than when it was prepared
    // The client's request was canceled. Answers the ErrorResponse that it is given in place of Postgres's
    // own; null: none.
    virtual const std::string* on_canceled() { return nullptr; }
    // apply_settings() has gone well. The server had `before`.
    virtual void on_applied(const SettingsMap& /*before*/) {}
    // A request of ours was refused. Answers whether the server is to be heard any more.
    virtual bool on_ours_failed(Bytes /*error_body*/) { return true; }
    virtual void on_audited(Findings&, protocol::Gather& /*to_client*/) {}  // the answers to audit()
    // The answer to tell(). `after_error`: the client's request in front of it has failed.
    virtual void on_told(bool /*well*/, bool /*after_error*/) {}
    // The answer to ask(): the body of each DataRow, empty where it is too long to be read (false: it is
    // malformed), and the end.
    virtual bool on_row(Bytes /*row*/) { return true; }
    virtual void on_rows_end(bool /*well*/) {}
    // Answers whether it is for the client. `body` is that of a NotificationResponse.
    virtual bool on_notification(Bytes /*body*/) { return true; }
  };

  struct Outcome {
    unsigned readies = 0;          // ReadyForQuery messages of the client's requests
    unsigned ends = 0;             // of them, those with no transaction open behind them
    bool undone = false;           // a request of the client's has failed, or a ROLLBACK was done
    unsigned statements = 0;       // of the client's that came to their end, in whichever way
    bool fatal = false;            // an unasked ErrorResponse: the server is about to close
    const char* broken = nullptr;  // the server broke the protocol: what it did
    bool poisoned = false;         // the client pipelined behind COPY
  };

  explicit ServerCore(SettingsRef empty) : applied(std::move(empty)), empty_settings_(applied) {}

  Outcome read(Bytes in, protocol::Gather& to_client, Audience& audience);

  // Sends, if need be, what gives this server the settings `wanted`, ahead of the client's own requests.
  void apply_settings(const SettingsRef& wanted, protocol::Gather& to_server);
  // Sends what gives it these values, which nobody believes it to have behind the transaction that is open.
  void give_values(const std::vector<Findings::Setting>& values, protocol::Gather& to_server);
  // Asks; ends in on_audited() or on_ours_failed().
  void audit(std::vector<Question> questions, protocol::Gather& to_server);
  // Sends a request of ours that answers no rows, perhaps behind one of the client's; ends in on_told().
  void tell(Bytes sql, protocol::Gather& to_server);
  // Ends a batch of ours that was written behind the last request of the client's.
  void end_batch(std::string& out);
  // Sends what closes statements that are there under names of the client's.
  void close_statements(const std::vector<std::string>& names, protocol::Gather& to_server);
  // Sends the token of `introduction`, if there is one, perhaps behind other requests of ours. Until it is
  // answered nothing of a client may run here.
  void introduce(protocol::Gather& to_server);
  // Sends what makes lastval() and currval() know of no client's nextval().
  void forget_sequences(protocol::Gather& to_server);
  // The same inside of a transaction, unless some sequence was used in that.
  void forget_unused_sequences(protocol::Gather& to_server);
  // Sends what leads out of a failed transaction, in front of a request of the client's, which hears of it
  // only what it means for its settings.
  void recover(Bytes sql, protocol::Gather& to_server);
  // Sends `sql`, which fails, behind that: the client's request is to find its transaction as it was.
  void fail_again(Bytes sql, protocol::Gather& to_server);
  // Sends a query of ours; ends in on_rows_end().
  void ask(Bytes sql, protocol::Gather& to_server);
  // The client has vanished, and holds no statements any more.
  void disown();
  // Sends what lets its requests come to their end.
  void wind_up(protocol::Gather& to_server);
  // Sends ROLLBACK.
  void begin_rollback(protocol::Gather& to_server);
  // Sends DISCARD ALL, which no client's timeout ends; when its answer has come in full and clean() holds,
  // nothing of the last client is left. If clean() does not hold then, it failed.
  void begin_cleaning(protocol::Gather& to_server);

  // The next answer belongs to a batch of ours, which ends with a Sync of its own. (A Parse of ours in a
  // batch of the client is answered together with that.)
  bool busy_with_ours() const { return !errands_.empty() && pipeline.front_ours(); }
  // Nothing owed, outside a transaction, between two messages.
  bool quiet() const { return settled() && tx_status == 'I'; }
  // The same inside a transaction, too.
  bool settled() const { return pipeline.empty() && !mid_message(); }
  bool clean() const { return quiet() && !dirty && !pipeline.unfit() && errands_.empty(); }
  // Part of a message has been given to the client and the rest has not come.
  bool mid_message() const { return (body_left_ | head_size_ | partial_.size()) > 0; }
  // That are still to come of a message that has begun.
  std::size_t body_left() const { return body_left_; }
  bool mid_forward() const { return body_left_ > 0 && forward_body_; }
  // The next change of statements is none: it tells the columns of one.
  bool awaits_columns() const { return !ops.empty() && ops.front().kind == StatementOp::Kind::Columns; }

  protocol::Pipeline pipeline;
  char tx_status = 'I';
  bool dirty = false;         // a request ran that may have left state behind, which DISCARD ALL takes away
  bool spoiled = false;       // the same, and DISCARD ALL would not
  bool shut_down = false;     // its last word was that Postgres ends, or that somebody ends it
  bool keeps_others = false;  // it has refused to take back what another client had set
  bool temp_used = false;     // temporary tables may have been used, ever
  ServerStatements statements;
  // Binds of named statements, by their number in the pipeline; of those answered already some may remain.
  struct Use {
    std::uint32_t bind;
    KeptStatement statement;
  };
  std::vector<Use> uses;
  // The next Bind is of this one.
  void bound(Statement& statement);
  std::deque<StatementOp> ops;  // of the pipeline's entries that have Op::Statement
  // What it was opened with, which RESET gives back; null: nothing.
  std::shared_ptr<const SettingsMap::Values> opened_with;
  // What it reported when it logged in; of a client's setting that is taken back it will say the same.
  SharedValues fresh = no_values();
  std::string refused_name;          // of the setting that an audit failed at; empty: it was no such question
  std::vector<std::string> adopted;  // names of statements that are still to be closed
  std::set<std::string> kept;        // of its client's statements, those that were found and stay here
  bool keeps_more = false;           // and others, which were too many to be looked at
  std::string database_taken;        // that its client's request wants to itself; empty: none
  SettingsRef applied;
  // For whom it is to work from now on, and what it was told of that; see pooler/tenant_token.h.
  std::unique_ptr<Introduction> introduction;
  std::unique_ptr<ParsingApart> apart;  // of its client's transaction; null: that of the client
  TenantTokens::Told introduced;
  std::uint64_t last_client = 0;  // SessionCore's number of whoever had it last; 0: none since its cleaning
  bool others_sequences = false;  // nextval may have been called by others than the last client
  std::uint32_t code_epoch = 0;   // RoutineBook::epoch() when it was lent

 private:
  // What a batch of ours is for, from its sending to its ReadyForQuery.
  struct Errand {
    enum class Kind : std::uint8_t { Settings, Audit, Names, Tell, Ask, Recover, Clean, Introduce };
    Kind kind;
    SettingsRef to = {};                   // Settings
    std::vector<Question> questions = {};  // one for each Execute of the batch, in order
    std::size_t answered = 0;
    Findings findings = {};          // Audit
    Introduction introduction = {};  // Introduce
    bool failed = false;
  };

  // What is done with one message. `whole` is the message if it is all here, else only its header.
  bool on_message(char type, Bytes whole, protocol::Gather& to_client, Audience& audience, Outcome& outcome);
  std::size_t pass_on(Bytes in, Outcome& outcome);
  bool sets_itself() const;
  void note_deallocated(Bytes tag);
  void on_whole(char type, Bytes body, const protocol::Pipeline::Reply& reply, Audience& audience);
  bool tell_parameter(Bytes body, protocol::Gather& to_client, Audience& audience);
  bool on_ours(char type, Bytes body, const protocol::Pipeline::Reply& reply, protocol::Gather& to_client,
               Audience& audience);
  bool on_ours_failed(Bytes error_body, Audience& audience);
  void end_errand(protocol::Gather& to_client, Audience& audience);
  void learn_spelling(Errand& errand, Bytes row);
  void fail_supply(Bytes error, std::size_t dropped_ops, Audience& audience);
  bool tell_supplied(Bytes error, protocol::Gather& to_client);
  bool tell_bound(Bytes error, const protocol::Pipeline::Reply& reply, protocol::Gather& to_client,
                  Audience& audience);
  const Use* use_of(const protocol::Pipeline::Reply& reply) const;
  void forget_uses();
  std::string name_of(const Statement& statement, Audience& audience) const;
  void drop_ops(std::size_t count, Audience& audience);
  void doubt_ours();
  void put_recovery(Bytes sql, protocol::Gather& to_server);
  void put_patience(std::string& out);
  void prepare_set(std::string& out);
  void put_set(std::string& out, Bytes name, std::optional<Bytes> value, Errand& errand);

  std::array<char, 5> head_{};
  std::uint8_t head_size_ = 0;
  bool forward_body_ = false;
  bool request_failed_ = false;           // the one that is being answered to the client
  bool last_failed_ = false;              // the one that was answered last
  bool set_prepared_ = false;             // kSetStatement exists on this server
  bool set_doubted_ = false;              // or it may not
  std::uint16_t questions_prepared_ = 0;  // bits by Question::Kind
  std::uint16_t questions_doubted_ = 0;   // of those
  std::size_t body_left_ = 0;
  std::size_t partial_size_ = 0;  // full size of the message in partial_
  std::string partial_;
  std::vector<Errand> errands_;  // the first one's answers come next
  SettingsRef empty_settings_;
};

}  // namespace pgweir
