// tests/fuzz/client_fuzz.cc - two clients in turn on two servers, whatever the clients send.
//
// Input: one byte of choices before each run of bytes. A choice says who acts: a client sends the next bytes,
// goes away, or a server answers what it has read - as Postgres would, more or less, with an error now and
// then. The model server reads what the cores send, so a malformed or invented message stops the run.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "pooler/base/check.h"
#include "pooler/session_core.h"
#include "protocol/messages.h"

using namespace pgweir;
using namespace pgweir::protocol;

namespace {

// A Postgres that reads whole messages and answers at once; answers stand in `unsent`.
struct Model {
  ServerCore* core = nullptr;
  std::string unread, unsent;
  bool skipping = false, copying = false, batch = false, fails_next = false;
  char status = 'I';

  void put(char type, Bytes body = {}) { Writer(unsent, type).bytes(body); }
  void fail() {
    put_error(unsent, "ERROR", Error{"22012", "no", {}, {}});
    if (status == 'T') status = 'E';
    copying = false;
  }
  bool read_one() {
    if (unread.size() < kHeaderBytes) return false;
    Frame frame;
    PGWEIR_CHECK(read_header(unread, client_message_limit, frame));
    if (unread.size() < frame.size) return false;
    const std::string body = unread.substr(kHeaderBytes, frame.size - kHeaderBytes);
    unread.erase(0, frame.size);
    answer(frame.type, body);
    return true;
  }
  void answer(char type, const std::string& body) {
    const bool failing = std::exchange(fails_next, false);
    if (copying) {
      if (type == 'c') copying = false, batch ? put('C', Bytes("COPY\0", 5)) : complete("COPY");
      if (type == 'f') {
        fail();
        batch ? void(skipping = true) : put('Z', Bytes(&status, 1));
      }
      return;
    }
    if (type == 'S') {
      skipping = batch = false;
      put('Z', Bytes(&status, 1));
      return;
    }
    if (skipping || type == 'H' || type == 'd' || type == 'c' || type == 'f') return;
    const bool extended = type != 'Q' && type != 'F';
    batch = extended;
    if (failing) {
      fail();
      if (extended)
        skipping = true;
      else
        put('Z', Bytes(&status, 1));
      return;
    }
    switch (type) {
      case 'Q':
        if (body[0] == 'b') status = 'T';
        if (body[0] == 'r' || body[0] == 'D') status = 'I';
        if (body[0] == 'c') {
          put('G', Bytes("\0\0\0", 3));
          copying = true;
          return;
        }
        if (body[0] == 's') put_parameter_status(unsent, "TimeZone", body.substr(0, 8));
        complete(body[0] == 'D' ? "DISCARD ALL" : "SELECT 1");
        return;
      case 'F': put('V', Bytes("\xff\xff\xff\xff", 4)); return put('Z', Bytes(&status, 1));
      case 'P': return put('1');
      case 'B': return put('2');
      case 'C': return put('3');
      case 'D':
        if (body[0] == 'S') put('t', Bytes("\0\0", 2));
        return put('n');
      case 'E':
        put_data_row(unsent, {std::string("value")});
        return put(body.size() % 2 ? 'C' : 's', body.size() % 2 ? Bytes("X\0", 2) : Bytes());
      default: PGWEIR_CHECK(type == 'X');
    }
  }
  void complete(Bytes tag) {
    put_command_complete(unsent, tag);
    put('Z', Bytes(&status, 1));
  }
};

using Nobody = ServerCore::Audience;

struct Client {
  std::unique_ptr<SessionCore> core;
  std::string held, seen;
  Model* model = nullptr;
  bool over = false;
};

struct World {
  protocol::SqlCache texts{1 << 16};
  GroupBooks books{4096, texts};
  tiers::Tenant tenant{.name = "t", .limits = {.max_pinned_clients = 1}};
  TenantStatements statements;
  PinBook pins{tenant};
  CeilingGuard guard{tenant};
  std::unique_ptr<ServerCore> servers[2];
  Model models[2];
  Client clients[2];
  Actions out;

  World() {
    books.statements_per_server = 2;
    for (std::size_t i = 0; i < 2; ++i) {
      connect(i);
      SettingsMap::Values settings;
      if (i) settings = {{"work_mem", "8MB"}};
      clients[i].core = std::make_unique<SessionCore>(books, statements, pins, guard,
                                                      books.settings.intern(std::move(settings)));
    }
  }
  ~World() {
    for (Client& client : clients) leave(client);
  }
  void connect(std::size_t i) {
    servers[i] = std::make_unique<ServerCore>(books.settings.empty());
    models[i] = Model{};
    models[i].core = servers[i].get();
  }

