// pooler/session_replication.cc - SessionCore: a client that has asked for a walsender (replication=true or
// database), with a server of its own.
#include <algorithm>
#include <array>

#include "pooler/base/check.h"
#include "pooler/session_core.h"
#include "pooler/session_parts.h"

namespace pgweir {

namespace {
// What a walsender's own grammar begins with (Postgres, repl_scanner.l), in upper case only. A version that
// does not know one of them takes it for SQL, which none begins with.
constexpr std::array<Bytes, 10> kCommands = {
    "IDENTIFY_SYSTEM",         "READ_REPLICATION_SLOT", "BASE_BACKUP",      "START_REPLICATION",
    "CREATE_REPLICATION_SLOT", "DROP_REPLICATION_SLOT", "TIMELINE_HISTORY", "SHOW",
    "ALTER_REPLICATION_SLOT",  "UPLOAD_MANIFEST"};

bool continues_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool is_command(Bytes text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t\n\r\f\v"), text.size()));
  return std::any_of(kCommands.begin(), kCommands.end(), [text](Bytes word) {
    return text.starts_with(word) && !continues_name(text.size() > word.size() ? text[word.size()] : '\0');
  });
}

Error unwatched() {
  return {sqlstate::kFeatureNotSupported,
          "code cannot be run on a replication connection of a tier with ceilings",
          "What it sets could not be asked for afterwards.", "Run it on an ordinary connection."};
}
}  // namespace

void SessionCore::demand(Actions& out) {
  PGWEIR_CHECK(state_ == State::Idle && walsender());
  if (!pin_book_->has_room()) return fail(pin_book_->refuse(pin::kReplication), out);
  claim();
  state_ = State::Waiting;
  out.ask_server = true;
}

void SessionCore::dedicated(ServerCore& server) {
  PGWEIR_CHECK(state_ == State::Waiting && walsender() && server_ == nullptr);
  PGWEIR_CHECK(server.clean() && server.ops.empty());
  server_ = &server;
  state_ = State::Linked;
  server.pipeline.expect_streams();
  server.applied = wanted_;
  server.last_client = number_;
  server.code_epoch = books_->routines.epoch();
  set_pins(pin::kReplication);
}

bool SessionCore::commands(Bytes text) { return is_command(sql_of(text)); }

// Its commands are not ours to judge. SQL is held to ceilings like any other, but for what would have to be
// asked for afterwards, which is not run.
std::unique_ptr<Ruling> SessionCore::refuse_unwatched(std::unique_ptr<Ruling> ruling) const {
  if (ruling && ruling->refused) return ruling;
  if (!guard_->inspects() || commanding_ || !suspicion_ || !suspicion_->held) return ruling;
  ruling = std::make_unique<Ruling>();
  ruling->refused = unwatched();
  return ruling;
}

// The client sees what it would see without us: Postgres has said why, or nothing.
void SessionCore::walsender_gone(Actions& out) {
  (at_boundary() ? out.close_client : out.reset_client) = true;
  out.reason = "server connection lost";
  unlink(Actions::Server::Drop, out);
}

}  // namespace pgweir
