// pooler/base/log.h - events with fields: log.info("server lost", {{"tenant", tenant}, {"server", id}}).
//
// The event name never changes; what varies is in the fields. Never query text, passwords or bound values. A
// key with a dot is a field of the Elastic Common Schema, and is left out where its value is empty.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace pgweir {

enum class LogLevel : std::uint8_t { Debug, Info, Warn, Error };

struct LogField {
  std::string_view key;
  std::string value;
  bool number = false;
  bool exact = false;  // ours to the last letter: there is nothing to mask

  LogField(std::string_view k, std::string_view v) : key(k), value(v) {}
  LogField(std::string_view k, const char* v) : key(k), value(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), value(v) {}
  // Never what a client has worded.
  static LogField ours(std::string_view k, std::string_view v) {
    LogField field(k, v);
    field.exact = true;
    return field;
  }
  template <std::integral N>
  LogField(std::string_view k, N v) : key(k), value(std::to_string(v)), number(true) {}
};

class Log {
 public:
  using Fields = std::initializer_list<LogField>;
  virtual ~Log() = default;
  virtual void write(LogLevel level, std::string_view event, Fields fields) = 0;
  virtual bool enabled(LogLevel level) const = 0;
  virtual void set_level(LogLevel /*least*/) {}  // for a log that leaves out what is less important

  void debug(std::string_view event, Fields fields = {}) { put(LogLevel::Debug, event, fields); }
  void info(std::string_view event, Fields fields = {}) { put(LogLevel::Info, event, fields); }
  void warn(std::string_view event, Fields fields = {}) { put(LogLevel::Warn, event, fields); }
  void error(std::string_view event, Fields fields = {}) { put(LogLevel::Error, event, fields); }

 private:
  void put(LogLevel level, std::string_view event, Fields fields) {
    if (enabled(level)) write(level, event, fields);
  }
};

}  // namespace pgweir
