#include "pooler/derivations.h"

#include <algorithm>
#include <utility>

#include "protocol/digest.h"

namespace pgweir {

void Derivations::add(For whom, Job job) {
  queues_[static_cast<std::size_t>(whom)].push_back(std::move(job));
  // Those who came and went again cost nothing but their place in the queue.
  if (waiting() > sweep_at_) {
    for (auto& queue : queues_) std::erase_if(queue, [](const Job& each) { return !each.wanted(); });
    sweep_at_ = std::max<std::size_t>(64, 2 * waiting());
  }
  if (!busy_) next();
}

void Derivations::next() {
  for (auto& queue : queues_) {
    while (!queue.empty()) {
      struct Work {
        Job job;
        protocol::ScramKey key{};
      };
      auto work = std::make_shared<Work>(Work{std::move(queue.front()), {}});
      queue.pop_front();
      if (!work->job.wanted()) continue;
      busy_ = true;
      loop_.offload(
          [work] {
            Job& job = work->job;
            work->key = protocol::scram_salted_password(job.password, job.salt, job.iterations);
            protocol::wipe(job.password);
          },
          [this, work, started = loop_.now()] {
            if (work->job.iterations == protocol::kScramIterations)
              usual_ = (usual_ * 7 + (loop_.now() - started)) / 8;
            busy_ = false;
            work->job.done(work->key);
            if (!busy_) next();
          });
      return;
    }
  }
}

}  // namespace pgweir
