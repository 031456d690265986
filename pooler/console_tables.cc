// pooler/console_tables.cc - SHOW of what has a few plain rows, or none.
#include "pooler/console_table.h"

namespace pgweir::console {

namespace {

using Mem = Figure<MemRow>;
constexpr std::array kMem{
    Mem{"name", kS, &MemRow::name},
    Mem{"size", kI, &MemRow::size},
    Mem{"used", kI, &MemRow::used},
    Mem{"free", kI, &zero<MemRow>},
    Mem{"memtotal", kI, [](const MemRow& row) -> Text { return int4(row.total()); }},
};

using Config = Figure<conf::Shown>;
constexpr std::array kConfig{
    Config{"key", kS, &conf::Shown::key},
    Config{"value", kS, &conf::Shown::value},
    Config{"default", kS, &conf::Shown::fallback},
    Config{"changeable", kS, [](const conf::Shown& row) -> Text { return row.changeable ? "yes" : "no"; }},
};

using List = Figure<NamedCount>;
constexpr std::array kLists{List{"list", kS, &NamedCount::name}, List{"items", kI, &NamedCount::count}};

using State = Figure<KeyValue>;
constexpr std::array kState{State{"key", kS, &KeyValue::key}, State{"value", kS, &KeyValue::value}};

}  // namespace

void put_mem(std::string& out, std::span<const MemRow> rows) { put_table(out, kMem, rows); }
void put_config(std::string& out, std::span<const conf::Shown> rows) { put_table(out, kConfig, rows); }
void put_lists(std::string& out, std::span<const NamedCount> rows) { put_table(out, kLists, rows); }
void put_state(std::string& out, std::span<const KeyValue> rows) { put_table(out, kState, rows); }

void put_peers(std::string& out) {
  protocol::put_row_description(out, {{"peer_id", kI}, {"host", kS}, {"port", kI}, {"pool_size", kI}});
}
void put_peer_pools(std::string& out) {
  protocol::put_row_description(out, {{"peer_id", kI},
                                      {"cl_active_cancel_req", kI},
                                      {"cl_waiting_cancel_req", kI},
                                      {"sv_active_cancel", kI},
                                      {"sv_login", kI}});
}
void put_dns_hosts(std::string& out) {
  protocol::put_row_description(out, {{"hostname", kS}, {"ttl", protocol::kInt8Oid}, {"addrs", kS}});
}
void put_dns_zones(std::string& out) {
  protocol::put_row_description(out, {{"zonename", kS}, {"serial", protocol::kInt8Oid}, {"count", kI}});
}

void put_value(std::string& out, const char* column, std::uint32_t type_oid, const std::string& value) {
  protocol::put_row_description(out, {{column, type_oid}});
  protocol::put_data_row(out, {value});
}

}  // namespace pgweir::console
