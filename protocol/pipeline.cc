#include "protocol/pipeline.h"

#include <algorithm>
#include <utility>

#include "pooler/base/check.h"

namespace pgweir::protocol {

namespace {
using Verdict = Pipeline::Reply::Verdict;

}  // namespace

bool Pipeline::push_odd(Owed kind, Whose whose, Op op) {
  PGWEIR_CHECK(entries_.size() - head_ <= kMaxOwed * 2);
  if (kind == Owed::Sync) {
    ++batch_;
    if (open_.copy_in) {
      ++syncs_in_copy_;
      return false;
    }
    open_.skipping = open_.batch = false;
  } else if (kind == Owed::CopyEnd) {
    if (open_.copy_in) {
      open_.copy_in = false;
      return false;
    }
    if (entries_.empty()) return false;
  }
  if (open_.skipping) return false;
  append(kind, whose, op);
  return true;
}

bool Pipeline::owes_ready() const {
  return !open_.copy_in && std::any_of(entries_.begin() + static_cast<std::ptrdiff_t>(head_), entries_.end(),
                                       [](Entry entry) { return !is_extended(kind_of(entry)); });
}

bool Pipeline::owes_client() const {
  return std::any_of(entries_.begin() + static_cast<std::ptrdiff_t>(head_), entries_.end(),
                     [](Entry entry) { return !(entry & kOurs); });
}

bool Pipeline::owes_client_ready() const {
  return std::any_of(entries_.begin() + static_cast<std::ptrdiff_t>(head_), entries_.end(),
                     [](Entry entry) { return !(entry & kOurs) && !is_extended(kind_of(entry)); });
}

bool Pipeline::front_ours() const { return head_ < entries_.size() && (entries_[head_] & kOurs); }

// Forgets what is answered, and ends of COPY that nobody has asked for.
void Pipeline::tidy() {
  while (head_ < entries_.size() && kind_of(entries_[head_]) == Owed::CopyEnd) ++head_;
  if (head_ == entries_.size()) {
    entries_.clear();
    head_ = 0;
    if (entries_.capacity() > 256) entries_.shrink_to_fit();
  } else if (head_ >= kHeadMost) {
    entries_.erase(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
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
  if (type == 'Z' && spare_readies_ > 0 && (entries_.empty() || is_extended(kind_of(entries_[head_])))) {
    --spare_readies_;
    open_.skipping = open_.batch = false;
    Reply reply;
    reply.kind = Owed::Sync;
    reply.verdict = Verdict::Forward;
    reply.ready = true;
    return reply;
  }
  if (entries_.empty()) {
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
      if (is_extended(kind) || open_.copy_in || open_.copy_out) break;
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
      if (open_.copy_in || open_.copy_out) break;
      return accept(Verdict::Forward, entry, kind == Owed::Execute);
    case 's':
      if (kind != Owed::Execute) break;
      return accept(Verdict::Forward, entry, true);
    case 'G':
      if (!runs_statements(kind) || open_.copy_in || open_.copy_out) break;
      return on_copy_in();
    case 'H':
      if (!runs_statements(kind) || open_.copy_in || open_.copy_out) break;
      open_.copy_out = true;
      return accept(Verdict::Forward, entry, false);
    case 'W':
      if (!streams_ || kind != Owed::Query || open_.copy_in || open_.copy_out) break;
      open_.copy_out = copy_both_ = true;
      return on_copy_in();
    case 'd':
      if (!open_.copy_out) break;
      return accept(Verdict::Forward, entry, false);
    case 'c':
      if (!open_.copy_out) break;
      open_.copy_out = false;
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
    open_.skipping = open_.batch = true;
  }
  return reply;
}

Pipeline::Reply Pipeline::on_copy_in() {
  const Entry entry = entries_[head_];
  open_.copy_in = true;
  syncs_in_copy_ = 0;
  // The server reads what was sent behind the COPY as its data: Syncs are ignored, an end is an end.
  const auto behind = entries_.begin() + static_cast<std::ptrdiff_t>(head_ + 1);
  auto next = behind;
  for (; open_.copy_in && next != entries_.end(); ++next) {
    const Owed kind = kind_of(*next);
    if (kind == Owed::Sync) {
      ++syncs_in_copy_;
    } else if (kind == Owed::CopyEnd) {
      open_.copy_in = false;
    } else {
      unfit_ = true;
      return accept(Verdict::Poisoned, entry, false);
    }
  }
  if (next == entries_.end() && syncs_in_copy_ > 0) open_.batch = is_extended(kind_of(entry));
  entries_.erase(behind, next);
  return accept(Verdict::Forward, entry, false);
}

}  // namespace pgweir::protocol
