// pooler/http_page.h - the status page and the description of the API, compiled into the program.
#pragma once

#include <string_view>

#include "pooler/http_routes.h"

namespace pgweir::http {

std::string_view embedded_status_page();  // pooler/status.html
std::string_view embedded_openapi();      // pooler/openapi.json

// With a policy that lets nothing run or load but what stands in the page itself, and lets it ask nobody but
// us.
Response status_page();
Response openapi();

}  // namespace pgweir::http
