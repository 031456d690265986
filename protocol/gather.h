// protocol/gather.h - bytes to be sent, as slices: borrowed from what was just read, or written here.
//
// Neighbouring borrowed slices become one. Cleared and used again, it does not allocate in the steady state.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

class Gather {
 public:
  bool empty() const { return pieces_.empty(); }
  std::size_t size() const { return size_; }

  // Borrows: the bytes must live until the slices were used.
  void borrow(Bytes bytes) {
    if (bytes.empty()) return;
    size_ += bytes.size();
    if (!pieces_.empty() && pieces_.back().data &&
        pieces_.back().data + pieces_.back().size == bytes.data()) {
      pieces_.back().size += bytes.size();
      return;
    }
    pieces_.push_back({bytes.data(), 0, bytes.size()});
  }
  void copy(Bytes bytes) {
    own([bytes](std::string& out) { out.append(bytes); });
  }
  // `build` appends to a string of ours.
  template <class Build>
  void own(Build&& build) {
    const std::size_t start = owned_.size();
    build(owned_);
    const std::size_t added = owned_.size() - start;
    if (added == 0) return;
    size_ += added;
    if (!pieces_.empty() && !pieces_.back().data) {
      pieces_.back().size += added;
      return;
    }
    pieces_.push_back({nullptr, start, added});
  }

  // Valid until the next change of this Gather.
  std::span<const Bytes> slices() {
    if (pieces_.size() != 1 || !pieces_[0].data) return many();
    only_ = Bytes(pieces_[0].data, pieces_[0].size);  // nearly always
    return {&only_, 1};
  }
  std::string text() {
    std::string all;
    for (const Bytes slice : slices()) all.append(slice);
    return all;
  }
  void clear() {
    if (pieces_.empty()) return;
    pieces_.clear();
    size_ = 0;
    if (owned_.capacity() > kKeptCapacity) owned_ = {};
    owned_.clear();
  }

 private:
  static constexpr std::size_t kKeptCapacity = 256 << 10;
  std::span<const Bytes> many() {
    slices_.clear();
    for (const Piece& piece : pieces_)
      slices_.push_back(piece.data ? Bytes(piece.data, piece.size)
                                   : Bytes(owned_).substr(piece.offset, piece.size));
    return slices_;
  }
  struct Piece {
    const char* data;  // null: in owned_ at offset
    std::size_t offset;
    std::size_t size;
  };
  std::vector<Piece> pieces_;
  std::string owned_;
  std::vector<Bytes> slices_;
  Bytes only_;
  std::size_t size_ = 0;
};

}  // namespace pgweir::protocol
