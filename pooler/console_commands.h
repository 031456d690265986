// pooler/console_commands.h - what administrators' commands do on one worker, on its thread.
//
// `record` is the database that a command names; null: all of them.
#pragma once

#include <cstdint>

#include "tiers/tier.h"

namespace pgweir {
class Worker;
}

namespace pgweir::console {

// Pauses it, drops its clients, and closes its servers.
void kill(Worker& worker, const tiers::Tenant* record);
// False: there is no such client here.
bool kill_client(Worker& worker, std::uint32_t id);
// Its servers are closed: idle ones now, others as they come free.
void reconnect(Worker& worker, const tiers::Tenant* record);
// Since SUSPEND all that was read has been passed on.
bool all_flushed(const Worker& worker);
// Ends the sessions of which that is not so.
void drop_unflushed(Worker& worker);
// None of its servers is waiting to be closed.
bool all_closed(const Worker& worker, const tiers::Tenant* record);

}  // namespace pgweir::console
