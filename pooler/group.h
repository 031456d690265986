// pooler/group.h - a server group: the servers that are the same to Postgres (backend, database, user,
// secret, what they are opened with), and the sessions that wait for one.
//
// When the ceilings of a tenant change, its sessions stay in their group, and those that come join them. The
// group opens servers with the new ones for them, and lends a server only to tenants that have the settings
// which it was opened with. Sessions that come when all of its have left are in a group of the new ceilings;
// what the tenant has left in the former one counts there until it is closed (group_heritage.cc).
//
// Tenants whose sessions wait are served by their share (FairQueue), those of one tenant in order of arrival;
// one that is at its limit lets the others pass. Where the backend has no more connections, groups take turns
// in the same way (BackendBudget). Idle servers are handed out last in, first out, so that surplus ones grow
// old and are closed (the test setting server.rotation turns this round); of the last few, one that has the
// client's settings comes first. A group lives on one worker and owns its servers and books.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "pooler/backend_gate.h"
#include "pooler/base/error.h"
#include "pooler/base/list.h"
#include "pooler/base/time.h"
#include "pooler/net/loop.h"
#include "pooler/server.h"
#include "pooler/server_login.h"
#include "pooler/session_core.h"
#include "pooler/shared.h"
#include "pooler/shared_listener.h"
#include "pooler/snapshot.h"
#include "pooler/tenant.h"

namespace pgweir {

class Worker;
class Session;
struct OfTenant;  // tag of a list, see session.h

// What the members of a group have in common.
struct GroupKey {
  std::string backend;
  std::string database;
  std::string user;
  std::string secret;
  StartupSettings startup;
  // Not 0: a group that was moved to where there was one already. Those who come join that one.
  std::uint64_t twin = 0;
  friend auto operator<=>(const GroupKey&, const GroupKey&) = default;
  bool same_but_startup(const GroupKey& other) const {
    return backend == other.backend && database == other.database && user == other.user &&
           secret == other.secret;
  }
  bool same_place(const GroupKey& other) const {
    return backend == other.backend && database == other.database && user == other.user;
  }
};

// Servers that one tenant of a group, or all of them together, may have and want.
struct Wishes {
  std::uint32_t capacity = 0;  // at most
  std::uint32_t kept = 0;      // kept open
  std::uint32_t floor = 0;     // sure of
  std::uint32_t weight = 0;
  Wishes& operator+=(const Wishes& other);
  Wishes& operator-=(const Wishes& other);
  friend bool operator==(const Wishes&, const Wishes&) = default;
};

// A tenant in a group. Its share is of the servers of that group.
struct Member : Share {
  explicit Member(Tenant& t) : tenant(t) {}
  Tenant& tenant;
  Wishes counted;  // in those of the group
  std::uint32_t sessions = 0;
  std::uint32_t lent = 0;           // servers that its sessions hold
  Time used_at = Time::min();       // when it waited for a server, or gave one back, last
  List<Session, OfTenant> waiters;  // in order of arrival
};

class Group : public ListLink<Group> {
 public:
  // Of its idle servers: what it would be to give one up. The least comes first.
  struct Spare {
    bool within_floor;
    std::uint32_t weight;
    Time since;
    friend auto operator<=>(const Spare&, const Spare&) = default;
  };

  Group(Worker& worker, GroupKey key, ServerCredentials credentials);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // A clean server at once, or nothing: then the session waits, and on_granted or on_refused will be called.
  Server* request(Session& session);
  void leave(Session& session);
  // A walsender of its own, which nobody else will have: on_dedicated or on_refused will be called.
  void request_own(Session& session);
  // The session is through with it. May run other sessions before it returns.
  void release(Server& server);
  // The session has vanished, and the server is not through with its requests.
  void abandon(Server& server);
  // The server is in a state that nobody else may see, or not needed: it is closed. `why` is for the log.
  void drop(Server& server, const char* why);

