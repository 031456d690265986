#include "pooler/routines.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "pooler/base/check.h"
#include "protocol/sql_body.h"
#include "protocol/sql_dynamic.h"
#include "protocol/sql_lexer.h"
#include "protocol/wire.h"

namespace pgweir {

namespace {

// A multi-statement query is one transaction, so the path is gone with its end; pg_temp stands last, so that
// no temporary table answers for a catalog.
constexpr Bytes kPath = "SET LOCAL search_path = pg_catalog, pg_temp; ";

// 16384 is the first oid that is not Postgres's own.
constexpr Bytes kFingerprint =
    "SELECT count(*) || ' ' || coalesce(sum(hashtext(c.kind || c.oid || ' ' || c.xmin)::bigint), 0) FROM ("
    "SELECT 'f' AS kind, oid::text, xmin::text FROM pg_proc WHERE oid >= 16384"
    " UNION ALL SELECT 't', oid::text, xmin::text FROM pg_trigger WHERE oid >= 16384 AND NOT tgisinternal"
    " UNION ALL SELECT 'v', oid::text, xmin::text FROM pg_rewrite WHERE oid >= 16384"
    " UNION ALL SELECT 'd', oid::text, xmin::text FROM pg_attrdef WHERE oid >= 16384"
    " UNION ALL SELECT 'p', oid::text, xmin::text FROM pg_policy WHERE oid >= 16384"
    " UNION ALL SELECT 'c', oid::text, xmin::text FROM pg_constraint WHERE oid >= 16384 AND contype = 'c'"
    " UNION ALL SELECT 'y', oid::text, xmin::text FROM pg_type WHERE oid >= 16384 AND typtype = 'd'"
    " UNION ALL SELECT 'o', oid::text, xmin::text FROM pg_operator WHERE oid >= 16384"
    " UNION ALL SELECT 'x', oid::text, xmin::text FROM pg_cast WHERE oid >= 16384) c";

// Wider than the reader of bodies: whatever it would find must be fetched. A body without text is one of
// BEGIN ATOMIC, which only its definition shows. What is too long to be read whole counts as opaque.
constexpr Bytes kBodies =
    "SELECT 'pg_proc'::regclass::oid || ' ' || p.oid, p.proname,"
    " CASE WHEN p.prosrc = '' THEN 'plpgsql' ELSE l.lanname END,"
    " CASE WHEN octet_length(b.code) <= 12000 THEN b.code END"
    " FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang CROSS JOIN LATERAL (SELECT CASE"
    " WHEN l.lanname IN ('c', 'internal') THEN NULL"
    " WHEN p.prosrc = '' AND p.prokind <> 'a' THEN pg_get_functiondef(p.oid) ELSE p.prosrc END) b(code)"
    " WHERE p.oid >= 16384 AND b.code IS NOT NULL AND (l.lanname NOT IN ('sql', 'plpgsql') OR b.code ~*"
    " '(u&|pg_settings|set_config|lastval|currval|setseed|set_limit|ts_stat|ts_rewrite|advisory|pg_temp|"
    "backup|crosstab"
    "|dblink|replication_origin|pg_create_|pg_copy_|_to_xml|connectby|xpath_table|pg_input_"
    "|(array|domain|record)_(in|recv)\\M"
    "|\\m(set|reset|discard|deallocate|prepare|execute|listen|unlisten|load|do|call|temp|temporary|create|"
    "alter)\\M)')"
    " ORDER BY p.oid";

// What tables, views, types, operators and declarations of functions keep as expressions that name one of
// Postgres's own functions of protocol/sql_functions.h, or pg_settings, of which a view may be updated: of
// these pg_depend has no row. Told as code that calls them with nobody knows what: only an expression that is
// deparsed, for which Postgres locks its tables, would tell.
constexpr Bytes kStored =
    "WITH own AS MATERIALIZED (SELECT p.oid, p.proname FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang"
    " WHERE l.lanname IN ('c', 'internal') AND p.proname ~ '^(set_config|set_limit|setseed|lastval|currval|"
    "pg_(try_)?advisory_|pg_create_|pg_copy_|pg_replication_origin_|pg_backup_start|pg_start_backup|dblink|"
    "crosstab|connectby|xpath_table|ts_stat|ts_rewrite|(query|cursor|table|schema|database)_to_xml|"
    "pg_input_|(array|domain|record)_(in|recv)$)'),"
    " stored(cls, id, tree) AS (SELECT 'pg_class'::regclass::oid, ev_class, concat(ev_qual, ev_action)"
    " FROM pg_rewrite WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_class'::regclass, adrelid, adbin::text FROM pg_attrdef WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_class'::regclass, tgrelid, tgqual::text FROM pg_trigger WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_class'::regclass, polrelid, concat(polqual, polwithcheck)"
    " FROM pg_policy WHERE oid >= 16384"
    " UNION ALL SELECT CASE contypid WHEN 0 THEN 'pg_class'::regclass ELSE 'pg_type'::regclass END,"
    " CASE contypid WHEN 0 THEN conrelid ELSE contypid END, conbin::text"
    " FROM pg_constraint WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_type'::regclass, oid, typdefaultbin::text FROM pg_type WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_proc'::regclass, oid, proargdefaults::text FROM pg_proc WHERE oid >= 16384"
    // written as the expressions above write a call
    " UNION ALL SELECT 'pg_proc'::regclass, aggfnoid, format('funcid %s ', concat_ws(' funcid ',"
    " aggtransfn::oid, aggfinalfn::oid, aggcombinefn::oid, aggserialfn::oid, aggdeserialfn::oid,"
    " aggmtransfn::oid, aggminvtransfn::oid, aggmfinalfn::oid)) FROM pg_aggregate WHERE aggfnoid >= 16384"
    " UNION ALL SELECT 'pg_operator'::regclass, oid, format('funcid %s ', oprcode::oid)"
    " FROM pg_operator WHERE oid >= 16384"
    " UNION ALL SELECT 'pg_cast'::regclass, oid, format('funcid %s ', castfunc)"
    " FROM pg_cast WHERE oid >= 16384)"
    " SELECT s.cls || ' ' || s.id, coalesce(c.relname, p.proname, y.typname), 'sql', concat("
    "(SELECT 'SELECT ' || string_agg(DISTINCT quote_ident(o.proname) || '(x, x, x)', ', ')"
    " FROM own o WHERE strpos(s.tree, 'funcid ' || o.oid || ' ') > 0), CASE WHEN"
    " strpos(s.tree, ':relid ' || 'pg_settings'::regclass::oid || ' ') > 0"
    " THEN '; UPDATE pg_settings SET setting = x WHERE name = x' END)"
    " FROM stored s LEFT JOIN pg_class c ON s.cls = 'pg_class'::regclass AND c.oid = s.id"
    " LEFT JOIN pg_proc p ON s.cls = 'pg_proc'::regclass AND p.oid = s.id"
    " LEFT JOIN pg_type y ON s.cls = 'pg_type'::regclass AND y.oid = s.id"
    " WHERE s.tree ~ (SELECT format('funcid (%s) |:relid %s ', string_agg(oid::text, '|'),"
    " 'pg_settings'::regclass::oid) FROM own) ORDER BY s.cls, s.id";

// {0}: what was found, each by the oids of its catalog and in that. From each to whatever can make it run:
// code that mentions the name of something found, and what depends on it by the catalogs. Of tables only what
// runs code of theirs counts. A NULL name is what no text has to name. The third column: whether values of a
// type make it run.
constexpr const char* kUsers =
    "WITH RECURSIVE code AS MATERIALIZED (SELECT oid, proname::text AS name, lower(prosrc) AS body"
    " FROM pg_proc WHERE oid >= 16384), roots AS (SELECT r AS root, split_part(r, ' ', 1)::oid AS cls,"
    " split_part(r, ' ', 2)::oid AS id FROM unnest('{{{0}}}'::text[]) r), found(root, cls, id, name) AS ("
    "SELECT r.root, r.cls, r.id, coalesce(p.proname, c.relname, y.typname)::text FROM roots r"
    " LEFT JOIN pg_proc p ON r.cls = 'pg_proc'::regclass AND p.oid = r.id"
    " LEFT JOIN pg_class c ON r.cls = 'pg_class'::regclass AND c.oid = r.id"
    " LEFT JOIN pg_type y ON r.cls = 'pg_type'::regclass AND y.oid = r.id"
    " UNION SELECT f.root, u.cls, u.id, u.name FROM found f CROSS JOIN LATERAL ("
    // code that mentions it
    "SELECT 'pg_proc'::regclass::oid AS cls, p.oid AS id, p.name FROM code p"
    " WHERE f.name IS NOT NULL AND strpos(p.body, lower(f.name)) > 0"
    " AND p.body ~ ('\\m' || regexp_replace(lower(f.name), '(\\W)', '\\\\\\1', 'g') || '\\M')"
    // functions and aggregates made of it
    " UNION ALL SELECT d.classid, p.oid, p.proname::text FROM pg_depend d JOIN pg_proc p ON p.oid = d.objid"
    " WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = f.cls AND d.refobjid = f.id"
    // relations: triggers, views and rules, defaults, checks, policies, indexes, columns of such a type
    " UNION ALL SELECT 'pg_class'::regclass::oid, c.oid, c.relname::text FROM pg_depend d"
    " LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid"
    " LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid"
    " LEFT JOIN pg_attrdef a ON d.classid = 'pg_attrdef'::regclass AND a.oid = d.objid"
    " LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid"
    " LEFT JOIN pg_policy y ON d.classid = 'pg_policy'::regclass AND y.oid = d.objid"
    " LEFT JOIN pg_index i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid"
    " JOIN pg_class c ON c.oid = coalesce(t.tgrelid, r.ev_class, a.adrelid, nullif(k.conrelid, 0),"
    " y.polrelid, i.indrelid, CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid END)"
    " WHERE d.refclassid = f.cls AND d.refobjid = f.id AND d.deptype IN ('n', 'a')"
    " AND (f.cls <> 'pg_class'::regclass OR d.classid = 'pg_rewrite'::regclass)"
    // domains with such a check or default, and over such a domain
    " UNION ALL SELECT 'pg_type'::regclass::oid, y.oid, y.typname::text FROM pg_depend d"
    " LEFT JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid"
    " JOIN pg_type y ON y.oid = coalesce(nullif(k.contypid, 0),"
    " CASE WHEN d.classid = 'pg_type'::regclass THEN d.objid END) AND y.typtype = 'd'"
    " WHERE d.refclassid = f.cls AND d.refobjid = f.id"
    " AND f.cls IN ('pg_proc'::regclass, 'pg_type'::regclass)"
    // what has a column of a composite type with such a column
    " UNION ALL SELECT 'pg_type'::regclass::oid, c.reltype, c.relname::text FROM pg_class c"
    " WHERE f.cls = 'pg_class'::regclass AND c.oid = f.id AND c.relkind = 'c'"
    // the tables above a partition, and those whose rows take rows of this one with them
    " UNION ALL SELECT 'pg_class'::regclass::oid, c.oid, c.relname::text FROM pg_inherits h"
    " JOIN pg_class c ON c.oid = h.inhparent WHERE f.cls = 'pg_class'::regclass AND h.inhrelid = f.id"
    " UNION ALL SELECT 'pg_class'::regclass::oid, c.oid, c.relname::text FROM pg_constraint k"
    " JOIN pg_class c ON c.oid = k.confrelid WHERE f.cls = 'pg_class'::regclass AND k.conrelid = f.id"
    " AND k.contype = 'f' AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))"
    // operators and casts
    " UNION ALL SELECT d.classid, d.objid, NULL FROM pg_depend d WHERE d.classid IN"
    " ('pg_operator'::regclass, 'pg_cast'::regclass) AND d.refclassid = f.cls AND d.refobjid = f.id"
    ") u) SELECT root, name, bool_or(cls = 'pg_type'::regclass) FROM found GROUP BY root, name";

// The columns of a DataRow in text.
std::optional<std::vector<std::optional<std::string>>> columns_of(Bytes row) {
  protocol::Reader in(row);
  std::vector<std::optional<std::string>> columns(in.u16());
  for (std::optional<std::string>& column : columns) {
    const std::uint32_t size = in.u32();
    if (size != 0xffffffff) column = std::string(in.bytes(size));
  }
  if (!in.ok() || !in.empty()) return {};
  return columns;
}

// What nobody has read may do anything but what leaves no trace: else each such text would cost its server.
protocol::SqlChanges unseen() {
  protocol::SqlChanges changes = protocol::SqlChanges::anything();
  changes.unfollowable = false;
  return changes;
}

bool is_oid(Bytes text) {
  return !text.empty() && text.size() <= 10 && text.find_first_not_of("0123456789") == Bytes::npos;
}

std::string query(Bytes sql) { return std::string(kPath).append(sql); }

std::string query(Bytes sql, std::size_t rows_most) {
  return fmt::format("{}{} LIMIT {}", kPath, sql, rows_most);
}

// More settings than a text may name are anything. Answers how many were looked at.
std::size_t add_to(protocol::SqlChanges& all, const protocol::SqlChanges& more) {
  constexpr std::size_t kMost = RoutineBook::kSettingsMost;
  all.add_flags(more);
  if (more.settings.empty() || (all.opaque && all.settings.size() + more.settings.size() > kMost)) return 0;
  if (more.settings.size() <= kMost) all.add(more);
  if (std::max(more.settings.size(), all.settings.size()) <= kMost) return more.settings.size();
  all.settings.clear();
  all.add_flags(unseen());
  return kMost;
}

std::size_t heap_of(const protocol::SqlChanges& changes) {
  std::size_t bytes = sizeof changes + changes.settings.capacity() * sizeof(std::string);
  for (const std::string& setting : changes.settings) bytes += setting.capacity();
  return bytes;
}

constexpr std::size_t kNameMax = 63;  // what Postgres keeps of a name
constexpr unsigned kStringsDeep = 8;  // deeper than any honest code

// As Postgres reads it: `quotes` says that it stands in some. In `room` where it is another than what is
// written.
Bytes name_in(Bytes written, bool quotes, std::array<char, kNameMax>& room) {
  if (quotes)
    written =
        written.substr(1, written.size() > 1 && written.back() == '"' ? written.size() - 2 : written.size());
  std::size_t size = 0;
  for (std::size_t i = 0; i < written.size() && size < kNameMax; ++i) {
    const char c = written[i];
    room[size++] = !quotes && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
    if (quotes && c == '"') ++i;  // the first of two
  }
  return {room.data(), size};
}

bool any_of_users(Bytes types) {
  constexpr std::uint32_t kFirstUsersOid = 16384;
  protocol::Reader in(types);
  for (unsigned left = in.u16(); left > 0 && in.ok(); --left)
    if (in.u32() >= kFirstUsersOid) return true;
  return false;
}

// Whether every statement of the text is one that evaluates no expression but constants, so that no operator,
// cast or function is used. COMMIT may, as SET CONSTRAINTS: of what is deferred.
bool evaluates_nothing(Bytes sql) {
  using Kind = protocol::SqlToken::Kind;
  constexpr std::array<Bytes, 9> kPlain = {"begin",     "start",   "set",      "show", "reset",
                                           "savepoint", "release", "rollback", "abort"};
  enum class Place : std::uint8_t { Start, Set, Constants, Inside } place = Place::Start;
  protocol::SqlLexer lexer(sql);
  for (protocol::SqlToken token = lexer.next(); token.kind != Kind::End; token = lexer.next()) {
    const Bytes text = lexer.text_of(token);
    if (text == ";") {
      place = Place::Start;
    } else if (place == Place::Start) {
      if (token.kind != Kind::Word) return false;
      const auto is = [text](Bytes word) { return protocol::equals(text, word); };
      place = is("select") ? Place::Constants : is("set") ? Place::Set : Place::Inside;
      if (place != Place::Constants && std::none_of(kPlain.begin(), kPlain.end(), is)) return false;
    } else if (place == Place::Constants) {
      const bool constant =
          token.kind == Kind::Number || token.kind == Kind::Parameter || token.kind == Kind::String;
      if (!constant && text != ",") return false;
    } else if (std::exchange(place, Place::Inside) == Place::Set && protocol::equals(text, "constraints")) {
      return false;
    }
  }
  return true;
}

}  // namespace

void RoutineBook::follow(bool on) {
  if (on == (state_ != State::Off)) return;
  const std::uint32_t version = version_;
  *this = RoutineBook();
  version_ = version + 1;
  state_ = on ? State::Awaited : State::Off;
}

void RoutineBook::move_to(State state) {
  if (unsure() != (state == State::Awaited || state == State::Blind)) ++version_;
  state_ = state;
}

void RoutineBook::definitions_changed(By by) {
  if (state_ == State::Off) return;
  ++epoch_;
  changed_meanwhile_ = true;
  if (failures_ > 0) return move_to(State::Blind);  // as it is, until the next try
  const bool waits = by == By::Own || state_ == State::Awaited;
  due_at_ = waits ? Time{} : std::min(due_at_, started_at_ + kPause);
  move_to(waits ? State::Awaited : State::Blind);
}

void RoutineBook::wait_no_longer() {
  if (state_ == State::Awaited) move_to(State::Blind);
}

std::string RoutineBook::start(Time now) {
  step_ = Step::Fingerprint;
  started_at_ = now;
  changed_meanwhile_ = surprised_ = overflowed_ = false;
  found_.clear();
  return query(kFingerprint);
}

bool RoutineBook::row(Bytes row) {
  if (row.empty()) return overflow(), true;
  ++rows_;
  auto columns = columns_of(row);
  if (!columns) return false;
  switch (step_) {
    case Step::None: return false;
    case Step::Fingerprint:
      if (columns->size() != 1 || !columns->front()) return false;
      found_ = *columns->front();
      return true;
    case Step::Bodies:
    case Step::Stored: return body(*columns);
    case Step::Users: return user(*columns);
  }
  return false;
}

bool RoutineBook::body(std::vector<std::optional<std::string>>& columns) {
  if (columns.size() != 4 || !columns[0] || !columns[2]) return false;
  const std::size_t space = columns[0]->find(' ');
  if (!is_oid(Bytes(*columns[0]).substr(0, space)) || space == std::string::npos ||
      !is_oid(Bytes(*columns[0]).substr(space + 1)))
    return false;
  bodies_bytes_ += columns[3] ? columns[3]->size() : 0;
  if (bodies_bytes_ > kBodiesMost) columns[3].reset();
  unread_.push_back(
      {std::move(*columns[0]), std::move(*columns[2]), std::move(columns[1]), std::move(columns[3])});
  return true;
}

bool RoutineBook::read_some() {
  const std::size_t tokens_before = tokens_left_;
  std::size_t bytes = 0;
  while (!unread_.empty() && bytes < kBytesAtOnce && tokens_before - tokens_left_ < kTokensAtOnce) {
    const Unread next = std::move(unread_.front());
    unread_.pop_front();
    bytes += next.key.size() + (next.name ? next.name->size() : 0) + (next.code ? next.code->size() : 0);
    read(next);
  }
  return !unread_.empty();
}

void RoutineBook::read(const Unread& body) {
  protocol::SqlChanges changes =
      body.code ? protocol::read_body(*body.code, protocol::body_language(body.language), tokens_left_)
                : unseen();
  if (!changes.leave_something() && !changes.temp_path && !changes.advisory_unlock && !changes.unlistens &&
      !changes.reads_sequence)
    return;
  const bool anything = changes.opaque && changes.settings.empty();
  const Deed deed = anything ? anything_like(changes) : deed_of(std::move(changes));
  runs(body.name, deed);
  if (roots_.size() == kNamesMost && !roots_.contains(body.key)) return overflow();
  roots_[body.key].push_back(deed);
}

// Nobody knows what is not in the book.
void RoutineBook::overflow() {
  overflow_found_ = true;
  anywhere_found_.add(unseen());
}

RoutineBook::Deed RoutineBook::deed_of(protocol::SqlChanges changes) {
  changes.settings.shrink_to_fit();
  if (deeds_bytes_found_ + heap_of(changes) > kDeedsBytesMost) return anything_like(changes);
  deeds_bytes_found_ += heap_of(changes);
  deeds_found_.push_back(std::move(changes));
  return static_cast<Deed>(deeds_found_.size() - 1);
}

// Anything, and what that does not say.
RoutineBook::Deed RoutineBook::anything_like(const protocol::SqlChanges& changes) {
  std::optional<Deed>& deed =
      anything_[(changes.unfollowable ? 1U : 0U) | (changes.reads_sequence ? 2U : 0U)];
  if (!deed) {
    protocol::SqlChanges anything = unseen();
    anything.unfollowable = changes.unfollowable;
    anything.reads_sequence = changes.reads_sequence;
    deeds_found_.push_back(std::move(anything));
    deed = static_cast<Deed>(deeds_found_.size() - 1);
  }
  return *deed;
}

bool RoutineBook::user(const std::vector<std::optional<std::string>>& columns) {
  if (columns.size() != 3 || !columns[0] || !columns[2]) return false;
  const auto root = roots_.find(*columns[0]);
  if (root == roots_.end()) return false;
  for (const Deed deed : root->second) {
    runs(columns[1], deed);
    if (*columns[2] == "t") add_to(types_found_, deeds_found_[deed]);
  }
  return true;
}

void RoutineBook::runs(const std::optional<std::string>& name, Deed deed) {
  if (!name) return void(add_to(anywhere_found_, deeds_found_[deed]));
  if (names_found_.size() == kNamesMost && !names_found_.contains(*name)) return overflow();
  std::vector<Deed>& deeds = names_found_[*name];
  // The root itself comes twice: with its body, and among its users.
  if (std::find(deeds.begin(), deeds.end(), deed) != deeds.end()) return;
  deeds.push_back(deed);
  if (deeds.size() <= kDeedsMost) return;
  protocol::SqlChanges all;
  for (const Deed each : deeds) add_to(all, deeds_found_[each]);
  deeds.assign(1, anything_like(all));
}

std::string RoutineBook::users_sql() const {
  std::string keys;
  for (const auto& [key, changes] : roots_) keys.append(keys.empty() ? "" : ",").append(key);
  return query(fmt::format(fmt::runtime(kUsers), keys), kUserRowsMost);
}

std::optional<std::string> RoutineBook::next(bool answered) {
  if (!answered) return finish(false), std::nullopt;
  PGWEIR_CHECK(unread_.empty());
  const bool cut = std::exchange(rows_, 0) >= (step_ == Step::Users ? kUserRowsMost : kBodyRowsMost);
  if (cut && step_ != Step::Fingerprint) overflow();
  switch (step_) {
    case Step::None: return {};
    case Step::Fingerprint:
      if (found_ == fingerprint_) return finish(true), std::nullopt;
      roots_.clear();
      names_found_.clear();
      deeds_found_.clear();
      deeds_bytes_found_ = 0;
      anything_ = {};
      overflow_found_ = false;
      bodies_bytes_ = 0;
      tokens_left_ = kTokensMost;
      anywhere_found_ = types_found_ = {};
      step_ = Step::Bodies;
      if (found_.starts_with("0 ")) break;
      return query(kBodies, kBodyRowsMost);
    case Step::Bodies: step_ = Step::Stored; return query(kStored, kBodyRowsMost);
    case Step::Stored:
      step_ = Step::Users;
      if (roots_.empty()) break;
      return users_sql();
    case Step::Users: break;
  }
  fingerprint_ = found_;
  take_over();
  finish(true);
  return {};
}

void RoutineBook::take_over() {
  names_ = std::exchange(names_found_, {});
  deeds_ = std::exchange(deeds_found_, {});
  deeds_bytes_ = std::exchange(deeds_bytes_found_, 0);
  overflowed_ = overflow_found_ && !overflows_;
  overflows_ = overflow_found_;
  anywhere_ = std::exchange(anywhere_found_, {});
  types_ = std::exchange(types_found_, {});
  empty_ = names_.empty() && !anywhere_.leave_something();
  surprised_ = state_ == State::Read && !empty_;
  first_letters_.reset();
  for (const auto& [name, deeds] : names_)
    if (!name.empty()) first_letters_.set(place_of(name[0]));
  ++version_;
}

void RoutineBook::finish(bool well) {
  // Not knowing who uses them is no reason to forget the functions themselves.
  if (!well && (step_ == Step::Stored || step_ == Step::Users)) take_over();
  step_ = Step::None;
  unread_.clear();
  failures_ = well ? 0 : failures_ + 1;
  const unsigned doubled = std::min(failures_ < 2 ? 0 : failures_ - 2, 4U);
  if (!well) {
    due_at_ = failures_ == 1 ? Time{} : started_at_ + std::min(kRetry * (1U << doubled), kRetryMost);
    return move_to(State::Blind);
  }
  if (changed_meanwhile_) return;  // definitions_changed() has said what is to be done
  due_at_ = started_at_ + kFresh;
  move_to(State::Read);
}

// What a text was found to do, each deed once.
class RoutineBook::Found {
 public:
  explicit Found(const std::vector<protocol::SqlChanges>& deeds) : deeds_(deeds) {}

