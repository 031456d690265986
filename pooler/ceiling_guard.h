// pooler/ceiling_guard.h - what the texts of one tenant may do to the settings that its tier holds, and which
// of their values are taken back.
//
// Held are the parameters with a ceiling and those that are injected. A text is ruled by what read_sql()
// found in it: a value above the ceiling gives way to the ceiling, what cannot be lowered so is refused. What
// no text shows is found by the audit, behind its transaction, and set back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pooler/audit.h"
#include "pooler/base/bytes.h"
#include "pooler/base/error.h"
#include "pooler/ceiling_tally.h"
#include "pooler/settings.h"
#include "protocol/sql.h"
#include "protocol/sql_words.h"
#include "tiers/tier.h"

namespace pgweir {

// What is to become of a text that cannot go as it is.
struct Ruling {
  std::optional<Error> refused;
  std::string text;                  // that goes in its place; without lowered: the same, said beyond doubt
  std::vector<std::string> lowered;  // what the client is told of each value
};

// Of a session whose server was opened before what is held has changed: what RESET gives back there.
struct Outgrown {
  const tiers::Ceilings::Values* opened_with;
  const SettingsMap::Values* started;  // what the client connected with, which lies within its ceilings
};

class CeilingGuard {
 public:
  // `record` outlives this.
  explicit CeilingGuard(const tiers::Tenant& record) : record_(&record) { renew(); }
  CeilingGuard(const CeilingGuard&) = delete;
  CeilingGuard& operator=(const CeilingGuard&) = delete;

  // The record has changed. Answers whether what is held has.
  bool renew();

  // Something is held, and texts are looked at for it.
  bool inspects() const { return inspection_ != tiers::Inspection::Off; }
  bool strict() const { return inspection_ == tiers::Inspection::Strict; }
  // A text of such words is to be ruled.
  bool minds(protocol::SqlWords words) const {
    return words == protocol::SqlWords::State || (inspects() && words != protocol::SqlWords::Harmless);
  }

  // Null: the text may go as it is. Where the session has outgrown its server, what would give a value back
  // sets it to what servers begin with now.
  std::unique_ptr<Ruling> rule(const protocol::SqlEffects& effects, Bytes sql,
                               const Outgrown* outgrown = nullptr);
  // Of what is too long to be looked through, where that is refused.
  std::unique_ptr<Ruling> rule_unread(std::size_t size);
  // Of texts under a setting by which they read otherwise than we read them.
  // Nothing: that of the statement, which is not the client's any more.
  std::unique_ptr<Ruling> rule_misread(Bytes sql, const std::optional<SettingsBook::Odd>& odd);
  // Of a FunctionCall.
  std::optional<Error> refuse_function(std::uint32_t oid);

  // The names of what is held.
  const std::vector<std::string>& names() const { return names_; }
  // Whether `value` is what servers begin with.
  bool is_start(Bytes name, Bytes value) const;
  // That; null: nothing is held.
  const std::string* start_of(Bytes name) const;
  // Whether a server that was opened with these gives back a value of `name` that must not be; of what is
  // held.
  bool outgrows(const tiers::Ceilings::Values& opened_with, Bytes name) const;
  // Takes a value that a session was found to have back to what it may be: of an injected one to none, which
  // is what servers begin with. Counted.
  void enforce(Findings::Setting& setting);
  // The same of a value that the client brings along.
  void hold(Findings::Setting& setting) const;
  bool allows(Bytes name, Bytes value) const;

  // Since the start.
  const CeilingTally& tally() const { return tally_; }
  // One that was held.
  struct Held {
    Bytes parameter;
    CeilingRoute route;
    Bytes
        value{};  // what was found, of Enforced, where it is a number under a ceiling; else nobody's to tell
    Bytes sql{};  // the text that would do it, where one is at hand; for the trace context in it
  };
  // Counts one more.
  void note(const Held& held);
  // Called by note(): `count` of them there are now.
  std::function<void(const Held& held, std::uint64_t count)> on_held;

 private:
  bool holds(Bytes name) const;
  bool lower(const protocol::SqlAssignment& assignment, Ruling& ruling,
             std::vector<protocol::SqlPiece>& edits) const;
  std::optional<Error> keep_down(const protocol::SqlEffects& effects, const Outgrown& outgrown,
                                 std::vector<protocol::SqlPiece>& edits) const;
  std::unique_ptr<Ruling> refuse(Error error, Bytes sql, Bytes parameter = kAnyParameter);
  std::string whose() const;

  const tiers::Tenant* record_;
  tiers::SharedCeilings source_;  // with tier_ and asked_: what renew() saw
  std::string tier_;
  tiers::Inspection asked_ = tiers::Inspection::Off;
  tiers::SharedCeilings ceilings_;  // with this tenant's name in it
  tiers::Ceilings::Values start_;
  tiers::Inspection inspection_ = tiers::Inspection::Off;
  std::vector<std::string> names_;
  CeilingTally tally_;
};

}  // namespace pgweir
