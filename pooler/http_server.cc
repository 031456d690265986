#include "pooler/http_server.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <unistd.h>

#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

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
  if (response.header) MHD_add_response_header(made, response.header, response.header_value);
  const MHD_Result queued = MHD_queue_response(connection, response.status, made);
  MHD_destroy_response(made);
  return queued;
}

}  // namespace

struct Server::Core : std::enable_shared_from_this<Server::Core> {
  static MHD_Result on_request(void* self, MHD_Connection* connection, const char* url, const char* method,
                               const char* /*version*/, const char* /*upload*/, std::size_t* upload_size,
                               void** slot) {
    if (*slot == nullptr) {
      *slot = new ExchangeRef(std::make_shared<Exchange>(connection));
      return MHD_YES;
    }
    if (*upload_size > 0) {
      *upload_size = 0;
      return MHD_YES;
    }
    return static_cast<Core*>(self)->proceed(*static_cast<ExchangeRef*>(*slot), url, method);
  }
  static void on_completed(void* /*self*/, MHD_Connection* /*connection*/, void** slot,
                           MHD_RequestTerminationCode /*why*/) {
    delete static_cast<ExchangeRef*>(*slot);
    *slot = nullptr;
  }

  MHD_Result proceed(const ExchangeRef& exchange, const char* url, const char* method) {
    if (exchange->response) return send(exchange->connection, *exchange->response);
    if (std::exchange(exchange->asked, true)) return MHD_NO;
    const char* const authorization =
        MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
    const Request request{method, url, authorization ? authorization : ""};
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
        core.get(), MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, &Core::on_completed, nullptr,
        MHD_OPTION_CONNECTION_LIMIT, kConnectionsMax, MHD_OPTION_CONNECTION_TIMEOUT,
        static_cast<unsigned>(kSilence.count()), MHD_OPTION_CONNECTION_MEMORY_LIMIT, kHeaderBytes,
        MHD_OPTION_END);
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