  void add(const protocol::SqlChanges& changes) {
    constexpr std::size_t kEach = 64;
    if (!all_) all_.emplace();
    work_ += kEach * (1 + add_to(*all_, changes));
  }
  void add(const std::vector<Deed>& deeds) {
    added_.resize(deeds_.size());
    for (const Deed deed : deeds) {
      if (added_[deed]) continue;
      added_[deed] = true;
      add(deeds_[deed]);
    }
  }
  std::optional<protocol::SqlChanges> take() { return std::move(all_); }
  std::size_t work() const { return work_; }

 private:
  std::size_t work_ = 0;
  const std::vector<protocol::SqlChanges>& deeds_;
  std::vector<bool> added_;
  std::optional<protocol::SqlChanges> all_;
};

std::optional<protocol::SqlChanges> RoutineBook::changes_of(Bytes sql, Strings strings, Bytes types,
                                                            Told told) const {
#ifdef PGWEIR_PLANT_FORGET_FUNCTIONS
  return {};
#endif
  if (empty()) return {};
  Found found(deeds_);
  const bool users_types = any_of_users(types);
  if (told == Told::All && (unsure() || anywhere_.leave_something()) &&
      (!evaluates_nothing(sql) || (unsure() && users_types)))
    found.add(unsure() ? unseen() : anywhere_);
  look_for_names(sql, strings == Strings::Code ? kStringsDeep : 0, found);
  if (types_.leave_something() && users_types) found.add(types_);
  constexpr std::size_t kLookForNames = 4;
  work_ += found.work() + kLookForNames * sql.size();
  return found.take();
}

// `deep`: in how many strings within strings.
void RoutineBook::look_for_names(Bytes sql, unsigned deep, Found& found) const {
  using Kind = protocol::SqlToken::Kind;
  protocol::SqlLexer lexer(sql);
  for (protocol::SqlToken token = lexer.next(); token.kind != Kind::End; token = lexer.next()) {
    const Bytes text = lexer.text_of(token);
    if (token.kind == Kind::Unicode) {
      found.add(unseen());
    } else if (token.kind == Kind::String && deep > 0) {
      // Quotes that are doubled in it end and begin strings of no content there.
      const std::size_t tag = text.find_first_of("'$");
      const std::size_t open = text[tag] == '$' ? text.find('$', tag + 1) + 1 : tag + 1;
      const std::size_t closing = text[tag] == '$' ? open : 1;
      const bool escapes = tag > 0 && text.find('\\') != Bytes::npos;
      if (escapes || deep == 1) found.add(unseen());
      if (text.size() > open + closing)
        look_for_names(text.substr(open, text.size() - open - closing), deep - 1, found);
    } else if (token.kind == Kind::Word || token.kind == Kind::Quoted) {
      const bool quotes = token.kind == Kind::Quoted;
      if (text.size() < (quotes ? 2 : 1) || !first_letters_[place_of(text[quotes ? 1 : 0])]) continue;
      std::array<char, kNameMax> room;
      const auto named = names_.find(name_in(text, quotes, room));
      if (named != names_.end()) found.add(named->second);
    }
  }
}

}  // namespace pgweir
