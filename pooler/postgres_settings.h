// pooler/postgres_settings.h - which Postgres has the tables of tenants, and how to log in to it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "pooler/base/time.h"

namespace pgweir {

struct PostgresSettings {
  std::string name;                                             // for the log: "host:port/database"
  std::vector<std::pair<std::string, std::string>> parameters;  // libpq's
  Duration timeout{};
};

}  // namespace pgweir
