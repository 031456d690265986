// tests/pooler/login_help.h - a LoginCore, the least of its driver, and clients that log in.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <string_view>

#include "pooler/login_core.h"
#include "protocol/secret.h"
#include "tests/support/logins.h"

namespace pgweir::test {

using Method = LoginCore::Method;
using Tls = LoginCore::TlsPolicy;
using Want = LoginCore::Out::Want;

inline constexpr Bytes kSalt4 = "salt";
inline constexpr Bytes kNonce = "servernonce";

inline const char* name(Want want) {
  switch (want) {
    case Want::More: return "";
    case Want::StartTls: return "starttls";
    case Want::Name: return "name";
    case Want::Cancel: return "cancel";
    case Want::Derive: return "derive";
    case Want::Done: return "done";
    case Want::Close: return "close";
  }
  return "?";
}

// Answers in words: "R10" for AuthenticationSASL, "v3.2+2" for NegotiateProtocolVersion with two options.
inline std::string word(const std::string& one) {
  const Bytes body = Bytes(one).substr(protocol::kHeaderBytes);
  if (one[0] == 'R') return "R" + std::to_string(protocol::load_u32(body.data()));
  if (one[0] != 'v') return told(one);
  const std::uint32_t version = protocol::load_u32(body.data());
  return "v" + std::to_string(version >> 16) + "." + std::to_string(version & 0xffff) + "+" +
         std::to_string(protocol::load_u32(body.data() + 4));
}

// The core and the least of a driver.
struct Login {
  explicit Login(Tls tls = Tls::Off) : core(tls) {}

  std::string says(Bytes in) {
    held.append(in);
    std::string words;
    bool goes_on = !held.empty() && !closed;
    while (goes_on) {
      LoginCore::Out out;
      core.bytes(held, secured, out);
      REQUIRE(out.consumed <= held.size());
      held.erase(0, out.consumed);
      goes_on = out.want == Want::More && out.consumed > 0 && !held.empty();
      add(words, take(out));
    }
    return words;
  }
  std::string authenticate(Method method, protocol::Secret secret, bool known = true) {
    LoginCore::Out out;
    core.authenticate({method, std::move(secret), known}, std::string(kNonce), std::string(kSalt4), out);
    const bool goes_on = out.want == Want::More;
    std::string words = take(out);
    if (goes_on) add(words, says({}));
    return words;
  }
  std::string derived(const protocol::ScramKey& key) {
    LoginCore::Out out;
    core.derived(key, out);
    return take(out);
  }
  std::string refused(const Error& error) {
    LoginCore::Out out;
    core.refuse(LoginRefusal::Slow, error, out);
    return take(out);
  }
  std::string take(LoginCore::Out& out) {
    last = out.send;
    closed = out.want == Want::Close || out.want == Want::Cancel;
    if (out.want == Want::Close) refusal = kLoginRefusals.at(static_cast<std::size_t>(out.refusal)).name;
    std::string words;
    if (out.send.size() == 1)
      words = out.send;
    else
      for (const std::string& one : split(out.send)) add(words, word(one));
    add(words, name(out.want));
    return words;
  }
  static void add(std::string& words, const std::string& more) {
    if (!words.empty() && !more.empty()) words += ' ';
    words += more;
  }
  protocol::ErrorFields error() const {
    for (const std::string& one : split(last))
      if (one[0] == 'E') return protocol::parse_error(Bytes(one).substr(5));
    return {};
  }
  std::string error_text() const { return error().message; }
  // The data of the last authentication request.
  std::string auth_data() const {
    for (const std::string& one : split(last))
      if (one[0] == 'R') return one.substr(9);
    return {};
  }

  LoginCore core;
  bool secured = false;
  bool closed = false;
  std::string_view refusal;
  std::string held;
  std::string last;
};

inline const protocol::ScramVerifier& verifier() {
  static const auto made = protocol::make_scram_verifier("pencil", "0123456789abcdef", 2);
  return made;
}
inline protocol::Secret plain() { return protocol::PlainSecret{"pencil"}; }
inline protocol::Secret md5() { return protocol::Md5Secret{protocol::md5_hash_user("pencil", "ann")}; }
inline protocol::Secret secret_for(Method method) {
  if (method == Method::Scram) return verifier();
  return plain();
}
inline std::string md5_answer(Bytes text) {
  return password(protocol::md5_response(protocol::md5_hash_user(text, "ann"), kSalt4));
}

// A login that has been asked to authenticate.
inline Login asked(Method method, const protocol::Secret& secret, bool known = true) {
  Login login;
  REQUIRE(login.says(startup()) == "name");
  login.authenticate(method, secret, known);
  return login;
}
inline Login asked(Method method) { return asked(method, secret_for(method)); }

// The client's side of SCRAM, up to its last message.
inline std::string scram_final(Login& login, Bytes text) {
  protocol::ScramClient client("clientnonce");
  REQUIRE(login.says(sasl_first("SCRAM-SHA-256", client.client_first())) == "R11");
  const auto challenge = client.server_first(login.auth_data());
  REQUIRE(challenge);
  const auto key = protocol::scram_salted_password(text, challenge->salt, challenge->iterations);
  return sasl_response(client.client_final(protocol::scram_client_key(key), protocol::scram_server_key(key)));
}
inline Login at_final() {
  Login login = asked(Method::Scram);
  scram_final(login, "pencil");
  return login;
}

inline std::string header(char type, std::uint32_t length) {
  std::string out(5, type);
  protocol::store_u32(out.data() + 1, length);
  return out;
}
inline std::string length_of_first(std::uint32_t length) {
  std::string out(4, '\0');
  protocol::store_u32(out.data(), length);
  return out;
}

inline const std::string kRefused = "E:28P01:FATAL close";
inline const std::string kViolation = "E:08P01:FATAL close";

}  // namespace pgweir::test
