#include "tiers/redis_codec.h"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"

namespace pgweir::tiers {

// Makes one reply, and refuses what is too much. hiredis takes a null for "out of memory" and stops.
struct RedisReader::Keeper {
  RedisReply root;
  std::size_t bytes = 0;
  const char* refused = nullptr;  // why

  static Keeper& of(const redisReadTask* task) { return *static_cast<Keeper*>(task->privdata); }

  void* put(const redisReadTask* task, RedisReply reply) {
    bytes += reply.text.size() + 1;
    if (bytes > kReplyBytesMax) return refuse("a reply is too long");
    if (task->parent == nullptr) {
      root = std::move(reply);
      return &root;
    }
    // hiredis keeps the address of an array alone, and the only array is the root.
    root.elements.push_back(std::move(reply));
    return &root.elements.back();
  }
  void* refuse(const char* why) {
    refused = why;
    return nullptr;
  }

  static void* text(const redisReadTask* task, char* bytes, std::size_t size) {
    Keeper& keeper = of(task);
    if (size > kReplyBytesMax) return keeper.refuse("a reply is too long");
    RedisReply reply;
    reply.kind = task->type == REDIS_REPLY_ERROR ? RedisReply::Kind::Failure : RedisReply::Kind::Text;
    reply.text.assign(bytes, size);
    return keeper.put(task, std::move(reply));
  }
  static void* array(const redisReadTask* task, int size) {
    Keeper& keeper = of(task);
    if (task->parent != nullptr) return keeper.refuse("a reply is nested");
    if (size < 0 || static_cast<std::size_t>(size) > kElementsMax)
      return keeper.refuse("a reply has too many elements");
    RedisReply reply;
    reply.kind = RedisReply::Kind::Array;
    reply.elements.reserve(static_cast<std::size_t>(size));
    return keeper.put(task, std::move(reply));
  }
  static void* integer(const redisReadTask* task, long long value) {
    RedisReply reply;
    reply.kind = RedisReply::Kind::Integer;
    reply.integer = value;
    return of(task).put(task, std::move(reply));
  }
  static void* nil(const redisReadTask* task) { return of(task).put(task, {}); }
};

void RedisReader::Free::operator()(redisReader* reader) const { redisReaderFree(reader); }

RedisReader::RedisReader() : keeper_(std::make_unique<Keeper>()) {
  // The reader owns nothing of what is made, so there is nothing to free.
  static redisReplyObjectFunctions functions{&Keeper::text, &Keeper::array, &Keeper::integer, &Keeper::nil,
                                             [](void*) {}};
  reader_.reset(redisReaderCreateWithFunctions(&functions));
  PGWEIR_CHECK(reader_ != nullptr);
  reader_->privdata = keeper_.get();
}

RedisReader::~RedisReader() = default;

Error RedisReader::broken() const {
  return {sqlstate::kProtocolViolation, std::string("Redis: ") + keeper_->refused, {}, {}};
}

Expected<void> RedisReader::feed(Bytes in) {
  if (keeper_->refused) return tl::unexpected(broken());
  fed_.erase(0, std::exchange(at_, 0));
  fed_ += in;
  return {};
}

// Takes the next bytes of what was fed; those of a text that is too much are not kept.
void RedisReader::keep(std::size_t size) {
  bytes_ += size;
  if (bytes_ > kPassedOverMax) keeper_->refused = "a reply is too long";
  if (text_left_ == 0 || !too_much_) held_.append(fed_, at_, size);
  at_ += size;
  if (held_.size() <= kReplyBytesMax) return;
  too_much_ = true;
  held_.erase(0, std::exchange(line_at_, 0));
  if (held_.size() > kReplyBytesMax) keeper_->refused = "a reply is too long";  // this one line
}

// A line has come to its end: what it says of what follows. The value in it is for hiredis to judge.
void RedisReader::head() {
  constexpr std::int64_t kMost = kPassedOverMax;
  const std::string_view line(held_.data() + line_at_, held_.size() - line_at_ - 2);
  const char type = line.empty() ? '\0' : line[0];
  std::int64_t size = 0;
  if (type == '$' || type == '*') {
    const auto read = std::from_chars(line.data() + 1, line.data() + line.size(), size);
    if (read.ec != std::errc() || read.ptr != line.data() + line.size())
      keeper_->refused = "Protocol error, wrong length";
    else if (size < -1)
      keeper_->refused = "length out of range";
    else if (size > kMost / (type == '*' ? 4 : 1))  // no value has fewer bytes
      keeper_->refused = "a reply is too long";
    else if (type == '*' && in_array_ && size >= 0)
      keeper_->refused = "a reply is nested";
  } else if (type != '+' && type != '-' && type != ':') {
    keeper_->refused = "Protocol error, no such type of a reply";
  }
  if (keeper_->refused) return;
  if (type == '*' && !in_array_) {
    in_array_ = true;
    values_left_ = size > 0 ? static_cast<std::size_t>(size) : 0;
    too_much_ = too_much_ || values_left_ > kElementsMax;
  } else if (type == '$' && size >= 0) {
    text_left_ = static_cast<std::size_t>(size) + 2;
    too_much_ = too_much_ || held_.size() + text_left_ > kReplyBytesMax;
  } else {
    --values_left_;
  }
  if (too_much_) held_.clear();
  line_at_ = held_.size();
}

// All of a reply has come. One that is too much holds nothing; of any other hiredis makes it.
RedisReply RedisReader::whole() {
  RedisReply made;
  void* reply = nullptr;
  if (too_much_)
    made.kind = RedisReply::Kind::TooMuch;
  else if (redisReaderFeed(reader_.get(), held_.data(), held_.size()) != REDIS_OK ||
           redisReaderGetReply(reader_.get(), &reply) != REDIS_OK || reply == nullptr)
    keeper_->refused = reader_->err != 0 ? reader_->errstr : "Protocol error";
  else
    made = std::exchange(keeper_->root, {});
  keeper_->bytes = 0;
  held_.clear();
  line_at_ = bytes_ = 0;
  values_left_ = 1;
  in_array_ = too_much_ = false;
  return made;
}

Expected<std::optional<RedisReply>> RedisReader::next() {
  std::optional<RedisReply> reply;
  while (!reply && !keeper_->refused && at_ < fed_.size()) {
    if (text_left_ > 0) {
      const std::size_t size = std::min(text_left_, fed_.size() - at_);
      keep(size);
      text_left_ -= size;
      if (text_left_ > 0) continue;
      --values_left_;
      line_at_ = held_.size();
    } else {
      const std::size_t end = fed_.find('\n', at_);
      keep(end == std::string::npos ? fed_.size() - at_ : end + 1 - at_);
      if (keeper_->refused || !std::string_view(held_).substr(line_at_).ends_with("\r\n")) continue;
      head();
    }
    if (values_left_ == 0 && !keeper_->refused) reply = whole();
  }
  if (keeper_->refused) return tl::unexpected(broken());
  return reply;
}

void put_redis(std::string& out, std::initializer_list<std::string_view> words) {
  put_redis(out, std::span(words.begin(), words.size()));
}

void put_redis(std::string& out, std::span<const std::string_view> words) {
  std::vector<const char*> texts;
  std::vector<std::size_t> sizes;
  for (const std::string_view word : words) {
    texts.push_back(word.data());
    sizes.push_back(word.size());
  }
  char* command = nullptr;
  const int size =
      redisFormatCommandArgv(&command, static_cast<int>(texts.size()), texts.data(), sizes.data());
  PGWEIR_CHECK(size > 0);
  out.append(command, static_cast<std::size_t>(size));
  redisFreeCommand(command);
}

// In one: a key that was left without its time to live would stay for ever.
void put_redis_copy(std::string& out, std::string_view key, const Fields& fields,
                    std::chrono::milliseconds ttl) {
  constexpr std::string_view kScript =
      "redis.call('DEL', KEYS[1]) redis.call('HSET', KEYS[1], unpack(ARGV, 2)) "
      "return redis.call('PEXPIRE', KEYS[1], ARGV[1])";
  const std::string lives = std::to_string(ttl.count());
  std::vector<std::string_view> words{"EVAL", kScript, "1", key, lives};
  for (const auto& [name, value] : fields) {
    words.push_back(name);
    words.push_back(value);
  }
  put_redis(out, words);
}

// In one: a hash that goes between question and change must not come back with these fields alone.
void put_redis_set(std::string& out, std::string_view key, const Change& change, const Fields& whole) {
  // ARGV: how many words are fields to be set, how many names to be dropped; those; the whole row.
  constexpr std::string_view kScript =
      "local set, drop = 2 + ARGV[1], 2 + ARGV[1] + ARGV[2] "
      "if redis.call('EXISTS', KEYS[1]) == 0 then "
      "return redis.call('HSET', KEYS[1], unpack(ARGV, drop + 1, #ARGV)) end "
      "if drop > set then redis.call('HDEL', KEYS[1], unpack(ARGV, set + 1, drop)) end "
      "if set > 2 then redis.call('HSET', KEYS[1], unpack(ARGV, 3, set)) end "
      "return 1";
  const std::string set = std::to_string(2 * change.set.size()), drop = std::to_string(change.drop.size());
  std::vector<std::string_view> words{"EVAL", kScript, "1", key, set, drop};
  const auto put = [&words](const Fields& fields) {
    for (const auto& [name, value] : fields) {
      words.push_back(name);
      words.push_back(value);
    }
  };
  put(change.set);
  words.insert(words.end(), change.drop.begin(), change.drop.end());
  put(whole);
  put_redis(out, words);
}

void put_redis_fetch(std::string& out, std::string_view key_prefix, std::string_view name) {
  put_redis(out, {"HGETALL", std::string(key_prefix) + std::string(name)});
}

namespace {

// As tiers/rate.cc: a token is 60,000,000, and per_minute of them come back with every microsecond. Numbers
// stay below 2^53, where Lua's are exact.
constexpr std::string_view kRateScript = R"(local token = 60000000
local per_minute, burst = tonumber(ARGV[1]), tonumber(ARGV[2]) * token
local charge, want = tonumber(ARGV[3]) * token, tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local had = redis.call('HMGET', KEYS[1], 'spent', 'at')
local spent = tonumber(had[1] or 0) or 0
local passed = math.max(0, now - (tonumber(had[2] or now) or now))
if passed > spent / per_minute then spent = 0 else spent = spent - passed * per_minute end
spent = math.max(0, math.min(spent + charge, 2 * burst))
local granted = math.max(0, math.min(want, math.floor((burst - spent) / token)))
spent = spent + granted * token
redis.call('HSET', KEYS[1], 'spent', string.format('%.0f', spent), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil(spent / per_minute / 1000) + 1000)
return {granted, math.max(0, math.ceil((spent + token - burst) / per_minute))})";

}  // namespace

