// pooler/server_errands.cc - ServerCore: what the pooler itself asks of a server, and what it is answered.
#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "pooler/server_core.h"
#include "protocol/messages.h"

namespace pgweir {

using protocol::Gather;
using protocol::Owed;
using protocol::Pipeline;

namespace {
// Applies one setting; a NULL value returns it to the session's default. Prepared once per server, so that no
// SQL is ever made from a client's text (R10).
constexpr Bytes kSetStatement = "pgweir_set";
constexpr char kSetText[] = "SELECT pg_catalog.set_config($1,$2,false)\0\0";  // text, NUL, no parameter types
constexpr Bytes kSetContent{kSetText, sizeof kSetText};

// DISCARD ALL leaves the seed of random(), which whoever knows it could foretell.
constexpr Bytes kReseed =
    "SELECT pg_catalog.setseed(pg_catalog.hashtext(pg_catalog.gen_random_uuid()::pg_catalog.text)"
    "::pg_catalog.float8 OPERATOR(pg_catalog./) 2147483648)";
}  // namespace

// False when the answer is no answer.
bool ServerCore::on_ours(char type, Bytes body, const Pipeline::Reply& reply, Gather& to_client,
                         Audience& audience) {
  Errand& errand = errands_.front();
  if (type == 'D' && errand.kind == Errand::Kind::Ask) return audience.on_row(body);
  if (type == 'D' && errand.kind == Errand::Kind::Introduce && errand.answered == errand.questions.size()) {
    protocol::Reader in(body);
    const bool one_value = in.u16() == 1;
    const Bytes value = in.bytes(in.u32());
    return in.ok() && one_value && value == errand.introduction.token;
  }
  if (type == 'D' && errand.answered < errand.questions.size()) {
    if (errand.kind == Errand::Kind::Audit)
      return errand.findings.add(errand.questions[errand.answered], body);
    learn_spelling(errand, body);
  } else if (type == 'C' && reply.kind == Owed::Execute && reply.finished) {
    ++errand.answered;
  } else if (reply.ready) {
    end_errand(to_client, audience);
  }
  return true;
}

bool ServerCore::on_ours_failed(Bytes error_body, Audience& audience) {
  if (!errands_.empty()) {
    errands_.front().failed = true;
    const Errand::Kind kind = errands_.front().kind;
    if (kind == Errand::Kind::Tell || kind == Errand::Kind::Ask || kind == Errand::Kind::Recover) return true;
    const Errand& errand = errands_.front();
    if (kind == Errand::Kind::Audit)
      refused_name =
          errand.answered < errand.questions.size() ? errand.questions[errand.answered].name : std::string();
    keeps_others = kind == Errand::Kind::Settings && errand.to != applied &&
                   errand.answered < errand.questions.size() &&
                   errand.questions[errand.answered].name.empty();
  }
  if (!PGWEIR_PLANTED(TRUST_FAILED)) doubt_ours();
  return audience.on_ours_failed(error_body);
}

// A batch that fails leaves out what stood behind: a Parse, too. Before their next use these are prepared
// anew.
void ServerCore::doubt_ours() {
  set_doubted_ = set_prepared_;
  questions_doubted_ = questions_prepared_;
}

void ServerCore::end_errand(Gather& to_client, Audience& audience) {
  Errand done = std::move(errands_.front());
  errands_.erase(errands_.begin());
  if (done.kind == Errand::Kind::Tell) return audience.on_told(!done.failed, last_failed_);
  if (done.kind == Errand::Kind::Ask) return audience.on_rows_end(!done.failed);
  if (done.failed) return;
  switch (done.kind) {
    case Errand::Kind::Settings:
      audience.on_applied(*applied);
      applied = std::move(done.to);
      break;
    case Errand::Kind::Introduce: introduced = std::move(done.introduction.told); break;
    case Errand::Kind::Clean:
      dirty = others_sequences = false;
      last_client = 0;
      introduced = {};
      applied = empty_settings_;
      break;
    case Errand::Kind::Names:
    case Errand::Kind::Recover:
    case Errand::Kind::Tell:
    case Errand::Kind::Ask: break;
    case Errand::Kind::Audit: audience.on_audited(done.findings, to_client); break;
  }
}

// set_config answers with the value as Postgres spells it ("ISO" -> "ISO, MDY"), which is what clients are
// told.
void ServerCore::learn_spelling(Errand& errand, Bytes row) {
  protocol::Reader in(row);
  const bool one_value = in.u16() == 1;
  const Bytes value = in.bytes(in.u32());
  if (!in.ok() || !one_value || !errand.to) return;
  const std::string& name = errand.questions[errand.answered].name;
  const auto wanted = errand.to->values.find(name);
  if (wanted != errand.to->values.end() && wanted->second != value) errand.to->reported[name] = value;
}

void ServerCore::put_set(std::string& out, Bytes name, std::optional<Bytes> value, Errand& errand) {
  protocol::put_bind_text(out, kSetStatement, {name, value});
  protocol::put_execute(out);
  // What a setting that is taken back becomes says nothing of how one that is set is spelt.
  errand.questions.push_back({Question::Kind::Value, value ? std::string(name) : std::string()});
  pipeline.push(Owed::Bind, Pipeline::Whose::Ours);
  pipeline.push(Owed::Execute, Pipeline::Whose::Ours);
}

// The same as in audit().
void ServerCore::prepare_set(std::string& out) {
  if (set_prepared_ && (dirty || set_doubted_)) {
    protocol::put_close_statement(out, kSetStatement);
    pipeline.push(Owed::Close, Pipeline::Whose::Ours);
    set_prepared_ = set_doubted_ = false;
  }
  if (set_prepared_) return;
  protocol::put_parse(out, kSetStatement, kSetContent);
  pipeline.push(Owed::Parse, Pipeline::Whose::Ours);
  set_prepared_ = true;
}

void ServerCore::give_values(const std::vector<Findings::Setting>& values, Gather& to_server) {
  PGWEIR_CHECK(!pipeline.owes_client() && !pipeline.batch_open());
  Errand errand{Errand::Kind::Settings, applied};
  to_server.own([&](std::string& out) {
    prepare_set(out);
    for (const auto& [name, value] : values) {
      put_set(out, name, value, errand);
      errand.questions.back().name.clear();  // how it is spelt is of no use
    }
    protocol::put_sync(out);
    pipeline.push(Owed::Sync, Pipeline::Whose::Ours);
  });
  errands_.push_back(std::move(errand));
}

void ServerCore::apply_settings(const SettingsRef& wanted, Gather& to_server) {
  PGWEIR_CHECK(!pipeline.owes_client() && !pipeline.batch_open());
  if (applied == wanted) return;
  Errand errand{Errand::Kind::Settings, wanted};
  to_server.own([&](std::string& out) {
    prepare_set(out);
    // Who speaks decides what may be set: the last client's role goes first, the next one's comes last. But
    // how long that may take is no client's to say.
    for (const Bytes name : kTimeouts)
      if (applied->hasty && applied->values.contains(name)) put_set(out, name, std::nullopt, errand);
    for (const Bytes name : kWhoSpeaks)
      if (applied->values.contains(name)) put_set(out, name, std::nullopt, errand);
    const auto taken_back = [this](Bytes name) { return applied->hasty && is_timeout(name); };
    for (const auto& [name, value] : applied->values)
      if (!decides_who(name) && !wanted->values.contains(name) && !taken_back(name))
        put_set(out, name, std::nullopt, errand);
    const auto give = [&](const std::string& name, const std::string& value) {
      const auto has = applied->values.find(name);
      if (has == applied->values.end() || has->second != value || taken_back(name)) {
        if (has != applied->values.end() && may_be_partial(name)) put_set(out, name, std::nullopt, errand);
        put_set(out, name, value, errand);
      } else if (const auto spelt = applied->reported.find(name); spelt != applied->reported.end()) {
        wanted->reported[name] = spelt->second;  // it will not be told again
      }
    };
    if (const auto encoding = wanted->values.find(kClientEncoding); encoding != wanted->values.end())
      give(encoding->first, encoding->second);
    for (const auto& [name, value] : wanted->values)
      if (!decides_who(name) && !is_timeout(name) && name != kClientEncoding) give(name, value);
    for (auto name = std::rbegin(kWhoSpeaks); name != std::rend(kWhoSpeaks); ++name)
      if (const auto value = wanted->values.find(*name); value != wanted->values.end())
        put_set(out, *name, value->second, errand);
    for (const Bytes name : kTimeouts)
      if (const auto value = wanted->values.find(name); value != wanted->values.end())
        give(value->first, value->second);
    protocol::put_sync(out);
    pipeline.push(Owed::Sync, Pipeline::Whose::Ours);
  });
  errands_.push_back(std::move(errand));
}

// Whoever had the server before may have put another statement in the place of ours: it is parsed each time.
void ServerCore::introduce(Gather& to_server) {
  if (!introduction) return;
  PGWEIR_CHECK(!pipeline.batch_open());
  Errand errand{Errand::Kind::Introduce, nullptr};
  errand.introduction = std::move(*std::exchange(introduction, nullptr));
  introduced = {};
  to_server.own([&](std::string& out) {
    if (applied->hasty && tx_status == 'I') {
      put_patience(out);
      errand.questions.push_back({Question::Kind::Patience});
    }
    protocol::put_close_statement(out, kSetStatement);
    protocol::put_parse(out, kSetStatement, kSetContent);
    protocol::put_bind_text(out, kSetStatement, {kTokenSetting, Bytes(errand.introduction.token)});
    protocol::put_execute(out);
    protocol::put_sync(out);
  });
  for (const Owed each : {Owed::Close, Owed::Parse, Owed::Bind, Owed::Execute, Owed::Sync})
    pipeline.push(each, Pipeline::Whose::Ours);
  set_prepared_ = true;
  set_doubted_ = false;
  errands_.push_back(std::move(errand));
}

// Ahead of a batch of ours that a client's timeout must not end.
void ServerCore::put_patience(std::string& out) {
  const Bytes statement = statement_of(Question::Kind::Patience);
  protocol::put_close_statement(out, statement);
  protocol::put_parse(out, statement, content_of(Question::Kind::Patience));
  protocol::put_bind_text(out, statement, {});
  protocol::put_execute(out);
  for (const Owed each : {Owed::Close, Owed::Parse, Owed::Bind, Owed::Execute})
    pipeline.push(each, Pipeline::Whose::Ours);
  questions_prepared_ |= 1u << static_cast<unsigned>(Question::Kind::Patience);
}

void ServerCore::audit(std::vector<Question> questions, Gather& to_server) {
  PGWEIR_CHECK(settled() && errands_.empty() && !questions.empty());
  // Under a client's own timeout, or one that it may just have set, that is asked for first; the others then
  // have time. Inside of a transaction this would last.
  const auto timed = std::stable_partition(questions.begin(), questions.end(),
                                           [](const Question& each) { return is_timeout(each.name); });
  if (tx_status == 'I' && timed != questions.end() && (applied->hasty || timed != questions.begin()))
    questions.insert(timed, Question{Question::Kind::Patience});
  // Code that nobody has read may have put other statements in the place of these.
  if (dirty) doubt_ours();
  to_server.own([&](std::string& out) {
    for (const Question& question : questions) {
      const Bytes statement = statement_of(question.kind);
      const auto bit = static_cast<std::uint16_t>(1u << static_cast<unsigned>(question.kind));
      if (questions_doubted_ & bit) {
        protocol::put_close_statement(out, statement);
        pipeline.push(Owed::Close, Pipeline::Whose::Ours);
        questions_prepared_ = static_cast<std::uint16_t>(questions_prepared_ & ~bit);
        questions_doubted_ = static_cast<std::uint16_t>(questions_doubted_ & ~bit);
      }
      if (!(questions_prepared_ & bit)) {
        protocol::put_parse(out, statement, content_of(question.kind));
        pipeline.push(Owed::Parse, Pipeline::Whose::Ours);
        questions_prepared_ |= bit;
      }
      std::vector<std::optional<Bytes>> values;
      if (!question.name.empty()) values.emplace_back(question.name);
      protocol::put_bind_text(out, statement, values);
      protocol::put_execute(out);
      pipeline.push(Owed::Bind, Pipeline::Whose::Ours);
      pipeline.push(Owed::Execute, Pipeline::Whose::Ours);
    }
    protocol::put_sync(out);
    pipeline.push(Owed::Sync, Pipeline::Whose::Ours);
  });
  errands_.push_back({Errand::Kind::Audit, {}, std::move(questions)});
}

void ServerCore::close_statements(const std::vector<std::string>& names, Gather& to_server) {
  PGWEIR_CHECK(settled() && errands_.empty());
  to_server.own([&](std::string& out) {
    for (const std::string& name : names) {
      protocol::put_close_statement(out, name);
      pipeline.push(Owed::Close, Pipeline::Whose::Ours);
    }
    end_batch(out);
  });
}

void ServerCore::end_batch(std::string& out) {
  protocol::put_sync(out);
  pipeline.push(Owed::Sync, Pipeline::Whose::Ours);
  errands_.push_back({Errand::Kind::Names});
}

void ServerCore::tell(Bytes sql, Gather& to_server) {
  PGWEIR_CHECK(!pipeline.batch_open());
  to_server.own([&](std::string& out) { protocol::put_query(out, sql); });
  pipeline.push(Owed::Query, Pipeline::Whose::Ours);
  errands_.push_back({Errand::Kind::Tell});
}

void ServerCore::forget_sequences(Gather& to_server) {
  PGWEIR_CHECK(!pipeline.batch_open());
  others_sequences = false;
  to_server.own([](std::string& out) { protocol::put_query(out, "DISCARD SEQUENCES"); });
  pipeline.push(Owed::Query, Pipeline::Whose::Ours);
  errands_.push_back({Errand::Kind::Ask});
}

// nextval() locks its sequence until the transaction ends.
void ServerCore::forget_unused_sequences(Gather& to_server) {
  PGWEIR_CHECK(!pipeline.batch_open());
  to_server.own([](std::string& out) {
    protocol::put_query(
        out,
        "DO LANGUAGE plpgsql $$ BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_locks l JOIN"
        " pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.relation WHERE l.pid"
        " OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.mode OPERATOR(pg_catalog.=)"
        " 'RowExclusiveLock' AND c.relkind OPERATOR(pg_catalog.=) 'S') THEN DISCARD SEQUENCES; END IF;"
        " END $$");
  });
  pipeline.push(Owed::Query, Pipeline::Whose::Ours);
  errands_.push_back({Errand::Kind::Ask});
}

void ServerCore::recover(Bytes sql, Gather& to_server) {
  PGWEIR_CHECK(settled() && tx_status == 'E');
  put_recovery(sql, to_server);
}

void ServerCore::fail_again(Bytes sql, Gather& to_server) { put_recovery(sql, to_server); }

void ServerCore::put_recovery(Bytes sql, Gather& to_server) {
  to_server.own([&](std::string& out) { protocol::put_query(out, sql); });
  pipeline.push(Owed::Query, Pipeline::Whose::Ours);
  errands_.push_back({Errand::Kind::Recover});
}

void ServerCore::ask(Bytes sql, Gather& to_server) {
  PGWEIR_CHECK(settled() && errands_.empty());
  to_server.own([&](std::string& out) { protocol::put_query(out, sql); });
  pipeline.push(Owed::Query, Pipeline::Whose::Ours);
  errands_.push_back({Errand::Kind::Ask});
}

void ServerCore::wind_up(Gather& to_server) {
  PGWEIR_CHECK(!pipeline.copy_in());
  dirty = true;
  if (!pipeline.batch_open()) return;
  // The Sync alone would commit what Postgres rolls back when a client leaves before it.
  to_server.own([](std::string& out) {
    if (!PGWEIR_PLANTED(COMMIT_UNSYNCED)) protocol::put_query(out, "ROLLBACK");
    protocol::put_sync(out);
  });
  if (!PGWEIR_PLANTED(COMMIT_UNSYNCED)) pipeline.push(Owed::Query, Pipeline::Whose::Ours);
  pipeline.push(Owed::Sync, Pipeline::Whose::Ours);
}

void ServerCore::begin_rollback(Gather& to_server) {
  PGWEIR_CHECK(settled() && errands_.empty());
  to_server.own([](std::string& out) { protocol::put_query(out, "ROLLBACK"); });
  pipeline.push(Owed::Query, Pipeline::Whose::Ours);
}

void ServerCore::begin_cleaning(Gather& to_server) {
  PGWEIR_CHECK(quiet() && errands_.empty());
  dirty = true;
  // DISCARD ALL may take a while, and must stand alone.
  to_server.own([](std::string& out) {
    protocol::put_query(out, "SET statement_timeout TO DEFAULT");
    protocol::put_query(out, kReseed);
    protocol::put_query(out, "DISCARD ALL");
  });
  for (int before = 0; before < 2; ++before) {
    pipeline.push(Owed::Query, Pipeline::Whose::Ours);
    errands_.push_back({Errand::Kind::Tell});
  }
  pipeline.push(Owed::Query, Pipeline::Whose::Ours);
  errands_.push_back({Errand::Kind::Clean});
}

}  // namespace pgweir
