#include "pooler/tenants.h"

#include <catch2/catch.hpp>

using namespace pgweir;

namespace {

struct Register {
  Tenant& get(const std::string& name) {
    tiers::Tenant record;
    record.name = name;
    return tenants.get(record, Time{}, all_paused);
  }
  void join(const std::string& name) {
    Tenant& tenant = get(name);
    ++tenant.clients;
    tenants.settle(tenant);
  }
  void part(const std::string& name) {
    Tenant& tenant = *tenants.find(name);
    --tenant.clients;
    tenants.settle(tenant);
  }
  std::string known() const {
    std::string names;
    for (const char* name : {"a", "b", "c", "d", "e"})
      if (tenants.find(name)) names += name;
    return names;
  }
  bool all_paused = false;
  Tenants tenants{2};
};

}  // namespace

TEST_CASE("tenants without clients are forgotten, longest unused first") {
  Register all;
  for (const char* name : {"a", "b", "c", "d"}) all.get(name);
  CHECK(all.known() == "cd");
  all.get("c");
  all.get("e");
  CHECK(all.known() == "ce");
}

TEST_CASE("tenants with clients stay, however many others come") {
  Register all;
  all.join("a");
  all.join("a");
  for (const char* name : {"b", "c", "d"}) all.get(name);
  CHECK(all.known() == "acd");
  all.part("a");
  for (const char* name : {"b", "c", "d"}) all.get(name);
  CHECK(all.known() == "acd");
  all.part("a");
  all.get("b");
  CHECK(all.known() == "ab");
}

TEST_CASE("what forgotten tenants have done stays in one sum") {
  Register all;
  all.get("a").traffic.queries = 3;
  all.get("b").traffic.queries = 4;
  all.get("b").traffic.errors = 1;
  PinBook& pins = all.get("a").pins;
  pins.change(0, pin::kTemp);
  pins.change(pin::kTemp, 0);
  pins.refuse(pin::kTemp);
  for (const char* name : {"c", "d"}) all.get(name);
  CHECK(all.known() == "cd");
  CHECK(all.tenants.forgotten().queries == 7);
  CHECK(all.tenants.forgotten().errors == 1);
  CHECK(all.tenants.forgotten_pins() == PinBook::Totals{1, 1, 1});
  CHECK(all.get("a").traffic.queries == 0);
}

TEST_CASE("what a forgotten tenant's servers cost meanwhile is his") {
  Register all;
  all.get("a").traffic.server_us = 5'000;
  for (const char* name : {"b", "c"}) all.get(name);
  REQUIRE(all.tenants.find("a") == nullptr);
  all.tenants.charge_forgotten("a", 7'000);
  CHECK(all.tenants.forgotten().server_us == 12'000);
  UsageBook book("run");
  const auto told = [&] {
    for (const UsageDelta& delta : all.tenants.end_period(20'000, Time{}))
      CHECK(book.add(delta, 20'000, Time{}));
    std::string rows;
    while (const auto row = book.next()) {
      rows += row->key;
      for (const auto& [name, value] : row->fields)
        if (name == "server_connection_seconds") rows += " " + value;
      book.written(row->key, true, 20'000, Time{});
    }
    return rows;
  };
  CHECK(told() == "2024-10-04:run:a 0.012");
  all.tenants.charge_forgotten("a", 1'000'000);
  CHECK(told() == "2024-10-04:run:a 1.012");
  CHECK(told().empty());
}

TEST_CASE("a pause is not forgotten") {
  Register all;
  all.get("a").paused = true;
  for (const char* name : {"b", "c", "d", "e"}) all.get(name);
  CHECK(all.tenants.find("a"));
  SECTION("also while all are paused, for which nobody else is kept") {
    all.all_paused = true;
    for (const char* name : {"f", "g", "h", "i"}) all.get(name);
    CHECK(all.tenants.find("a"));
    CHECK_FALSE(all.tenants.find("f"));
    CHECK(all.get("f").all_paused);
  }
}

TEST_CASE("a tier's total counts everything once, and keeps it when a tenant moves on or is forgotten") {
  Register all;
  const auto total = [&](const char* tier) {
    for (const char* name : {"a", "b", "c", "d"})
      if (Tenant* tenant = all.tenants.find(name)) tenant->settle_accounts();
    const auto place = all.tenants.meters().find(tier);
    return place == all.tenants.meters().end() ? 0 : place->second.total.queries;
  };
  Tenant& a = all.get("a");
  a.traffic.queries = 5;
  CHECK(total("") == 5);
  CHECK(total("") == 5);
  tiers::Tier pro;
  pro.name = "pro";
  a.traffic.queries += 2;
  all.tenants.change(a, pro);
  a.traffic.queries += 10;
  CHECK(total("") == 7);
  CHECK(total("pro") == 10);
  a.traffic.queries += 1;
  for (const char* name : {"b", "c", "d"}) all.get(name);
  REQUIRE(all.tenants.find("a") == nullptr);
  CHECK(total("pro") == 11);
  CHECK(total("") == 7);
}

TEST_CASE("peaks of usage are those of its day") {
  Register all;
  std::int64_t day = 20'000;
  UsageBook book("run");
  // Ends a minute: the peaks that the row of "a" has then, "none" if there is none that is new.
  const auto minute = [&] {
    for (const UsageDelta& delta : all.tenants.end_period(day, Time{})) book.add(delta, day, Time{});
    const auto row = book.next();
    if (!row) return std::string("none");
    book.written(row->key, true, day, Time{});
    std::string peaks = row->key.substr(0, row->key.find(':'));
    for (const auto& [name, value] : row->fields)
      if (name.starts_with("peak_")) peaks += ' ' + value;
    return peaks;
  };
  // As workers and groups do.
  const auto have = [&](std::uint32_t clients, std::uint32_t lent) {
    Tenant& tenant = all.get("a");
    if (clients > tenant.clients) tenant.traffic.connections += clients - tenant.clients;
    if (lent > tenant.lent) tenant.traffic.assignments += lent - tenant.lent;
    tenant.clients = clients;
    tenant.lent = lent;
    tenant.peak_clients.saw(clients);
    tenant.peak_lent.saw(lent);
    all.tenants.settle(tenant);
  };
  have(9, 4);
  have(3, 1);
  CHECK(minute() == "2024-10-04 9 4");
  have(5, 2);
  have(2, 0);
  CHECK(minute() == "2024-10-04 9 4");
  CHECK(minute() == "none");
  ++day;
  have(1, 0);
  CHECK(minute() == "none");  // only who does something has a row
  have(3, 1);
  have(2, 0);
  CHECK(minute() == "2024-10-05 3 1");
  ++day;
  have(4, 3);
  have(0, 0);
  CHECK(minute() == "2024-10-06 4 3");
  have(6, 0);
  CHECK(minute() == "2024-10-06 6 3");
  // Those who are there when a day begins count, though they leave before anything is done on it.
  ++day;
  CHECK(minute() == "none");
  have(1, 0);
  CHECK(minute() == "none");
  have(1, 1);
  CHECK(minute() == "2024-10-07 6 1");
  CHECK(all.get("a").peak_clients.ever() == 9);
  CHECK(all.get("a").peak_lent.ever() == 4);
}
