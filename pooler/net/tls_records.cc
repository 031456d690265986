#include "pooler/net/tls_records.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "pooler/base/check.h"

namespace pgweir::net {

struct TlsSuite {
  const char* name;
  const char* cipher;
  const char* digest;
  std::size_t key_size;
  std::size_t secret_size;
};

namespace {

constexpr TlsSuite kSuites[] = {
    {"TLS_AES_256_GCM_SHA384", "AES-256-GCM", "SHA384", 32, 48},
    {"TLS_CHACHA20_POLY1305_SHA256", "ChaCha20-Poly1305", "SHA256", 32, 32},
    {"TLS_AES_128_GCM_SHA256", "AES-128-GCM", "SHA256", 16, 32},
};

// Content types, RFC 8446, section 5.1; messages, section 4; alerts, section 6.
constexpr std::uint8_t kAlert = 21, kHandshake = 22, kData = 23;
constexpr char kKeyUpdateHeader[] = {24, 0, 0, 1};
constexpr char kNotRequested = 0, kRequested = 1;
constexpr char kFatal = 2, kWarning = 1;
constexpr std::uint8_t kCloseNotify = 0, kUnexpectedMessage = 10, kBadRecordMac = 20, kRecordOverflow = 22,
                       kIllegalParameter = 47, kDecodeError = 50, kUserCanceled = 90;

constexpr std::size_t kContentMax = 16384;
constexpr std::size_t kCiphertextMax = kContentMax + 256;

unsigned char* data_of(std::string& text, std::size_t at) {
  return reinterpret_cast<unsigned char*>(text.data()) + at;
}
const unsigned char* data_of(Bytes bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
int size_of(Bytes bytes) { return static_cast<int>(bytes.size()); }

// Looked up once: each EVP_aes_256_gcm() would be looked up again by every connection.
const EVP_CIPHER* cipher_of(const TlsSuite& suite) {
  static const auto fetched = [] {
    std::array<EVP_CIPHER*, std::size(kSuites)> all{};
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i] = EVP_CIPHER_fetch(nullptr, kSuites[i].cipher, nullptr);
    return all;
  }();
  return fetched[static_cast<std::size_t>(&suite - kSuites)];
}

std::size_t length_in(Bytes header) {
  return static_cast<std::size_t>(static_cast<unsigned char>(header[3])) << 8 |
         static_cast<unsigned char>(header[4]);
}

// Of the record that begins so, as far as it can be told.
std::size_t record_size(Bytes begin) {
  return begin.size() < TlsDirection::kHeader ? TlsDirection::kHeader
                                              : TlsDirection::kHeader + length_in(begin);
}

std::string alert_text(std::uint8_t alert) {
  const char* text = ERR_reason_error_string(
      ERR_PACK(ERR_LIB_SSL, 0, SSL_AD_REASON_OFFSET + static_cast<unsigned long>(alert)));
  return text != nullptr ? text : fmt::format("alert {}", alert);
}

}  // namespace

const TlsSuite* tls_suite(Bytes name) {
  const auto* found = std::find_if(std::begin(kSuites), std::end(kSuites),
                                   [name](const TlsSuite& suite) { return name == suite.name; });
  return found != std::end(kSuites) ? found : nullptr;
}

// ---- secrets

TlsSecret::~TlsSecret() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

void TlsSecret::take_hex(const char* digits) {
  std::size_t size = 0;
  const bool good = OPENSSL_hexstr2buf_ex(bytes_.data(), bytes_.size(), &size, digits, '\0') == 1;
  size_ = good ? static_cast<std::uint8_t>(size) : 0;
}

TlsSecret TlsSecret::expand(const char* digest, Bytes label, std::size_t size) const {
  PGWEIR_CHECK(size <= size_);
  // HkdfLabel, and the 1 of the first and only round of HKDF-Expand.
  std::string info = {0, static_cast<char>(size), static_cast<char>(label.size() + 6)};
  info.append("tls13 ").append(label).append({0, 1});
  TlsSecret made;
  std::size_t hash_size = 0;
  PGWEIR_CHECK(EVP_Q_mac(nullptr, "HMAC", nullptr, digest, nullptr, bytes_.data(), size_, data_of(info),
                         info.size(), made.bytes_.data(), made.bytes_.size(), &hash_size) != nullptr);
  PGWEIR_CHECK(hash_size == size_);
  made.size_ = static_cast<std::uint8_t>(size);
  return made;
}

// ---- one direction

TlsDirection::TlsDirection(const TlsSuite& suite, const TlsSecret& secret, Way way)
    : suite_(suite), cipher_(EVP_CIPHER_CTX_new()), secret_(secret), way_(way) {
  PGWEIR_CHECK(cipher_ != nullptr && secret.view().size() == suite.secret_size);
  use_secret();
}

void TlsDirection::use_secret() {
  const TlsSecret key = secret_.expand(suite_.digest, "key", suite_.key_size);
  const TlsSecret iv = secret_.expand(suite_.digest, "iv", kNonce);
  std::memcpy(iv_.data(), iv.view().data(), kNonce);
  number_ = 0;
  PGWEIR_CHECK(EVP_CipherInit_ex2(cipher_.get(), cipher_of(suite_), data_of(key.view()), nullptr,
                                  way_ == Way::Out ? 1 : 0, nullptr) == 1);
}

void TlsDirection::next_key() {
  secret_ = secret_.expand(suite_.digest, "traffic upd", suite_.secret_size);
  use_secret();
}

std::array<unsigned char, TlsDirection::kNonce> TlsDirection::next_nonce() {
  std::array<unsigned char, kNonce> nonce = iv_;
  for (std::size_t i = 0; i < sizeof number_; ++i) {
    nonce[kNonce - 1 - i] ^= static_cast<unsigned char>(number_ >> (8 * i));
  }
  ++number_;
  PGWEIR_CHECK(number_ != 0);
  return nonce;
}

void TlsDirection::seal(std::uint8_t type, Bytes content, std::string& out) {
  PGWEIR_CHECK(way_ == Way::Out && content.size() <= kContentMax);
  const std::size_t inner = content.size() + 1, body = inner + kTag, at = out.size();
  out.append({static_cast<char>(kData), 3, 3, static_cast<char>(body >> 8), static_cast<char>(body & 0xff)});
  out.resize(at + kHeader + body);
  const auto nonce = next_nonce();
  EVP_CIPHER_CTX* cipher = cipher_.get();
  unsigned char* to = data_of(out, at + kHeader);
  int size = 0;
  PGWEIR_CHECK(EVP_EncryptInit_ex2(cipher, nullptr, nullptr, nonce.data(), nullptr) == 1);
  PGWEIR_CHECK(EVP_EncryptUpdate(cipher, nullptr, &size, data_of(out, at), kHeader) == 1);
  if (!content.empty()) {
    PGWEIR_CHECK(EVP_EncryptUpdate(cipher, to, &size, data_of(content), size_of(content)) == 1);
    PGWEIR_CHECK(size == size_of(content));
  }
  PGWEIR_CHECK(EVP_EncryptUpdate(cipher, to + content.size(), &size, &type, 1) == 1 && size == 1);
  PGWEIR_CHECK(EVP_EncryptFinal_ex(cipher, to + inner, &size) == 1 && size == 0);
  PGWEIR_CHECK(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, kTag, to + inner) == 1);
}

