#include "tests/sim/script.h"

#include <fmt/format.h>

#include "tests/sim/script_messages.h"

namespace pgweir::sim {

std::string Script::token() { return fmt::format("c{}_{}", client_, ++serial_); }

std::string Script::row() {
  std::string name = token();
  oracle_.sent(name);
  return name;
}

Script::Messages Script::query(const std::string& sql) { return {{'Q', sql + '\0'}}; }

void Script::add(Messages& to, Messages more) {
  for (auto& message : more) to.push_back(std::move(message));
}

std::string Script::command() {
  switch (world_.rng().below(12)) {
    case 0: return "insert " + row();
    case 1: return "show TimeZone";
    case 2: return "where";
    case 3: return "whoami";
    case 4: return "notice " + token();
    case 5: return fmt::format("rows {} {} {}", world_.between(1, 20), world_.between(8, 200), token());
    case 6: return fmt::format("sleep {} {}", world_.between(1, 8), token());
    case 7: return world_.chance(40) ? "error 22012 " + token() : "echo " + token();
    case 8: return "show work_mem";
    case 9: return "insert " + row();
    default: return "echo " + token();
  }
}

std::string Script::trace_command() {
  switch (world_.rng().below(4)) {
    case 3: return "select remember('" + token() + "')";
    case 0: return "set app.mark = '" + token() + "'";
    case 1: return "create temp table " + token() + " ()";
    default: return "listen own /* " + token() + " */";
  }
}

// Few channels, which all clients share.
std::string Script::channel_command() {
  const std::string channel = "ch" + std::to_string(world_.rng().below(3));
  switch (world_.rng().below(10)) {
    case 0:
    case 1: return "listen " + channel + " /* " + token() + " */";
    case 2: return "unlisten " + channel + " /* " + token() + " */";
    case 3:
      if (world_.chance(40)) return "unlisten *";
      [[fallthrough]];
    default: return "notify " + channel + ", '" + token() + "'";
  }
}

// Stops to listen behind other requests, of another transaction or of the same batch.
Script::Messages Script::deaf_behind() {
  const std::string end = world_.chance(30)   ? "unlisten *"
                          : world_.chance(20) ? "discard all"
                                              : "unlisten ch" + std::to_string(world_.rng().below(3));
  const bool simple = world_.chance(50);
  Messages out;
  for (std::uint64_t left = world_.between(1, 3); left > 0; --left)
    add(out,
        simple ? query(command()) : unnamed(command(), false, end == "discard all" || world_.chance(50)));
  add(out, simple ? query(end) : unnamed(end, false, true));
  return out;
}

std::vector<Phase> Script::channels() {
  const auto send = [&](const std::string& sql) {
    return await(world_.chance(25) ? unnamed(sql, false, true) : query(sql));
  };
  std::vector<Phase> phases;
  switch (world_.rng().below(7)) {
    case 5: return {await(deaf_behind())};
    case 0:
    case 1:
      for (std::uint64_t left = world_.between(1, 6); left > 0; --left)
        phases.push_back(send(channel_command()));
      return phases;
    case 2: return {await(query(channel_command() + ";" + channel_command() + "; " + channel_command()))};
    case 3: return {await(query(channel_command() + "; error 22012 " + token()))};
    case 4: return {world_.chance(50) ? await(query("discard all")) : send("echo " + token())};
    default:
      phases.push_back(send("begin"));
      for (std::uint64_t left = world_.between(1, 4); left > 0; --left)
        phases.push_back(send(channel_command()));
      phases.push_back(send(world_.chance(65) ? "commit" : "rollback"));
      if (world_.chance(25))
        for (Phase& phase : phases) phase.then = Phase::Then::Go;
      phases.back().then = Phase::Then::Await;
      return phases;
  }
}

std::vector<Phase> Script::sign_of_life() { return {await(query("insert " + row()))}; }

std::vector<Phase> Script::next() {
  std::vector<Phase> phases;
  if (manners_.work > 0) {
    if (world_.chance(manners_.idle))
      phases.push_back({{}, {}, Phase::Then::Pause, world_.between(Duration(100), Duration(400'000))});
    phases.push_back(await(query(fmt::format("sleep {} {}", manners_.work, token()))));
    if (world_.chance(manners_.leave)) phases.push_back({{}, {}, Phase::Then::Terminate, {}});
    return phases;
  }
  if (world_.chance(manners_.idle))
    phases.push_back({{}, {}, Phase::Then::Pause, world_.between(Duration(100), Duration(400'000))});
  auto choose = [at = world_.rng().below(100)](unsigned percent) mutable {
    if (at < percent) return true;
    at -= percent;
    return false;
  };
  std::vector<Phase> step;
  if (choose(manners_.extended)) {
    step = extended();
  } else if (choose(manners_.pipeline)) {
    step = pipeline();
  } else if (choose(manners_.named)) {
    step = named();
  } else if (choose(manners_.prepared)) {
    step = prepared();
  } else if (choose(manners_.unnamed)) {
    step = unnamed_again();
  } else if (choose(manners_.shapes)) {
    step = shapes();
  } else if (choose(manners_.copy)) {
    step = copy();
  } else if (choose(manners_.bulk)) {
    step = bulk();
  } else if (choose(manners_.settings)) {
    step = settings();
  } else if (choose(manners_.traces)) {
    step = traces();
  } else if (choose(manners_.channels)) {
    step = channels();
  } else if (choose(manners_.savepoints)) {
    step = savepoints();
  } else if (choose(manners_.holds)) {
    step = holds();
  } else if (choose(manners_.flush)) {
    step = flush();
  } else if (choose(manners_.cancel)) {
    step = cancel();
  } else if (choose(manners_.tarry)) {
    step = tarry();
  } else if (choose(manners_.linger)) {
    step = linger();
  } else if (choose(manners_.desert)) {
    step = desert();
  } else if (choose(manners_.let_go)) {
    step = let_go();
  } else if (choose(manners_.give_up)) {
    step = give_up();
  } else if (choose(manners_.leave)) {
    step = leave();
  } else {
    step = transaction();
  }
  for (Phase& phase : step) phases.push_back(std::move(phase));
  return phases;
}

std::vector<Phase> Script::transaction() {
  if (world_.chance(40)) return {await(query(command()))};
  if (world_.chance(15)) return {await(query(command() + "; " + command() + ";" + command()))};
  if (world_.chance(5)) return {await(query(world_.chance(50) ? "" : " ; "))};
  const std::string end = world_.chance(75) ? "commit" : "rollback";
  std::vector<Phase> phases{await(query("begin"))};
  for (std::uint64_t left = world_.between(1, 4); left > 0; --left) phases.push_back(await(query(command())));
  phases.push_back(await(query(end)));
  if (world_.chance(25))
    for (Phase& phase : phases) phase.then = Phase::Then::Go;
  phases.back().then = Phase::Then::Await;
  return phases;
}

Script::Messages Script::unnamed(const std::string& sql, bool parameter, bool with_sync) {
  const std::string value = parameter ? token() : "";
  const std::string portal = world_.chance(20) ? "p1" : "";
  Messages out{{'P', parse_body("", sql)}, {'B', bind_body(portal, "", parameter ? &value : nullptr)}};
  if (world_.chance(50)) out.push_back({'D', target('P', portal)});
  out.push_back({'E', execute_body(portal, 0)});
  if (with_sync) add(out, sync());
  return out;
}

std::vector<Phase> Script::extended() {
  switch (world_.rng().below(4)) {
    case 0: return {await(unnamed(command(), false, true))};
    case 1: return {await(unnamed("echo $1", true, true))};
    case 2: {  // a portal in pieces
      const std::string sql = fmt::format("rows {} 30 {}", world_.between(4, 30), token());
      Messages out{{'P', parse_body("", sql)}, {'B', bind_body("p2", "", nullptr)}};
      for (int i = 0; i < 3; ++i) out.push_back({'E', execute_body("p2", 4)});
      out.push_back({'E', execute_body("p2", 0)});
      out.push_back({'C', target('P', "p2")});
      add(out, sync());
      return {await(std::move(out))};
    }
    default: {
      std::vector<Phase> phases{await(unnamed("begin", false, true))};
      for (std::uint64_t left = world_.between(1, 3); left > 0; --left)
        phases.push_back(world_.chance(70) ? await(unnamed(command(), false, true))
                                           : await(query(command())));
      phases.push_back(await(unnamed(world_.chance(75) ? "commit" : "rollback", false, true)));
      return phases;
    }
  }
}

std::vector<Phase> Script::pipeline() {
  Messages out;
  for (std::uint64_t batches = world_.between(1, 3); batches > 0; --batches) {
    for (std::uint64_t left = world_.between(1, 4); left > 0; --left) {
      const auto kind = world_.rng().below(6);
      if (kind == 0) {
        add(out, unnamed("error 22012 " + token(), false, false));
      } else if (kind == 1) {
        out.push_back({'P', parse_body("", "badparse " + token())});
      } else if (kind == 2) {
        out.push_back({'B', bind_body("", "missing", nullptr)});
        out.push_back({'E', execute_body("", 0)});
      } else {
        add(out, unnamed(command(), false, false));
      }
    }
    add(out, sync());
    if (world_.chance(25)) add(out, query(command()));
  }
  // All at once, or cut between messages.
  if (world_.chance(60) || out.size() < 4) return {await(std::move(out))};
  const auto middle = static_cast<std::ptrdiff_t>(world_.between(1, out.size() - 1));
  std::vector<Phase> phases{go(Messages(out.begin(), out.begin() + middle))};
  phases.push_back({{}, {}, Phase::Then::Pause, world_.between(Duration(10), Duration(20'000))});
  phases.push_back(await(Messages(out.begin() + middle, out.end())));
  return phases;
}

std::vector<Phase> Script::copy() {
  const std::string word = token();
  if (world_.chance(40)) {
    const std::string sql = fmt::format("copyout {} {}", world_.between(0, 50), word);
    return {await(world_.chance(50) ? query(sql) : unnamed(sql, false, true))};
  }
  Messages data;
  for (std::uint64_t left = world_.between(0, 12); left > 0; --left)
    data.push_back(
        {'d', word + std::string(world_.rng().below(world_.chance(10) ? 20'000 : 100), 'x') + "\n"});
  if (world_.chance(15))
    data.push_back({'f', word + " no more" + '\0'});
  else
    data.push_back({'c', {}});
  switch (world_.rng().below(3)) {
    case 0: return {await(query("copyin " + word)), await(std::move(data))};
    case 1: {  // without waiting for the server's consent
      Messages out = query("copyin " + word);
      add(out, std::move(data));
      return {await(std::move(out))};
    }
    default:  // as libpq does: the Sync of the batch is ignored, another follows the data
      add(data, sync());
      return {await(unnamed("copyin " + word, false, true)), await(std::move(data))};
  }
}

std::vector<Phase> Script::bulk() {
  const std::string sql = fmt::format("rows {} {} {}", world_.between(1, manners_.bulk_rows),
                                      world_.between(8, manners_.bulk_bytes), token());
  std::vector<Phase> phases{go(world_.chance(50) ? query(sql) : unnamed(sql, false, true))};
  if (world_.chance(60))
    phases.push_back({{}, {}, Phase::Then::SlowRead, world_.between(Duration(100), Duration(300'000))});
  phases.push_back(await({}));
  return phases;
}

std::string Script::set_zone() {
  static const char* const kZones[] = {"UTC", "Europe/Paris", "Asia/Tokyo", "America/Lima"};
  return fmt::format("set TimeZone = '{}'", kZones[world_.rng().below(std::size(kZones))]);
}

std::vector<Phase> Script::settings() {
  const std::string zone = set_zone();
  switch (world_.rng().below(7)) {
    case 0: return {await(query(zone)), await(query("show TimeZone"))};
    case 1:
      return {await(query("begin")), await(query(zone)), await(query("show TimeZone")),
              await(query(world_.chance(50) ? "commit" : "rollback")), await(query("show TimeZone"))};
    case 2:
      return {await(query("set application_name = '" + token() + "'")),
              await(query("show application_name"))};
    case 3: return privileges();
    case 4:
      return {await(query("begin")), await(query("set work_mem = '2MB'")),
              await(query(world_.chance(40) ? "commit" : "rollback")), await(query("show work_mem"))};
    default:
      if (manners_.startup_settings || world_.chance(50))
        return {await(query("show TimeZone")), await(query("show application_name"))};
      return {await(query(world_.chance(60) ? "discard all" : "deallocate all")),
              await(query("show TimeZone"))};
  }
}

// A setting that the client may not set, and a function of its owner's that can.
std::vector<Phase> Script::privileges() {
  const Phase show = await(query("show log_statement"));
  const std::string set = "set log_statement = '" + token() + "'";
  switch (world_.rng().below(5)) {
    case 0: return {await(query(set)), show};
    case 1: return {await(unnamed(set, false, true)), show, await(query(command()))};
    case 2:
      return {await(query("set app.mark = '" + token() + "'; " + set)), show, await(query("show app.mark"))};
    case 3:
      return {await(query("begin")), await(query(set)), await(query(command())),
              await(query(world_.chance(50) ? "commit" : "rollback")), show};
    default:
      return {await(query("select elevate('" + token() + "')")),
              show,
              await(query(command())),
              show,
              await(query("discard all")),
              show};
  }
}

// What stays on one server, and is taken away again so that not all servers end up pinned.
std::vector<Phase> Script::traces() {
  const char* const names[] = {"show app.mark", "show temp"};
  const std::string show = names[world_.rng().below(2)];
  std::vector<Phase> phases;
  if (world_.chance(25)) return {await(query("set mark " + token())), await(query("show app.mark"))};
  switch (world_.rng().below(4)) {
    case 0: phases = {await(query(trace_command())), await(query(show))}; break;
    case 1: phases = {await(query(trace_command() + ";" + trace_command())), await(query(show))}; break;
    case 2: phases = {await(unnamed(trace_command(), false, true)), await(query(show))}; break;
    default:
      phases = {await(query("begin")), await(query(trace_command())), await(query(show)),
                await(query(world_.chance(70) ? "commit" : "rollback")), await(query(show))};
  }
  for (std::uint64_t left = world_.rng().below(3); left > 0; --left)
    phases.push_back(await(query(command())));
  phases.push_back(await(query(show)));
  if (world_.chance(40)) {
    phases.push_back(await(query("discard all")));
  } else {
    phases.push_back(await(query("drop table t")));
    phases.push_back(await(query("unlisten *")));
    if (world_.chance(50)) phases.push_back(await(query("reset app.mark")));
  }
  phases.push_back(await(query(show)));
  return phases;
}

std::vector<Phase> Script::flush() {
  Messages first = unnamed(command(), false, false);
  first.push_back({'H', {}});
  Messages second = unnamed(command(), false, false);
  if (world_.chance(50)) second.push_back({'H', {}});
  add(second, sync());
  return {await(std::move(first)),
          {{}, {}, Phase::Then::Pause, world_.between(Duration(10), Duration(30'000))},
          await(std::move(second))};
}

std::vector<Phase> Script::cancel() {
  if (!manners_.startup_settings && world_.chance(30)) {
    // It meets the last query, one of the questions that the pooler asks behind them, or nothing.
    std::string sql = "set app.mark = '" + token() + "';listen own /* " + token() + " */";
    if (world_.chance(50)) sql += ";prepare own as values ('" + token() + "')";
    const std::uint64_t ms = world_.between(1, 4);
    Messages out = query(sql);
    add(out, query(fmt::format("sleep {} {}", ms, token())));
    return {go(std::move(out)),
            {{}, {}, Phase::Then::Cancel, world_.between(Duration(1), Duration(ms * 1'000 + 500))},
            await(query("echo " + token())),
            await(query("discard all"))};
  }
  const bool block = world_.chance(40);
  std::vector<Phase> phases;
  if (block) phases.push_back(await(query("begin")));
  const std::string sql = world_.chance(70) ? fmt::format("sleep {} {}", world_.between(1, 2'000), token())
                                            : fmt::format("rows {} 200 {}", world_.between(50, 400), token());
  phases.push_back(go(query(sql)));
  phases.push_back({{}, {}, Phase::Then::Cancel, world_.between(Duration(1), Duration(50'000))});
  if (world_.chance(50)) phases.push_back(go(query("echo " + token())));
  phases.push_back(await({}));
  if (block) phases.push_back(await(query("commit")));
  return phases;
}

// Makes its server wait, or work for longer than it may.
std::vector<Phase> Script::tarry() {
  const Phase pause{{}, {}, Phase::Then::Pause, world_.between(Duration(1'000), Duration(1'500'000))};
  switch (world_.rng().below(5)) {
    case 0: return {await(query(fmt::format("sleep {} {}", world_.between(1, 2'500), token())))};
    case 1: return {await(query(fmt::format("stubborn {} {}", world_.between(1, 6'000), token())))};
    case 2: return {await(query("begin")), pause, await(query("insert " + row())), await(query("commit"))};
    case 3: {
      Messages first = unnamed(command(), false, false);
      first.push_back({'H', {}});
      return {await(std::move(first)), pause, await(sync())};
    }
    default: {
      std::vector<Phase> phases{await(query("begin"))};
      for (std::uint64_t left = world_.between(1, 6); left > 0; --left)
        phases.push_back(await(query(fmt::format("sleep {} {}", world_.between(1, 600), token()))));
      phases.push_back(await(query("commit")));
      return phases;
    }
  }
}

std::vector<Phase> Script::linger() {
  Phase end;
  end.then = world_.chance(50) ? Phase::Then::Reset : Phase::Then::Close;
  return {go(query(fmt::format("stubborn {} {}", world_.between(1, 4'000), token()))),
          {{}, {}, Phase::Then::Pause, world_.between(Duration(1), Duration(20'000))},
          end};
}

// Not by a goodbye, which Postgres reads behind its work only.
std::vector<Phase> Script::desert() {
  std::vector<Phase> phases;
  if (world_.chance(30)) phases.push_back(await(query("begin")));
  phases.push_back(go(query(fmt::format("sleep {} {}", world_.between(20'000, 40'000), token()))));
  phases.push_back({{}, {}, Phase::Then::Pause, world_.between(Duration(1), Duration(20'000))});
  Phase end;
  end.then = world_.chance(50) ? Phase::Then::Reset : Phase::Then::Close;
  phases.push_back(end);
  return phases;
}

std::vector<Phase> Script::let_go() {
  const std::string trace = "create temp table " + token() + " ()";
  std::vector<Phase> phases;
  switch (world_.rng().below(3)) {
    case 0: phases = {await(query(trace)), await(query("drop table t"))}; break;
    case 1: phases = {await(query(trace)), await(query("discard all"))}; break;
    default: phases = {await(query("begin")), await(query(trace)), await(query("rollback"))};
  }
  if (world_.chance(50)) phases.push_back(await(query(command())));
  phases.push_back({{}, {}, Phase::Then::Pause, world_.between(Duration(4'000'000), Duration(8'000'000))});
  return phases;
}

std::vector<Phase> Script::give_up() {
  return {go(query("echo " + token())),
          {{}, {}, Phase::Then::Cancel, world_.between(Duration(20'000), Duration(100'000))},
          await({})};
}

// Leaves in the middle of a transaction, a message, a row or a batch.
std::vector<Phase> Script::leave() {
  std::vector<Phase> phases;
  if (world_.chance(50)) phases.push_back(await(query("begin")));
  switch (world_.rng().below(8)) {
    case 0: phases.push_back(await(query("insert " + row()))); break;
    case 1: phases.push_back(go(query(fmt::format("rows 100 300 {}", token())))); break;
    case 2: phases.push_back(go(query(fmt::format("sleep {} {}", world_.between(1, 3'000), token())))); break;
    case 3: phases.push_back(go(unnamed(command(), false, false))); break;
    case 4: phases.push_back(await(query("copyin " + token()))); break;
    case 5: phases.push_back(await(query(trace_command()))); break;
    case 6: {
      const std::string unsynced = row();
      oracle_.rolled_back(unsynced);
      Messages batch = unnamed("insert " + unsynced, false, false);
      if (world_.chance(50)) batch.push_back({'H', {}});
      phases.push_back(go(std::move(batch)));
      break;
    }
    default: {
      const std::string body = "echo " + token() + std::string(world_.between(1, 30'000), ' ') + '\0';
      char head[5] = {'Q'};
      protocol::store_u32(head + 1, static_cast<std::uint32_t>(body.size() + 4));
      const std::string whole = std::string(head, 5) + body;
      Phase part = go({});
      part.tail = whole.substr(0, world_.between(1, whole.size() - 1));
      phases.push_back(std::move(part));
    }
  }
  phases.push_back({{}, {}, Phase::Then::Pause, world_.between(Duration(1), Duration(20'000))});
  Phase end;
  end.then = phases[phases.size() - 2].tail.empty() && world_.chance(30) ? Phase::Then::Terminate
             : world_.chance(50)                                         ? Phase::Then::Reset
                                                                         : Phase::Then::Close;
  phases.push_back(end);
  return phases;
}

}  // namespace pgweir::sim
