#include "pooler/metrics.h"

#include <fmt/format.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <tuple>
#include <utility>

#include "pooler/version.h"
#include "tiers/limit.h"

namespace pgweir::metrics {

namespace {

using console::Metric;
using console::PoolRow;
using console::Sampled;
using Labels = std::vector<prometheus::ClientMetric::Label>;

// By load; of equal ones those with more clients, then by name, so that a scrape tells the same as the last.
bool before(const Standing& a, const Standing& b) {
  if (a.busy_us != b.busy_us) return a.busy_us > b.busy_us;
  return a.clients != b.clients ? a.clients > b.clients : a.name < b.name;
}
Standing standing(const TenantSample& one) { return {one.busy_us, one.database.clients, one.name}; }

class Families {
 public:
  void gauge(const std::string& name, std::string_view help, Labels labels, double value) {
    add(name, help, prometheus::MetricType::Gauge, std::move(labels)).gauge.value = value;
  }
  void counter(const std::string& name, std::string_view help, Labels labels, double value) {
    add(name, help, prometheus::MetricType::Counter, std::move(labels)).counter.value = value;
  }
  void metric(const std::string& name, const Sampled& sampled, Labels labels) {
    if (*sampled.metric->label != '\0')
      labels.push_back({sampled.metric->label, sampled.metric->label_value});
    if (sampled.metric->kind == Metric::Kind::Counter)
      counter(name, sampled.metric->help, std::move(labels), sampled.value);
    else
      gauge(name, sampled.metric->help, std::move(labels), sampled.value);
  }
  // Under its own name, if it has one.
  void ours(const char* prefix, const Sampled& sampled, Labels labels) {
    if (*sampled.metric->name == '\0') return;
    const bool counts = sampled.metric->kind == Metric::Kind::Counter;
    metric(fmt::format("{}{}{}", prefix, sampled.metric->name, counts ? "_total" : ""), sampled,
           std::move(labels));
  }
  // Under that of PgBouncer's exporter, if it has one there.
  void theirs(const Sampled& sampled, Labels labels) {
    if (*sampled.metric->pgbouncer != '\0') metric(sampled.metric->pgbouncer, sampled, std::move(labels));
  }
  // Buckets with bounds in [least_us, most_us], and the rest.
  void histogram(const std::string& name, std::string_view help, Labels labels, const Histogram& counted,
                 std::uint64_t least_us = 0,
                 std::uint64_t most_us = std::numeric_limits<std::uint64_t>::max()) {
    auto& shown = add(name, help, prometheus::MetricType::Histogram, std::move(labels)).histogram;
    for (std::size_t i = 0; i < Histogram::kBuckets; ++i) {
      shown.sample_count += counted.counts()[i];
      if (i == Histogram::kBoundsUs.size()) break;
      const std::uint64_t bound = Histogram::kBoundsUs[i];
      if (bound >= least_us && bound <= most_us)
        shown.bucket.push_back({shown.sample_count, static_cast<double>(bound) / 1e6});
    }
    shown.bucket.push_back({shown.sample_count, std::numeric_limits<double>::infinity()});
    shown.sample_sum = static_cast<double>(counted.sum_us()) / 1e6;
  }
  std::string text() const { return prometheus::TextSerializer().Serialize(all_); }

 private:
  prometheus::ClientMetric& add(const std::string& name, std::string_view help, prometheus::MetricType type,
                                Labels labels) {
    const auto [place, fresh] = places_.try_emplace(name, all_.size());
    if (fresh) all_.push_back({name, std::string(help), type, {}});
    prometheus::ClientMetric& metric = all_[place->second].metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }

