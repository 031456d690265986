// pooler/worker.h - one thread of the pooler: the groups, tenants and sessions that have their home here, and
// the logins that were accepted here.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "pooler/base/log.h"
#include "pooler/base/name_book.h"
#include "pooler/base/rng.h"
#include "pooler/derivations.h"
#include "pooler/groups.h"
#include "pooler/host_seek.h"
#include "pooler/login_refusal.h"
#include "pooler/mover.h"
#include "pooler/net/loop.h"
#include "pooler/session.h"
#include "pooler/shared.h"
#include "pooler/side_connection.h"
#include "pooler/slow_transaction.h"
#include "pooler/snapshot.h"
#include "pooler/tenants.h"

namespace pgweir {

class ClientLogin;
class ConsoleSession;
class CancelConnection;

class Worker final : public net::Acceptor {
 public:
  Worker(std::uint32_t index, net::Loop& loop, Rng& rng, Shared& shared,
         std::shared_ptr<const Snapshot> snapshot);
  ~Worker() override;

  void listen(int fd);
  void stop_listening();
  // A reload, which holds for the clients and servers that there are, too.
  void take_snapshot(std::shared_ptr<const Snapshot> snapshot);
  // Ends sessions as they come between two transactions, or all of them at once; then it answers how many
  // were in one.
  void drain(const Error& why);
  std::size_t close_all(const Error& why);
  // Accepts nobody any more, and drains when the last client has gone by itself.
  void let_clients_leave(const Error& why);
  // No client, console or login is left, and no server.
  bool empty() const;
  bool draining() const { return draining_.has_value(); }
  // For a moment after it began to drain: logins go on, and who has not had a transaction may have one.
  bool admits_latecomers() const { return latecomers_until_ > Time{}; }
  const std::optional<Error>& drain_reason() const { return draining_; }
  // Why no new client is let in; null: they are.
  const Error* closed_to_new() const;

  net::Loop& loop() { return loop_; }
  Rng& rng() { return rng_; }
  NameBook& names() { return names_; }
  // What a cancel request for that session must say; `bytes` of it, 32 at most.
  std::string cancel_key(std::uint32_t session, Time since, std::size_t bytes) const;
  Log& log() { return shared_.log; }
  AuditStream* audit() { return shared_.audit; }  // null: nobody wants to know
  Shared& shared() { return shared_; }
  const Snapshot& snapshot() const { return *snapshot_; }
  std::shared_ptr<const Snapshot> snapshot_ref() const { return snapshot_; }
  const conf::Config& config() const { return snapshot_->config(); }
  // The tiers of the configuration, as a tenant store changes them and with those that it has told of.
  const tiers::Directory& known_tiers() const {
    return stored_tiers_ ? *stored_tiers_ : snapshot_->directory;
  }
  std::shared_ptr<const tiers::Directory> known_tiers_ref() const {
    return stored_tiers_ ? stored_tiers_
                         : std::shared_ptr<const tiers::Directory>(snapshot_, &snapshot_->directory);
  }
  void take_tiers(std::shared_ptr<const tiers::Directory> tiers) { stored_tiers_ = std::move(tiers); }
  std::uint32_t index() const { return index_; }
  Actions& actions() { return actions_; }
  protocol::SqlCache& texts() { return texts_; }

  // The worker whose groups serve this database.
  Worker& home_of(const tiers::Tenant& tenant) const;
  // No other worker has clients of it.
  bool may_be_home(const std::string& tenant) const;
  // It may be at home elsewhere from now on, if no client and no server of it is here.
  void leave_home(const std::string& tenant);
  // Connections to it that no client needs are closed, on all workers.
  void leave_database(const std::string& backend, const std::string& database);
  Tenant& tenant(const tiers::Tenant& record);
  // The tenant store has a newer record: it holds from now on, for connected clients, too.
  void tenant_changed(const tiers::Tenant& record);
  StartupRef startup_of(const tiers::Tenant& record) { return startups_.of(record); }
  // The tenant's record has been replaced: its servers are opened, kept and lent by what it says now.
  void record_changed(Tenant& tenant);
  // The same of what its texts may do, and for how long. Answers whether other ceilings hold; then its
  // sessions are to be told.
  bool renew_guard(Tenant& tenant);
  // Of all these tenants at once, for it looks at every session.
  void ceilings_changed(const std::unordered_set<const Tenant*>& of);
  void tell_held(const Tenant& tenant, const CeilingGuard::Held& held, std::uint64_t count);
  // One line of the log, a little later.
  void tell_slow(SlowTransaction slow);
  // A tenant whose ceilings have changed stays in the group where its sessions are.
  Group& group(const Tenant& tenant, const GroupKey& key, const ServerCredentials& credentials);

