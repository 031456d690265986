// pooler/session_core.h - the rules of one logged-in client: which bytes go to which server, and when it has
// one.
//
//              a request            granted
//      Idle ------------> Waiting ----------> Linked
//       ^ <-------------------'  refused        |
//       '---------------------------------------'   nothing owed, no batch open, 'I', nothing half sent
//
// A client begins in Idle, or, when its settings have never been tried on a server, in Waiting with prove();
// Closed is reached from everywhere and left for nowhere.
//
// Pure: an event and bytes in, Actions out. The driver (pooler/session.cc) obeys the Actions in the order of
// their declaration. Bytes beyond `consumed` are the driver's to keep and to give again, in front of what
// comes next.
//
// A statement of SQL's PREPARE is made by the server that it comes to, under the client's own name. The audit
// behind its transaction takes it over: from then on it is one like those of Parse, and closed there. A text
// that uses it is sent with the server's name for it, or, where a text is not that simple, it is lent: made
// under the client's name again, and taken back by the next audit.
//
// The unnamed statement is the client's own like the named ones: its text is kept and prepared again where
// the client comes to use it on another server.
//
// When a transaction has ended whose texts may have changed the session, the server is asked what they have
// left (pooler/audit.h) before it is given back: settings go with the client, and what can live on that
// server only pins the client to it, until another audit finds it gone. A pinned client is Linked between
// its transactions, too. How many clients of a tenant may be is in its PinBook: beyond that, a request that
// might pin its client is not run, and Postgres raises our error in its place. In session mode a client is
// pinned by its first request until it leaves, and nothing is audited.
//
// A client that asked for a walsender begins with demand(), is Linked to a server of its own by dedicated(),
// and stays so until one of them goes; nobody else ever has that server. It was opened with the client's
// settings. No request of ours goes there, since a walsender knows no extended protocol.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pooler/audit.h"
#include "pooler/base/error.h"
#include "pooler/ceiling_guard.h"
#include "pooler/client_channels.h"
#include "pooler/client_text.h"
#include "pooler/listener_core.h"
#include "pooler/pins.h"
#include "pooler/request_trail.h"
#include "pooler/routines.h"
#include "pooler/server_core.h"
#include "pooler/settings.h"
#include "pooler/statements.h"
#include "protocol/frame.h"
#include "protocol/gather.h"
#include "protocol/sql_cache.h"
#include "protocol/startup.h"

namespace pgweir {

// What the clients and servers of one group share.
struct GroupBooks {
  // `cache`: of the whole worker; it outlives this.
  GroupBooks(std::size_t statement_bytes, protocol::SqlCache& cache)
      : texts(cache), statements(statement_bytes) {}
  protocol::SqlCache& texts;
  StatementBook statements;
  SettingsBook settings;
  RoutineBook routines;
  std::uint64_t apart = 0;       // marks given to ParsingApart
  bool reads_sequences = false;  // some client has called lastval() or currval()
  bool temp_used = false;        // some server is stuck with its temporary buffers
  bool buffers_named = false;    // a client says temp_buffers; whoever looks takes it back
  std::uint64_t clients = 0;     // that there have been
  ListenerCore listener;
  std::size_t statements_per_server = 200;
};

// Whose sessions begin with other settings from now on, by ALTER ROLE or ALTER DATABASE: a set of them.
using NewStarts = std::uint8_t;
namespace starts {
inline constexpr NewStarts kOfUser = 1, kOfDatabase = 2, kOfAll = 4;
}

// What a core decided, but for the bytes.
struct Decisions {
  std::size_t consumed = 0;  // of the client's bytes
  bool leave_queue = false;
  bool ask_server = false;  // get in line for a server
  bool proven = false;      // prove() succeeded
  bool made_code = false;   // functions or the like were made: all groups of the database must know
  NewStarts new_starts = 0;
  bool stalled = false;       // the rest must wait for answers: try again after the next server bytes
  bool more = false;          // the rest is for another turn of the loop, which serves others before
  bool close_client = false;  // after what is to be sent
  bool reset_client = false;  // at once: it stands in the middle of a message
  enum class Server : std::uint8_t {
    Keep,
    Release,  // nothing is owed
    Abandon,  // what is owed concerns nobody any more
    Drop,
  } server = Server::Keep;
  unsigned queries = 0;       // answered in this step
  unsigned transactions = 0;  // ended in this step; of those that came in one go only the last
  unsigned ends = 0;          // of transactions in this step, each by itself
  unsigned statements = 0;    // ended in this step
  // Of named statements: the client's Parses, the Parses for the server, the client's Binds.
  unsigned client_parses = 0, server_parses = 0, binds = 0;

