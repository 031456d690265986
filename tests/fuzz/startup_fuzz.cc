// tests/fuzz/startup_fuzz.cc - whatever a stranger sends first, it is told apart or refused within bounds.
#include <cstddef>
#include <cstdint>
#include <string>

#include "pooler/base/check.h"
#include "protocol/frame.h"
#include "protocol/startup.h"

using namespace pgweir;
using namespace pgweir::protocol;

namespace {

void check_settings(const Settings& settings, std::size_t size) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < settings.size(); ++i) {
    bytes += settings[i].first.size() + settings[i].second.size();
    if (i > 0) PGWEIR_CHECK(settings[i].first != settings[i - 1].first);
  }
  // A switch is short for a setting or some, of which there are so many, each once: "-e" for datestyle=euro.
  constexpr std::size_t kSwitchesMost = 512;
  PGWEIR_CHECK(bytes <= size + kSwitchesMost);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input(reinterpret_cast<const char*>(data), size);
  const auto length = first_packet_size(input);
  if (length) PGWEIR_CHECK(*length == 0 ? size < 4 : *length >= 8 && *length <= kMaxStartupPacket);

  const auto check_first = [](Bytes bytes) {
    const auto first = parse_first_packet(bytes);
    if (!first) return PGWEIR_CHECK(!first.error().message.empty());
    PGWEIR_CHECK(first_packet_size(bytes).has_value() || bytes.size() > kMaxStartupPacket);
    if (const auto* cancel = std::get_if<CancelRequest>(&*first))
      PGWEIR_CHECK(cancel->key.size() >= 4 && cancel->key.size() <= 256);
    if (const auto* startup = std::get_if<Startup>(&*first)) {
      PGWEIR_CHECK(!startup->user.empty() && !startup->database.empty());
      PGWEIR_CHECK(startup->version == kVersion30 || startup->version == kVersion32);
      check_settings(startup->settings, bytes.size());
    }
  };
  check_first(input);
  // The same with a length that fits, so that the fuzzer gets behind it.
  std::string packet(4, '\0');
  packet.append(input);
  store_u32(packet.data(), static_cast<std::uint32_t>(packet.size()));
  check_first(packet);

  if (const auto options = parse_options(input)) check_settings(*options, size);
  return 0;
}
