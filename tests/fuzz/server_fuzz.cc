// tests/fuzz/server_fuzz.cc - whatever a server answers, and however it is cut.
//
// Input: a line of letters for the client's requests, then the server's bytes. They are read at once and byte
// by byte; both must come to the same end.
#include <cstddef>
#include <cstdint>
#include <string>

#include "pooler/base/check.h"
#include "pooler/session_core.h"
#include "protocol/messages.h"

using namespace pgweir;
using namespace pgweir::protocol;

namespace {

std::string requests_of(Bytes letters) {
  std::string out;
  for (const char letter : letters.substr(0, 64)) {
    switch (letter) {
      case 'Q': put_query(out, "select 1"); break;
      case 'F': Writer(out, 'F').bytes(Bytes("\0\0\0\1\0\0\0\0\0\0", 10)); break;
      case 'P': put_parse(out, "", Bytes("select 1\0\0\0", 11)); break;
      case 'N': put_parse(out, "name", Bytes("select 2\0\0\0", 11)); break;
      case 'M': put_parse(out, "other", Bytes("select 2\0\0\0", 11)); break;
      case 'B': put_bind_text(out, "", {}); break;
      case 'b': put_bind_text(out, "name", {}); break;
      case 'u': put_bind_text(out, "pgweir_1", {}); break;
      case 'D': Writer(out, 'D').u8('P').c_string(""); break;
      case 'E': put_execute(out); break;
      case 'C': put_close_statement(out, "name"); break;
      case 'S': put_sync(out); break;
      case 'd': Writer(out, 'd').bytes("1\n"); break;
      case 'c': Writer(out, 'c'); break;
      default: break;
    }
  }
  return out;
}

struct End {
  std::string to_client, to_server;
  bool over = false, reset = false, idle = false;
  friend bool operator==(const End&, const End&) = default;
};

End play(const std::string& requests, Bytes answers, bool settings, std::size_t step) {
  protocol::SqlCache texts{1 << 16};
  GroupBooks books(1 << 20, texts);
  const tiers::Tenant tenant;
  TenantStatements statements;
  PinBook pins(tenant);
  CeilingGuard guard(tenant);
  ServerCore server(books.settings.empty());
  SettingsMap::Values values;
  if (settings) values = {{"work_mem", "8MB"}};
  SessionCore core(books, statements, pins, guard, books.settings.intern(values));
  Actions out;
  End end;
  std::string held = requests;
  core.client_bytes(held, out);
  held.erase(0, out.consumed);
  if (!out.ask_server) return end;
  out.clear();
  core.granted(server, held, out);
  end.to_server = out.to_server.text();
  held.erase(0, out.consumed);
  while (!answers.empty() && core.state() == SessionCore::State::Linked) {
    const std::string part(answers.substr(0, step));
    answers.remove_prefix(part.size());
    out.clear();
    core.server_bytes(part, out);
    PGWEIR_CHECK(out.consumed == 0);
    end.reset = out.reset_client;
    end.over = out.close_client || out.reset_client;
    if (!end.reset) end.to_client += out.to_client.text();
    end.idle = core.state() == SessionCore::State::Idle;
    if (out.server == Actions::Server::Release)
      PGWEIR_CHECK(server.quiet() && server.ops.empty() && server.pipeline.owed() == 0);
    PGWEIR_CHECK((core.state() == SessionCore::State::Linked) == (out.server == Actions::Server::Keep));
  }
  // A sequence of messages, of which the last may be unfinished: then nothing was added behind it.
  Bytes seen = end.to_client;
  while (seen.size() >= kHeaderBytes) {
    Frame frame;
    PGWEIR_CHECK(read_header(seen, server_message_limit, frame));
    if (seen.size() < frame.size) break;
    seen.remove_prefix(frame.size);
  }
  if (!seen.empty()) PGWEIR_CHECK(!end.over || end.reset);
  out.clear();
  core.client_gone(out);
  return end;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input(reinterpret_cast<const char*>(data), size);
  const std::size_t line = input.find('\n');
  if (line == Bytes::npos) return 0;
  const std::string requests = requests_of(input.substr(0, line));
  const Bytes answers = input.substr(line + 1);
  const bool settings = input.substr(0, line).find('!') != Bytes::npos;
  const End whole = play(requests, answers, settings, answers.size());
  const End cut = play(requests, answers, settings, 1);
  PGWEIR_CHECK(whole.to_server == cut.to_server);
  // A server that goes on talking behind the end of the transaction is heard only if that came in one piece.
  if (!cut.idle && !whole.reset && !cut.reset) PGWEIR_CHECK(whole == cut);
  return 0;
}
