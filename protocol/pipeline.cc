#include "protocol/pipeline.h"

#include <algorithm>
#include <utility>

#include "pooler/base/check.h"

namespace pgweir::protocol {

namespace {
using Verdict = Pipeline::Reply::Verdict;

bool is_extended(Owed kind) {
  switch (kind) {
    case Owed::Query:
    case Owed::Function:
    case Owed::Sync: return false;
    case Owed::Parse:
    case Owed::Bind:
    case Owed::Describe:
    case Owed::Execute:
    case Owed::Close:
    case Owed::CopyEnd: return true;
  }
  return true;
}

bool runs_statements(Owed kind) { return kind == Owed::Query || kind == Owed::Execute; }
}  // namespace

bool Pipeline::push(Owed kind, Whose whose, Op op) {
  PGWEIR_CHECK(entries_.size() - head_ <= kMaxOwed * 2);
  if (kind == Owed::Sync) {
    ++batch_;
    if (copy_in_) {
      ++syncs_in_copy_;
      return false;
    }
    skipping_ = batch_open_ = false;
  } else if (kind == Owed::CopyEnd) {
    if (copy_in_) {
      copy_in_ = false;
      return false;
    }
    if (head_ == entries_.size()) return false;
  }
  if (skipping_) return false;
  if (kind != Owed::CopyEnd) batch_open_ = is_extended(kind);
  if (kind == Owed::Bind) ++binds_;
  auto entry = static_cast<Entry>(kind);
  if (whose == Whose::Ours) entry |= kOurs;
  if (op == Op::Statement) entry |= kOp;
  entries_.push_back(entry);
  return true;
}

bool Pipeline::owes_ready() const {
  return !copy_in_ && std::any_of(entries_.begin() + static_cast<std::ptrdiff_t>(head_), entries_.end(),
                                  [](Entry entry) { return !is_extended(kind_of(entry)); });
}

bool Pipeline::owes_client() const {
  return std::any_of(entries_.begin() + static_cast<std::ptrdiff_t>(head_), entries_.end(),
                     [](Entry entry) { return !(entry & kOurs); });
}

bool Pipeline::front_ours() const { return head_ < entries_.size() && (entries_[head_] & kOurs); }

void Pipeline::pop() {
  if (runs_statements(kind_of(entries_[head_]))) syncs_in_copy_ = 0;
  if (kind_of(entries_[head_]) == Owed::Bind) ++binds_answered_;
  ++head_;
  copy_both_ = false;
  drop_stray_copy_ends();
  if (head_ == entries_.size()) {
    entries_.clear();
    head_ = 0;
    if (entries_.capacity() > 256) entries_.shrink_to_fit();
  } else if (head_ >= 1024) {
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
}

void Pipeline::drop_stray_copy_ends() {
  while (head_ < entries_.size() && kind_of(entries_[head_]) == Owed::CopyEnd) ++head_;
}

Pipeline::Reply Pipeline::accept(Verdict verdict, Entry entry, bool finished) {
  Reply reply;
  reply.verdict = (entry & kOurs) ? Verdict::Swallow : verdict;
  reply.kind = kind_of(entry);
  reply.finished = finished;
  reply.of_op = (entry & kOp) != 0;
  reply.op = finished && reply.of_op;
  if (finished) pop();
  return reply;
}

Pipeline::Reply Pipeline::reply(char type) {
  // Notices, parameter changes and notifications may come at any time.
  if (type == 'N' || type == 'S' || type == 'A') {
    Reply reply;
    // A notification is for who listens, whatever we may be asking meanwhile.
    reply.verdict = front_ours() && type != 'A' ? Verdict::Swallow : Verdict::Forward;
    return reply;
  }
  if (type == 'Z' && spare_readies_ > 0 &&
      (head_ == entries_.size() || is_extended(kind_of(entries_[head_])))) {
    --spare_readies_;
    skipping_ = batch_open_ = false;
    Reply reply;
    reply.kind = Owed::Sync;
    reply.verdict = Verdict::Forward;
    reply.ready = true;
    return reply;
  }
  if (head_ == entries_.size()) {
    // Unasked, a server may only say why it goes away.
    Reply reply;
    reply.verdict = type == 'E' ? Verdict::Forward : Verdict::Violation;
    return reply;
  }
  if (type == 'E') return on_error();
  const Entry entry = entries_[head_];
  const Owed kind = kind_of(entry);
  switch (type) {
    case 'Z':
      if (is_extended(kind) || copy_in_ || copy_out_) break;
      {
        Reply reply = accept(Verdict::Forward, entry, true);
        reply.ready = true;
        return reply;
      }
    case '1':
      if (kind != Owed::Parse) break;
      return accept(Verdict::Forward, entry, true);
    case '2':
      if (kind != Owed::Bind) break;
      return accept(Verdict::Forward, entry, true);
    case '3':
      if (kind != Owed::Close) break;
      return accept(Verdict::Forward, entry, true);
    case 't':
      if (kind != Owed::Describe) break;
      return accept(Verdict::Forward, entry, false);
    case 'n':
      if (kind != Owed::Describe) break;
      return accept(Verdict::Forward, entry, true);
    case 'T':
      if (kind == Owed::Describe) return accept(Verdict::Forward, entry, true);
      if (kind != Owed::Query) break;
      return accept(Verdict::Forward, entry, false);
    case 'D':
      if (!runs_statements(kind)) break;
      return accept(Verdict::Forward, entry, false);
    case 'C':
    case 'I':
      if (!runs_statements(kind)) break;
      // A walsender that shuts down ends its command without a CopyDone.
      if (copy_both_) end_copy();
      if (copy_in_ || copy_out_) break;
      return accept(Verdict::Forward, entry, kind == Owed::Execute);
    case 's':
      if (kind != Owed::Execute) break;
      return accept(Verdict::Forward, entry, true);
    case 'G':
      if (!runs_statements(kind) || copy_in_ || copy_out_) break;
      return on_copy_in();
    case 'H':
      if (!runs_statements(kind) || copy_in_ || copy_out_) break;
      copy_out_ = true;
      return accept(Verdict::Forward, entry, false);
    case 'W':
      if (!streams_ || kind != Owed::Query || copy_in_ || copy_out_) break;
      copy_out_ = copy_both_ = true;
      return on_copy_in();
    case 'd':
      if (!copy_out_) break;
      return accept(Verdict::Forward, entry, false);
    case 'c':
      if (!copy_out_) break;
      copy_out_ = false;
      return accept(Verdict::Forward, entry, false);
    case 'V':
      if (kind != Owed::Function) break;
      return accept(Verdict::Forward, entry, false);
    default: break;
  }
  return Reply{};
}

Pipeline::Reply Pipeline::on_error() {
  const Entry entry = entries_[head_];
  const bool ours = entry & kOurs;
  Reply reply;
  reply.kind = kind_of(entry);
  // What we put in front of a client's Bind fails for the client's reasons: it is the client's error.
  const bool statements = reply.kind == Owed::Parse || reply.kind == Owed::Describe;
  const bool client_sees = !ours || (statements && (entry & kOp));
  reply.op = reply.of_op = (entry & kOp) != 0;
  reply.verdict = client_sees ? Verdict::Forward : Verdict::Swallow;
  reply.ours_failed = !client_sees;
  // Syncs that the client sent into a COPY that failed: the server has ignored those that it read before the
  // error and will answer the others.
  if (syncs_in_copy_ > 0) unfit_ = true;
  spare_readies_ += std::exchange(syncs_in_copy_, 0);
  end_copy();
  if (!is_extended(reply.kind)) return reply;
  reply.bind = binds_answered_;
  while (head_ < entries_.size() && kind_of(entries_[head_]) != Owed::Sync) {
    if (entries_[head_] & kOp) ++reply.dropped_ops;
    if (kind_of(entries_[head_]) == Owed::Bind) ++binds_answered_;
    ++head_;
  }
  if (head_ == entries_.size()) {
    entries_.clear();
    head_ = 0;
    // Also where a Query has closed the batch: the server has skipped it.
    skipping_ = batch_open_ = true;
  }
  return reply;
}

Pipeline::Reply Pipeline::on_copy_in() {
  const Entry entry = entries_[head_];
  copy_in_ = true;
  syncs_in_copy_ = 0;
  // The server reads what was sent behind the COPY as its data: Syncs are ignored, an end is an end.
  const auto behind = entries_.begin() + static_cast<std::ptrdiff_t>(head_ + 1);
  auto next = behind;
  for (; copy_in_ && next != entries_.end(); ++next) {
    const Owed kind = kind_of(*next);
    if (kind == Owed::Sync) {
      ++syncs_in_copy_;
    } else if (kind == Owed::CopyEnd) {
      copy_in_ = false;
    } else {
      unfit_ = true;
      return accept(Verdict::Poisoned, entry, false);
    }
  }
  if (next == entries_.end() && syncs_in_copy_ > 0) batch_open_ = is_extended(kind_of(entry));
  entries_.erase(behind, next);
  return accept(Verdict::Forward, entry, false);
}

}  // namespace pgweir::protocol
