// conf/settings.h - one row per setting; everything that knows a setting by name learns it from these rows.
//
// A setting's default is declared once, as the initialiser of its member; text of it is made when needed.
// Rows live as long as the program.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <tl/expected.hpp>

#include "conf/config.h"

namespace pgweir::conf {

enum class Applies : std::uint8_t { OnReload, OnRestart };
enum class Secrecy : std::uint8_t { Open, Secret };

// What a text or number means, beyond its member's type.
enum class Form : std::uint8_t {
  Plain,
  Size,
  Octal,
  Name,
  Path,
  SocketDir,
  Address,
  Network,
  Host,
  HostPort,
  AuthMethod,
  NamedBy,
  AuditTarget
};

template <class Owner>
using Member = std::variant<bool Owner::*, std::uint16_t Owner::*, std::uint32_t Owner::*,
                            milliseconds Owner::*, std::string Owner::*, std::vector<std::string> Owner::*,
                            TlsMode Owner::*, AuthMethod Owner::*, StoreKind Owner::*, Rates Owner::*,
                            SessionAttrs Owner::*, LogLevel Owner::*, LogFormat Owner::*>;

template <class Owner>
struct Setting {
  std::string_view key;  // "listen.port"; of a backend: "port"
  Member<Owner> member;
  Form form = Form::Plain;
  std::int64_t least = 0, most = 0;  // number; bytes of a text; items of a list. Unused for choices
  Applies applies = Applies::OnReload;
  std::string_view help;
  Secrecy secrecy = Secrecy::Open;
};

// By section, in the order of the reference page.
std::span<const Setting<Config>> settings();
std::span<const Setting<Backend>> backend_settings();

// Reads the value from text: lists are separated by commas. The error is a sentence without a subject.
template <class Owner>
tl::expected<void, std::string> assign(Owner& owner, const Setting<Owner>& setting, std::string_view text);
// The items of a list setting, one by one.
template <class Owner>
tl::expected<void, std::string> assign_list(Owner& owner, const Setting<Owner>& setting,
                                            std::vector<std::string> items);
template <class Owner>
bool is_list(const Setting<Owner>& setting) {
  return std::holds_alternative<std::vector<std::string> Owner::*>(setting.member);
}

// The value as text that assign() reads back.
template <class Owner>
std::string text_of(const Owner& owner, const Setting<Owner>& setting);
// "between 1 and 65535", "disable, allow, prefer ..."
template <class Owner>
std::string allowed(const Setting<Owner>& setting);

// An item of client.tenant_named_by, which assign() has checked.
NamedBy named_by(std::string_view item);

// PGWEIR_LISTEN__PORT for listen.port.
std::string environment_name(std::string_view key);

// The first byte of NUL..US or DEL: no name, path or secret of ours holds one.
bool has_control(std::string_view text);

}  // namespace pgweir::conf
