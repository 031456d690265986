// pooler/http_service.h - the status page, /api/v1, /metrics, /healthz and /readyz of a running pooler.
//
// A scrape that comes while another is under way shares its text. Health is that every worker's loop turns;
// neither it nor readiness asks Postgres or a tier store.
#pragma once

#include <memory>
#include <vector>

#include "pooler/base/error.h"
#include "pooler/deployment.h"
#include "pooler/http_server.h"

namespace pgweir {

struct Shared;

class HttpService {
 public:
  // Takes over sockets that listen already. Goes before the workers and their loops do, and when these no
  // longer run.
  static Expected<std::unique_ptr<HttpService>> start(const std::vector<int>& fds, Shared& shared,
                                                      DeploymentLabels deployment = {});
  ~HttpService();
  HttpService(const HttpService&) = delete;
  HttpService& operator=(const HttpService&) = delete;

 private:
  class Api;
  class Scraper;
  HttpService() = default;
  std::shared_ptr<Api> api_;
  std::shared_ptr<Scraper> scraper_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace pgweir
