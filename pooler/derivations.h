// pooler/derivations.h - keys of passwords (PBKDF2), derived one at a time for each worker.
//
// A derivation takes milliseconds of a core and one of the few helper threads, which also resolve names.
// However many clients log in at once, a worker keeps one thread busy, and logins to servers go first.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "pooler/base/time.h"
#include "pooler/net/loop.h"
#include "protocol/scram.h"

namespace pgweir {

class Derivations {
 public:
  enum class For : std::uint8_t { Server, Client };
  struct Job {
    std::string password;
    std::string salt;
    std::uint32_t iterations = 0;
    std::function<bool()> wanted;  // asked while it waits; false: it is forgotten
    std::function<void(const protocol::ScramKey& salted_password)> done;
  };

  explicit Derivations(net::Loop& loop) : loop_(loop) {}
  Derivations(const Derivations&) = delete;
  Derivations& operator=(const Derivations&) = delete;

  void add(For whom, Job job);
  std::size_t waiting() const { return queues_[0].size() + queues_[1].size(); }
  // How long one of kScramIterations takes these days.
  Duration usual() const { return usual_; }

 private:
  void next();

  net::Loop& loop_;
  std::array<std::deque<Job>, 2> queues_;  // by For
  std::size_t sweep_at_ = 64;
  bool busy_ = false;
  Duration usual_{2000};
};

}  // namespace pgweir