  // The driver: obeys, and checks what it is told to do.
  void obey(Client& client, Bytes in) {
    PGWEIR_CHECK(out.consumed <= in.size());
    if (!out.reset_client) client.seen += out.to_client.text();
    if (client.model && out.server != Actions::Server::Drop) client.model->unread += out.to_server.text();
    PGWEIR_CHECK(client.model || out.to_server.empty());
    const std::string rest(in.substr(out.consumed));
    client.held = rest;
    if (!out.reset_client) take_whole(client.seen);
    if (out.close_client || out.reset_client) client.over = true;
    if (out.close_client) PGWEIR_CHECK(client.seen.empty());
    const Actions::Server how = out.server;
    if (out.ask_server) {
      PGWEIR_CHECK(client.core->state() == SessionCore::State::Waiting);
      return grant(client);
    }
    if (how == Actions::Server::Keep) return;
    Model& model = *std::exchange(client.model, nullptr);
    const std::size_t i = static_cast<std::size_t>(&model - models);
    if (how != Actions::Server::Release) return connect(i);
    // What is given back is as the model sees it: idle, everything read and answered.
    while (model.read_one()) {
    }
    PGWEIR_CHECK(model.unread.empty() && model.unsent.empty() && model.status == 'I');
    PGWEIR_CHECK(!model.skipping && !model.copying && !model.batch && servers[i]->ops.empty());
    if (servers[i]->dirty) clean(i);
  }
  void clean(std::size_t i) {
    Gather to_server, to_client;
    Nobody nobody;
    servers[i]->begin_cleaning(to_server);
    models[i].unread = to_server.text();
    models[i].fails_next = false;
    while (models[i].read_one()) {
    }
    PGWEIR_CHECK(servers[i]->read(std::exchange(models[i].unsent, {}), to_client, nobody).broken == nullptr);
    PGWEIR_CHECK(to_client.empty() && servers[i]->clean());
  }
  void grant(Client& client) {
    for (Model& model : models) {
      const bool lent = clients[0].model == &model || clients[1].model == &model;
      if (lent || !model.core->clean()) continue;
      client.model = &model;
      const std::string held = client.held;
      out.clear();
      client.core->granted(*model.core, held, out);
      return obey(client, held);
    }
    out.clear();
    const std::string held = client.held;
    client.core->refused({"53300", "full", {}, {}}, held, out);
    obey(client, held);
  }
  void send(Client& client, Bytes bytes) {
    if (client.over) return;
    const std::string in = client.held + std::string(bytes);
    out.clear();
    client.core->client_bytes(in, out);
    obey(client, in);
  }
  void answer(Client& client, std::size_t most, bool fails) {
    if (!client.model) return;
    Model& model = *client.model;
    model.fails_next = fails;
    model.read_one();
    while (!fails && model.read_one()) {
    }
    const std::string in = model.unsent.substr(0, most);
    model.unsent.erase(0, most);
    if (in.empty()) return;
    out.clear();
    client.core->server_bytes(in, out);
    obey(client, client.held);
    if (!client.over) send(client, {});
  }
  void leave(Client& client) {
    out.clear();
    client.core->client_gone(out);
    if (client.model) obey(client, client.held);
    client.over = true;
  }
  static void take_whole(std::string& seen) {
    while (seen.size() >= kHeaderBytes) {
      Frame frame;
      PGWEIR_CHECK(read_header(seen, server_message_limit, frame));
      if (seen.size() < frame.size) return;
      seen.erase(0, frame.size);
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  World world;
  Bytes input(reinterpret_cast<const char*>(data), size);
  while (!input.empty()) {
    const auto choice = static_cast<unsigned char>(input[0]);
    input.remove_prefix(1);
    Client& client = world.clients[choice & 1];
    const std::size_t count = choice >> 3;
    switch (choice >> 1 & 3) {
      case 0:
      case 1: {
        const Bytes bytes = input.substr(0, count == 31 ? 200 : count);
        input.remove_prefix(bytes.size());
        world.send(client, bytes);
        break;
      }
      case 2: world.answer(client, count == 0 ? 1000 : count, false); break;
      case 3:
        if (count == 31)
          world.leave(client);
        else
          world.answer(client, 1000, true);
        break;
    }
  }
  return 0;
}