void put_redis_rate(std::string& out, std::string_view tenant, const FleetAsk& ask) {
  put_redis(out, {"EVAL", kRateScript, "1", std::string(kRedisRateKey) + std::string(tenant),
                  std::to_string(ask.per_minute), std::to_string(ask.burst), std::to_string(ask.charge),
                  std::to_string(ask.want)});
}

std::optional<FleetGrant> redis_grant(const RedisReply& reply, const FleetAsk& ask) {
  if (reply.kind != RedisReply::Kind::Array || reply.elements.size() != 2) return {};
  const RedisReply &granted = reply.elements[0], &wait = reply.elements[1];
  for (const RedisReply* const number : {&granted, &wait})
    if (number->kind != RedisReply::Kind::Integer || number->integer < 0) return {};
  if (granted.integer > static_cast<std::int64_t>(ask.want)) return {};
  return FleetGrant{static_cast<std::uint32_t>(granted.integer), Duration(wait.integer)};
}

bool redis_refuses(const RedisReply& reply) {
  return reply.kind == RedisReply::Kind::Failure && !reply.text.starts_with("WRONGTYPE");
}

Expected<Fields> redis_fields(RedisReply reply) {
  if (reply.kind == RedisReply::Kind::Failure)
    return fail(sqlstate::kConfigFileError, "is not to be read: " + quoted(reply.text));
  if (reply.kind == RedisReply::Kind::TooMuch)
    return fail(sqlstate::kConfigFileError, "must be a hash of at most " + std::to_string(kRowFieldsMax) +
                                                " fields and " + std::to_string(kRowBytesMax) + " bytes");
  if (reply.kind != RedisReply::Kind::Array || reply.elements.size() % 2 != 0)
    return fail(sqlstate::kConfigFileError, "must be a hash of texts");
  Fields fields;
  for (std::size_t i = 0; i < reply.elements.size(); i += 2) {
    RedisReply& key = reply.elements[i];
    RedisReply& value = reply.elements[i + 1];
    if (key.kind != RedisReply::Kind::Text || value.kind != RedisReply::Kind::Text)
      return fail(sqlstate::kConfigFileError, "must be a hash of texts");
    fields.emplace_back(std::move(key.text), std::move(value.text));
  }
  return fields;
}

