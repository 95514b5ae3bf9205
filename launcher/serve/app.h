// `muster serve`: the routes, and what they are answered from.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "launcher/serve/detect_backend.h"
#include "launcher/serve/detect_queue.h"
#include "launcher/serve/explanations.h"
#include "launcher/serve/http/access.h"
#include "launcher/serve/http/http_server.h"
#include "launcher/serve/http/router.h"
#include "launcher/serve/run_catalog.h"
#include "launcher/serve/run_views.h"
#include "launcher/serve/telemetry.h"

namespace muster::launcher {

struct ServeOptions {
  HttpOptions http;
  std::string token;  // "": none is asked for
  bool writable = false;
  std::vector<std::filesystem::path> places;  // of runs
  std::unique_ptr<DetectBackend> detector;    // null: there is nothing to try
  QueueLimits queue;
};

class ServeApp {
 public:
  explicit ServeApp(ServeOptions options);  // listens from here on; throws PreflightError
  ~ServeApp();
  ServeApp(const ServeApp&) = delete;
  ServeApp& operator=(const ServeApp&) = delete;

  // Where a browser finds it, with the token.
  std::string address() const;
  int port() const { return server_->port(); }
  const std::vector<Route>& routes() const { return router_->routes(); }

 private:
  using OfRun = std::function<HttpAnswer(const HttpRequest&, const PathParts&,
                                         const std::filesystem::path& run)>;

  std::vector<Route> page_routes() const;
  std::vector<Route> run_routes();
  std::vector<Route> file_routes();
  std::vector<Route> detect_routes();
  std::vector<Route> service_routes();
  std::vector<Route> changing_routes();
  Route of_run(std::string pattern, OfRun answer) const;
  HttpAnswer with_run(const PathParts& parts,
                      const std::function<HttpAnswer(const std::filesystem::path&)>& answer) const;

  ServeOptions options_;
  RunCatalog catalog_;
  RunViews views_;
  Explanations explanations_;
  Telemetry telemetry_;
  std::unique_ptr<DetectQueue> queue_;  // ends after server_, whose clients wait for it
  std::unique_ptr<Router> router_;
  std::unique_ptr<Access> access_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace muster::launcher