  std::vector<prometheus::MetricFamily> all_;
  std::map<std::string, std::size_t, std::less<>> places_;
};

// "password: a wrong one; name: ..."
std::string help_of_refusals() {
  std::string text =
      "Logins that were refused, by reason; tier \"\" has those for which no tenant was known.";
  for (const LoginRefusalRow& row : kLoginRefusals)
    text += fmt::format("{} {}: {}", &row == kLoginRefusals.data() ? "" : ";", row.name, row.help);
  return text + ".";
}
std::string help_of_failed() {
  std::string names;
  for (const LoginRefusalRow& row : kLoginRefusals)
    if (row.fault == LoginRefusalRow::Fault::Service) names += fmt::format(" {}", row.name);
  return "Of the refused logins, those that are the service's fault, by their reason:" + names + ".";
}

// Every reason of every tier, from the start: a counter that begins at 1 has no rate.
void put_refused(Families& out, const std::string& tier, const RefusedLogins& refused) {
  for (std::size_t i = 0; i < refused.size(); ++i)
    out.counter("pgweir_logins_refused_total", help_of_refusals(),
                {{"tier", label(tier)}, {"reason", std::string(kLoginRefusals[i].name)}},
                static_cast<double>(refused[i]));
  out.counter("pgweir_logins_failed_total", help_of_failed(), {{"tier", label(tier)}},
              static_cast<double>(failed(refused)));
}

void put_tier(Families& out, const std::string& tier, const TierSample& sample, const PoolRow& pools) {
  const Labels labels{{"tier", label(tier)}};
  out.gauge("pgweir_tenants", "Tenants of the tier that are remembered: in use, or lately.", labels,
            static_cast<double>(sample.tenants));
  for (const Sampled& one : console::samples(pools)) out.ours("pgweir_", one, labels);
  for (const Sampled& one : console::samples(sample.meter.total)) out.ours("pgweir_", one, labels);
  const TierMeter& meter = sample.meter;
  console::PinRow pins = sample.pins;
  pins.totals = {meter.total.pinned, meter.total.unpinned, meter.total.pin_hits};
  for (const Sampled& one : console::samples(pins)) out.ours("pgweir_", one, labels);
  put_refused(out, tier, sample.refused_logins);
  for (const auto& [parameter, counts] : meter.ceilings) {
    console::CeilingRow row;
    row.count(counts);
    for (const Sampled& one : console::samples(row))
      out.ours("pgweir_", one, {{"tier", label(tier)}, {"parameter", label(parameter)}});
  }
  out.counter("tenant_tier_promotion_total", "Tenants that came to the tier from a lower one.", labels,
              static_cast<double>(meter.promotions));
  out.counter("tenant_tier_demotion_total", "Tenants that came to the tier from a higher one.", labels,
              static_cast<double>(meter.demotions));
  out.counter("pgweir_tenant_suspended_total",
              "Tenants of the tier that were suspended while they had clients.", labels,
              static_cast<double>(meter.suspensions));
  for (const tiers::LimitRow& row : tiers::kLimits) {
    const Labels which{{"tier", label(tier)}, {"limit", std::string(row.key)}};
    const auto hits = static_cast<double>(meter.total.*hits_of(row.limit));
    out.gauge("tenant_resource_limit_hits",  // this name has no _total behind
              "Times that a client of the tier's tenants has run into a limit.", which, hits);
  }
  out.histogram("pgweir_query_duration_seconds", "How long requests ran on servers.", labels, meter.query);
  out.histogram("pgweir_transaction_duration_seconds", "How long transactions held their servers.", labels,
                meter.transaction);
  out.histogram("pgweir_wait_duration_seconds",
                "How long clients waited for a server, most of them not at all.", labels, meter.wait);
  out.histogram("pgweir_wake_duration_seconds",
                "How long the first client waited for a Postgres to which no server was connected.", labels,
                meter.wake);
  out.histogram("pgweir_connect_duration_seconds",
                "How long clients took from their connection to the end of their login.", labels,
                meter.connect);
  out.histogram("db_query_duration_seconds", "How long requests ran on servers.", labels, meter.query, 1'000,
                1'000'000);
  out.gauge("db_connections_active", "Server connections that a client holds, or that listen for several.",
            labels, pools.sv_active);
}

// With the platform's names, too.
void put_breaker(Families& out, const console::BreakerRow& breaker) {
  const std::string backend = label(breaker.backend);
  for (const Sampled& one : console::samples(breaker)) out.ours("pgweir_", one, {{"backend", backend}});
  for (const char* state : Breaker::kStateNames)
    out.gauge("circuit_breaker_state", "1 for the state that the backend's circuit breaker is in.",
              {{"backend", backend}, {"state", state}},
              std::string_view(Breaker::name(breaker.state)) == state ? 1 : 0);
  out.counter("circuit_breaker_failures_total",
              "Logins that the backend has failed, and servers of it that died.", {{"backend", backend}},
              static_cast<double>(breaker.failed));
}

void put_tenant(Families& out, const TenantSample& tenant) {
  const std::string name = label(tenant.name);
  const Labels ours{{"tenant", name}, {"tier", label(tenant.tier)}}, theirs{{"database", name}};
  const console::DatabaseRow& row = tenant.database;
  const Labels database{{"name", name},
                        {"host", label(row.host)},
                        {"port", std::to_string(row.port)},
                        {"database", label(row.database)},
                        {"force_user", label(row.force_user.value_or(""))},
                        {"pool_mode", std::string(tiers::name(row.pool_mode))}};
  for (const Sampled& one : console::samples(tenant.pool())) out.ours("pgweir_tenant_", one, ours);
  for (const auto& [user, pool] : tenant.pools)
    for (const Sampled& one : console::samples(pool))
      out.theirs(one, {{"database", name}, {"user", label(user)}});
  for (const Sampled& one : console::samples(tenant.total)) {
    out.ours("pgweir_tenant_", one, ours);
    out.theirs(one, theirs);
  }
  for (const Sampled& one : console::samples(row)) {
    out.ours("pgweir_tenant_", one, ours);
    out.theirs(one, database);
  }
  out.gauge(
      "pgweir_tenant_breaker_state",
      "State of the circuit breaker of the tenant's database, of its users the one that is worst off: 0 "
      "closed, 1 half-open (a probe is under way), 2 open.",
      ours, static_cast<double>(tenant.breaker));
  out.gauge("tenant_tier_current", "1 for the tier that the tenant has.", ours, 1);
  out.gauge("tenant_queries_per_minute", "Requests of the tenant in the last whole minute.", ours,
            tenant.queries_per_minute);
  // Hours, as platforms want them, are a recording rule: metrics are in seconds.
  out.gauge("tenant_uptime_seconds", "Time since the tenant's first client came, as far as it is remembered.",
            ours, tenant.uptime_s);
}

}  // namespace

std::string label(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const auto byte = [&](std::size_t i) {
      return i < name.size() ? static_cast<unsigned char>(name[i]) : 0u;
    };
    const unsigned first = byte(0);
    const std::size_t size = first < 0x80                    ? 1
                             : first >= 0xc2 && first < 0xe0 ? 2
                             : first >= 0xe0 && first < 0xf0 ? 3
                             : first >= 0xf0 && first < 0xf5 ? 4
                                                             : 0;
    bool good = size > 0;
    for (std::size_t i = 1; i < size; ++i) good = good && (byte(i) & 0xc0) == 0x80;
    // Too long for what they say, surrogates, beyond the last one.
    if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) >= 0xa0) ||
        (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) >= 0x90))
      good = false;
    if (!good) {
      out += fmt::format("\\x{:02x}", first);
    } else if (first == '\\') {
      out += "\\\\";
    } else {
      out.append(name.substr(0, size));
    }
    name.remove_prefix(good ? size : 1);
  }
  return out;
}