  // Logins. A ClientLogin that was handed over is adopted by its home.
  void adopt_login(std::unique_ptr<ClientLogin> login);
  void login_ended(ClientLogin& login);
  std::unique_ptr<ClientLogin> release_login(ClientLogin& login);
  // For work that comes back later: the login may be gone by then.
  std::uint64_t ticket(const ClientLogin& login) const;
  ClientLogin* login_of(std::uint64_t ticket) const;
  // at_clients: queue. ClientLogin::place_free follows, unless the login ends before.
  void wait_for_place(const ClientLogin& login);
  std::size_t logins_waiting(const std::string& tenant) const;
  // SCRAM verifiers of users whose plain passwords we hold. Null: not derived yet; then the login will be
  // given it later (ClientLogin::verified).
  const protocol::ScramVerifier* verifier_for(const std::string& user, const std::string& password,
                                              const ClientLogin& login);
  // True for a name that was not asked for lately: a known user would have to wait for his keys.
  bool first_asked(const std::string& unknown_user);
  Derivations& derivations() { return derivations_; }
  std::string scram_nonce();
  // `tier`: empty where no tenant is known.
  void login_refused(const std::string& tier, LoginRefusal why) {
    ++refused_logins_[tier][static_cast<std::size_t>(why)];
  }
  const std::map<std::string, RefusedLogins>& refused_logins() const { return refused_logins_; }

  // Sessions. An id is this worker's index in the low byte and a slot above it, so that a CancelRequest,
  // which may come in anywhere, finds its way.
  std::uint32_t add_session(Session& session);
  void own_session(std::unique_ptr<Session> session);
  // Of its startup packet, until the audit stream is told how its login has ended.
  void login_begins(std::uint32_t session, std::string database) {
    logging_in_[session] = std::move(database);
  }
  std::optional<std::string> take_login(std::uint32_t session) {
    auto taken = logging_in_.extract(session);
    return taken ? std::optional(std::move(taken.mapped())) : std::nullopt;
  }
  void session_ended(Session& session);
  void own_console(std::unique_ptr<ConsoleSession> console);
  void console_ended(ConsoleSession& console);
  void cancel_request(std::uint32_t id, std::string key, std::function<void()> done);
  // Asks Postgres to cancel what this server runs; the server is leased until that connection is closed.
  // `done` may be empty.
  void send_cancel(Server& server, std::function<void()> done);
  // Functions or the like were made in the database of this group.
  void definitions_changed(const GroupKey& key);
  // By a group; others of its database need not ask for the same so soon.
  void routines_read(const Group& by);
  // On all workers: servers that began otherwise than sessions do now are replaced as they come free.
  void renew_servers(const GroupKey& by, NewStarts whose);
  // Ends the process behind a server that is about to close, by the side role. False: there is none.
  bool terminate(Server& server);
  void forget_server(Server& server);  // it is about to be destroyed: leases on it lapse
  std::uint64_t next_server_id() { return ++last_server_id_; }
  void cancel_ended(CancelConnection& connection);

