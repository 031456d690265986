#include "pooler/usage.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>

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

std::string_view usage_hint(conf::StoreKind kind) {
  return kind == conf::StoreKind::Postgres ? "its user needs select, insert and update on pgweir.usage "
                                             "(packaging/postgres/tenant_store.sql), "
                                             "on a primary"
                                           : "its user needs HSET and EXPIRE on pgweir:usage:*, on a master";
}

// Of a day that was over its rows may be forgotten, and one that begins anew must not take their place.
void UsageBook::begin(std::int64_t day) {
  if (day == day_) return;
  if (day < day_) ++set_back_;
  day_ = day;
  lost_today_ = 0;
  std::erase_if(rows_,
                [day](const auto& row) { return row.second.day < day && row.second.state == State::Clean; });
}

bool UsageBook::add(const UsageDelta& delta, std::int64_t day, Time now) {
  begin(day);
  const std::string again = set_back_ > 0 ? fmt::format("~{}", set_back_ + 1) : std::string();
  const std::string key = fmt::format("{}:{}{}:{}", date(day), instance_, again, delta.tenant);
  auto place = rows_.find(key);
  if (place == rows_.end()) {
    if (rows_.size() >= kRowsMax) {
      ++failures_;
      ++lost_today_;
      return false;
    }
    place = rows_.emplace(key, Entry{}).first;
    place->second.day = day;
  }
  if (clean()) complete_until_ = std::max<Time>(complete_until_, now - TrafficPeriod::kLength);
  Entry& entry = place->second;
  entry.total.total += delta.passed;
  entry.total.peak_clients = std::max(entry.total.peak_clients, delta.peak_clients);
  entry.total.peak_servers = std::max(entry.total.peak_servers, delta.peak_servers);
  switch (entry.state) {
    case State::Clean:
      ++dirty_;
      entry.state = State::Dirty;
      due_.push_back(place);
      break;
    case State::Writing: entry.state = State::WritingAndDirty; break;
    case State::Dirty:
    case State::WritingAndDirty: break;
  }
  return true;
}

std::optional<UsageBook::Row> UsageBook::next() {
  if (due_.empty()) return {};
  const auto place = due_.front();
  due_.pop_front();
  PGWEIR_CHECK(place->second.state == State::Dirty);
  place->second.state = State::Writing;
  return Row{place->first, console::usage_fields(place->second.total)};
}

UsageBook::News UsageBook::written(const std::string& key, bool good, std::int64_t today, Time now) {
  const auto place = rows_.find(key);
  PGWEIR_CHECK(place != rows_.end());
  Entry& entry = place->second;
  PGWEIR_CHECK(entry.state == State::Writing || entry.state == State::WritingAndDirty);
  const std::size_t failed_before = failing_;
  if (!good) ++failures_;
  if (std::exchange(entry.failing, !good)) --failing_;
  if (!good) ++failing_;
  const News news = (failing_ == 0) == (failed_before == 0) ? News::None : good ? News::Taken : News::Refused;
  if (!good || entry.state == State::WritingAndDirty) {
    entry.state = State::Dirty;
    due_.push_back(place);
    return news;
  }
  entry.state = State::Clean;
  --dirty_;
  if (clean()) complete_until_ = now;
  if (today > day_)
    begin(today);  // which forgets this row, too
  else if (entry.day < day_)
    rows_.erase(place);
  return news;
}

}  // namespace pgweir