console::PoolRow& TenantSample::pool_of(std::string_view user) {
  const auto known = pools.find(user);
  if (known != pools.end()) return known->second;
  return pools[std::string(pools.size() < kUsersMost ? user : kOthers)];
}

console::PoolRow TenantSample::pool() const {
  PoolRow sum;
  for (const auto& [user, row] : pools) sum.add(row);
  return sum;
}

bool Top::before(const Place& a, const Place& b) { return metrics::before(a.standing(), b.standing()); }

void Top::add(const Standing& one) {
  if (most_ == 0 || one.name == kOthers) return;  // that name stands for the others
  if (heap_.size() == most_) {
    if (!metrics::before(one, heap_.front().standing())) return;
    std::pop_heap(heap_.begin(), heap_.end(), before);
    heap_.pop_back();
  }
  heap_.push_back({one.busy_us, one.clients, std::string(one.name)});
  std::push_heap(heap_.begin(), heap_.end(), before);
}

std::vector<std::string> Top::take() {
  std::vector<std::string> names;
  for (Place& place : heap_) names.push_back(std::move(place.name));
  clear();
  return names;
}

Traffic Rest::update(const Traffic& total, std::span<const TenantSample> top) {
  // Forgotten meanwhile and come again, a tenant begins at zero: what it has is new.
  const auto known = [&](const TenantSample& tenant) {
    const auto place = shown_.find(tenant.name);
    return place != shown_.end() && tenant.total.received >= place->second.received ? &place->second
                                                                                    : nullptr;
  };
  const auto set_apart = [&](const Traffic& own) {
    for (const auto sum : Traffic::kSums) {
      const std::uint64_t taken = apart_.*sum + last_.*sum;
      apart_.*sum += std::min(own.*sum, total.*sum > taken ? total.*sum - taken : 0);
    }
  };
  // Those that were shown before first: there is room for all that they have done since.
  for (const TenantSample& tenant : top)
    if (const Traffic* before = known(tenant)) set_apart(tenant.total - *before);
  for (const TenantSample& tenant : top)
    if (!known(tenant)) set_apart(tenant.total);
  std::map<std::string, Traffic, std::less<>> shown;
  for (const TenantSample& tenant : top) shown.emplace(tenant.name, tenant.total);
  shown_ = std::move(shown);
  for (const auto sum : Traffic::kSums) last_.*sum = std::max(last_.*sum, total.*sum - apart_.*sum);
  return last_;
}

