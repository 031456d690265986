// pooler/login_policy.h - how far a backend is trusted when we log in to it, by its settings.
#pragma once

#include "pooler/server_login.h"
#include "pooler/snapshot.h"

namespace pgweir {

// `plain_refused`: with tls_mode allow, the server wants TLS.
ServerLogin::Policy login_policy(const BackendView& backend, bool plain_refused);

}  // namespace pgweir
