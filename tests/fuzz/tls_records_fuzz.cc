// tests/fuzz/tls_records_fuzz.cc - no client is heard to say what it has not sealed, whatever its records
// hold.
//
// Input: steps of [what][size, two bytes][so many bytes]. The low two bits of `what`: bytes as they are, the
// inside of a sealed record (content, type, padding), a key update, data. The others: how the wire is cut.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "pooler/base/check.h"
#include "pooler/net/tls_records.h"

using namespace pgweir;
using namespace pgweir::net;

namespace {

constexpr Bytes kSuite = "TLS_AES_128_GCM_SHA256";
constexpr std::uint8_t kHandshake = 22, kData = 23;
constexpr std::size_t kContentMax = 16384, kRecordMax = 16645;

enum class What : std::uint8_t { AsIs, Inside, KeyUpdate, Data };

TlsSecret secret(const char* digits) {
  TlsSecret made;
  made.take_hex(digits);
  return made;
}

std::string hear(TlsRecords& records, Bytes in, std::string& out) {
  std::vector<char> room(in.size() + kRecordMax);
  return std::string(records.receive(in, room, out));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes input(reinterpret_cast<const char*>(data), size);
  const TlsSecrets secrets{secret("aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00aa00"),
                           secret("55ff55ff55ff55ff55ff55ff55ff55ff55ff55ff55ff55ff55ff55ff55ff55ff")};
  const auto server = TlsRecords::make(kSuite, secrets);
  const auto client = TlsRecords::make(kSuite, {secrets.server, secrets.client});
  TlsDirection sealer(*tls_suite(kSuite), secrets.client, TlsDirection::Way::Out);

  std::string wire, sealed, answers;
  std::size_t cut = kRecordMax;
  while (input.size() >= 3) {
    const auto step = static_cast<std::uint8_t>(input[0]);
    const std::size_t wanted = static_cast<std::size_t>(static_cast<std::uint8_t>(input[1])) << 8 |
                               static_cast<std::uint8_t>(input[2]);
    const Bytes bytes = input.substr(3, std::min(wanted, kContentMax));
    input.remove_prefix(3 + bytes.size());
    cut = static_cast<std::size_t>(step >> 2) * 17 + 1;
    switch (static_cast<What>(step & 3)) {
      case What::AsIs: wire += bytes; break;
      case What::Inside: {
        sealer.seal(0, bytes, wire);
        const std::size_t type = bytes.find_last_not_of('\0');
        if (type != Bytes::npos && static_cast<std::uint8_t>(bytes[type]) == kData)
          sealed += bytes.substr(0, type);
        break;
      }
      case What::KeyUpdate: {
        const char asks = static_cast<char>(bytes.size() & 1);
        const char update[] = {24, 0, 0, 1, asks};
        sealer.seal(kHandshake, {update, sizeof update}, wire);
        sealer.next_key();
        break;
      }
      case What::Data:
        sealer.seal(kData, bytes, wire);
        sealed += bytes;
        break;
    }
  }

  std::string heard, none;
  for (Bytes left = wire; !left.empty(); left.remove_prefix(std::min(left.size(), cut))) {
    const bool open = server->state() == TlsRecords::State::Open;
    const std::string more = hear(*server, left.substr(0, cut), answers);
    PGWEIR_CHECK(open || more.empty());
    heard += more;
  }
  PGWEIR_CHECK(Bytes(sealed).starts_with(heard));
  PGWEIR_CHECK((server->state() == TlsRecords::State::Failed) == !server->error().empty());
  server->send("last words", answers);
  server->say_goodbye(answers);
  const std::string last = hear(*client, answers, none);
  if (server->state() == TlsRecords::State::Failed) {
    PGWEIR_CHECK(last.empty());
  } else {
    PGWEIR_CHECK(last == "last words" && client->state() == TlsRecords::State::Ended);
  }
  return 0;
}
