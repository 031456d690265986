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
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }

  // Borrows: the bytes must live until the slices were used.
  void borrow(Bytes bytes) {
    if (bytes.empty()) return;
    if (last_.data && last_.data + last_.size == bytes.data())
      last_.size += bytes.size();
    else
      begin({bytes.data(), 0, bytes.size()});
    size_ += bytes.size();
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
    if (size_ > 0 && !last_.data)
      last_.size += added;
    else
      begin({nullptr, start, added});
    size_ += added;
  }

  // Valid until the next change of this Gather.
  std::span<const Bytes> slices() {
    if (!before_.empty()) return many();
    only_ = bytes_of(last_);  // nearly always
    return {&only_, std::size_t{size_ > 0}};
  }
  std::string text() {
    std::string all;
    for (const Bytes slice : slices()) all.append(slice);
    return all;
  }
  void clear() {
    if (size_ == 0) return;
    before_.clear();
    last_ = {};
    size_ = 0;
    if (owned_.capacity() > kKeptCapacity) owned_ = {};
    owned_.clear();
  }

 private:
  static constexpr std::size_t kKeptCapacity = 256 << 10;
  struct Piece {
    const char* data = nullptr;  // null: in owned_ at offset
    std::size_t offset = 0;
    std::size_t size = 0;
  };
  void begin(const Piece& piece) {
    if (size_ > 0) put_behind();
    last_ = piece;
  }
  [[gnu::noinline]] void put_behind() { before_.push_back(last_); }
  Bytes bytes_of(const Piece& piece) const {
    return {piece.data ? piece.data : owned_.data() + piece.offset, piece.size};
  }
  std::span<const Bytes> many() {
    slices_.clear();
    for (const Piece& piece : before_) slices_.push_back(bytes_of(piece));
    slices_.push_back(bytes_of(last_));
    return slices_;
  }
  std::vector<Piece> before_;
  Piece last_;  // in use when there are any bytes
  std::string owned_;
  std::vector<Bytes> slices_;
  Bytes only_;
  std::size_t size_ = 0;
};

}  // namespace pgweir::protocol
