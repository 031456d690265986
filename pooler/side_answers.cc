#include "pooler/side_answers.h"

#include <utility>

#include "protocol/frame.h"
#include "protocol/messages.h"

namespace pgweir {

namespace {
constexpr std::uint32_t kNull = 0xffffffff;

std::optional<SideRow> row_of(Bytes body) {
  protocol::Reader in(body);
  SideRow row;
  for (std::uint16_t left = in.u16(); left > 0 && in.ok(); --left) {
    const std::uint32_t size = in.u32();
    if (size == kNull)
      row.emplace_back();
    else
      row.emplace_back(std::string(in.bytes(size)));
  }
  if (!in.ok() || !in.empty()) return {};
  return row;
}
}  // namespace

std::vector<SideAnswer> SideAnswers::read(Bytes in) {
  std::vector<SideAnswer> complete;
  held_.append(in);
  Bytes rest = held_;
  while (!broken_ && rest.size() >= protocol::kHeaderBytes) {
    protocol::Frame frame;
    const bool known = protocol::read_header(rest, protocol::kServerMessageLimits, frame);
    size_ += known && rest.size() >= frame.size ? frame.size : 0;
    if (!known || frame.size > kAnswerMost || size_ > kAnswerMost) {
      broken_ = Error{sqlstate::kProtocolViolation, "the server sent no proper answer", {}, {}};
      break;
    }
    if (rest.size() < frame.size) break;
    const Bytes body = rest.substr(protocol::kHeaderBytes, frame.size - protocol::kHeaderBytes);
    if (!message(frame.type, body, complete))
      broken_ = Error{sqlstate::kProtocolViolation, "the server sent no proper answer", {}, {}};
    rest.remove_prefix(frame.size);
  }
  held_.erase(0, held_.size() - rest.size());
  return complete;
}

bool SideAnswers::message(char type, Bytes body, std::vector<SideAnswer>& complete) {
  switch (type) {
    case 'D': {
      auto row = row_of(body);
      if (!row) return false;
      if (answer_) answer_->push_back(std::move(*row));
      return true;
    }
    case 'E': {
      const protocol::ErrorFields fields = protocol::parse_error(body);
      const Error error{sqlstate::kInternalError, fields.message, fields.detail, fields.hint};
      if (fields.severity == "FATAL" || fields.severity == "PANIC") broken_ = error;
      answer_ = tl::unexpected(error);
      return true;
    }
    case 'Z':
      complete.push_back(std::exchange(answer_, std::vector<SideRow>{}));
      size_ = 0;
      return true;
    case 'T':
    case 'C':
    case 'I':
    case 'N':
    case 'S':
    case 'A': return true;
    default: return false;
  }
}

}  // namespace pgweir