  bool ends_client() const { return close_client | reset_client; }
  bool has_news() const { return (proven | made_code | new_starts) != 0; }
  bool counts() const { return (queries | transactions | statements) != 0; }
  bool prepares() const { return (client_parses | server_parses | binds) != 0; }
};

struct Actions : Decisions {
  protocol::Gather to_client;
  protocol::Gather to_server;
  // Why a connection ends, for the log and the audit stream; empty for the ordinary end.
  std::string reason;
  std::string sqlstate;  // that the client is told with it, if any

  void clear() {
    static_cast<Decisions&>(*this) = {};
    to_client.clear();
    to_server.clear();
    reason.clear();
    sqlstate.clear();
  }
};

class SessionCore final : private ServerCore::Audience {
 public:
  enum class State : std::uint8_t { Idle, Waiting, Linked, Closed };
  static constexpr std::uint32_t kStatementsCounted = 100'000;  // more are counted as so many
  // Of answers without a server: a step that has given more than so many bytes of them is over.
  static constexpr std::size_t kAnsweredAtOnce = 16 << 10;
  // A step that has looked through so many bytes of texts, or has parsed for as long as that takes, is over.
  static constexpr std::size_t kWorkAtOnce = 1 << 20;

  // `statements` and `pin_book`: its tenant's. `started`: the settings that the client asked for when it
  // connected. The books outlive this.
  SessionCore(GroupBooks& books, TenantStatements& statements, PinBook& pin_book, CeilingGuard& guard,
              SettingsRef started, tiers::PoolMode mode = tiers::PoolMode::Transaction,
              protocol::Replication replication = protocol::Replication::None)
      : books_(&books),
        tenant_statements_(&statements),
        pin_book_(&pin_book),
        guard_(&guard),
        started_(std::move(started)),
        wanted_(started_),
        number_(++books.clients),
        mode_(replication == protocol::Replication::None ? mode : tiers::PoolMode::Session),
        replication_(replication) {}
  ~SessionCore() override;

  State state() const { return state_; }
  ServerCore* server() const { return server_; }
  const SettingsRef& wanted() const { return wanted_; }
  // Among the clients of its group, for ServerCore::last_client.
  std::uint64_t number() const { return number_; }
  // Why the client keeps its server between transactions; 0: it does not.
  Pins pins() const { return pins_; }
  // Linked, and between two transactions all the same.
  bool resting() const {
    return pins_ != 0 && server_->quiet() && body_left_ == 0 && !auditing_ && !telling();
  }
  protocol::Replication replication() const { return replication_; }
  bool walsender() const { return replication_ != protocol::Replication::None; }
  // A stream of the log has no end of its own: it may be cut between any two messages, and taken up again.
  bool streaming() const { return state_ == State::Linked && server_->pipeline.copy_both(); }
  // What runs is the walsender's own command, or nothing: no ceiling and no timeout is meant for it.
  bool untimed() const { return walsender() && (commanding_ || resting()); }
  // Who hears the channels that this client LISTENs to; null, as at first: they stay on its server.
  void set_hearer(ListenerCore::Hearer* hearer) { hearer_ = hearer; }
  // A notification from the shared connection may be told now, and is for this client.
  bool may_hear() const {
    return state_ == State::Idle || state_ == State::Waiting ||
           (state_ == State::Linked && (resting() || (catching_up() && at_boundary())));
  }
  bool hears(Bytes channel) const { return channels_ && channels_->heard.contains(channel); }
  void leave_channels();
  std::size_t statement_count() const { return names_ ? names_->size() : 0; }
  std::size_t statement_bytes() const { return names_ ? names_->bytes() : 0; }
  // Statements that were sent and not seen to end, at most; Postgres keeps answers back until it has 8 kB of
  // them, or ReadyForQuery.
  std::uint32_t statements_left() const { return statements_left_; }
  // The texts of what it asks for are kept from here on; null: they are not.
  void keep_trail(std::unique_ptr<RequestTrail> trail) { trail_ = std::move(trail); }
  RequestTrail* trail() const { return trail_.get(); }
  // The text of the request in front of `held`, as far as it is there; empty where none is known.
  KeptText asked(Bytes held) const;
  // Its server is being told for whom it works, or gives up what is another client's, and runs nothing of the
  // client's yet.
  bool introducing() const { return introducing_; }
  // ... must be told again, since a text in the open transaction may have taken that away.
  bool must_introduce() const {
    return state_ == State::Linked && wait_behind_ && server_->tx_status == 'T' && server_->settled() &&
           server_->introduced.tenant.empty();
  }
  // Nothing of a message to the client is half sent.
  bool at_boundary() const { return !server_ || !server_->mid_forward(); }

