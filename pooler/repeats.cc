#include "pooler/repeats.h"

#include <algorithm>
#include <utility>

namespace pgweir {

namespace {

Repeats::Told named(LogLevel level, std::string_view event, Log::Fields fields) {
  Repeats::Told told{level, std::string(event), {}, {}, {}, 0};
  for (const LogField& field : fields) {
    if (field.key == "tenant") told.tenant = field.value;
    if (field.key == "backend") told.backend = field.value;
    if (field.key == "database") told.database = field.value;
  }
  if (!told.tenant.empty()) told.backend = told.database = {};
  return told;
}

bool of_admin(Log::Fields fields) {
  return std::any_of(fields.begin(), fields.end(), [](const LogField& field) {
    return field.key == "role" && field.value == Repeats::kAdmin;
  });
}

std::string key_of(const Repeats::Told& told) {
  std::string key = told.event;
  for (const std::string* part : {&told.tenant, &told.backend, &told.database}) (key += '\0') += *part;
  return key;
}

}  // namespace

bool Repeats::let_through(LogLevel level, std::string_view event, Log::Fields fields, std::int64_t now_ms,
                          std::vector<Told>& told) {
  while (!oldest_first_.empty() && now_ms - windows_.at(oldest_first_.front()).begun_ms >= kWindowMs)
    close_oldest(told);
  if (level == LogLevel::Error || level == LogLevel::Debug || of_admin(fields)) return true;
  Told line = named(level, event, fields);
  std::string key = key_of(line);
  if (windows_.size() >= kNamesMax && !windows_.contains(key)) {
    line.tenant = line.backend = line.database = {};
    key = key_of(line);
  }
  const auto [place, fresh] = windows_.try_emplace(key);
  Window& window = place->second;
  if (fresh) {
    window = {std::move(line), 0, now_ms};
    oldest_first_.push_back(key);
  }
  if (++window.seen <= kMost) return true;
  ++window.told.count;
  return false;
}

void Repeats::end(std::vector<Told>& told) {
  while (!oldest_first_.empty()) close_oldest(told);
}

void Repeats::close_oldest(std::vector<Told>& told) {
  const auto place = windows_.find(oldest_first_.front());
  if (place->second.told.count > 0) told.push_back(std::move(place->second.told));
  windows_.erase(place);
  oldest_first_.pop_front();
}

}  // namespace pgweir
