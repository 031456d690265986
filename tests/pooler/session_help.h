// tests/pooler/session_help.h - a session, its group's books and two servers, and the least of a driver.
#pragma once

#include <catch2/catch.hpp>
#include <functional>
#include <string>
#include <utility>

#include "pooler/session_core.h"
#include "tests/support/messages.h"

namespace pgweir::test {

inline std::string named(const Actions& out) {
  std::string names;
  const auto add = [&](bool yes, const char* name) {
    if (yes) names += (names.empty() ? "" : " ") + std::string(name);
  };
  add(out.leave_queue, "leave");
  add(out.ask_server, "ask");
  add(out.proven, "proven");
  add(out.stalled, "stalled");
  add(out.more, "more");
  add(out.close_client, "close");
  add(out.reset_client, "reset");
  add(out.server == Actions::Server::Release, "release");
  add(out.server == Actions::Server::Abandon, "abandon");
  add(out.server == Actions::Server::Drop, "drop");
  return names;
}

inline tiers::Tenant tenant_with(std::uint32_t max_pinned_clients) {
  tiers::Tenant tenant;
  tenant.name = "acme";
  tenant.limits.name = "free";
  tenant.limits.max_pinned_clients = max_pinned_clients;
  return tenant;
}

struct Place {
  explicit Place(std::size_t statement_bytes = 1 << 20) : books(statement_bytes, texts) {}
  protocol::SqlCache texts{1 << 16};
  GroupBooks books;
  tiers::Tenant tenant = tenant_with(2);
  TenantStatements statements;
  PinBook pins{tenant};
  CeilingGuard guard{tenant};
  ServerCore server{books.settings.empty()};
  ServerCore other{books.settings.empty()};

  // What both servers told when they logged in.
  void reports(SettingsMap::Values values) {
    server.fresh = other.fresh = books.settings.fresh(std::move(values));
  }
};

// A session and the least of a driver: it keeps what was not consumed and gives it again.
struct Client {
  explicit Client(Place& p, SettingsMap::Values settings = {},
                  tiers::PoolMode mode = tiers::PoolMode::Transaction,
                  protocol::Replication replication = protocol::Replication::None)
      : place(p),
        core(p.books, p.statements, p.pins, p.guard, p.books.settings.intern(std::move(settings)), mode,
             replication) {}
  // Of another tenant.
  Client(Place& p, TenantStatements& statements)
      : place(p), core(p.books, statements, p.pins, p.guard, p.books.settings.empty()) {}
  ~Client() {
    if (core.state() != SessionCore::State::Closed) step([&] { core.client_gone(out); });
  }

  unsigned client_parses = 0, server_parses = 0, binds = 0;
  std::string counted() const {
    return std::to_string(client_parses) + " " + std::to_string(server_parses) + " " + std::to_string(binds);
  }

  // What the step did; the bytes for both sides are added up in to_client and to_server.
  std::string step(const std::function<void()>& event) {
    out.clear();
    event();
    to_client += out.to_client.text();
    to_server += out.to_server.text();
    held.erase(0, out.consumed);
    client_parses += out.client_parses;
    server_parses += out.server_parses;
    binds += out.binds;
    return named(out);
  }
  std::string says(Bytes in) {
    held.append(in);
    return step([&] { core.client_bytes(held, out); });
  }
  std::string granted(ServerCore& server) {
    return step([&] { core.granted(server, held, out); });
  }
  std::string hears(Bytes in) {
    // The driver's read buffer is used again.
    const std::string buffer(in);
    return step([&] { core.server_bytes(buffer, out); });
  }
  std::string again() { return says({}); }
  // A whole transaction; answers what the server was sent.
  std::string runs(Bytes request, Bytes answer, ServerCore& server) {
    to_server.clear();
    REQUIRE(says(request) == "ask");
    REQUIRE(granted(server).empty());
    REQUIRE(hears(answer) == "release");
    return told_to_server(to_server);
  }
  std::string seen() { return told(std::exchange(to_client, {})); }
  std::string sent() { return told_to_server(std::exchange(to_server, {})); }
  std::string error_text() {
    for (const std::string& one : split(out.to_client.text()))
      if (one[0] == 'E') return protocol::parse_error(Bytes(one).substr(5)).message;
    return {};
  }

  Place& place;
  SessionCore core;
  Actions out;
  std::string held, to_client, to_server;
};

// What a server answers that was asked for every kind of pin for the first time and has none.
inline std::string nothing_left() {
  const std::string none = parsed() + bound() + done();
  return none + none + none + none + none + ready();
}

struct Linked : Client {
  explicit Linked(Place& p, Bytes request = {}) : Client(p) {
    REQUIRE(says(request.empty() ? Bytes(query("begin")) : request) == "ask");
    REQUIRE(granted(p.server).empty());
    if (request.empty()) {
      REQUIRE(hears(done("BEGIN") + ready('T')).empty());
      to_client.clear();
    }
    to_server.clear();
  }
};

// The answer to one question: its rows.
inline std::string answered(const std::string& rows) { return bound() + rows + done() + ready(); }

// Runs a text up to the audit that must follow; answers what the server was asked.
inline std::string suspected(Client& client, Bytes sql, Bytes tag, ServerCore& server) {
  REQUIRE(client.says(query(sql)) == "ask");
  REQUIRE(client.granted(server).empty());
  client.to_server.clear();
  REQUIRE(client.hears(done(tag) + ready()).empty());
  REQUIRE(client.core.state() == SessionCore::State::Linked);
  return client.sent();
}

// What a server tells of a statement that SQL has prepared there.
inline std::string statement_row(Bytes name, Bytes types, Bytes text, Bytes from_sql = "t") {
  std::string out;
  protocol::put_data_row(out,
                         {std::string(name), std::string(types), std::string(from_sql), std::string(text)});
  return out;
}

struct Pinned : Client {
  explicit Pinned(Place& p) : Client(p) {
    suspected(*this, "create temp table t (i int)", "CREATE TABLE", p.server);
    REQUIRE(hears(parsed() + answered(row())).empty());
    REQUIRE(core.pins() == pin::kTemp);
    to_client.clear();
  }
};

}  // namespace pgweir::test
