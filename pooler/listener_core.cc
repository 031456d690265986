#include "pooler/listener_core.h"

#include <algorithm>

#include "pooler/base/check.h"
#include "pooler/base/planted.h"
#include "protocol/wire.h"

namespace pgweir {

namespace {
constexpr std::size_t kChannelsAtOnce = 100;  // of one request
constexpr const char* kTide = "tide_";        // in front of its number, which is none of a fence
}  // namespace

Notification::Notification(Bytes body) {
  protocol::Reader in(body);
  in.u32();  // who notified
  channel = in.c_string();
  payload = in.c_string();
  well_formed = in.ok();
}

std::string quoted_channel(Bytes name) {
  std::string out = "\"";
  for (const char c : name) out.append(c == '"' ? 2 : 1, c);
  return out + '"';
}

ListenerCore::Share* ListenerCore::share_of(Channel& channel, const Hearer& hearer) {
  const auto share = std::find_if(channel.shares.begin(), channel.shares.end(),
                                  [&](const Share& each) { return each.hearer == &hearer; });
  return share == channel.shares.end() ? nullptr : &*share;
}

bool ListenerCore::want(Hearer& hearer, const ChannelNames& names) {
  const auto fresh = std::count_if(names.begin(), names.end(),
                                   [&](const std::string& name) { return !channels_.contains(name); });
  if (channels_.size() + static_cast<std::size_t>(fresh) > kChannelsMost) return false;
  for (const std::string& name : names) {
    Channel& channel = channels_[name];
    if (share_of(channel, hearer)) continue;
    channel.shares.push_back({&hearer});
    ++wanted_;
  }
  changed_ = true;
  return true;
}

bool ListenerCore::ready(const ChannelNames& names) const {
  return connected_ && fence_here_ && std::all_of(names.begin(), names.end(), [&](const std::string& name) {
           const auto channel = channels_.find(name);
           return channel != channels_.end() && channel->second.place == Place::Here;
         });
}

std::uint64_t ListenerCore::fence(Hearer& hearer, const ChannelNames& names) {
  PGWEIR_CHECK(ready(names));
  ++fences_;
  for (const std::string& name : names) {
    Share* share = share_of(channels_[name], hearer);
    PGWEIR_CHECK(share != nullptr);
    share->fence = fences_;
    if (PGWEIR_PLANTED(IGNORE_FENCE)) share->hears = true;
  }
  return fences_;
}

void ListenerCore::forget(Hearer& hearer, const ChannelNames& names) {
  for (const std::string& name : names) {
    const auto channel = channels_.find(name);
    if (channel == channels_.end()) continue;
    wanted_ -=
        std::erase_if(channel->second.shares, [&](const Share& share) { return share.hearer == &hearer; });
    if (channel->second.shares.empty() && channel->second.place == Place::Absent) channels_.erase(channel);
  }
  changed_ = true;
}

std::uint64_t ListenerCore::catch_up(Hearer& hearer) {
  const std::uint64_t next = tides_asked_ + 1;
  catching_up_.emplace_back(&hearer, next);
  tide_wanted_ = changed_ = true;
  return next;
}

void ListenerCore::stop_waiting(Hearer& hearer) {
  std::erase_if(catching_up_, [&](const auto& each) { return each.first == &hearer; });
}

void ListenerCore::connected() {
  PGWEIR_CHECK(!connected_);
  connected_ = true;
  failing_ = false;
}

// A server that was given a fence cuts its queue there, whether this connection lives to read it or not.
void ListenerCore::lost() {
  connected_ = fence_here_ = asked_ = tide_wanted_ = false;
  tides_come_ = ++tides_asked_;
  failing_ = true;
  for (auto channel = channels_.begin(); channel != channels_.end();) {
    channel->second.place = Place::Absent;
    for (Share& share : channel->second.shares) share.hears = share.hears || share.fence != 0;
    channel = channel->second.shares.empty() ? channels_.erase(channel) : std::next(channel);
  }
}

void ListenerCore::closed() {
  lost();
  failing_ = false;
}

std::string ListenerCore::next_request() {
  if (!connected_ || asked_) return {};
  std::string sql;
  if (!fence_here_) sql = "LISTEN " + fence_;
  std::size_t count = 0;
  const auto ask = [&](const char* verb, Place from, Place to, bool wanted) {
    for (auto& [name, channel] : channels_) {
      if (channel.place != from || channel.shares.empty() == wanted) continue;
      if (count++ == kChannelsAtOnce) return;
      sql.append(sql.empty() ? "" : ";").append(verb).append(quoted_channel(name));
      channel.place = to;
    }
  };
  ask("LISTEN ", Place::Absent, Place::Coming, true);
  // The fence is ours, whatever a client that has found its name says of it.
  const auto of_fence = channels_.find(fence_);
  if (of_fence != channels_.end() && of_fence->second.shares.empty() && of_fence->second.place == Place::Here)
    channels_.erase(of_fence);
  if (count == 0) ask("UNLISTEN ", Place::Here, Place::Going, false);
  if (std::exchange(tide_wanted_, false))
    sql.append(sql.empty() ? "" : ";")
        .append("NOTIFY " + fence_ + ",'" + kTide)
        .append(std::to_string(++tides_asked_) + "'");
  asked_ = !sql.empty();
  return sql;
}

bool ListenerCore::answered(bool well) {
  PGWEIR_CHECK(asked_);
  asked_ = false;
  if (!well) return false;
  fence_here_ = true;
  for (auto at = channels_.begin(); at != channels_.end();) {
    Channel& channel = at->second;
    if (channel.place == Place::Coming) channel.place = Place::Here;
    if (channel.place == Place::Going) channel.place = Place::Absent;
    const bool over = channel.place == Place::Absent && channel.shares.empty();
    at = over ? channels_.erase(at) : std::next(at);
  }
  return true;
}

std::vector<ListenerCore::Hearer*> ListenerCore::notified(const Notification& notification) {
  std::vector<Hearer*> hearers;
  if (notification.channel == fence_) {
    if (notification.payload == kTide + std::to_string(tides_come_ + 1)) ++tides_come_;
    for (auto& [name, channel] : channels_)
      for (Share& share : channel.shares)
        if (share.fence != 0 && notification.payload == std::to_string(share.fence)) share.hears = true;
    return hearers;
  }
  const auto channel = channels_.find(notification.channel);
  if (channel == channels_.end()) return hearers;
  for (const Share& share : channel->second.shares)
    if (share.hears) hearers.push_back(share.hearer);
  return hearers;
}

bool ListenerCore::hears(const Hearer& hearer, Bytes name) const {
  const auto channel = channels_.find(name);
  return channel != channels_.end() &&
         std::any_of(channel->second.shares.begin(), channel->second.shares.end(),
                     [&](const Share& share) { return share.hearer == &hearer && share.hears; });
}

std::vector<ListenerCore::Hearer*> ListenerCore::waiting() const {
  std::vector<Hearer*> all;
  for (const auto& [hearer, tide] : catching_up_)
    if (caught_up(tide)) all.push_back(hearer);
  for (const auto& [name, channel] : channels_)
    for (const Share& share : channel.shares)
      if (!share.hears && share.fence == 0 && std::find(all.begin(), all.end(), share.hearer) == all.end())
        all.push_back(share.hearer);
  return all;
}

}  // namespace pgweir
