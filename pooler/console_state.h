// pooler/console_state.h - what a ConsoleSession is made of. For console.cc, which speaks the protocol, and
// console_orders.cc, which does what is asked.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "pooler/app.h"
#include "pooler/console.h"
#include "pooler/console_core.h"
#include "pooler/console_portals.h"
#include "pooler/console_show.h"
#include "pooler/worker.h"

namespace pgweir {

struct ConsoleSession::State : std::enable_shared_from_this<ConsoleSession::State> {
  static constexpr std::uint32_t kConsoleIds = 1u << 30;  // sessions have ids below it

  State(Worker& w, std::unique_ptr<net::Stream> c, const protocol::Startup& startup, ConsoleBy b)
      : worker(w),
        stream(std::move(c)),
        user(startup.user),
        database_asked(startup.database),
        application_name(told_name(startup)),
        by(b),
        connected_at(w.loop().now()),
        requested_at(connected_at),
        id(kConsoleIds | static_cast<std::uint32_t>(w.rng().below(kConsoleIds >> 8)) << 8 | w.index()),
        pause_timer(this, [](void* self) { static_cast<State*>(self)->look_again(); }) {}

  void greet();
  void pump();
  void message(char type, Bytes body);
  void query(Bytes text);
  void next();
  void run(const console::Request& request);
  void gather(const console::Request& request);
  // `then` is given the record of the tenant that a command names, wherever it comes from; without a name
  // none. Where there is no such tenant, the error is sent instead.
  void with_named(const std::string& name,
                  std::function<void(State&, const std::optional<tiers::Tenant>&)> then);
  void act_on_servers(const console::Request& request);
  void look_at_closing(const std::optional<tiers::Tenant>& record);
  void kill_client(std::uint32_t client);
  void pause(const std::string& tenant);  // empty: all
  void resume(const std::string& tenant);
  void resume(const tiers::Tenant& record);
  void suspend();
  void look_at_flush();
  void order_breaker(const console::Request& request);
  void order_breakers_of(const tiers::Tenant& record, Breaker::Order order);
  void disable_or_enable(const console::Request& request);
  void show_ceilings(const std::optional<tiers::Tenant>& record);
  void look_at_pause();
  void call_off_pause();
  void call_off_suspend();
  void look_again();
  // `then` is given its record and whether its store knows it, where there is such a tenant.
  void look_up(const std::string& tenant, std::function<void(State&, const tiers::Tenant&, bool)> then);
  void show_limit(const std::string& tenant);
  void change_tenant(const std::string& tenant, const tiers::Change& change);
  void change_override(const console::Request& request);
  void move(const console::Request& request);
  void call_off_move();
  void change_row(const std::string& tenant, const tiers::Change& change, bool stored);
  void change_configured(const std::string& tenant, const tiers::Change& change);
  enum class Heard : std::uint8_t { Of, Nothing };  // of the tenant, before this order
  void change_configured(const std::string& tenant, const tiers::Change& change, Heard heard);
  void reload();
  void set(const console::Request& request);
  void shut_down(App::Wait wait);
  void execute(Bytes body);
  void refuse_call();
  void show(std::string table);  // done, with the columns of it that are asked for
  void done(std::string result = {});
  void failed(const Error& error);
  // A request without a command: its text was not understood.
  void failed_batch(const console::Request& request, const Error& error);
  void audit(const console::Request& request, std::string_view outcome);
  void send(std::string answer);
  void send_more();
  void end_turn();
  void violation(const char* what);
  void close(const Error& error);
  console::Role role() const;
  static std::string version();
  static std::string told_name(const protocol::Startup& startup);

  // Runs `then` here, on the console's thread, unless the console is gone by then.
  template <class Then>
  auto if_here(Then then) {
    return [weak = weak_from_this(), then = std::move(then)](auto&&... arguments) {
      if (const auto state = weak.lock(); state && !state->closing)
        then(*state, std::forward<decltype(arguments)>(arguments)...);
    };
  }
  // Calls `task` on every worker's thread, and then `then` on this one.
  void on_all_workers(std::function<void(Worker&)> task, std::function<void()> then);

  Worker& worker;
  std::unique_ptr<net::Stream> stream;
  std::string user, database_asked, application_name;
  ConsoleBy by;
  Time connected_at, requested_at;
  std::uint32_t id;
  std::string cancel_key;
  net::Timer pause_timer;
  std::string held;
  std::deque<console::Request> requests;  // the front one runs
  console::Portals portals{console::shape};
  std::string pausing;            // the tenant of the PAUSE that runs; empty: all
  bool paused_here = false;       // and by it, not by one before
  Worker* moving_home = nullptr;  // of the tenant of the MOVE that runs; null: none, or it has not begun
  Time flush_until{};             // of the SUSPEND that runs
  std::string sending;            // the answer that goes out; what is left of it begins at:
  std::size_t sent = 0;
  char tx_status = 'I';
  bool extended = false;   // the front request comes from Execute
  bool running = false;    // the front request has not been answered
  bool canceled = false;   // it is to wait no longer
  bool turn_over = false;  // one is being answered; the loop serves others before the next
  bool reads_paused = false;
  bool skip_to_sync = false;  // an error stands in an extended batch
  bool closing = false;
};

// Of an order that was waited for.
inline Error canceled_by_user() {
  return {sqlstate::kQueryCanceled, "canceling statement due to user request", {}, {}};
}

}  // namespace pgweir