  Member& join(Tenant& tenant);  // its place is good until it has parted as often
  void part(Tenant& tenant);
  // For the next logins: a reload may have changed the secret, a client may have shown the key that opens the
  // server.
  void use(const ServerCredentials& credentials);

  // From servers.
  void server_started(Server& server, const SettingsMap::Values& parameters);
  void server_login_failed(Server& server, const HostRound::Failure& why);
  // Goes on with one that was given back: to the next client when it is proven clean.
  void settle(Server& server);
  void unsettle(Server& server);  // an idle one has begun to say something: Settling until it is clean again
  void server_died(const Server& server, const net::Closed& why);  // not by us; server_lost comes behind
  void server_lost(Server& server);  // the connection is gone; Server is destroyed
  void lease_ended(Server& server);

  void grow();          // starts what the waiters need and the limits allow
  void slot_granted();  // a connection that it has queued for
  // For a group elsewhere that has queued for one. None while somebody waits for its servers; those within
  // its floor are spared unless `for_floor`.
  std::optional<Spare> spare(bool for_floor) const;
  bool close_one_idle(bool for_floor);  // false: nothing to spare any more
  void close_idle();                    // RECONNECT, shutdown, changed backend
  void renew_servers();                 // sessions begin otherwise from now on
  // RECONNECT for connections to these hosts.
  void leave_hosts(const std::function<bool(const net::Endpoint&)>& these);
  // Those of one that answers nothing are given up, whatever they are at.
  void lose_host(const net::Endpoint& lost);
  bool awaits(const net::Endpoint& host) const;  // an answer of some server there, for long
  void close_unused(const char* why);  // also those that log in or are being cleaned: the end has come
  // The worker has a new snapshot. Servers that would be made differently now, or are too old or too many by
  // the new settings, are replaced or closed: idle ones now, others as they come free.
  void reloaded(const Snapshot& before);
  // A tenant of this group has other limits now.
  void limits_changed();
  // The server has told of the functions of its database, or cannot.
  void routines_read(Server& server);
  // A client of its database has made or changed functions.
  void definitions_changed(RoutineBook::By by) { books.routines.definitions_changed(by); }
  // Nobody waits for it any more.
  void reading_is_slow();
  // Some tenant has other startup settings now. Servers that nobody can use any more are closed: idle ones
  // now, others as they come free.
  void startup_changed();
  // A tenant of this group was paused or resumed.
  void pause_changed();
  // The worker was suspended, and is not any more.
  void resumed();
  // The breaker of its backend, or its own, is open or closed now.
  void breaker_changed();
  // It waits for a server, and is one of those that do not wait for a breaker to close. Not the one for which
  // a probe is under way.
  bool fails_fast(const Session& session) const;
  // MOVE: its tenant is held. Connections are closed as they come free, and none is made.
  void begin_move();
  bool moving() const;
  // No connection is left, and no claim to one. Then it may serve its clients from another backend.
  bool may_move() const;
  void move(GroupKey to);
  BackendGate& gate() { return backing_->gate; }
  bool paused() const;  // all tenants that use it are, or are being moved
  bool serves(const Tenant& tenant) const {
    return key_.backend == tenant.record.backend && key_.database == tenant.record.database;
  }
  // The time that servers have been connected, until now, to whom it belongs: the tenant that used it last,
  // since for it the connection is kept.
  void charge();
  bool unused() const { return tenants_.empty() && servers_.empty() && listener_.gone(); }
  // No connection to Postgres is left.
  bool disconnected() const { return servers_.empty() && listener_.gone(); }

  // No server is connected, and one is tried: whoever waits, waits for Postgres to come up and not for
  // others.
  bool waking() const;
  // How much of the time since then nobody could be served because the first server was still to come.
  Duration woken_since(Time since) const;
  // Why a session that waits has no server, for its error and its notice.
  Error why_waiting(const Tenant& tenant, Duration waited) const;