  // A group here has queued for a connection to this backend: an idle one that can be spared best, of all
  // workers, is closed for it.
  void ask_for_budget(const std::string& backend);
  // Of databases and users that are served here.
  BreakerBook<GroupKey>& breakers() { return breakers_; }
  // The breaker of this backend is open or closed now.
  void breaker_changed(const std::string& backend);
  // The primary of this backend is another host now, or this host of it does not answer any more: connections
  // to all but that one, or to this one, are given up.
  void host_moved(const std::string& backend, const net::Endpoint& to);
  void host_silent(const std::string& backend, const net::Endpoint& host);
  // It answers nothing, and another one is the primary: what is awaited of it fails.
  void host_lost(const std::string& backend, const net::Endpoint& host);
  // An answer of this server has been awaited for long: its host may stand still.
  void seek_host(const Server& server);
  // Of some server there an answer has been awaited for long.
  bool awaits(const std::string& backend, const net::Endpoint& host) const;
  // BREAKER ... TENANT: for all users of its database.
  void order_breakers(const std::string& backend, const std::string& database, Breaker::Order order);
  const BreakerOrders& breaker_orders() const { return breaker_orders_; }
  // Of all its users the one that is worst off.
  Breaker::State breaker_of(const tiers::Tenant& tenant) const;
  // BREAKER CLOSE or AUTO: those of its databases and users begin anew.
  void begin_breakers_anew(const std::string& backend);

  const Groups::ByKey& groups() const { return groups_.by_key(); }
  Groups& group_index() { return groups_; }
  // A minute is over, or all is: what tenants have used is told to their store.
  void roll_periods();
  // The time of server connections goes into their tenants' figures, until now.
  void charge_servers();
  const Tenants& tenants() const { return tenants_; }
  void charge_forgotten(const std::string& tenant, std::uint64_t server_us) {
    tenants_.charge_forgotten(tenant, server_us);
  }
  const std::unordered_map<std::uint32_t, std::unique_ptr<Session>>& sessions() const { return sessions_; }
  const std::unordered_map<ConsoleSession*, std::unique_ptr<ConsoleSession>>& consoles() const {
    return consoles_;
  }

  // PAUSE: its clients wait from their next transaction on, and servers that nobody else uses are closed as
  // they come free. Without a record: all tenants, also those yet to come.
  void set_paused(const tiers::Tenant* record, bool paused);
  // DISABLE and ENABLE.
  void set_disabled(const tiers::Tenant& record, bool disabled) {
    Tenant* const known = tenants_.find(record.name);
    (known ? *known : tenant(record)).disabled = disabled;
  }
  // MOVE, of a tenant that has its home here.
  void move(Mover::Order order, Mover::Commit commit, Mover::Over over);
  Mover* mover(std::uint64_t id) const;  // null: it is over
  void move_over(const Mover& mover);
  void call_off_move(std::uint32_t console, const Error& why);  // that of this console, if there is one
  void move_group(Group& group, const std::string& backend);
  // Nothing runs any more for what was paused.
  bool pause_settled(const std::string* tenant) const;
  bool all_paused() const { return all_paused_; }
  // SUSPEND and RESUME: nothing is read from clients that are logged in, nor from servers that they hold, and
  // nobody is given a server.
  void set_suspended(bool suspended);
  bool suspended() const { return suspended_since_.has_value(); }
  std::size_t login_count() const { return logins_.size(); }

  void after_change();  // something ended: sweep empty groups, and tell a drain that waits

  std::function<void()> on_empty;  // called when draining and empty

 private:
  static constexpr std::size_t kTextsBytes = 4 << 20;  // of verdicts about SQL texts

  static constexpr std::uint32_t kSlowMost = 64;  // whose fingerprints are made at a time

  void on_accept(std::unique_ptr<net::Stream> stream) override;

