// pooler/base/error.h - trouble that the world makes, as an ordinary value.
//
// `message` tells the reader what is wrong and what would be right ("pool.size must lie between 1 and 500,
// not 900"); `hint` says what to do. `sqlstate` is what a client sees; it always has five characters and
// static lifetime (Postgres manual, appendix A).
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace pgweir {

namespace sqlstate {
inline constexpr const char* kConnectionException = "08000";
inline constexpr const char* kConnectionFailure = "08006";
inline constexpr const char* kProtocolViolation = "08P01";
inline constexpr const char* kFeatureNotSupported = "0A000";
inline constexpr const char* kInvalidParameterValue = "22023";
inline constexpr const char* kInvalidStatementName = "26000";
inline constexpr const char* kInFailedTransaction = "25P02";
inline constexpr const char* kIdleInTransactionTimeout = "25P03";
inline constexpr const char* kTransactionTimeout = "25P04";
inline constexpr const char* kInvalidAuthorization = "28000";
inline constexpr const char* kInvalidPassword = "28P01";
inline constexpr const char* kInvalidCatalogName = "3D000";
inline constexpr const char* kSyntaxError = "42601";
inline constexpr const char* kInvalidCursorName = "34000";
inline constexpr const char* kDuplicateCursor = "42P03";
inline constexpr const char* kInsufficientPrivilege = "42501";
inline constexpr const char* kNotInState = "55000";
inline constexpr const char* kUndefinedObject = "42704";
inline constexpr const char* kDuplicateStatement = "42P05";
inline constexpr const char* kTooManyConnections = "53300";
inline constexpr const char* kConfigurationLimit = "53400";
inline constexpr const char* kProgramLimit = "54000";
inline constexpr const char* kQueryCanceled = "57014";
inline constexpr const char* kAdminShutdown = "57P01";
inline constexpr const char* kCannotConnectNow = "57P03";
inline constexpr const char* kIdleSessionTimeout = "57P05";
inline constexpr const char* kConfigFileError = "F0000";
inline constexpr const char* kInternalError = "XX000";
}  // namespace sqlstate

struct Error {
  const char* sqlstate = sqlstate::kInternalError;
  std::string message;
  std::string detail;
  std::string hint;
};

template <class T>
using Expected = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(const char* code, std::string message, std::string hint = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), {}, std::move(hint)});
}

}  // namespace pgweir