std::optional<std::size_t> TlsDirection::unseal(Bytes record, char* to) {
  PGWEIR_CHECK(way_ == Way::In && record.size() >= kOverhead);
  const Bytes body = record.substr(kHeader, record.size() - kHeader - kTag);
  unsigned char tag[kTag];
  std::memcpy(tag, record.data() + record.size() - kTag, kTag);
  const auto nonce = next_nonce();
  EVP_CIPHER_CTX* cipher = cipher_.get();
  auto* plain = reinterpret_cast<unsigned char*>(to);
  int size = 0;
  PGWEIR_CHECK(EVP_DecryptInit_ex2(cipher, nullptr, nullptr, nonce.data(), nullptr) == 1);
  PGWEIR_CHECK(EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, kTag, tag) == 1);
  PGWEIR_CHECK(EVP_DecryptUpdate(cipher, nullptr, &size, data_of(record), kHeader) == 1);
  PGWEIR_CHECK(EVP_DecryptUpdate(cipher, plain, &size, data_of(body), size_of(body)) == 1);
  PGWEIR_CHECK(size == size_of(body));
  if (EVP_DecryptFinal_ex(cipher, plain + size, &size) != 1) {
    ERR_clear_error();
    return std::nullopt;
  }
  return body.size();
}

// ---- the connection

std::unique_ptr<TlsRecords> TlsRecords::make(Bytes suite, const TlsSecrets& secrets) {
  const TlsSuite* const row = tls_suite(suite);
  if (row == nullptr || cipher_of(*row) == nullptr || secrets.client.view().size() != row->secret_size ||
      secrets.server.view().size() != row->secret_size) {
    return nullptr;
  }
  return std::unique_ptr<TlsRecords>(new TlsRecords(*row, secrets));
}

TlsRecords::TlsRecords(const TlsSuite& suite, const TlsSecrets& secrets)
    : suite_(suite),
      in_(suite, secrets.client, TlsDirection::Way::In),
      out_(suite, secrets.server, TlsDirection::Way::Out) {}

const char* TlsRecords::suite() const { return suite_.name; }

Bytes TlsRecords::receive(Bytes in, std::span<char> room, std::string& out) {
  std::size_t size = 0;
  while (state_ == State::Open) {
    const Bytes record = next_record(in, out);
    if (record.empty()) break;
    size += take(record, room.subspan(size), out);
    if (record.data() == partial_.data()) std::string().swap(partial_);
  }
  // One answer to all that asked, which is as many keys as they can ask for with one.
  if (state_ == State::Open && owes_update_) {
    owes_update_ = false;
    char update[kKeyUpdate];
    std::copy(std::begin(kKeyUpdateHeader), std::end(kKeyUpdateHeader), update);
    update[kKeyUpdate - 1] = kNotRequested;
    out_.seal(kHandshake, {update, kKeyUpdate}, out);
    out_.next_key();
  }
  return {room.data(), size};
}