  GroupBooks books;
  SharedListener& listener() { return listener_; }
  const SharedListener& listener() const { return listener_; }
  BackendBudget& budget() { return backing_->budget; }
  Server* server(std::uint64_t id) const;  // also the listener's; null: it is gone
  Worker& worker() { return worker_; }
  const GroupKey& key() const { return key_; }
  int backend_version() const { return backing_->budget.version(); }
  bool plain_refused() const { return plain_refused_; }
  // Where tenants share a role: what makes their tokens. Null: they are given none.
  const TenantTokens* tokens() const { return tokens_ ? &*tokens_ : nullptr; }
  const ServerCredentials& credentials() const { return credentials_; }
  const List<Server>& idle() const { return idle_; }
  const List<Session>& waiters() const { return waiters_; }
  const std::map<std::uint64_t, std::unique_ptr<Server>>& servers() const { return servers_; }
  std::uint32_t starting() const { return starting_; }
  std::uint64_t id() const { return id_; }
  const std::map<Tenant*, Member>& tenants() const { return tenants_; }
  // The tenant in whose rows its idle servers are shown; the last one when nobody uses it now.
  const std::string& shown_tenant() const { return shown_tenant_; }

 private:
  // Servers of clients' own: pooler/group_replication.cc.
  struct Own {
    Session* session;
    bool placed = false;       // it counts among its tenant's servers
    std::uint64_t server = 0;  // that logs in for it; 0: none yet
  };
  bool own_wanted() const;  // somebody who may have one has none yet
  struct Wake {
    Time from, until;
  };
  void note_wake(Wake wake);
  void start_own();
  void open_own();
  bool leave_own(const Session& session);
  Own take_own(std::vector<Own>::iterator place);
  void own_started(Server& server, const SettingsMap::Values& parameters);
  void own_login_failed(Server& server, const HostRound::Failure& why);
  void own_dropped(const Server& server);
  // Servers that tenants leave behind who come again to another group: pooler/group_heritage.cc.
  std::vector<Group*> siblings() const;  // groups that differ in the secret or the startup settings only
  std::size_t surplus() const;           // servers beyond what its tenants may have
  void come(const Tenant& tenant);       // that is new here
  void release_home();
  std::size_t left_behind() const;  // by its tenants, in siblings
  void tell_heirs();
  // Servers that its tenant has by other users: pooler/group_users.cc.
  Tenant* sole_tenant() const;
  std::vector<Group*> of_other_users() const;
  std::uint32_t elsewhere() const;
  std::uint32_t beside_others(std::uint32_t most) const;
  void make_room_elsewhere();
  Time waits_since(Tenant& tenant) const;  // who of it waits here longest; kNever: nobody
  void serve_elsewhere(Tenant& tenant, Time before = kNever);
  void serve_longer_waiting(Tenant& tenant);
  bool owes_other_user() const;
  bool closes_one() const;
  void grow_elsewhere(const Tenant& tenant);
  void tell_other_users();
  void offer_to_other_users();
  void refuse_own(const Error& error);
  void count_lent(Session& session);
  void lend(Server& server, Session& session);
  void put_back(Server& server);
  Tenant* payer_of(const Server& server) const;
  void charge(Server& server);
  void to_idle(Server& server);
  void serve();
  void begin_reading(Server& server);
  void tell_unread();
  void clean_all();
  bool must_read_first();
  void enqueue(Session& session);
  void dequeue(Session& session);
  bool gives_up(Server& server, Time now);
  Rank rank(const Member& member) const;
  // A tenant has another number of servers, or another right to them: in all groups where it waits.
  static void standing_changed(Tenant& tenant);
  void standings_changed();                      // those of all its tenants may have
  std::size_t servable(std::size_t most) const;  // sessions that wait and may have a server
  void withdraw();
  bool wants_server() const;
  void login_over(const Server& server);
  Tenant& take_back(Server& server);
  bool connected() const;  // at least one server is
  bool try_tls_instead();
  void refuse_all(const Error& error);
  void refuse_impatient();
  Breaker::Patience patience() const;
  Time try_at() const;
  void look_again(Time at);
  void start_one(StartupRef startup);
  // The server that this tenant is lent next, if may be one that has the settings of `core`; null: none is
  // idle that it can use.
  Server* idle_for(const Tenant& tenant, const SessionCore* core = nullptr) const;
  // The same; idle ones that are not to be lent any more are closed.
  Server* lendable_for(const Tenant& tenant, const SessionCore* core = nullptr);
  const char* why_not_lent(const Server& server);  // null: it may be
  bool minds_buffers();
  Server* idle_with(const SettingsRef& settings) const;
  void put_idle(Server& server);
  void take_idle(Server& server);
  void count_idle();
  // For the server that is started next.
  StartupRef startup_wanted() const;
  void make_room();
  void renew(const BackendView* was);
  void renew_tokens();
  void close_surplus();
  void shrink();                // to what its tenants may have
  std::size_t staying() const;  // servers that are not to be closed
  Time expiry(const Server& server);
  std::uint32_t capacity() const;  // servers that its tenants may have in all
  Duration idle_limit();
  std::uint32_t floor() const;  // servers that its tenants want kept open
  void tick();
  void watch_lent();
  // Of all tenants, of which there may be thousands.
  const Wishes& wishes() const;
  static Wishes wishes_of(const Tenant& tenant);
  static bool uses(const Member& member, Time now);
  void note_use(Member& member);
  const Wishes& wishes_in_use() const;
  Claimant::Entitled entitled() const;

