#include "pooler/deeds.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace pgweir {

namespace {

protocol::SqlChanges setting(const std::string& name) {
  protocol::SqlChanges changes;
  changes.settings = {name};
  return changes;
}

bool is_anything(const Deeds& deeds, Deeds::Set set) {
  return deeds.in(set).size() == 1 && deeds.what(deeds.in(set)[0]).opaque;
}

}  // namespace

TEST_CASE("what is done together is a set, the same for all who do it") {
  Deeds deeds;
  const Deeds::Set a = deeds.of(setting("a.a")), b = deeds.of(setting("a.b")), c = deeds.of(setting("a.c"));
  CHECK(deeds.joined(a, a) == a);
  CHECK(deeds.joined(a, Deeds::kNothing) == a);
  CHECK(deeds.joined(Deeds::kNothing, b) == b);
  const Deeds::Set ab = deeds.joined(a, b);
  CHECK(deeds.joined(b, a) == ab);
  CHECK(deeds.joined(ab, b) == ab);
  CHECK(deeds.joined(a, ab) == ab);
  CHECK(deeds.joined(deeds.joined(c, b), a) == deeds.joined(ab, c));
  CHECK(deeds.in(ab).size() == 2);
  CHECK(deeds.in(Deeds::kNothing).empty());
  CHECK(deeds.size() == 3);
}

TEST_CASE("too many values for the transaction are any of them") {
  protocol::SqlChanges all, more;
  for (std::size_t i = 0; i < Deeds::kSettingsMost; ++i) more.add_local_settings({"a.x" + std::to_string(i)});
  CHECK(Deeds::add(all, more) == Deeds::kSettingsMost);
  CHECK(all.local_settings == more.local_settings);
  CHECK_FALSE(all.any_local);
  more.local_settings = {"a.last"};
  Deeds::add(all, more);
  CHECK(all.any_local);
  CHECK(all.local_settings.empty());
  CHECK_FALSE(all.leave_something());
}

TEST_CASE("too many deeds of one set, and too many sets, are anything") {
  Deeds deeds;
  protocol::SqlChanges spoils = setting("a.s");
  spoils.unfollowable = true;
  const bool unfollowable = GENERATE(false, true);
  Deeds::Set all = unfollowable ? deeds.of(spoils) : Deeds::kNothing;
  for (std::size_t i = unfollowable ? 1 : 0; i < Deeds::kTogetherMost; ++i)
    all = deeds.joined(all, deeds.of(setting("a.x" + std::to_string(i))));
  CHECK_FALSE(is_anything(deeds, all));
  all = deeds.joined(all, deeds.of(setting("a.last")));
  CHECK(is_anything(deeds, all));
  CHECK(deeds.what(deeds.in(all)[0]).unfollowable == unfollowable);

  std::vector<Deeds::Set> each;
  for (std::size_t i = 0; i < 200; ++i) each.push_back(deeds.of(setting("b.x" + std::to_string(i))));
  std::size_t anything = 0, pairs = 0;
  for (const Deeds::Set a : each)
    for (const Deeds::Set b : each) {
      if (a >= b) continue;
      ++pairs;
      if (is_anything(deeds, deeds.joined(a, b))) ++anything;
    }
  CHECK(pairs - anything < Deeds::kSetsMost);
  CHECK(pairs - anything > Deeds::kSetsMost - 500);
  CHECK(deeds.in(deeds.joined(each[0], each[1])).size() == 2);
}

}  // namespace pgweir