  // Events. `out` must be clear.
  void prove(Actions& out);   // Idle -> Waiting: only the settings are tried
  void demand(Actions& out);  // Idle -> Waiting: for a walsender of its own
  void dedicated(ServerCore& server);
  void client_bytes(Bytes in, Actions& out);
  void client_gone(Actions& out);
  void granted(ServerCore& server, Bytes held, Actions& out);
  void refused(const Error& error, Bytes held,
               Actions& out);  // the request in front of `held` will get no server
  void server_bytes(Bytes in, Actions& out);
  void server_gone(const std::string& why, Actions& out);
  void listener_changed(Actions& out);
  // What the client has set lies within its ceilings from the next transaction on.
  void ceilings_changed();
  // The request that runs is about to be canceled: if it ends by that, this is why.
  void canceling(const Error& why);
  void fail(const Error& error, Actions& out);  // a limit was hit: FATAL, at a boundary or a reset

 private:
  enum class Step : std::uint8_t { Next, NeedMore, Stop };
  // Whether the statement behind a name is on the server by the time it is used.
  enum class Name : std::uint8_t {
    Ready,
    Refused,  // there is none; the error is on its way
    Later,    // an earlier batch decides: wait for its answers
  };
  void idle(Bytes in, Actions& out);
  Step idle_message(const protocol::Frame& frame, Bytes rest, Actions& out);
  void relay(Bytes in, Actions& out);
  bool refuse_canceled(const protocol::Frame& frame, Bytes rest, Actions& out);
  Step relay_message(const protocol::Frame& frame, Bytes rest, Actions& out);
  Step relay_function(const protocol::Frame& frame, Bytes rest, Actions& out);
  Step relay_sync(const protocol::Frame& frame, Bytes rest, Actions& out);
  Step relay_other(const protocol::Frame& frame, Bytes rest, Actions& out);
  Step relay_query(const protocol::Frame& frame, Bytes rest, Actions& out);
  struct Draft;
  Step draft_unread(const protocol::Frame& frame, Draft& draft, Actions& out);
  bool is_ordinary(Bytes text);
  void query_sent(Bytes text, bool all_here, std::size_t statements);
  Step draft_query(Bytes text, Draft& draft, Actions& out);
  bool has_own_sequences(Draft& draft, Actions& out);
  bool recover(Bytes sql, Draft& draft, Actions& out);
  bool push_query(Bytes sql, Draft& draft, Actions& out);
  bool push_execute(const protocol::Frame& frame, Bytes rest, Actions& out);
  Step relay_unnamed_parse(const protocol::Frame& frame, Bytes rest, Actions& out);
  bool unnamed_sure() const;
  bool replace_unnamed(protocol::Owed kind);
  struct Unnamed {
    std::string& content;
    bool& here;
    bool& misread;
  };
  Unnamed unnamed_answered();
  bool unnamed_pending_elsewhere() const;
  bool may_have_unnamed() const;
  void lose_unnamed();
  void drop_unnamed();
  void shrink_unnamed();
  void make_deallocated(Bytes text, std::vector<StatementOp::Taken>& taken, Actions& out);
  void give_back(StatementOp::Taken& taken);
  void note_portal(Bytes portal, Bytes sql);
  Step relay_parse(const protocol::Frame& frame, Bytes rest, Actions& out);
  // Why the tier allows the client no other statement, of this size; nothing: it does.
  struct StatementBeyond {
    tiers::Limit limit;
    Error error;
  };
  std::optional<StatementBeyond> refuse_statement_beyond(std::size_t bytes) const;
  Step relay_bind(const protocol::Frame& frame, Bytes rest, Actions& out);
  Step relay_describe_or_close(const protocol::Frame& frame, Bytes rest, Actions& out);
  // Null: the text may be run as it is. Where it is refused nothing was noted.
  [[nodiscard]] std::unique_ptr<Ruling> note_text(const ClientText& text);
  // What the text does, and with `Also::Values` what values it gives to settings.
  enum class Also : std::uint8_t { Nothing, Values };
  const protocol::SqlEffects& effects_of(const ClientText& text, Also also) const;
  void note_effects(const protocol::SqlEffects& effects, const ClientText& text);
  [[nodiscard]] Pins note_routines(const protocol::SqlEffects& effects, const ClientText& text);
  std::optional<protocol::SqlChanges> changes_by_names(const ClientText& text, RoutineBook::Strings strings,
                                                       RoutineBook::Told told = RoutineBook::Told::All) const;
  bool may_run_routines(Statement& statement) const;
  bool reads_sequence(const ClientText& text) const;
  Name look_for_sequences(protocol::SqlWords words, const ClientText& text, Actions& out);
  Name look_for_sequences(const StatementRef* held, Bytes unnamed, Actions& out);
  Name own_sequences(Actions& out);
  void forget_sequences(Actions& out);
  void introduce(Actions& out);
  bool may_keep_others(const ServerCore& server) const;
  void try_another(Actions& out);
  [[nodiscard]] std::unique_ptr<Ruling> note_unnamed();
  [[nodiscard]] std::unique_ptr<Ruling> note_unread(std::size_t size);
  [[nodiscard]] std::unique_ptr<Ruling> note_misread(const ClientText& text);
  // Of a walsender: pooler/session_replication.cc.
  static bool commands(Bytes text);
  [[nodiscard]] std::unique_ptr<Ruling> refuse_unwatched(std::unique_ptr<Ruling> ruling) const;
  void walsender_gone(Actions& out);
  void suspect_held();
  void look_behind();
  bool enough_to_begin(const protocol::Frame& frame, Bytes rest) const;
  // What is harmless for others may take it away.
  bool holds_something() const { return (pins_ & pin::kProvable) || channels_; }
  Pins find_room(const protocol::SqlEffects& effects);
  void set_pins(Pins pins);
  void claim();
  void refuse_request(const protocol::Frame& frame, Bytes rest, const Error& error, Actions& out);
  void end_batch();
  // What the virtual session can do by itself, without a server: DISCARD ALL, DEALLOCATE and their like.
  bool needs_no_server(Bytes text) const;
  bool answer_here(Bytes text, Actions& out);
  const protocol::SqlStatement* lone_deallocate(Bytes sql) const;
  bool deallocates_ours(Bytes text) const;
  bool deallocates_ours_among(const ClientText& text) const;
  void say_done(Bytes tag, const SettingsMap& before, Actions& out);
  bool in_other_role() const;
  bool begin_audit(Actions& out);
  void end_over_budget(Actions& out);
  void keep_to_held();
  void forget_starts(Findings& findings) const;
  void keep_above(Findings& findings);
  void hold_starts(Findings& findings) const;
  bool outgrown(Bytes name) const;
  std::optional<Outgrown> outgrown() const;
  bool in_use(Bytes name) const;
  bool stuck(const Findings::Setting& found) const;
  void lower_settings();
  void forget_outgrown();
  bool suspects_held() const { return suspicion_ && suspicion_->held; }
  void note_resumed(const ClientText& text);
  Step relay_execute(const protocol::Frame& frame, Bytes rest, Actions& out);
  bool begin_recovery(Actions& out);
  bool set_back(Bytes name) const;
  bool loses_start() const;
  void note_token(const protocol::SqlChanges& changes);
  bool has_temp_buffers() const;
  void put_news(const SettingsMap& before, std::string& bytes) const;
  // Channels: pooler/session_channels.cc.
  void note_unlistens(const protocol::SqlEffects& effects);
  void mark_unlistens(Actions& out);
  Pins found_channels(const Findings& findings);
  void tell(Bytes sql, Actions& out);
  bool begin_channels(Actions& out);
  bool telling() const { return channels_ && channels_->doing != ClientChannels::Doing::None; }
  bool may_share() const;
  bool can_share() const { return may_share() && !books_->listener.failing(); }
  void part_channels();
  // Statements by SQL: pooler/session_prepared.cc.
  // What a text needs of them.
  struct Needs {
    std::vector<std::string> names;
    std::vector<std::string> occupied = {};  // it only prepares under them, which must fail
    bool unlent = false;                     // it may need any of them, and they are too many
    bool lends() const { return unlent || !names.empty(); }
    bool any() const { return lends() || !occupied.empty(); }
  };
  Needs names_used(const ClientText& text) const;
  Needs all_names() const;
  void add_others(Bytes sql, Needs& needs) const;
  StatementOp unlent() const;
  bool can_adopt(const protocol::SqlEffects& effects) const;
  void adopt(Findings& findings);
  bool give_up_adopted(Actions& out);
  void note_executed(const ClientText& text, std::unique_ptr<Ruling>& ruling);
  StatementOp supply(const std::vector<std::string>& names, Bytes sql, std::string& text, Actions& out);
  Name lend(const ClientText& text, bool& lent, Actions& out);
  void lend_all(const std::vector<std::string>& names, StatementOp::Kind kind, std::string& bytes);
  StatementRef lent_as(const Findings::Statement& found) const;
  void occupy(const std::vector<std::string>& names, bool in_batch, Actions& out);
  bool occupied() const { return suspicion_ && suspicion_->occupied; }
  void note_lent(Statement& statement);
  void try_name(Bytes name, Bytes content, Actions& out);
  bool must_catch_up(const protocol::Frame& frame, Bytes rest, Actions& out);
  bool must_hear_first(const protocol::Frame& frame, Bytes rest, Actions& out);
  bool catching_up() const { return channels_ && channels_->tide != 0; }
  bool may_unlisten(const protocol::Frame& frame, Bytes rest) const;
  Suspicion& suspicion();
  void expect_statements(std::size_t more);
  Step stall(Actions& out);
  void expect_body(std::size_t bytes, bool skipped);
  void forward(const protocol::Frame& frame, Bytes rest, Actions& out);
  void skip(const protocol::Frame& frame, Bytes rest, Actions& out);
  bool push_op(protocol::Owed kind, protocol::Pipeline::Whose whose, StatementOp op);
  bool push_refusal(protocol::Owed kind, const Error& error);
  void refuse_statement(const Error& error, Actions& out);
  bool put_gone(Bytes name, Bytes content, std::string& bytes);
  // `server_name`: what the server calls the statement that the client calls `name`. Lives until the next
  // change of names.
  enum class For : std::uint8_t {
    Running,
    RunningTold,  // and the client is told its columns in the same batch
    Describing,
  };
  // `held`: what the client has by that name, or null; it may be another one then.
  Name find_statement(Bytes name, For use, const StatementRef*& held, Bytes& server_name, Actions& out);
  Name renew(Bytes name, For use, Actions& out);
  bool may_have_changed(const Statement& statement);
  bool asks_columns(const Statement& statement) const;
  void refuse_stale(Actions& out);
  // The client's statement has gone stale. It was told what columns come, and may only be given others where
  // it is told anew.
  bool replace_stale(Bytes name, For use);
  StatementRef lowered_statement(Bytes name, const Ruling& ruling);
  // What the tenant's budget has room for; empty, or false: it has none.
  StatementRef intern(Bytes content, Bytes parsing) {
    return books_->statements.intern(*tenant_statements_, content, parsing);
  }
  bool has_room(std::size_t bytes) const {
    return tenant_statements_->has_room(bytes, books_->statements.bytes_max());
  }
  Error no_room() const;
  ClientStatements& names();  // made where the client had none
  Name put_lowered(Bytes name, const Ruling& ruling, Bytes& server_name, Actions& out);
  void inject(const StatementRef& statement, Actions& out);
  Bytes parsing();
  Bytes encoding() const;
  ParsingApart& apart();
  void note_parsing(const protocol::SqlEffects& effects);
  void note_parsing_end(const ClientText& text);
  void lose_parsing();
  void lose_literals();
  // Postgres reads the text as we do.
  bool can_read(const ClientText& text) const;
  bool decides_reading(const protocol::SqlEffects& effects) const;
  void doubt_reading();
  bool may_read_as_then() const;
  std::string parsing_here(const Statement& statement);
  void note_prepared(const protocol::SqlEffects& effects, Bytes under);
  void forget_prepared();
  std::optional<std::string> parsed_under(const Findings::Statement& found, Bytes sql);
  StatementRef learnable(Bytes name);  // null: there is no room
  std::vector<Reading> readings_of(const Statement& statement);
  bool put_parse_of(const Statement& statement, Bytes name, StatementOp op, std::string& bytes);
  void put_readings(const std::vector<Reading>& readings, bool then, std::string& bytes);
  // What names mean is as the client's settings say: no text of an open transaction may have changed that.
  bool names_settled() const {
    return server_->tx_status == 'I' && statements_left_ == 0 && !suspicion_ && pins_ == 0;
  }
  std::unique_ptr<std::string> notices_of(const Ruling& ruling);
  void make_room_on_server(Actions& out);
  void evict(StatementId id, Actions& out);
  Name find_unnamed(For use, Actions& out);
  bool coming(const Statement& statement) const;
  bool takes_names() const;
  bool names_unsure() const;
  bool may_give_back_names(Bytes sql) const;
  bool pending_elsewhere(Bytes name, StatementId id) const;
  void violation(const char* what, Actions& out);
  void end(const Error& error, Actions& out);
  void after_step(Actions& out);
  // The step is over only if nothing was sent, or all is answered.
  void after_relay(Actions& out) {
    if (state_ == State::Linked && (auditing_ || server_->quiet())) after_step(out);
  }
  Actions::Server left_behind(Actions& out) const;
  void unlink(Actions::Server how, Actions& out);

