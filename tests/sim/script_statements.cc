// tests/sim/script_statements.cc - Script: what a client prepares, by the protocol and by SQL, and runs
// again.
#include <fmt/format.h>

#include "tests/sim/script.h"
#include "tests/sim/script_messages.h"

namespace pgweir::sim {

namespace {
// Texts that several clients prepare under the same names, and different ones.
const char* const kSharedTexts[] = {"echo $1",
                                    "rows 3 40 $1",
                                    "insert $1",
                                    "notice $1",
                                    "show TimeZone",
                                    "select set_config('app.mark', $1, false)",
                                    "select remember($1)",
                                    "whoami"};
}  // namespace

Script::Messages Script::named_use(const std::string& name, const std::string& value) {
  Messages out;
  if (world_.chance(25)) out.push_back({'D', target('S', name)});
  out.push_back({'B', bind_body("", name, &value)});
  out.push_back({'E', execute_body("", 0)});
  return out;
}

std::vector<Phase> Script::named() {
  const auto name = [this] { return "s" + std::to_string(world_.rng().below(4)); };
  const auto prepare = [&](Messages& out) {
    const std::string which = name();
    if (world_.chance(60)) out.push_back({'C', target('S', which)});
    std::string text = kSharedTexts[world_.rng().below(std::size(kSharedTexts))];
    if (world_.chance(35)) text = "echo " + token();
    if (world_.chance(5)) text = "badparse " + token();
    out.push_back({'P', parse_body(which, text)});
  };
  Messages out;
  // Bound values are rows where the statement may insert them.
  switch (world_.rng().below(5)) {
    case 0: prepare(out); break;
    case 1:
    case 2: add(out, named_use(name(), row())); break;
    case 3:
      prepare(out);
      add(out, named_use(name(), row()));
      if (world_.chance(50)) add(out, sync());
      add(out, named_use(name(), row()));
      break;
    default:
      // An error that makes the server skip what follows, a Parse or a Close among it.
      prepare(out);
      out.push_back({'B', bind_body("", "missing", nullptr)});
      prepare(out);
      add(out, named_use(name(), row()));
      add(out, sync());
      prepare(out);
      add(out, named_use(name(), row()));
      break;
  }
  add(out, sync());
  return {await(std::move(out))};
}

// The names are those of named(): Postgres has one list of them. Arguments are rows where the statement may
// insert them.
std::string Script::prepared_command() {
  const std::string name = "s" + std::to_string(world_.rng().below(4));
  switch (world_.rng().below(9)) {
    case 0: return "deallocate " + name;
    case 1: return "prepare " + name + " (text) as values ($1)";
    case 2: return "prepare " + name + " as values ('" + token() + "')";
    case 3: return "prepare " + name + " (text) as select set_config('app.mark', $1, false)";
    case 4: return "prepare " + name + " as select remember('" + token() + "')";
    default: return "execute " + name + "('" + row() + "')";
  }
}

std::vector<Phase> Script::prepared() {
  const auto send = [&](const std::string& sql) {
    return await(world_.chance(25) ? unnamed(sql, false, true) : query(sql));
  };
  std::vector<Phase> phases;
  switch (world_.rng().below(7)) {
    case 0: {
      const std::string first = prepared_command(), second = prepared_command();
      return {await(query(first + ";" + second + "; " + prepared_command()))};
    }
    case 1:
      // In a text that nobody can read, of a statement that the protocol knows nothing of.
      return {await(query("prepare own as values ('" + token() + "')")), await(query(command())),
              await(query("set mark " + token() + "; execute own")), await(query("discard all"))};
    case 2: {
      // Behind the end of a transaction that has failed.
      constexpr const char* kWays[] = {"commit", "rollback", "commit and chain", "rollback and chain"};
      phases.push_back(send("begin"));
      if (world_.chance(50)) phases.push_back(send(prepared_command()));
      phases.push_back(send("error 22012 " + token()));
      const std::string way = kWays[world_.rng().below(std::size(kWays))];
      phases.push_back(await(query(way + "; " + prepared_command() + "; " + prepared_command())));
      phases.push_back(await(query("rollback")));
      return phases;
    }
    case 3: {
      // What it is of is read once, whatever is set around it and its use.
      const std::string makes = "prepare own as values ('" + token() + "')";
      const bool apart = world_.chance(40);
      if (apart) phases.push_back(send("begin"));
      if (apart && world_.chance(50)) phases.push_back(send(set_zone()));
      switch (world_.rng().below(3)) {
        case 0: phases.push_back(await(query(makes + "; " + set_zone()))); break;
        case 1: phases.push_back(await(query(set_zone() + "; " + makes))); break;
        default: phases.push_back(send(makes));
      }
      if (apart && world_.chance(50)) phases.push_back(send(set_zone()));
      if (apart) phases.push_back(await(query(world_.chance(60) ? "commit" : "rollback")));
      const std::string uses = "execute own";
      for (std::uint64_t left = world_.between(1, 5); left > 0; --left) {
        const std::string sets = set_zone();
        switch (world_.rng().below(5)) {
          case 0: phases.push_back(await(query(uses + "; " + sets))); break;
          case 1: phases.push_back(await(query(sets + "; " + uses))); break;
          case 2: phases.push_back(send(sets)); break;
          case 3: phases.push_back(await(query(uses + "; show TimeZone"))); break;
          default: phases.push_back(send(uses));
        }
      }
      phases.push_back(await(query("deallocate own")));
      return phases;
    }
    case 4:
      phases.push_back(send("begin"));
      for (std::uint64_t left = world_.between(1, 4); left > 0; --left)
        phases.push_back(send(world_.chance(80) ? prepared_command() : command()));
      phases.push_back(send(world_.chance(65) ? "commit" : "rollback"));
      if (world_.chance(25))
        for (Phase& phase : phases) phase.then = Phase::Then::Go;
      phases.back().then = Phase::Then::Await;
      return phases;
    default:
      for (std::uint64_t left = world_.between(1, 5); left > 0; --left)
        phases.push_back(send(prepared_command()));
      if (world_.chance(25))
        for (Phase& phase : phases) phase.then = Phase::Then::Go;
      phases.back().then = Phase::Then::Await;
      return phases;
  }
}

// Whatever becomes of it, the one before it is known: nobody else's is ever bound.
std::vector<Phase> Script::unnamed_again() {
  std::vector<Phase> phases;
  Messages out{{'P', parse_body("", "echo " + token())}};
  for (std::uint64_t batches = world_.between(2, 4); batches > 0; --batches) {
    for (std::uint64_t left = world_.between(0, 3); left > 0; --left) {
      switch (world_.rng().below(7)) {
        case 0: out.push_back({'P', parse_body("", "badparse " + token())}); break;
        case 1: out.push_back({'P', parse_body("", "echo " + token())}); break;
        case 2: out.push_back({'B', bind_body("", "missing", nullptr)}); break;
        case 3: out.push_back({'C', target('S', "")}); break;
        case 4: out.push_back({'D', target('S', "")}); break;
        default: out.push_back({'B', bind_body("", "", nullptr)}); out.push_back({'E', execute_body("", 0)});
      }
    }
    if (world_.chance(10)) add(out, query("echo " + token()));
    add(out, sync());
    if (world_.chance(50)) phases.push_back(await(std::exchange(out, {})));
  }
  if (!out.empty()) phases.push_back(await(std::move(out)));
  return phases;
}

// A table of its own, whose column gets other names, and statements that read it.
std::vector<Phase> Script::shapes() {
  const std::string table = fmt::format("t_c{}_0", client_);
  const auto alter = [&] {
    return await(query(fmt::format("alter table {} rename column v to v{}", table, ++shape_)));
  };
  const auto name = [this] { return "t" + std::to_string(world_.rng().below(2)); };
  const std::string made = name();
  Messages prepare{{'C', target('S', made)}, {'P', parse_body(made, "table " + table)}};
  prepare.push_back({'D', target('S', made)});
  add(prepare, sync());
  std::vector<Phase> phases{alter(), await(std::move(prepare))};
  for (std::uint64_t left = world_.between(1, 5); left > 0; --left) {
    if (world_.chance(35)) phases.push_back(alter());
    if (world_.chance(25)) phases.push_back(await(query(command())));
    Messages use{{'B', bind_body("", name(), nullptr)}};
    if (world_.chance(30)) use.push_back({'D', target('P', "")});
    use.push_back({'E', execute_body("", 0)});
    add(use, sync());
    phases.push_back(await(std::move(use)));
  }
  return phases;
}

}  // namespace pgweir::sim
