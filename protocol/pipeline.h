// protocol/pipeline.h - what one server still owes: every request that was sent and not yet answered, in
// order.
//
// This is the proof behind "a server goes back only when clean" (R5) and the table of which answer may come
// when (R1, R3). It follows the Postgres manual, "Message Flow": an error inside an extended batch makes the
// server skip to the next Sync; Sync and Flush sent while the server reads COPY data are ignored by it.
//
// One byte per owed answer; at most kMaxOwed of them, then full() asks the caller to stop sending.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace pgweir::protocol {

enum class Owed : std::uint8_t {
  Query,     // simple query: ends with ReadyForQuery
  Function,  // FunctionCall: ends with ReadyForQuery
  Sync,      // ReadyForQuery; those behind it belong to extended queries
  Parse,     // ParseComplete
  Bind,      // BindComplete
  Describe,  // RowDescription or NoData, a ParameterDescription before them for statements
  Execute,   // CommandComplete, EmptyQueryResponse or PortalSuspended
  Close,     // CloseComplete
  CopyEnd,   // CopyDone or CopyFail sent before the server asked for COPY data: answered by nothing
};

class Pipeline {
 public:
  static constexpr std::size_t kMaxOwed = 16'384;

  // Who sees the answer.
  enum class Whose : std::uint8_t { Clients, Ours };
  // Whether the answer carries a change of prepared statements with it (see StatementOps).
  enum class Op : std::uint8_t { None, Statement };

  struct Reply {
    enum class Verdict : std::uint8_t {
      Forward,    // to the client
      Swallow,    // belongs to a request of ours
      Violation,  // the server may not say this now: it is broken or lying
      Poisoned,   // the client pipelined requests behind a COPY FROM STDIN: nobody can tell what is owed
    };
    Verdict verdict = Verdict::Violation;
    Owed kind = Owed::Query;
    bool finished = false;        // an owed answer is complete
    bool op = false;              // it was one with Op::Statement
    bool of_op = false;           // it belongs to such a request, finished or not
    bool ready = false;           // ReadyForQuery
    bool ours_failed = false;     // an error answered a request of ours, and it is not the client's error
    std::uint32_t bind = 0;       // of an error that answers a Bind: its number, from 0, see binds()
    std::size_t dropped_ops = 0;  // statement operations that the server skips after an error, oldest first
  };

  // False when the server will skip this message (an error stands and no Sync was sent since) or ignore it
  // (Sync during COPY): then nothing is owed for it. The message must be sent all the same.
  bool push(Owed kind, Whose whose = Whose::Clients, Op op = Op::None) {
    const bool plain = kind != Owed::Sync && kind != Owed::CopyEnd && !open_.skipping;
    if (!plain || entries_.size() == entries_.capacity()) return push_odd(kind, whose, op);
    append(kind, whose, op);
    return true;
  }

  // `type` is any message type of frame.h's server_message_limit. Call once per message, in order.
  Reply reply(char type);

  // reply() for the plain case, and cheaper: true when the message is for the client, belongs to a request of
  // its own and moves no statement and no COPY; then it is taken account of. False: ask reply().
  [[gnu::always_inline]] bool pass(char type) {
    if (entries_.empty() || open_.copy_in || open_.copy_out) return false;
    const Entry entry = entries_[head_];
    if (entry & (kOurs | kOp)) return false;
    switch (kind_of(entry)) {
      case Owed::Query: return type == 'D' || type == 'C' || type == 'T' || (type == 'Z' && pass_end());
      case Owed::Function:
      case Owed::Sync: return type == 'Z' && pass_end();
      case Owed::Execute: return type == 'D' || ((type == 'C' || type == 's') && pass_end());
      case Owed::Parse: return type == '1' && pass_end();
      case Owed::Bind: return type == '2' && pass_end();
      case Owed::Close: return type == '3' && pass_end();
      case Owed::Describe: return type == 't' || ((type == 'T' || type == 'n') && pass_end());
      case Owed::CopyEnd: return false;
    }
    return false;
  }

