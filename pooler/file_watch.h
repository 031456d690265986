// pooler/file_watch.h - when a file that others write is worth reading: when it is another one than before,
// and has been the same for a moment, so that nothing is read that is half written.
//
//   Known --another stamp--> Settling --the same one for kSettle--> Read, and that one is Known
//     ^--- the known stamp ------'  '--yet another one: anew
//
// A file that is not there, or is empty, is about to be written: nothing is to be read then. If it stays away
// for kMissing, that is told once (Missing), until there is one again.
#pragma once

#include <cstdint>
#include <optional>

#include "pooler/base/time.h"

namespace pgweir {

class FileWatch {
 public:
  // Which file stands behind a path once symbolic links are followed, and which state of it.
  struct Stamp {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t written_ns = 0, changed_ns = 0;  // mtime and ctime: a copy may bring its mtime along
    friend bool operator==(const Stamp&, const Stamp&) = default;
  };
  enum class Look : std::uint8_t { Known, Settling, Read, Missing };
  static constexpr std::chrono::milliseconds kSettle{200};
  static constexpr std::chrono::seconds kMissing{5};

  // What a look at the path has shown; nothing: there is no such file. The first file that is seen is read,
  // too, for nobody knows whether it changed before.
  Look look(const std::optional<Stamp>& seen, Time now);

 private:
  std::optional<Stamp> known_, settling_;
  Time since_{};  // settling_ was seen first
  std::optional<Time> missing_since_;
  bool missing_told_ = false;  // since then
};

}  // namespace pgweir
