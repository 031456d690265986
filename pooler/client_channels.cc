#include "pooler/client_channels.h"

#include <algorithm>

#include "pooler/base/check.h"

namespace pgweir {

namespace {
constexpr Bytes kMark = "pgweir_unlisten_";
}

void ClientChannels::unlistens(Names names) {
  if (heard.empty()) return;
  pending_.all = pending_.all || names.all;
  for (std::string& name : names.names) pending_.names.push_back(std::move(name));
}

void ClientChannels::forget_request() { pending_ = {}; }

std::string ClientChannels::take_mark() {
  PGWEIR_CHECK(unmarked());
  marks_.push_back({++last_mark_, std::exchange(pending_, {})});
  return "LISTEN " + std::string(kMark) + std::to_string(last_mark_);
}

void ClientChannels::marked(bool well) {
  const auto mark =
      std::find_if(marks_.begin(), marks_.end(), [](const Mark& each) { return !each.answered; });
  PGWEIR_CHECK(mark != marks_.end());
  mark->answered = true;
  mark->counts = well;
}

ChannelNames ClientChannels::found(const std::vector<std::string>& names) {
  ChannelNames now, unlistened;
  for (const std::string& name : names)
    if (name.compare(0, kMark.size(), kMark) != 0) now.insert(name);
  for (const Mark& mark : marks_) {
    const std::string shown = std::string(kMark) + std::to_string(mark.number);
    if (!mark.counts || std::find(names.begin(), names.end(), shown) == names.end()) continue;
    for (const std::string& name : mark.of.all ? std::vector(heard.begin(), heard.end()) : mark.of.names)
      if (heard.contains(name) && !now.contains(name)) unlistened.insert(name);
  }
  marks_.clear();
  ChannelNames gone = unlistened;
  for (const std::string& name : here)
    if (!now.contains(name)) gone.insert(name);
  for (const std::string& name : unlistened) heard.erase(name);
  here.clear();
  for (const std::string& name : now)
    if (!heard.contains(name)) here.insert(name);
  leave = !names.empty();
  return gone;
}

void ClientChannels::part() {
  here.clear();
  pending_ = {};
  marks_.clear();
  doing = Doing::None;
  leave = fence_passed = false;
}

}  // namespace pgweir