  Worker& worker_;
  GroupKey key_;
  ServerCredentials credentials_;
  std::uint64_t id_;
  // What it has to do with its backend.
  struct Backing {
    Backing(Worker& worker, const GroupKey& key, std::uint64_t id);
    BackendBudget& budget;
    BackendGate gate;
    Claimant claimant;
    // How long its servers were idle, added up until the latter.
    Duration idle{};
    Time counted_at{};
  };
  std::unique_ptr<Backing> backing_;
  bool claimed_ = false;                       // it has queued for a connection, and was not granted one yet
  mutable std::map<Tenant*, Member> tenants_;  // wishes() notes what it has counted
  struct Heritage {
    std::set<std::string> left;       // tenants that have parted, and left servers here
    bool wanted = false;              // one of them is in a sibling now
    std::set<std::uint64_t> sources;  // siblings that had a tenant of this group in `left`
  };
  Heritage heritage_;
  bool holds_home_ = false;  // shown_tenant_ has left, and servers of it here hold it to its home
  mutable std::optional<Wishes> wishes_;  // empty: to be counted anew
  mutable Wishes in_use_;
  mutable Time in_use_until_ = Time::min();  // to be counted anew then
  std::string shown_tenant_;
  std::map<std::uint64_t, std::unique_ptr<Server>> servers_;
  List<Server> idle_;
  List<Session> waiters_;  // of all tenants, in order of arrival
  std::vector<Own> own_;   // those who wait for a walsender, in order of arrival
  FairQueue queue_;        // tenants that have some
  std::uint32_t starting_ = 0;
  std::uint32_t failures_ = 0;  // logins in a row
  std::optional<Error> last_error_;
  Time retry_at_{};
  Time down_since_{};              // the first of those failures
  Time renewed_at_ = Time::min();  // those that began before may have begun otherwise than sessions do now
  Time waking_since_ = kNever;     // somebody waits, no server is connected
  std::vector<Wake> wakes_;        // the last ones
  Time buffers_minded_until_{};    // see minds_buffers()
  Duration tiers_idle_limit_{};    // strictest server_idle_timeout of its tenants; 0: never
  std::uint64_t reader_ = 0;       // the server that is asked for functions; 0: none
  bool serving_ = false;
  std::optional<TenantTokens> tokens_;
  bool plain_refused_ = false;  // tls_mode allow: the server wants TLS after all
  net::Timer timer_;
  net::Timer watch_;  // for all that are lent: one of each client's would fire behind each transaction
  SharedListener listener_{*this};
};

}  // namespace pgweir
