#include "pooler/http_service.h"

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "pooler/console.h"
#include "pooler/console_report.h"
#include "pooler/console_show.h"
#include "pooler/http_api.h"
#include "pooler/http_gate.h"
#include "pooler/http_json.h"
#include "pooler/http_page.h"
#include "pooler/http_sampler.h"
#include "pooler/limit_report.h"
#include "pooler/metrics.h"
#include "pooler/metrics_gather.h"
#include "pooler/shared.h"
#include "pooler/tier_control.h"
#include "pooler/worker.h"

namespace pgweir {

using http::Page;
using http::Request;
using http::Response;
using Reply = http::Server::Reply;

namespace {

constexpr const char* kExpositionType = "text/plain; version=0.0.4; charset=utf-8";

// Each worker in turn passes the question on, so the last one has the answer.
void ask_if_alive(Shared& shared, std::size_t index, const Reply& reply) {
  if (index == shared.workers.size()) return reply({200, "alive\n"});
  shared.workers[index]->loop().post([&shared, index, reply] { ask_if_alive(shared, index + 1, reply); });
}

console::StoreRow row_of(const TierControl::Figures& figures) {
  const auto& totals = figures.totals;
  return {.lookups = totals.asked,
          .fetches = totals.fetched,
          .failures = totals.failed,
          .refused = totals.refused,
          .known = figures.known,
          .stale = figures.stale,
          .silent = figures.silent,
          .usage_failures = figures.usage_failures,
          .usage_late = figures.usage_late};
}

Response readiness(const Shared& shared) {
  const std::string missing = shared.readiness.missing();
  if (missing.empty()) return {200, "ready\n"};
  return {503, "not ready: " + missing + "\n"};
}

}  // namespace

// Lives on the first worker's thread.
class HttpService::Scraper : public std::enable_shared_from_this<HttpService::Scraper> {
 public:
  Scraper(Shared& shared, DeploymentLabels deployment)
      : shared_(shared), deployment_(std::move(deployment)) {}

  void handle(const Reply& reply) {
    asked_.push_back(reply);
    if (asked_.size() == 1) look_at_store();
  }

 private:
  void look_at_store() {
    if (!shared_.tiers) {
      suspended_ = shared_.workers[0]->snapshot().directory.suspended().size();
      return scrape();
    }
    shared_.tiers->figures(shared_.workers[0]->loop(),
                           [self = shared_from_this()](const TierControl::Figures& figures) {
                             self->store_ = row_of(figures);
                             self->suspended_ = figures.suspended;
                             self->scrape();
                           });
  }
  void scrape() {
    Worker& first = *shared_.workers[0];
    const std::size_t most = first.config().metrics_tenants;
    metrics::gather(first, most, [self = shared_from_this(), most](std::vector<metrics::Sample> parts) {
      self->write(std::move(parts), most);
    });
  }
  // Large texts are not made on the loop.
  void write(std::vector<metrics::Sample> parts, std::size_t most) {
    Worker& first = *shared_.workers[0];
    auto samples = std::make_shared<std::vector<metrics::Sample>>(std::move(parts));
    auto text = std::make_shared<std::string>();
    metrics::Surroundings around{console::backends(first),
                                 console::breakers(first),
                                 first.config().max_clients,
                                 first.snapshot().directory.tenants().size(),
                                 first.snapshot().users.size(),
                                 suspended_,
                                 store_,
                                 deployment_};
    first.loop().offload(
        [self = shared_from_this(), samples, text, most, around = std::move(around)] {
          *text = metrics::text(metrics::unite(std::move(*samples), most), around, self->rest_);
        },
        [self = shared_from_this(), text] {
          for (const Reply& reply : std::exchange(self->asked_, {})) reply({200, *text, kExpositionType});
        });
  }

  Shared& shared_;
  const DeploymentLabels deployment_;
  std::vector<Reply> asked_;                // not empty: a scrape is under way
  std::optional<console::StoreRow> store_;  // as it was when that began
  std::size_t suspended_ = 0;               // as well
  metrics::Rest rest_;                      // touched by the one scrape there is
};

// Lives there, too.
class HttpService::Api : public std::enable_shared_from_this<HttpService::Api> {
 public:
  static constexpr std::size_t kGatheringsMax = 4;

  explicit Api(Worker& first) : first_(first), sampler_(std::make_shared<HttpSampler>(first)) {}
  void start() { sampler_->start(); }