  std::optional<Bytes> on_parameter(Bytes name, Bytes value) override;
  void on_op_dropped(StatementOp& op) override;
  void on_unnamed_failed() override;
  void on_deallocated(StatementOp& op) override;
  void on_all_deallocated() override;
  void on_all_discarded() override;
  void on_definitions_changed(Bytes tag) override;
  void note_new_starts(Bytes what);
  std::string name_of(const Statement& statement) override {
    return names_ ? names_->name_of(statement) : std::string();
  }
  void on_stale(Statement& statement) override { books_->statements.retire(statement); }
  const std::string* on_canceled() override { return canceled_as_.get(); }
  bool on_ours_failed(Bytes error_body) override;
  void on_applied(const SettingsMap& before) override;
  void on_audited(Findings& findings, protocol::Gather& to_client) override;
  void on_told(bool well, bool after_error) override;
  bool on_notification(Bytes body) override;

  GroupBooks* books_;
  TenantStatements* tenant_statements_;
  PinBook* pin_book_;
  CeilingGuard* guard_;
  ServerCore* server_ = nullptr;
  SettingsRef started_;
  SettingsRef wanted_;
  std::unique_ptr<Suspicion> suspicion_;  // null: nothing is suspected
  std::unique_ptr<RequestTrail> trail_;
  std::unique_ptr<ClientStatements> names_;
  ListenerCore::Hearer* hearer_ = nullptr;
  std::unique_ptr<ClientChannels> channels_;  // null: it listens to none
  std::string unnamed_;                       // content of the unnamed statement; empty: there is none
  // Portals of the open transaction that run a DEALLOCATE, and of what; null: there are none.
  std::unique_ptr<std::map<std::string, std::string, std::less<>>> deallocating_portals_;
  std::unique_ptr<std::string> lowered_;  // NoticeResponses for the Bind that comes next; null: none
  std::unique_ptr<std::set<std::string>> noticed_;  // what it was told of its ceilings; null: nothing yet
  std::unique_ptr<std::string> ours_failed_;  // body of the ErrorResponse that answered a request of ours
  std::unique_ptr<std::string> canceled_as_;  // ErrorResponse, see canceling(); null: nobody cancels
  std::uint64_t number_;
  std::uint32_t body_left_ = 0;  // of the client's message that is being passed on or skipped
  std::uint32_t statements_left_ = 0;
  State state_ = State::Idle;
  tiers::PoolMode mode_;
  const protocol::Replication replication_;
  Pins pins_ = 0;          // set_pins() changes them
  Pins over_budget_ = 0;   // it has come to need these, for which there is no room
  bool outsized_ = false;  // and that since it has more settings than are carried
  bool claimed_ = false;   // a place in pin_book_, for what the open transaction will leave
  bool auditing_ = false;
  bool audit_canceled_ = false;      // it met a cancel that was meant for the client's request
  bool worked_ = false;              // requests were sent since the last end of a transaction
  bool unnamed_noteworthy_ = false;  // the unnamed statement is more than a plain query
  bool unnamed_here_ = false;        // the unnamed statement of this server is the client's
  bool unnamed_bound_ = false;       // it has been used
  bool unnamed_given_up_ = false;    // the unnamed statement was too long to be kept
  bool unnamed_misread_ = false;     // the unnamed statement may mean another to Postgres than to us
  bool redefined_ = false;           // definitions were changed in the open transaction
  bool made_code_ = false;           // ... so that texts may do what nobody knows of
  NewStarts new_starts_ = 0;         // of the open transaction
  // Bits, because each byte counts that an idle client costs.
  bool skip_body_ : 1 = false;
  bool skip_to_sync_ : 1 = false;  // an error of ours stands in an extended batch
  bool commanding_ : 1 = false;    // the request that runs is a walsender's command and no SQL
  bool introducing_ : 1 = false;   // see introducing(); nothing else runs before
  bool proving_ : 1 = false;
  bool portal_used_ : 1 = false;    // the unnamed portal runs the statement of server_->uses.back()
  bool unlent_ : 1 = false;         // a text of the open batch may miss statements of the client's
  bool dirty_batch_ : 1 = false;    // a text of the open batch may have dropped statements of the server
  bool names_unsure_ : 1 = false;   // the same, of a batch that is not yet answered
  bool deallocating_ : 1 = false;   // the request that runs decides which names remain: the next ones wait
  bool drops_names_ : 1 = false;    // a text of the open batch drops statements of the client's
  bool recovered_ : 1 = false;      // in front of this query, its failed transaction was left
  bool asks_sequence_ : 1 = false;  // the text that was looked at last calls lastval() or currval()
  bool sequences_checked_ : 1 = false;  // what these say is the client's own, in the open transaction
  bool misread_ : 1 = false;            // the server reads texts otherwise than we do
  bool rereads_ : 1 = false;            // the text that was noted last may change how literals are read
  bool reading_unsure_ : 1 = false;     // what is not answered yet decides how it reads them
  bool was_odd_ : 1 = false;            // ... and did before the open transaction changed that
  // What was sent last may take away what the client connected with, or leave more than its ceilings allow.
  bool wait_behind_ : 1 = false;
  bool outgrown_ : 1 = false;    // the server was opened with other ceilings than there are now
  bool look_first_ : 1 = false;  // ... and has not been looked at since
  bool bound_ : 1 = false;       // the open batch has a Bind
  // On a server that was outgrown, nothing may run behind RESET ALL in the same batch.
  bool resets_all_ : 1 = false;      // the text that was looked at last
  bool reset_bound_ : 1 = false;     // the unnamed portal runs such a text
  bool reset_ran_ : 1 = false;       // ... and has, in the open batch
  bool block_canceled_ : 1 = false;  // a question of ours met the client's cancel, and failed its transaction
};

}  // namespace pgweir