Sample unite(std::vector<Sample> parts, std::size_t most) {
  Sample all;
  std::vector<TenantSample> tenants;
  for (Sample& part : parts) {
    for (const auto& [name, tier] : part.tiers) {
      TierSample& sum = all.tiers[name];
      sum.tenants += tier.tenants;
      sum.meter += tier.meter;
      sum.rest.add(tier.rest);
      sum.pins.add(tier.pins);
      add(sum.refused_logins, tier.refused_logins);
    }
    add(all.refused_nameless, part.refused_nameless);
    all.pools += part.pools;
    all.workers.insert(all.workers.end(), part.workers.begin(), part.workers.end());
    std::move(part.top.begin(), part.top.end(), std::back_inserter(tenants));
  }
  std::sort(tenants.begin(), tenants.end(),
            [](const TenantSample& a, const TenantSample& b) { return before(standing(a), standing(b)); });
  for (TenantSample& tenant : tenants) {
    if (all.top.size() < most)
      all.top.push_back(std::move(tenant));
    else
      all.tiers[tenant.tier].rest.add(tenant.pool());
  }
  return all;
}

std::string text(const Sample& sample, const Surroundings& around, Rest& rest) {
  Families out;
  out.gauge("pgweir_build_info", "The version, and always 1.", {{"version", std::string(kVersion)}}, 1);
  if (!around.deployment.empty()) {
    Labels where;
    for (const auto& [name, value] : around.deployment) where.push_back({name, label(value)});
    out.gauge("pgweir_deployment_info", "Where the platform says that this process runs, and always 1.",
              std::move(where), 1);
  }
  out.gauge("pgbouncer_up", "Always 1: the pooler answers.", {}, 1);
  out.gauge("pgbouncer_version_info", "The version, and always 1.", {{"version", std::string(kVersion)}}, 1);

  std::map<std::string, PoolRow> pools;
  PoolRow rest_pools;
  Traffic total;
  for (const auto& [tier, one] : sample.tiers) {
    pools[tier].add(one.rest);
    rest_pools.add(one.rest);
    total += one.meter.total;
  }
  for (const TenantSample& tenant : sample.top) pools[tenant.tier].add(tenant.pool());
  for (const auto& [tier, one] : sample.tiers) put_tier(out, tier, one, pools[tier]);
  put_refused(out, {}, sample.refused_nameless);
  for (const TenantSample& tenant : sample.top) put_tenant(out, tenant);
  const Labels others{{"database", std::string(kOthers)}};
  for (const Sampled& one : console::samples(rest_pools))
    out.theirs(one, {others[0], {"user", std::string(kOthers)}});
  for (const Sampled& one : console::samples(rest.update(total, sample.top))) out.theirs(one, others);

  console::WorkerRow sum;
  for (const console::WorkerRow& worker : sample.workers) {
    for (const Sampled& one : console::samples(worker))
      out.ours("pgweir_", one, {{"worker", std::to_string(worker.worker)}});
    sum.clients += worker.clients + worker.consoles;
    sum.logins += worker.logins;
    sum.servers += worker.servers;
  }
  for (const console::BackendRow& backend : around.backends)
    for (const Sampled& one : console::samples(backend))
      out.ours("pgweir_", one, {{"backend", label(backend.name)}});
  for (const console::BreakerRow& breaker : around.breakers) put_breaker(out, breaker);
  if (around.store)
    for (const Sampled& one : console::samples(*around.store)) out.ours("pgweir_", one, {});
  out.gauge(
      "pgweir_suspended_tenants",
      "Suspended tenants that are known: of the configuration, and those that the tenant store has told of.",
      {}, static_cast<double>(around.suspended));
  out.gauge("pgweir_max_clients", "Clients that may be connected at a time (client.max).", {},
            static_cast<double>(around.max_clients));
  out.gauge("pgbouncer_config_max_client_connections", "Clients that may be connected at a time.", {},
            static_cast<double>(around.max_clients));
  out.gauge("pgbouncer_databases", "Databases that are configured.", {},
            static_cast<double>(around.databases));
  out.gauge("pgbouncer_config_max_user_connections",
            "Always 0, which is no limit: connections are bounded by tenant, not by user.", {}, 0);
  out.gauge("pgbouncer_users", "Users that are configured.", {}, static_cast<double>(around.users));
  out.gauge("pgbouncer_pools", "Pairs of a database and a user that have clients.", {},
            static_cast<double>(sample.pools));
  for (const char* name : {"pgbouncer_free_clients", "pgbouncer_free_servers"})
    out.gauge(name, "Always 0: a connection takes memory when it comes and gives it back when it goes.", {},
              0);
  for (const char* name :
       {"pgbouncer_cached_dns_names", "pgbouncer_cached_dns_zones", "pgbouncer_in_flight_dns_queries"})
    out.gauge(name, "Always 0: names are looked up for every connection, and not kept.", {}, 0);
  out.gauge("pgbouncer_used_clients", "Clients, those of the console among them.", {},
            static_cast<double>(sum.clients));
  out.gauge("pgbouncer_login_clients", "Connections that are about to log in.", {},
            static_cast<double>(sum.logins));
  out.gauge("pgbouncer_used_servers", "Connections to Postgres.", {}, static_cast<double>(sum.servers));
  return out.text();
}

}  // namespace pgweir::metrics
