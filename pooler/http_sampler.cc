#include "pooler/http_sampler.h"

#include <algorithm>
#include <utility>

#include "pooler/console_report.h"
#include "pooler/metrics_gather.h"
#include "pooler/net/wall_clock.h"
#include "pooler/worker.h"

namespace pgweir {

HttpSampler::HttpSampler(Worker& first)
    : first_(first), timer_(this, [](void* self) { static_cast<HttpSampler*>(self)->look(); }) {}

void HttpSampler::look() {
  metrics::gather(first_, kTenants, [weak = weak_from_this()](std::vector<metrics::Sample> parts) {
    if (const auto self = weak.lock()) self->seen(std::move(parts));
  });
}

void HttpSampler::seen(std::vector<metrics::Sample> parts) {
  auto fresh = std::make_shared<http::Overview>();
  fresh->sample = metrics::unite(std::move(parts), kTenants);
  std::sort(fresh->sample.workers.begin(), fresh->sample.workers.end(),
            [](const auto& a, const auto& b) { return a.worker < b.worker; });
  fresh->backends = console::backends(first_);
  fresh->history = latest_->history;
  fresh->history.push_back(http::moment(fresh->sample, net::wall_clock_s()));
  if (fresh->history.size() > kMoments) fresh->history.pop_front();
  latest_ = std::move(fresh);
  first_.loop().arm(timer_, first_.loop().now() + kEvery);
}

}  // namespace pgweir
