// pooler/http_sampler.h - looks at all workers every kEvery and remembers a quarter of an hour of it, for the
// status page: however many read that, nothing more is gathered. Lives on the first worker's thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "pooler/http_json.h"
#include "pooler/net/loop.h"

namespace pgweir {

class Worker;

class HttpSampler : public std::enable_shared_from_this<HttpSampler> {
 public:
  static constexpr std::chrono::seconds kEvery{10};
  static constexpr std::size_t kTenants = 20;  // of most load, which are shown
  static constexpr std::size_t kMoments = std::chrono::minutes(15) / kEvery + 1;

  explicit HttpSampler(Worker& first);
  void start() { look(); }
  // Copied by nobody: the next look makes a new one.
  std::shared_ptr<const http::Overview> latest() const { return latest_; }

 private:
  void look();
  void seen(std::vector<metrics::Sample> parts);

  Worker& first_;
  std::shared_ptr<const http::Overview> latest_ = std::make_shared<http::Overview>();
  net::Timer timer_;
};

}  // namespace pgweir
