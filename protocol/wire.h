// protocol/wire.h - reading and writing the fields of messages: big-endian integers and C strings (Postgres
// manual, "Message Data Types").
#pragma once

#include <cstdint>
#include <string>

#include "pooler/base/bytes.h"

namespace pgweir::protocol {

inline std::uint32_t load_u32(const char* at) {
  const auto* p = reinterpret_cast<const unsigned char*>(at);
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 |
         std::uint32_t{p[3]};
}
inline void store_u16(char* at, std::uint16_t value) {
  at[0] = static_cast<char>(value >> 8);
  at[1] = static_cast<char>(value);
}
inline void store_u32(char* at, std::uint32_t value) {
  at[0] = static_cast<char>(value >> 24);
  at[1] = static_cast<char>(value >> 16);
  at[2] = static_cast<char>(value >> 8);
  at[3] = static_cast<char>(value);
}

// Takes fields off the front of a message. Past the end it answers nothing and stays failed.
class Reader {
 public:
  explicit Reader(Bytes in) : rest_(in) {}
  bool ok() const { return ok_; }
  bool empty() const { return rest_.empty(); }
  Bytes rest() const { return rest_; }

  std::uint8_t u8() { return take(1) ? static_cast<std::uint8_t>(taken_[0]) : std::uint8_t{0}; }
  std::uint16_t u16() {
    if (!take(2)) return 0;
    return static_cast<std::uint16_t>(static_cast<unsigned char>(taken_[0]) << 8 |
                                      static_cast<unsigned char>(taken_[1]));
  }
  std::uint32_t u32() { return take(4) ? load_u32(taken_.data()) : 0; }
  Bytes bytes(std::size_t size) { return take(size) ? taken_ : Bytes{}; }
  // The text before the next NUL, which is consumed as well.
  Bytes c_string() {
    const std::size_t end = rest_.find('\0');
    if (end == Bytes::npos) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const Bytes text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }

 private:
  bool take(std::size_t size) {
    if (size > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return false;
    }
    taken_ = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }
  Bytes rest_;
  Bytes taken_;
  bool ok_ = true;
};

// Appends one message to `out` and writes its length when it goes out of scope. Type 0: a message without a
// type byte, as at startup.
class Writer {
 public:
  Writer(std::string& out, char type) : out_(out) {
    if (type != 0) out_.push_back(type);
    length_at_ = out_.size();
    out_.append(4, '\0');
  }
  ~Writer() { store_u32(out_.data() + length_at_, static_cast<std::uint32_t>(out_.size() - length_at_)); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  Writer& u8(std::uint8_t value) { return out_.push_back(static_cast<char>(value)), *this; }
  Writer& u16(std::uint16_t value) {
    return u8(static_cast<std::uint8_t>(value >> 8)).u8(static_cast<std::uint8_t>(value));
  }
  Writer& u32(std::uint32_t value) {
    char bytes[4];
    store_u32(bytes, value);
    out_.append(bytes, 4);
    return *this;
  }
  Writer& bytes(Bytes value) { return out_.append(value), *this; }
  // NULs in the text would end it early for the reader: they are left out.
  Writer& c_string(Bytes text) {
    for (std::size_t nul; (nul = text.find('\0')) != Bytes::npos; text.remove_prefix(nul + 1))
      out_.append(text.substr(0, nul));
    out_.append(text).push_back('\0');
    return *this;
  }

 private:
  std::string& out_;
  std::size_t length_at_;
};

}  // namespace pgweir::protocol
