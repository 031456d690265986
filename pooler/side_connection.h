// pooler/side_connection.h - a connection for what the pooler itself has to ask of one host, like the end of
// a server process, which the side role may do. It never carries anything of a client.
//
//   Login -> Open -> Closing
//
// It opens when it is made, asks one question after the other, and closes when none is left. A question that
// waits longer than its patience, its login included, closes it, and all that are left are answered by why.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "pooler/derivations.h"
#include "pooler/net/loop.h"
#include "pooler/server_login.h"
#include "pooler/side_answers.h"
#include "pooler/snapshot.h"

namespace pgweir {

class SideConnection final : public net::Handler {
 public:
  static constexpr std::chrono::seconds kPatience{5};
  using Done = std::function<void(const SideAnswer&)>;

  // Backends without a side role have none.
  static bool possible(const BackendView& backend) { return !backend.settings.side_user.empty(); }

  // Where it goes, and as whom.
  struct To {
    net::Endpoint host;
    std::shared_ptr<net::TlsContext> tls;
    ServerLogin::Policy policy;
    ServerCredentials credentials;
    std::string database;
    Duration patience = kPatience;
  };
  // The side role to one of the backend's hosts.
  static To role_on(const BackendView& backend, const net::Endpoint& host);

  // `over`: the connection is gone, every question was answered, and this may be destroyed.
  SideConnection(net::Loop& loop, Derivations& derivations, To to, std::string nonce,
                 std::function<void()> over);
  ~SideConnection() override;
  SideConnection(const SideConnection&) = delete;
  SideConnection& operator=(const SideConnection&) = delete;

  // May be asked as long as it is not closing. `sql` is one statement.
  void ask(std::string sql, Done done);
  bool closing() const { return state_ == State::Closing; }
  // It was closed because no answer came.
  bool timed_out() const { return timed_out_; }

 private:
  enum class State : std::uint8_t { Login, Open, Closing };
  struct Question {
    std::string sql;
    Done done;
  };
  void on_connected() override;
  void on_secured() override;
  void on_bytes(Bytes in) override;
  void on_closed(const net::Closed& why) override;
  void obey(ServerLogin::Out& out);
  void send_next();
  void give_up(const Error& why);

  net::Loop& loop_;
  Derivations& derivations_;
  std::function<void()> over_;
  net::Endpoint endpoint_;
  std::shared_ptr<net::TlsContext> tls_;
  const Duration patience_;
  ServerLogin login_;
  SideAnswers answers_;
  std::deque<Question> questions_;  // the first one is asked while Open
  Error why_closed_;
  State state_ = State::Login;
  bool timed_out_ = false;
  net::Timer deadline_;
  std::shared_ptr<SideConnection*> self_;  // null once this is gone: keys are derived elsewhere
  std::unique_ptr<net::Stream> stream_;
};

}  // namespace pgweir
