#include "pooler/http_service.h"

#include <string>
#include <utility>
#include <variant>

#include "pooler/console_report.h"
#include "pooler/metrics.h"
#include "pooler/metrics_gather.h"
#include "pooler/shared.h"
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

Response readiness(const Shared& shared) {
  const std::string missing = shared.readiness.missing();
  if (missing.empty()) return {200, "ready\n"};
  return {503, "not ready: " + missing + "\n"};
}

}  // namespace

// Lives on the first worker's thread.
class HttpService::Scraper : public std::enable_shared_from_this<HttpService::Scraper> {
 public:
  explicit Scraper(Shared& shared) : shared_(shared) {}

  void handle(const Request& request, const Reply& reply) {
    const Worker& first = *shared_.workers[0];
    if (!http::authorized(request, first.config().metrics_token)) return reply(http::unauthorized());
    asked_.push_back(reply);
    if (asked_.size() == 1) scrape();
  }

 private:
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
    metrics::Surroundings around{console::backends(first), first.config().max_clients,
                                 first.snapshot().directory.tenants().size()};
    first.loop().offload(
        [self = shared_from_this(), samples, text, most, around = std::move(around)] {
          *text = metrics::text(metrics::unite(std::move(*samples), most), around, self->rest_);
        },
        [self = shared_from_this(), text] {
          for (const Reply& reply : std::exchange(self->asked_, {})) reply({200, *text, kExpositionType});
        });
  }

  Shared& shared_;
  std::vector<Reply> asked_;  // not empty: a scrape is under way
  metrics::Rest rest_;        // touched by the one scrape there is
};

HttpService::~HttpService() = default;

Expected<std::unique_ptr<HttpService>> HttpService::start(const std::vector<int>& fds, Shared& shared) {
  std::unique_ptr<HttpService> service(new HttpService);
  service->scraper_ = std::make_shared<Scraper>(shared);
  const auto handle = [&shared, scraper = service->scraper_](const Request& request, const Reply& reply) {
    const auto routed = http::route(request);
    if (const auto* const response = std::get_if<Response>(&routed)) return reply(*response);
    switch (std::get<Page>(routed)) {
      case Page::Alive: return ask_if_alive(shared, 0, reply);
      case Page::Ready: return reply(readiness(shared));
      case Page::Metrics:
        return shared.workers[0]->loop().post([scraper, request, reply] { scraper->handle(request, reply); });
    }
  };
  auto server = http::Server::start(fds, handle);
  if (!server) return tl::unexpected(server.error());
  service->server_ = std::move(*server);
  return service;
}

}  // namespace pgweir
