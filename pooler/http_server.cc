#include "pooler/http_server.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "pooler/http_access.h"
#include "pooler/http_patience.h"

namespace pgweir::http {

namespace {

// One request. While it waits for its answer its connection is suspended, and belongs to nobody but us.
struct Exchange {
  explicit Exchange(MHD_Connection* c) : connection(c) {}
  MHD_Connection* connection;
  bool asked = false;
  std::optional<Response> response;
};
using ExchangeRef = std::shared_ptr<Exchange>;

MHD_Result send(MHD_Connection* connection, Response& response) {
  MHD_Response* const made =
      MHD_create_response_from_buffer(response.body.size(), response.body.data(), MHD_RESPMEM_MUST_COPY);
  if (!made) return MHD_NO;
  MHD_add_response_header(made, MHD_HTTP_HEADER_CONTENT_TYPE, response.type);
  MHD_add_response_header(made, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
  MHD_add_response_header(made, "X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : response.headers) MHD_add_response_header(made, name, value.c_str());
  const MHD_Result queued = MHD_queue_response(connection, response.status, made);
  MHD_destroy_response(made);
  return queued;
}

void read_address(MHD_Connection* connection, Request& request) {
  const auto* const info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  if (!info || !info->client_addr) return;
  if (info->client_addr->sa_family == AF_INET) {
    const auto& v4 = *reinterpret_cast<const sockaddr_in*>(info->client_addr);
    request.from = mapped(v4.sin_addr);
    request.port = ntohs(v4.sin_port);
  } else if (info->client_addr->sa_family == AF_INET6) {
    const auto& v6 = *reinterpret_cast<const sockaddr_in6*>(info->client_addr);
    std::memcpy(request.from.data(), &v6.sin6_addr, request.from.size());
    request.port = ntohs(v6.sin6_port);
  }
}

MHD_Result add_parameter(void* parameters, MHD_ValueKind /*kind*/, const char* name, const char* value) {
  static_cast<Parameters*>(parameters)->emplace(name, value ? value : "");
  return MHD_YES;
}

MHD_Result note_proxy(void* forwarded, MHD_ValueKind /*kind*/, const char* name, const char* /*value*/) {
  *static_cast<bool*>(forwarded) |= is_of_proxy(name);
  return MHD_YES;
}

Request read_request(MHD_Connection* connection, const char* url, const char* method) {
  const auto header = [connection](const char* name) {
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
  };
  Request request{.method = method, .path = std::string(path_of(url))};
  if (const char* text = header(MHD_HTTP_HEADER_AUTHORIZATION)) request.authorization = text;
  if (const char* text = header(MHD_HTTP_HEADER_HOST)) request.host = text;
  read_address(connection, request);
  MHD_get_connection_values(connection, MHD_HEADER_KIND, &note_proxy, &request.forwarded);
  MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, &add_parameter, &request.parameters);
  return request;
}

MHD_Result add_field(void* bytes, MHD_ValueKind /*kind*/, const char* name, const char* value) {
  *static_cast<std::size_t*>(bytes) += std::strlen(name) + (value ? std::strlen(value) : 0) + 4;  // ": ", end
  return MHD_YES;
}

// What is over the bounds of a head. Without blanks behind its colons a field counts for
// more than it takes, to the benefit of the first line.
std::optional<Response> refuse_head(MHD_Connection* connection, const Request& request) {
  const auto* const info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
  std::size_t fields = 0;
  MHD_get_connection_values(connection, MHD_HEADER_KIND, &add_field, &fields);
  const std::size_t head = info->header_size;
  return refuse_size(request, head - std::min(head, fields), head);
}

std::string_view header_of(MHD_Connection* connection, const char* name) {
  const char* const text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
  return text ? text : std::string_view();
}

// With a zero in it, a text would end there for us, and name another page: it stays as it is.
std::size_t unescape(void* /*self*/, MHD_Connection* /*connection*/, char* text) {
  return std::strstr(text, "%00") ? std::strlen(text) : MHD_http_unescape(text);
}

int descriptor_of(MHD_Connection* connection) {
  return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
}

// Of this server alone: what it decides does not concern the loops.
Time now() {
  return Time(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
}

// Ends connections whose time is over. A descriptor is shut down, which libmicrohttpd sees as the end, and
// only under the lock that the end takes, too: so it is never somebody else's by then.
class Doorkeeper {
 public:
  Doorkeeper() : thread_([this] { run(); }) {}
  ~Doorkeeper() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  void came(int fd) {
    const std::lock_guard lock(mutex_);
    if (patience_.size() == 0) wake_.notify_one();
    if (const auto slow = patience_.came(fd, now())) ::shutdown(*slow, SHUT_RDWR);
  }
  void said(int fd) {
    const std::lock_guard lock(mutex_);
    patience_.said(fd);
  }
  void answered(int fd) {
    const std::lock_guard lock(mutex_);
    patience_.answered(fd, now());
  }
  void left(int fd) {
    const std::lock_guard lock(mutex_);
    patience_.left(fd);
  }

 private:
  static constexpr std::chrono::seconds kLook{1};
  void run() {
    std::unique_lock lock(mutex_);
    while (!stopped_) {
      if (patience_.size() == 0)
        wake_.wait(lock);
      else
        wake_.wait_for(lock, kLook);
      for (const int fd : patience_.overdue(now())) ::shutdown(fd, SHUT_RDWR);
    }
  }

  std::mutex mutex_;  // of what stands below
  std::condition_variable wake_;
  Patience patience_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace

struct Server::Core : std::enable_shared_from_this<Server::Core> {
  static MHD_Result on_request(void* self, MHD_Connection* connection, const char* url, const char* method,
                               const char* /*version*/, const char* /*upload*/, std::size_t* upload_size,
                               void** slot) {
    if (*slot == nullptr) {
      *slot = new ExchangeRef(std::make_shared<Exchange>(connection));
      const Request request = read_request(connection, url, method);
      auto refused = refuse_head(connection, request);
      if (!refused)
        refused = refuse_body(request, header_of(connection, MHD_HTTP_HEADER_CONTENT_LENGTH),
                              header_of(connection, MHD_HTTP_HEADER_TRANSFER_ENCODING));
      return refused ? send(connection, *refused) : MHD_YES;
    }
    if (*upload_size > 0) {
      *upload_size = 0;
      return MHD_YES;
    }
    return static_cast<Core*>(self)->proceed(*static_cast<ExchangeRef*>(*slot), url, method);
  }
  static void on_completed(void* self, MHD_Connection* connection, void** slot,
                           MHD_RequestTerminationCode /*why*/) {
    delete static_cast<ExchangeRef*>(*slot);
    *slot = nullptr;
    static_cast<Core*>(self)->doorkeeper.answered(descriptor_of(connection));
  }
  static void on_connection(void* self, MHD_Connection* connection, void** /*slot*/,
                            MHD_ConnectionNotificationCode what) {
    Doorkeeper& doorkeeper = static_cast<Core*>(self)->doorkeeper;
    if (what == MHD_CONNECTION_NOTIFY_STARTED)
      doorkeeper.came(descriptor_of(connection));
    else
      doorkeeper.left(descriptor_of(connection));
  }

  MHD_Result proceed(const ExchangeRef& exchange, const char* url, const char* method) {
    if (exchange->response) return send(exchange->connection, *exchange->response);
    if (std::exchange(exchange->asked, true)) return MHD_NO;
    const Request request = read_request(exchange->connection, url, method);
    doorkeeper.said(descriptor_of(exchange->connection));
    {
      const std::lock_guard lock(mutex);
      if (stopped) return MHD_NO;
      MHD_suspend_connection(exchange->connection);
      waiting.insert(exchange);
    }
    handler(request, [core = weak_from_this(), exchange](Response response) {
      if (const auto here = core.lock()) here->answer(exchange, std::move(response));
    });
    return MHD_YES;
  }
  void answer(const ExchangeRef& exchange, Response response) {
    const std::lock_guard lock(mutex);
    if (waiting.erase(exchange) == 0) return;
    exchange->response = std::move(response);
    MHD_resume_connection(exchange->connection);
  }

  Handler handler;
  Doorkeeper doorkeeper;
  std::vector<MHD_Daemon*> daemons;
  std::mutex mutex;  // of what stands below
  std::set<ExchangeRef> waiting;
  bool stopped = false;
};

Server::Server(std::shared_ptr<Core> core) : core_(std::move(core)) {}

Expected<std::unique_ptr<Server>> Server::start(const std::vector<int>& fds, Handler handler) {
  auto core = std::make_shared<Core>();
  core->handler = std::move(handler);
  std::unique_ptr<Server> server(new Server(core));
  std::size_t started = 0;
  for (const int fd : fds) {
    MHD_Daemon* const daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, nullptr, nullptr, &Core::on_request,
        core.get(), MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, &Core::on_completed,
        core.get(), MHD_OPTION_NOTIFY_CONNECTION, &Core::on_connection, core.get(),
        MHD_OPTION_UNESCAPE_CALLBACK, &unescape, nullptr, MHD_OPTION_CONNECTION_LIMIT, kConnectionsMax,
        MHD_OPTION_CONNECTION_TIMEOUT, static_cast<unsigned>(kSilence.count()),
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionBytes, MHD_OPTION_END);
    if (!daemon) break;
    core->daemons.push_back(daemon);
    ++started;
  }
  if (started == fds.size()) return server;
  for (std::size_t i = started; i < fds.size(); ++i) ::close(fds[i]);
  return fail(sqlstate::kConfigFileError, "cannot start the HTTP server on a socket that listens");
}

Server::~Server() {
  {
    const std::lock_guard lock(core_->mutex);
    core_->stopped = true;
    for (const ExchangeRef& exchange : core_->waiting) {
      exchange->response = Response{503, "The pooler is shutting down.\n"};
      MHD_resume_connection(exchange->connection);
    }
    core_->waiting.clear();
  }
  for (MHD_Daemon* daemon : core_->daemons) MHD_stop_daemon(daemon);
}

}  // namespace pgweir::http
