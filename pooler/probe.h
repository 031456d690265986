// pooler/probe.h - asks a Postgres or the tenant store one thing, and waits for the answer: for commands that
// look and exit. Each waits at most for a few seconds. Makes a loop of its own on this thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pooler/base/error.h"
#include "pooler/base/log.h"
#include "pooler/side_connection.h"
#include "pooler/snapshot.h"
#include "tiers/catalog.h"

namespace pgweir {

// What was written at level warn or above, for whoever has no log: "event (key value, key value)".
class LastWarning final : public Log {
 public:
  void write(LogLevel level, std::string_view event, Fields fields) override;
  bool enabled(LogLevel level) const override { return level >= LogLevel::Warn; }
  const std::string& text() const { return text_; }  // of the last one

 private:
  std::string text_;
};

// As whom, and where to.
struct ProbeLogin {
  ServerCredentials credentials;
  std::string database;
};
// One answer for each question. `login` nothing: as the backend's side role, which it must have.
Expected<std::vector<std::vector<SideRow>>> ask_server(const BackendView& backend, const net::Endpoint& host,
                                                       const std::optional<ProbeLogin>& login,
                                                       const std::vector<std::string_view>& questions);
// The first of its hosts that answers: standbys have the roles and settings of their primary.
Expected<std::vector<std::vector<SideRow>>> ask_server(const BackendView& backend,
                                                       const std::optional<ProbeLogin>& login,
                                                       const std::vector<std::string_view>& questions);

// How the servers of a tenant log in. Nothing: only his clients know, or no password that could be shown.
std::optional<ProbeLogin> login_of(const Snapshot& snapshot, const tiers::Tenant& tenant);

// From the tenant store, as for a client that connects; where there is none, from the configuration.
// `complaint`: what the store's connection said, empty where it was well.
tiers::Catalog::Answer find_tenant(const std::shared_ptr<const Snapshot>& snapshot, const std::string& name,
                                   std::string& complaint);
// Whether the tenant store, which there is, takes usage; empty: it does.
std::string try_usage(const std::shared_ptr<const Snapshot>& snapshot);

}  // namespace pgweir