  // Nothing owed, no batch without its Sync, no COPY running.
  bool empty() const { return entries_.empty() && nothing_open(); }
  bool full() const { return entries_.size() - head_ >= kMaxOwed; }
  std::size_t owed() const { return entries_.size() - head_; }
  // Extended requests were sent and their Sync was not: a transaction may be open, and answers may be held
  // back by the server.
  bool batch_open() const { return open_.batch; }
  // A ReadyForQuery will come without anything more being sent.
  bool owes_ready() const;
  // The server waits for CopyData: only CopyData, CopyDone, CopyFail, Sync and Flush make sense now.
  bool copy_in() const { return open_.copy_in; }
  // The server is a walsender, which may begin to stream.
  void expect_streams() { streams_ = true; }
  // It streams (CopyBoth): both sides send CopyData until each has sent its CopyDone.
  bool copy_both() const { return copy_both_; }
  // It cannot be proven how many answers will still come: the server must not be used again.
  bool unfit() const { return unfit_; }
  // An answer is owed to a client, not only to us.
  bool owes_client() const;
  // So is the end of a query or of a batch that a client has sent whole.
  bool owes_client_ready() const;
  // The next answer belongs to a request of ours.
  bool front_ours() const;
  // Binds pushed so far.
  std::uint32_t binds() const { return binds_; }
  // ... and answered, or skipped.
  std::uint32_t binds_answered() const { return binds_answered_; }
  // Syncs pushed so far: two messages with equal counts stand or fall together.
  std::uint32_t batch() const { return batch_; }

 private:
  using Entry = std::uint8_t;
  static constexpr Entry kKindMask = 0x0f, kOurs = 0x10, kOp = 0x20;
  static constexpr std::size_t kHeadMost = 1024;  // of answered ones that are kept
  bool pass_end() {
    pop();
    return true;
  }
  static Owed kind_of(Entry entry) { return static_cast<Owed>(entry & kKindMask); }
  static bool is_extended(Owed kind) { return kind > Owed::Sync; }
  void append(Owed kind, Whose whose, Op op) {
    if (kind != Owed::CopyEnd) open_.batch = is_extended(kind);
    if (kind == Owed::Bind) ++binds_;
    const int entry =
        static_cast<int>(kind) | (whose == Whose::Ours ? kOurs : 0) | (op == Op::Statement ? kOp : 0);
    entries_.push_back(static_cast<Entry>(entry));
  }
  [[gnu::noinline]] bool push_odd(Owed kind, Whose whose, Op op);
  static bool runs_statements(Owed kind) { return kind == Owed::Query || kind == Owed::Execute; }
  // The front is answered.
  void pop() {
    const Owed kind = kind_of(entries_[head_]);
    if (runs_statements(kind)) syncs_in_copy_ = 0;
    if (kind == Owed::Bind) ++binds_answered_;
    copy_both_ = false;
    ++head_;
    if (head_ == entries_.size() || head_ >= kHeadMost || kind_of(entries_[head_]) == Owed::CopyEnd) tidy();
  }
  void tidy();
  Reply accept(Reply::Verdict verdict, Entry entry, bool finished);
  Reply on_error();
  Reply on_copy_in();
  void end_copy() { open_.copy_in = open_.copy_out = copy_both_ = false; }

  // What goes on though nothing may be owed. In one word, for empty() is asked many times in a transaction.
  struct Open {
    bool batch = false;
    bool skipping = false;
    bool copy_in = false;
    bool copy_out = false;
  };
  bool nothing_open() const { return std::bit_cast<std::uint32_t>(open_) == 0; }

  std::vector<Entry> entries_;  // answered ones in front of head_; empty when nothing is owed
  std::size_t head_ = 0;
  std::uint32_t batch_ = 0;
  std::uint32_t binds_ = 0, binds_answered_ = 0;
  std::uint32_t syncs_in_copy_ = 0;  // ignored by the server if the COPY goes well
  std::uint32_t spare_readies_ = 0;  // may come or not: it failed, and nobody knows before which of them
  Open open_;
  bool streams_ = false;
  bool copy_both_ = false;  // from CopyBothResponse to the end of its command
  bool unfit_ = false;
};

}  // namespace pgweir::protocol
