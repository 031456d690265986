// pooler/login_verdict.h - what a login to Postgres that has failed says, and of whom (R13): of the backend,
// for the breaker that all its tenants share, and of the database and user, for the breaker of those alone.
//
// What Postgres says once it knows who asks concerns only who asks. So does silence after that: its doors are
// open, and the database behind may be locked. A challenge is made of what the user's secret says, which the
// user itself may have set: what is wrong with it concerns only him, too. Pure.
#pragma once

#include "pooler/base/error.h"
#include "pooler/breaker.h"

namespace pgweir {

enum class Teller : std::uint8_t { Server, Ourselves };  // whose words the error has
enum class Stage : std::uint8_t {                        // how far the login had come
  Unknown,
  Challenged,     // Postgres has said how this user is to prove itself
  Authenticated,  // it knows who asks
};

struct LoginVerdict {
  Breaker::Outcome backend;
  Breaker::Outcome scope;  // the database and user
  friend bool operator==(const LoginVerdict&, const LoginVerdict&) = default;
};
// A refusal that says "you", not "not now": trying again would not help those who wait.
bool says_you(const Error& error);
LoginVerdict login_verdict(const Error& error, Teller teller, Stage stage);

}  // namespace pgweir