// The next whole record, in `in` or in partial_; empty when there is none, or when it cannot be one.
Bytes TlsRecords::next_record(Bytes& in, std::string& out) {
  if (partial_.empty() && in.size() >= TlsDirection::kHeader) {
    if (!check_header(in, out)) return {};
    if (const std::size_t whole = record_size(in); whole <= in.size()) {
      const Bytes record = in.substr(0, whole);
      in.remove_prefix(whole);
      return record;
    }
  }
  while (partial_.size() < record_size(partial_)) {
    if (in.empty()) return {};
    const std::size_t count = std::min(record_size(partial_) - partial_.size(), in.size());
    partial_.append(in.substr(0, count));
    in.remove_prefix(count);
    if (partial_.size() == TlsDirection::kHeader && !check_header(partial_, out)) return {};
  }
  return partial_;
}

bool TlsRecords::check_header(Bytes header, std::string& out) {
  const std::size_t length = length_in(header);
  if (static_cast<std::uint8_t>(header[0]) != kData) {
    fail(kUnexpectedMessage, "bad record type", out);
  } else if (length > kCiphertextMax) {
    fail(kRecordOverflow, "encrypted length too long", out);
  } else if (length < TlsDirection::kTag + 1) {
    fail(kDecodeError, "length too short", out);
  }
  return state_ == State::Open;
}

// Tells how many bytes of data it has put into `room`.
std::size_t TlsRecords::take(Bytes record, std::span<char> room, std::string& out) {
  PGWEIR_CHECK(room.size() >= record.size());
  const std::optional<std::size_t> plain = in_.unseal(record, room.data());
  if (!plain) return fail(kBadRecordMac, "decryption failed or bad record mac", out), 0;
  const Bytes inner(room.data(), *plain);
  const std::size_t last = inner.find_last_not_of('\0');
  if (last == Bytes::npos) return fail(kUnexpectedMessage, "bad record type", out), 0;
  if (last > kContentMax) return fail(kRecordOverflow, "data length too long", out), 0;
  const Bytes content = inner.substr(0, last);
  const auto type = static_cast<std::uint8_t>(inner[last]);
  if (update_size_ > 0 && type != kHandshake) return fail(kUnexpectedMessage, "unexpected message", out), 0;
  if (type == kData && !content.empty()) {
    quiet_ = 0;
    return content.size();
  }
  if (++quiet_ > kQuietMax) return fail(kUnexpectedMessage, "too many records without data", out), 0;
  switch (type) {
    case kData: break;
    case kAlert: take_alert(content, out); break;
    case kHandshake: take_handshake(content, out); break;
    default: fail(kUnexpectedMessage, "unexpected record", out);
  }
  return 0;
}

void TlsRecords::take_alert(Bytes alert, std::string& out) {
  if (alert.size() != 2) return fail(kDecodeError, "invalid alert", out);
  const auto what = static_cast<std::uint8_t>(alert[1]);
  if (what == kUserCanceled) return;  // close_notify follows
  state_ = what == kCloseNotify ? State::Ended : State::Failed;
  if (state_ == State::Failed) error_ = "TLS: " + alert_text(what);
}

void TlsRecords::take_handshake(Bytes part, std::string& out) {
  if (part.empty() || part.size() > kKeyUpdate - update_size_) {
    return fail(kUnexpectedMessage, "unexpected message", out);
  }
  std::copy(part.begin(), part.end(), update_.begin() + update_size_);
  update_size_ = static_cast<std::uint8_t>(update_size_ + part.size());
  const std::size_t known = std::min<std::size_t>(update_size_, sizeof kKeyUpdateHeader);
  if (!std::equal(update_.begin(), update_.begin() + static_cast<std::ptrdiff_t>(known), kKeyUpdateHeader)) {
    return fail(kUnexpectedMessage, "unexpected message", out);
  }
  if (update_size_ < kKeyUpdate) return;
  update_size_ = 0;
  const char answer = update_.back();
  if (answer != kNotRequested && answer != kRequested) {
    return fail(kIllegalParameter, "bad key update", out);
  }
  owes_update_ = owes_update_ || answer == kRequested;
  in_.next_key();
}

void TlsRecords::fail(std::uint8_t alert, std::string why, std::string& out) {
  state_ = State::Failed;
  error_ = "TLS: " + std::move(why);
  const char message[] = {kFatal, static_cast<char>(alert)};
  out_.seal(kAlert, {message, sizeof message}, out);
}

void TlsRecords::send(Bytes plain, std::string& out) {
  if (state_ == State::Failed || said_goodbye_) return;
  for (; !plain.empty(); plain.remove_prefix(std::min(plain.size(), kContentMax))) {
    out_.seal(kData, plain.substr(0, kContentMax), out);
  }
}

void TlsRecords::say_goodbye(std::string& out) {
  if (state_ == State::Failed || std::exchange(said_goodbye_, true)) return;
  const char message[] = {kWarning, static_cast<char>(kCloseNotify)};
  out_.seal(kAlert, {message, sizeof message}, out);
}

}  // namespace pgweir::net
