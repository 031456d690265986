// pooler/server_core.h - what is known about one server connection after its login: what it owes, what state
// it carries, and how far into a message its output stands. Rules only: no socket, no clock.
//
//   bytes from Postgres -> read() -> slices for the client + events for the Audience
//
// A server may be lent again only while clean() holds (R5).
#pragma once

#include <array>
#include <deque>
#include <string>
#include <vector>

#include "pooler/base/bytes.h"
#include "pooler/settings.h"
#include "pooler/statements.h"
#include "protocol/gather.h"
#include "protocol/pipeline.h"

namespace pgweir {

class ServerCore {
 public:
  // Whoever the server works for. Called from inside read(), at message boundaries. Views live as long as the
  // call.
  class Audience {
   public:
    virtual ~Audience() = default;
    virtual void on_parameter(Bytes name, Bytes value) = 0;  // changed by the client's own request
    virtual void on_op_dropped(StatementOp& op) = 0;         // newest first
    virtual void on_all_deallocated() = 0;                   // DISCARD ALL or DEALLOCATE ALL succeeded
    virtual void on_ours_failed(Bytes error_body) = 0;       // a request of ours was refused
  };

  struct Outcome {
    unsigned readies = 0;          // ReadyForQuery messages of the client's requests
    bool fatal = false;            // an unasked ErrorResponse: the server is about to close
    const char* broken = nullptr;  // the server broke the protocol: what it did
    bool poisoned = false;         // the client pipelined behind COPY
  };

  explicit ServerCore(SettingsRef empty) : applied(std::move(empty)), empty_settings_(applied) {}

  Outcome read(Bytes in, protocol::Gather& to_client, Audience& audience);

  // Sends, if need be, what gives this server the settings `wanted`, ahead of the client's own requests.
  void apply_settings(const SettingsRef& wanted, protocol::Gather& to_server);
  // Sends DISCARD ALL; when its answer has come in full and clean() holds, nothing of the last client is
  // left. If clean() does not hold then, it failed.
  void begin_cleaning(protocol::Gather& to_server);

  // Nothing owed, outside a transaction, between two messages.
  bool quiet() const { return pipeline.empty() && tx_status == 'I' && !mid_message(); }
  bool clean() const { return quiet() && !dirty && !pipeline.unfit() && !settling_; }
  // Part of a message has been given to the client and the rest has not come.
  bool mid_message() const { return body_left_ > 0 || head_size_ > 0 || !partial_.empty(); }
  bool mid_forward() const { return body_left_ > 0 && forward_body_; }

  protocol::Pipeline pipeline;
  char tx_status = 'I';
  bool dirty = false;  // a request ran that may have left state behind
  ServerStatements statements;
  std::deque<StatementOp> ops;  // of the pipeline's entries that have Op::Statement
  SettingsRef applied;

 private:
  // What is done with one message. `whole` is the message if it is all here, else only its header.
  bool on_message(char type, Bytes whole, protocol::Gather& to_client, Audience& audience, Outcome& outcome);
  std::size_t pass_on(Bytes in, Outcome& outcome);
  void on_whole(char type, Bytes body, const protocol::Pipeline::Reply& reply, Audience& audience);
  void learn_spelling(Bytes row);
  void drop_ops(std::size_t count, Audience& audience);

  std::array<char, 5> head_{};
  std::uint8_t head_size_ = 0;
  bool forward_body_ = false;
  bool settling_ = false;      // our settings batch is not yet answered
  bool cleaning_ = false;      // our DISCARD ALL is not yet answered
  bool set_prepared_ = false;  // kSetStatement exists on this server
  std::size_t body_left_ = 0;
  std::size_t partial_size_ = 0;  // full size of the message in partial_
  std::string partial_;
  SettingsRef settling_to_;
  std::vector<std::string> settling_names_;  // in the order of their answers
  std::size_t settled_ = 0;
  SettingsRef empty_settings_;
};

}  // namespace pgweir
