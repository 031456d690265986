// pooler/console_backends.cc - SHOW of threads and of backends.
#include "pooler/console_table.h"

namespace pgweir::console {

namespace {

using Thread = Figure<WorkerRow>;
constexpr std::array kWorkers{
    Thread{"worker", kI, &WorkerRow::worker},
    Thread{
        "tenants", kI, &WorkerRow::tenants, {kGauge, "worker_tenants", "Tenants that the worker remembers."}},
    Thread{"groups",
           kI,
           &WorkerRow::groups,
           {kGauge, "worker_groups", "Groups of servers that are the same to Postgres."}},
    Thread{"clients", kI, &WorkerRow::clients, {kGauge, "worker_clients", "Clients that are logged in."}},
    Thread{"waiting",
           kI,
           &WorkerRow::waiting,
           {kGauge, "worker_clients_waiting",
            "Those of them that wait for a server, or for their tenant's rate."}},
    Thread{
        "logins", kI, &WorkerRow::logins, {kGauge, "worker_logins", "Connections that are about to log in."}},
    Thread{"consoles", kI, &WorkerRow::consoles, {kGauge, "worker_consoles", "Connections to the console."}},
    Thread{"servers", kI, &WorkerRow::servers, {kGauge, "worker_servers", "Connections to Postgres."}},
    Thread{"texts_by_words",
           kN,
           &WorkerRow::texts_by_words,
           {kCounter, "worker_texts_by_words", "SQL texts whose words cannot change a session."}},
    Thread{"texts_remembered",
           kN,
           &WorkerRow::texts_remembered,
           {kCounter, "worker_texts_remembered", "SQL texts that had been parsed before."}},
    Thread{"texts_parsed",
           kN,
           &WorkerRow::texts_parsed,
           {kCounter, "worker_texts_parsed", "SQL texts that were parsed to see what they do to a session."}},
};

using Backend = Figure<BackendRow>;
constexpr std::array kBackends{
    Backend{"name", kS, &BackendRow::name},
    Backend{"host", kS, &BackendRow::host},
    Backend{"port", kI, &BackendRow::port},
    Backend{"current_connections",
            kI,
            &BackendRow::servers,
            {kGauge, "backend_server_connections", "Connections to this Postgres, over all tenants."}},
    Backend{"max_connections",
            kI,
            &BackendRow::most,
            {kGauge, "backend_max_server_connections", "Connections to it that are allowed."}},
    Backend{"starved",
            kI,
            &BackendRow::starved,
            {kGauge, "backend_starved", "1 while somebody waits for a connection to it because of that."}},
    Backend{"target_session_attrs", kS, &BackendRow::target_session_attrs},
    Backend{"hosts", kS, &BackendRow::hosts},
};

using Fuse = Figure<BreakerRow>;
constexpr std::array kBreakers{
    Fuse{"backend", kS, &BreakerRow::backend},
    Fuse{"database", kS, &BreakerRow::database},
    Fuse{"user", kS, &BreakerRow::user},
    Fuse{"state",
         kS,
         [](const BreakerRow& row) -> Text { return Breaker::name(row.state); },
         {kGauge, "breaker_state",
          "State of the backend's circuit breaker: 0 closed, 1 half-open (a probe is under way), 2 open."},
         [](const BreakerRow& row) { return static_cast<double>(row.state); }},
    Fuse{"mode", kS, [](const BreakerRow& row) -> Text { return row.ordered ? "ordered" : "auto"; }},
    Fuse{"failures", kI, &BreakerRow::failures},
    Fuse{"of", kI, &BreakerRow::volume},
    Fuse{"opened",
         kN,
         &BreakerRow::opened,
         {kCounter, "breaker_opened", "How often the backend's circuit breaker has opened."}},
    Fuse{"failed",
         kN,
         &BreakerRow::failed,
         {kCounter, "breaker_failures", "Logins that the backend has failed, and servers of it that died."}},
    Fuse{"rejected",
         kN,
         &BreakerRow::rejected,
         {kCounter, "breaker_rejected",
          "Requests refused because the backend's breaker, or one of its databases and users, was open."}},
    Fuse{"next_try_s", kN, &BreakerRow::next_try_s},
    Fuse{"last_error", kS, &BreakerRow::last_error},
};

// No SHOW has it.
using Store = Figure<StoreRow>;
constexpr std::array kStore{
    Store{nullptr,
          0,
          &StoreRow::lookups,
          {kCounter, "tenant_store_lookups", "Times that a worker asked for a tenant's record."}},
    Store{nullptr,
          0,
          &StoreRow::fetches,
          {kCounter, "tenant_store_fetches", "Rows that the tenant store was asked for."}},
    Store{nullptr,
          0,
          &StoreRow::failures,
          {kCounter, "tenant_store_failures", "Rows that it was asked for and did not answer."}},
    Store{nullptr,
          0,
          &StoreRow::refused,
          {kCounter, "tenant_store_rows_refused", "Rows of it with wrong values, which are not followed."}},
    Store{nullptr,
          0,
          &StoreRow::known,
          {kGauge, "tenant_store_known_tenants", "Tenants of which a row of it is known."}},
    Store{nullptr,
          0,
          &StoreRow::stale,
          {kGauge, "tenant_store_stale_tenants",
           "Tenants with clients that are held to the default tier, since it has told nothing of them for "
           "tenant_store.stale_max."}},
    Store{nullptr,
          0,
          [](const StoreRow& row) -> Text { return whole_seconds(row.silent); },
          {kGauge, "tenant_store_silent_seconds",
           "For how long it has answered nothing that it was asked for; 0 while it answers.", "", kMicro},
          [](const StoreRow& row) { return static_cast<double>(row.silent.count()); }},
    Store{nullptr,
          0,
          &StoreRow::usage_failures,
          {kCounter, "tenant_store_usage_failures",
           "Rows of usage that it was told and did not take, which are told again, and what was lost of "
           "tenants "
           "beyond 200,000 on a day."}},
    Store{nullptr,
          0,
          [](const StoreRow& row) -> Text { return whole_seconds(row.usage_late); },
          {kGauge, "tenant_store_usage_late_seconds",
           "For how long it lacks usage that it did not take; 0 while it takes all.", "", kMicro},
          [](const StoreRow& row) { return static_cast<double>(row.usage_late.count()); }},
};

}  // namespace

std::vector<Sampled> samples(const WorkerRow& row) { return sample_table(kWorkers, row); }
std::vector<Sampled> samples(const BackendRow& row) { return sample_table(kBackends, row); }
std::vector<Sampled> samples(const BreakerRow& row) { return sample_table(kBreakers, row); }
std::vector<Sampled> samples(const StoreRow& row) { return sample_table(kStore, row); }
std::vector<Cell> cells(const WorkerRow& row) { return table_cells(kWorkers, row); }
std::vector<Cell> cells(const BackendRow& row) { return table_cells(kBackends, row); }
std::vector<Cell> cells(const BreakerRow& row) { return table_cells(kBreakers, row); }

void put_workers(std::string& out, std::span<const WorkerRow> rows) { put_table(out, kWorkers, rows); }
void put_backends(std::string& out, std::span<const BackendRow> rows) { put_table(out, kBackends, rows); }
void put_breakers(std::string& out, std::span<const BreakerRow> rows) { put_table(out, kBreakers, rows); }

}  // namespace pgweir::console
