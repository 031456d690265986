#include "protocol/sql.h"
#include "protocol/sql_values.h"

namespace pgweir::protocol {

using Kind = SqlStatement::Kind;

bool SqlChanges::leave_something() const {
  return !settings.empty() || any_setting || temp || hold_cursor || advisory_lock || listens || opaque ||
         unfollowable;
}

bool SqlChanges::concern_session() const {
  return leave_something() || temp_path || advisory_unlock || unlistens || reads_sequence;
}

void SqlChanges::add(const SqlChanges& other) {
  add_settings(other.settings);
  add_local_settings(other.local_settings);
  add_flags(other);
}

void SqlChanges::add_settings(const std::vector<std::string>& names) {
  for (const std::string& setting : names) add_setting(*this, setting);
}

void SqlChanges::add_local_settings(const std::vector<std::string>& names) {
  for (const std::string& setting : names) add_local_setting(*this, setting);
}

void SqlChanges::add_flags(const SqlChanges& other) {
  any_setting |= other.any_setting;
  any_local |= other.any_local;
  temp |= other.temp;
  temp_gone |= other.temp_gone;
  temp_path |= other.temp_path;
  hold_cursor |= other.hold_cursor;
  cursor_gone |= other.cursor_gone;
  advisory_lock |= other.advisory_lock;
  advisory_unlock |= other.advisory_unlock;
  listens |= other.listens;
  unlistens |= other.unlistens;
  reads_sequence |= other.reads_sequence;
  opaque |= other.opaque;
  unfollowable |= other.unfollowable;
}

SqlChanges SqlChanges::anything() {
  SqlChanges all;
  all.any_setting = all.any_local = all.temp = all.temp_gone = all.temp_path = all.hold_cursor =
      all.cursor_gone = all.advisory_lock = all.advisory_unlock = all.listens = all.unlistens = all.opaque =
          all.unfollowable = true;
  return all;
}

const char* name(SqlStatement::Kind kind) {
  switch (kind) {
    case Kind::Other: return "Other";
    case Kind::Begin: return "Begin";
    case Kind::Commit: return "Commit";
    case Kind::Rollback: return "Rollback";
    case Kind::Savepoint: return "Savepoint";
    case Kind::RollbackTo: return "RollbackTo";
    case Kind::Release: return "Release";
    case Kind::PrepareTransaction: return "PrepareTransaction";
    case Kind::CommitPrepared: return "CommitPrepared";
    case Kind::RollbackPrepared: return "RollbackPrepared";
    case Kind::Set: return "Set";
    case Kind::SetLocal: return "SetLocal";
    case Kind::SetTransaction: return "SetTransaction";
    case Kind::Reset: return "Reset";
    case Kind::ResetAll: return "ResetAll";
    case Kind::Prepare: return "Prepare";
    case Kind::Execute: return "Execute";
    case Kind::Deallocate: return "Deallocate";
    case Kind::DeallocateAll: return "DeallocateAll";
    case Kind::Listen: return "Listen";
    case Kind::Unlisten: return "Unlisten";
    case Kind::UnlistenAll: return "UnlistenAll";
    case Kind::Notify: return "Notify";
    case Kind::Declare: return "Declare";
    case Kind::DeclareHold: return "DeclareHold";
    case Kind::Close: return "Close";
    case Kind::CloseAll: return "CloseAll";
    case Kind::DiscardAll: return "DiscardAll";
    case Kind::DiscardPlans: return "DiscardPlans";
    case Kind::DiscardSequences: return "DiscardSequences";
    case Kind::DiscardTemp: return "DiscardTemp";
    case Kind::CreateTemp: return "CreateTemp";
    case Kind::Drop: return "Drop";
    case Kind::EmptyDatabase: return "EmptyDatabase";
    case Kind::Load: return "Load";
    case Kind::Do: return "Do";
    case Kind::Call: return "Call";
  }
  return "?";
}

}  // namespace pgweir::protocol
