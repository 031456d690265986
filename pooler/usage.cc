#include "pooler/usage.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>

#include "pooler/base/check.h"

namespace pgweir {

namespace {

std::string date(std::int64_t day) {
  const auto seconds = static_cast<std::time_t>(day * 24 * 60 * 60);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  return fmt::format("{:%Y-%m-%d}", utc);
}

}  // namespace

bool UsageBook::add(const UsageDelta& delta, std::int64_t day) {
  const std::string key = fmt::format("{}:{}:{}", date(day), instance_, delta.tenant);
  auto place = rows_.find(key);
  if (place == rows_.end()) {
    if (rows_.size() >= kRowsMax) return false;
    place = rows_.emplace(key, Entry{}).first;
    place->second.day = day;
  }
  Entry& entry = place->second;
  entry.total.total += delta.passed;
  entry.total.peak_clients = std::max(entry.total.peak_clients, delta.peak_clients);
  entry.total.peak_servers = std::max(entry.total.peak_servers, delta.peak_servers);
  switch (entry.state) {
    case State::Clean:
      ++dirty_;
      entry.state = State::Dirty;
      break;
    case State::Writing: entry.state = State::WritingAndDirty; break;
    case State::Dirty:
    case State::WritingAndDirty: break;
  }
  return true;
}

std::optional<UsageBook::Row> UsageBook::next() {
  if (dirty_ == 0) return {};
  const auto is_dirty = [](const auto& row) { return row.second.state == State::Dirty; };
  const auto from = rows_.upper_bound(after_);
  auto place = std::find_if(from, rows_.end(), is_dirty);
  if (place == rows_.end()) {
    place = std::find_if(rows_.begin(), from, is_dirty);
    if (place == from) return {};
  }
  after_ = place->first;
  place->second.state = State::Writing;
  return Row{place->first, console::usage_fields(place->second.total)};
}

void UsageBook::written(const std::string& key, bool good, std::int64_t today) {
  const auto place = rows_.find(key);
  PGWEIR_CHECK(place != rows_.end());
  Entry& entry = place->second;
  PGWEIR_CHECK(entry.state == State::Writing || entry.state == State::WritingAndDirty);
  if (!good || entry.state == State::WritingAndDirty) {
    entry.state = State::Dirty;
    return;
  }
  entry.state = State::Clean;
  --dirty_;
  if (entry.day < today) rows_.erase(place);
}

}  // namespace pgweir