  std::uint32_t index_;
  net::Loop& loop_;
  Rng& rng_;
  const std::string cancel_secret_;
  Shared& shared_;
  std::shared_ptr<const Snapshot> snapshot_;
  std::shared_ptr<const tiers::Directory> stored_tiers_;  // null: no store has told of one
  Actions actions_;
  protocol::SqlCache texts_{kTextsBytes};  // outlives the groups
  std::vector<std::unique_ptr<net::Listener>> listeners_;
  StartupBook startups_;
  BreakerBook<GroupKey> breakers_;
  BreakerOrders breaker_orders_;
  Groups groups_;
  Tenants tenants_;
  struct LoginPlace {
    std::uint64_t ticket = 0;
    std::unique_ptr<ClientLogin> login;
  };
  std::unordered_map<const ClientLogin*, LoginPlace> logins_;
  std::map<std::uint64_t, ClientLogin*> tickets_;                            // the oldest first
  std::unordered_map<std::string, std::set<std::uint64_t>> logins_waiting_;  // tickets, by tenant
  std::uint64_t last_ticket_ = 0;
  std::uint64_t last_told_ = 0;  // ticket; whoever is older has been told to go for lack of room
  struct Verifier {
    std::string password;
    std::optional<protocol::ScramVerifier> verifier;  // empty while it is derived
    std::vector<std::uint64_t> waiting;               // tickets
  };
  std::unordered_map<std::string, std::shared_ptr<Verifier>> verifiers_;
  std::unordered_set<std::string> asked_for_;  // names of users that do not exist
  Derivations derivations_;
  std::map<std::string, RefusedLogins> refused_logins_;  // since the start, by tier
  NameBook names_;                                       // of users
  std::unordered_map<std::uint32_t, std::unique_ptr<Session>> sessions_;
  std::unordered_map<std::uint32_t, std::string> logging_in_;
  std::unordered_map<ConsoleSession*, std::unique_ptr<ConsoleSession>> consoles_;
  std::unordered_map<CancelConnection*, std::unique_ptr<CancelConnection>> cancels_;
  // To each host at most one that is not closing.
  struct Side {
    std::string backend;
    net::Endpoint host;
    std::unique_ptr<SideConnection> connection;
  };
  std::list<Side> sides_;
  // Goes round the workers, and comes back to the one that has asked.
  struct Reclaim {
    std::string backend;
    std::uint32_t asked_by = 0;
    bool for_floor = false;
    std::optional<Group::Spare> best;
    Worker* worker = nullptr;  // of the best
    std::uint64_t group = 0;
  };
  // Null: the backend has no side role.
  SideConnection* side(const std::string& backend, const net::Endpoint& host);
  std::vector<std::unique_ptr<Mover>> movers_;
  std::vector<std::unique_ptr<HostSeek>> seeks_;  // those that are over tell when the next one may begin
  void look_for_spare(Reclaim reclaim);
  void take_spare(Reclaim reclaim);
  void take_changes();
  void follow_all(std::span<const tiers::Tenant> records);
  bool follow(Tenant& tenant, const tiers::Tenant& record);  // true: it is suspended from now on
  bool renew_startup(Tenant& tenant);                        // true: it has other startup settings now
  void startups_changed(const std::set<std::pair<std::string, std::string>>& where);  // backend, database
  void end_suspended(const std::unordered_set<const Tenant*>& tenants);
  // Without clients, and at home elsewhere since its record has changed: its next ones come there.
  void forget_where_strange(const Tenant& tenant);
  void limits_changed(Tenant& tenant);  // of its groups, its rate and its logins that wait
  void rate_changed(Tenant& tenant);
  void give_places(Tenant& tenant);
  void watch_grace(Tenant& tenant);
  void end_graces();
  void close_surplus(const Tenant& tenant, const std::vector<Session*>& sessions);
  void make_room();
  void end_logins(const Error& why);
  // Who has not said what it wants may want a cancel, and is heard for a moment.
  void end_named_logins(const Error& why);
  void end_idle(const Error& why);  // sessions between two transactions that have not asked for the next
  void turn_away_latecomers();

  bool all_paused_ = false;
  std::optional<Time> suspended_since_;
  net::Timer period_timer_;
  std::deque<tiers::Tenant> changes_;  // records that are to be followed
  std::set<std::string> graces_;       // tenants that may have one
  net::Timer grace_timer_;
  std::uint64_t period_assignments_ = 0;  // of all tenants, when the period began
  bool sweep_posted_ = false;
  std::uint32_t slow_told_ = 0;  // lines that are being made elsewhere
  std::uint32_t next_slot_ = 0;
  std::uint64_t last_server_id_ = 0;
  static constexpr std::chrono::seconds kLatecomers{1};
  Time latecomers_until_{};  // not over: they are admitted
  net::Timer latecomers_timer_;
  std::optional<Error> draining_;
  std::optional<Error> leaving_;  // the reason for a drain to come
};

// To all workers; the former is logged, too.
void tell_host_moved(Worker& worker, const std::string& backend, const net::Endpoint& to);
void tell_host_lost(Worker& worker, const std::string& backend, const net::Endpoint& host);

}  // namespace pgweir