  void handle(const Request& request, const Reply& reply) {
    const auto parsed = http::parse_call(request);
    if (const auto* const response = std::get_if<Response>(&parsed)) return reply(*response);
    const auto& call = std::get<http::Call>(parsed);
    switch (call.resource) {
      case Resource::Document: return reply(http::openapi());
      case Resource::Version: return reply({200, http::version_json(), http::kJson});
      case Resource::Backends:
        return reply({200, http::backends_json(console::backends(first_)), http::kJson});
      case Resource::Overview:
        return write(
            [overview = sampler_->latest()] {
              return Response{200, http::overview_json(*overview), http::kJson};
            },
            reply);
      case Resource::Limits: return limits(call.name, reply);
      case Resource::Tenant:
      case Resource::Tenants: return gather(call, Table::Tenants, reply);
      case Resource::Tiers: return gather(call, Table::Tiers, reply);
      case Resource::Pools: return gather(call, Table::Pools, reply);
      case Resource::Waiters: return gather(call, Table::Clients, reply);
      case Resource::Workers: return gather(call, Table::Workers, reply);
      case Resource::Breakers: return gather(call, Table::Breakers, reply);
    }
  }

 private:
  using Table = console::Table;
  using Resource = http::Resource;

  // Off the loop.
  void write(const std::function<Response()>& make, const Reply& reply) {
    auto response = std::make_shared<Response>();
    first_.loop().offload([make, response] { *response = make(); },
                          [response, reply] { reply(std::move(*response)); });
  }
  // False: others ask already, which is told.
  bool begin_to_gather(const Reply& reply) {
    if (gatherings_ == kGatheringsMax) {
      Response busy = http::problem(503, "Service unavailable", "Others ask already. Ask again in a second.");
      busy.headers = {{"Retry-After", "1"}};
      reply(busy);
      return false;
    }
    ++gatherings_;
    return true;
  }
  void limits(const std::string& tenant, const Reply& reply) {
    if (is_console_database(tenant))
      return reply(http::problem(404, "Not found", "That is the console, no tenant."));
    if (!begin_to_gather(reply)) return;
    console::gather_limits(
        first_, tenant,
        [self = shared_from_this(), tenant, reply](const Expected<std::vector<console::LimitView>>& rows) {
          --self->gatherings_;
          reply(http::limits_answer(tenant, rows));
        });
  }
  void gather(const http::Call& call, Table table, const Reply& reply) {
    if (!begin_to_gather(reply)) return;
    auto response = std::make_shared<Response>();
    const auto write = [call, response, beside = console::beside(first_, {})](const console::Report& report) {
      *response = http::answer(call, report, beside);
      return std::string();
    };
    console::gather(first_, table, {}, write,
                    [self = shared_from_this(), response, reply](const std::string&) {
                      --self->gatherings_;
                      reply(std::move(*response));
                    });
  }

  Worker& first_;
  std::shared_ptr<HttpSampler> sampler_;
  std::size_t gatherings_ = 0;
};

HttpService::~HttpService() = default;

Expected<std::unique_ptr<HttpService>> HttpService::start(const std::vector<int>& fds, Shared& shared,
                                                          DeploymentLabels deployment) {
  std::unique_ptr<HttpService> service(new HttpService);
  Worker& first = *shared.workers[0];
  service->scraper_ = std::make_shared<Scraper>(shared, std::move(deployment));
  service->api_ = std::make_shared<Api>(first);
  if (!fds.empty()) first.loop().post([api = service->api_] { api->start(); });
  const auto guarded = [&first, gate = std::make_shared<HttpGate>(first)](const Request& request, Page page,
                                                                          const Reply& reply, auto then) {
    first.loop().post([gate, request, page, reply, then] { gate->pass(request, page, reply, then); });
  };
  const auto handle = [&shared, guarded, scraper = service->scraper_, api = service->api_](
                          const Request& request, const Reply& reply) {
    const auto routed = http::route(request);
    if (const auto* const response = std::get_if<Response>(&routed)) return reply(*response);
    switch (const Page page = std::get<Page>(routed)) {
      case Page::Alive: return ask_if_alive(shared, 0, reply);
      case Page::Ready: return reply(readiness(shared));
      case Page::Metrics: return guarded(request, page, reply, [scraper, reply] { scraper->handle(reply); });
      case Page::Status: return guarded(request, page, reply, [reply] { reply(http::status_page()); });
      case Page::Api: {
        const auto as_json = [reply](const Response& response) {
          const bool plain = response.status >= 400 && std::string_view(response.type).starts_with("text/");
          reply(plain ? http::as_problem(response) : response);
        };
        return guarded(request, page, as_json, [api, request, as_json] { api->handle(request, as_json); });
      }
    }
  };
  auto server = http::Server::start(fds, handle);
  if (!server) return tl::unexpected(server.error());
  service->server_ = std::move(*server);
  return service;
}

}  // namespace pgweir
