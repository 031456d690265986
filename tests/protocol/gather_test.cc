#include "protocol/gather.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using pgweir::protocol::Gather;

TEST_CASE("slices come out in the order they went in") {
  const std::string a = "borrowed ", b = "and more";
  Gather gather;
  CHECK(gather.empty());
  gather.copy("copied ");
  gather.borrow(a);
  gather.own([](std::string& out) { out += "built "; });
  gather.copy("twice ");
  gather.borrow(b);
  CHECK(gather.text() == "copied borrowed built twice and more");
  CHECK(gather.size() == gather.text().size());
  CHECK(gather.slices().size() == 4);
  CHECK(gather.slices()[1].data() == a.data());
}

TEST_CASE("neighbours that are borrowed one by one are sent as one") {
  const std::string buffer = "0123456789";
  Gather gather;
  for (std::size_t i = 0; i < 5; ++i) gather.borrow(Bytes(buffer).substr(2 * i, 2));
  CHECK(gather.slices().size() == 1);
  gather.borrow(Bytes(buffer).substr(0, 1));
  CHECK(gather.slices().size() == 2);
  CHECK(gather.text() == "01234567890");
}

TEST_CASE("nothing added is no slice") {
  Gather gather;
  gather.borrow({});
  gather.copy({});
  gather.own([](std::string&) {});
  CHECK(gather.empty());
  CHECK(gather.slices().empty());
}

TEST_CASE("a cleared gather begins anew, also after much") {
  Gather gather;
  gather.copy(std::string(1 << 20, 'x'));
  gather.clear();
  CHECK(gather.empty());
  CHECK(gather.size() == 0);
  gather.copy("y");
  CHECK(gather.text() == "y");
}

TEST_CASE("a borrowed slice behind a written one stands alone") {
  const std::string a = "a";
  Gather gather;
  gather.copy("x");
  gather.borrow(a);
  CHECK(gather.slices().size() == 2);
}
