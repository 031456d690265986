#include "pooler/http_page.h"

#include <string>

#include "pooler/base/check.h"
#include "pooler/http_api.h"
#include "protocol/base64.h"
#include "protocol/digest.h"

namespace pgweir::http {

namespace {

// 'sha256-...' of what stands in the page's one element of this name.
std::string digest_of(std::string_view page, const std::string& element) {
  const std::string open = "<" + element + ">", close = "</" + element + ">";
  const std::size_t begin = page.find(open), end = page.find(close);
  PGWEIR_CHECK(begin != std::string_view::npos && end != std::string_view::npos);
  const std::string_view inside = page.substr(begin + open.size(), end - begin - open.size());
  return "'sha256-" + protocol::base64_encode(protocol::as_bytes(protocol::sha256(inside))) + "'";
}

std::string policy(std::string_view page) {
  return "default-src 'none'; script-src " + digest_of(page, "script") + "; style-src " +
         digest_of(page, "style") +
         "; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
}

}  // namespace

Response status_page() {
  static const std::string kPolicy = policy(embedded_status_page());
  return {.status = 200,
          .body = std::string(embedded_status_page()),
          .type = "text/html; charset=utf-8",
          .headers = {{"Content-Security-Policy", kPolicy}, {"Referrer-Policy", "no-referrer"}}};
}

Response openapi() { return {.status = 200, .body = std::string(embedded_openapi()), .type = kJson}; }

}  // namespace pgweir::http