std::optional<std::pair<std::string, std::uint16_t>> redis_master(const RedisReply& reply) {
  constexpr std::size_t kHostMax = 255;
  if (reply.kind != RedisReply::Kind::Array || reply.elements.size() != 2) return {};
  const std::string &host = reply.elements[0].text, &port = reply.elements[1].text;
  // A path would be that of a socket of this machine.
  if (host.empty() || host.size() > kHostMax || host[0] == '/' || host.find('\0') != std::string::npos)
    return {};
  std::uint16_t number = 0;
  const auto read = std::from_chars(port.data(), port.data() + port.size(), number);
  if (read.ec != std::errc() || read.ptr != port.data() + port.size() || number == 0) return {};
  return std::pair(host, number);
}

bool redis_is_master(const RedisReply& reply) {
  return reply.kind == RedisReply::Kind::Text && reply.text.find("\r\nrole:master\r\n") != std::string::npos;
}

std::optional<std::string> redis_message(const RedisReply& reply) {
  if (reply.kind != RedisReply::Kind::Array || reply.elements.size() != 3) return {};
  if (reply.elements[0].text != "message" || reply.elements[1].text != kRedisChannel) return {};
  if (reply.elements[2].kind != RedisReply::Kind::Text) return {};
  return reply.elements[2].text;
}

}  // namespace pgweir::tiers
