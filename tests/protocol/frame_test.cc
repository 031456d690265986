#include "protocol/frame.h"

#include <catch2/catch.hpp>
#include <string>

using namespace pgweir;
using namespace pgweir::protocol;

namespace {
std::string header(char type, std::uint32_t length) {
  std::string out(kHeaderBytes, type);
  store_u32(out.data() + 1, length);
  return out;
}
}  // namespace

TEST_CASE("a header is taken only for known types and lengths within their limits") {
  struct Side {
    std::uint32_t (*limit)(char);
    std::uint32_t most;
    std::string large, medium, small;
  };
  const Side sides[] = {{client_message_limit, 0x3ffffffe, "QPBFd", "", "DCEHSXcf"},
                        {server_message_limit, 0x40000002, "DdTENVt", "AS123CGHIWZcns", ""}};
  for (const Side& side : sides)
    for (int c = 0; c < 256; ++c) {
      const char type = static_cast<char>(c);
      CAPTURE(c, side.large);
      const auto in = [type](const std::string& set) {
        return type != '\0' && set.find(type) != std::string::npos;
      };
      const std::uint32_t limit = in(side.large)    ? side.most
                                  : in(side.medium) ? 65'536
                                  : in(side.small)  ? 10'000
                                                    : 0;
      for (const std::uint32_t length :
           {0u, 3u, 4u, 5u, 9'999u, 10'000u, 10'001u, 65'536u, 65'537u, 0x3ffffffeu, 0x3fffffffu, 0x40000000u,
            0x40000002u, 0x40000003u, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
        Frame frame;
        CHECK(read_header(header(type, length), side.limit, frame) == (length >= 4 && length <= limit));
        CHECK(frame.type == type);
        CHECK(frame.size == std::size_t{length} + 1);
      }
    }
}
