// tests/tiers/catalog_help.h - a Catalog whose store is the test.
#pragma once

#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tiers/catalog.h"

namespace pgweir::tiers {

using namespace std::chrono_literals;
using Kind = Catalog::Answer::Kind;

// A catalog with the tiers free (20 clients) and pro (200), a store that the test answers for, and a clock.
struct Stand {
  std::shared_ptr<Directory> directory = std::make_shared<Directory>();
  bool serves_unknown = true, serves_unreachable = true;
  Time now{1000s};
  Catalog catalog{rules()};
  std::string differs;  // that actions() has seen

  Catalog::Rules rules() {
    Tier free, pro;
    free.name = "free";
    pro.name = "pro";
    pro.max_clients = 200;
    REQUIRE(directory->add_tier(free));
    REQUIRE(directory->add_tier(pro));
    Catalog::Rules rules;
    rules.default_tier = "free";
    rules.first_backend = "main";
    rules.known_max = 1000;
    rules.directory = directory;
    rules.check = [](const Tenant& tenant) -> Expected<void> {
      if (tenant.backend == "main") return {};
      return fail(sqlstate::kConfigFileError, "no backend is named " + tenant.backend);
    };
    rules.unknown = [this](std::string_view name) -> std::optional<Tenant> {
      if (!serves_unknown) return {};
      Tenant record;
      record.name = record.database = name;
      record.limits = *directory->tier("free");
      return record;
    };
    rules.unreachable = [this, unknown = rules.unknown](std::string_view name) {
      return serves_unreachable ? unknown(name) : std::nullopt;
    };
    return rules;
  }

  // "known 200", "unknown 20", "unknown none", "pending".
  static std::string text(const Catalog::Answer& answer) {
    const std::string with =
        answer.record ? std::to_string(answer.record->limits.max_clients) : std::string("none");
    switch (answer.kind) {
      case Kind::Known: return "known " + with;
      case Kind::Unknown: return "unknown " + with;
      case Kind::Unreachable: return "unreachable " + with;
      case Kind::Pending: return "pending";
    }
    return {};
  }
  std::string ask(const std::string& name) { return text(catalog.ask(name, now)); }
  void row(const std::string& name, const Fields& fields) {
    catalog.row(Catalog::Of::Tenant, name, fields, now);
  }
  void tier(const std::string& name, const Fields& fields) {
    catalog.row(Catalog::Of::Tier, name, fields, now);
  }
  void fail_tenant(const std::string& name) { catalog.failed(Catalog::Of::Tenant, name, now); }
  // "fetch acme; settled acme known 200; ..." with tiers as "tier:pro".
  std::string actions() {
    std::string all;
    for (const auto& action : catalog.take_actions()) {
      if (!all.empty() && action.kind != Catalog::Action::Kind::Differs) all += "; ";
      const std::string name = (action.of == Catalog::Of::Tier ? "tier:" : "") + action.name;
      switch (action.kind) {
        case Catalog::Action::Kind::Fetch: all += "fetch " + name; break;
        case Catalog::Action::Kind::Settled: all += "settled " + name + " " + text(action.answer); break;
        case Catalog::Action::Kind::Changed: all += "changed " + name + " " + text(action.answer); break;
        case Catalog::Action::Kind::Differs: differs += name + ": " + action.reason + "; "; break;
        case Catalog::Action::Kind::Lowered: all += "lowered " + name + ": " + action.reason; break;
        case Catalog::Action::Kind::Strange: all += "strange " + name + ": " + action.reason; break;
        case Catalog::Action::Kind::Refused: all += "refused " + name + ": " + action.reason; break;
      }
    }
    return all;
  }
  // A tenant of tier pro, known now.
  void know(const std::string& name, const Fields& fields = {{"tier", "pro"}}) {
    ask(name);
    row(name, fields);
    tier("pro", {});
    actions();
  }
  Tenant watch(const std::string& name) {
    const auto answer = catalog.ask(name, now);
    REQUIRE(answer.record);
    catalog.watch(*answer.record, now);
    actions();
    return *answer.record;
  }
  void tick(Duration passes) {
    now += passes;
    catalog.tick(now);
  }
};

}  // namespace pgweir::tiers
