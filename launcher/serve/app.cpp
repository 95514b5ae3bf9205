#include "launcher/serve/app.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/version.h"
#include "launcher/serve/detect_api.h"
#include "launcher/serve/inside.h"
#include "launcher/serve/page_files.h"
#include "launcher/serve/run_changes.h"
#include "launcher/serve/run_files.h"
#include "trainer/show/report/report.h"

namespace muster::launcher {
namespace {

using nlohmann::json;

constexpr std::size_t kMostTail = 256 << 10;
constexpr const char* kPlainText = "text/plain; charset=utf-8";

// The page loads, sends and runs nothing but what this server gives.
constexpr const char* kPagePolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

// Not to be kept by the browser: the next answer may differ.
HttpAnswer fresh(std::string type, std::string body) {
  return {.type = std::move(type),
          .body = std::move(body),
          .headers = {{"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}}};
}

HttpAnswer json_answer(const json& value) {
  return fresh("application/json", value.dump(-1, ' ', false, json::error_handler_t::replace));
}

HttpAnswer page_part(const PageFile& file) {
  return {.type = std::string(file.type),
          .body = std::string(file.text),
          .headers = {{"Content-Security-Policy", kPagePolicy}, {"Cache-Control", "no-cache"}}};
}

template <typename Number>
Number number_or(const std::string& text, Number otherwise) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && read == end ? value : otherwise;
}

Route get(std::string pattern,
          std::function<HttpAnswer(const HttpRequest&, const PathParts&)> answer) {
  return {Method::kGet, std::move(pattern), std::move(answer)};
}

Route post(std::string pattern,
           std::function<HttpAnswer(const HttpRequest&, const PathParts&)> answer) {
  return {Method::kPost, std::move(pattern), std::move(answer)};
}

HttpAnswer tail_of(const HttpRequest& request, const std::filesystem::path& run,
                   const std::string& name) {
  const auto most = number_or<std::size_t>(request.query_or("bytes", ""), 16 << 10);
  const auto text = log_tail(run, name, std::min(most, kMostTail));
  return text ? fresh(kPlainText, *text) : error_answer(404, "the run has no such log");
}

// Names by which this machine may be called when no token is asked for.
std::vector<std::string> own_names(const std::string& host) {
  std::vector<std::string> names = {"localhost", "127.0.0.1", "[::1]", host};
  if (host == "0.0.0.0" || host == "::") names.push_back(own_host());
  return names;
}

}  // namespace

ServeApp::ServeApp(ServeOptions options)
    : options_(std::move(options)), catalog_(options_.places), views_(catalog_) {
  if (options_.detector) queue_ = std::make_unique<DetectQueue>(*options_.detector, options_.queue);
  std::vector<Route> routes = page_routes();
  for (std::vector<Route> more :
       {run_routes(), file_routes(), detect_routes(), service_routes(), changing_routes()})
    std::ranges::move(more, std::back_inserter(routes));
  router_ = std::make_unique<Router>(std::move(routes));
  server_ = std::make_unique<HttpServer>(
      options_.http, [this](const HttpRequest& request) { return access_->refusal(request); },
      [this](const HttpRequest& request) { return router_->answer(request); },
      [this](const std::string& path, int status) {
        telemetry_.answered(router_->pattern_of(path), status);
      },
      [this](int port) {
        access_ = std::make_unique<Access>(options_.token, own_names(options_.http.host), port);
      });
}

// Those who wait for the detector are answered first; then the clients can be let go.
ServeApp::~ServeApp() {
  if (queue_) queue_->stop();
  server_->stop();
}

std::string ServeApp::address() const {
  const bool any = options_.http.host == "0.0.0.0" || options_.http.host == "::";
  const std::string host = any ? own_host() : options_.http.host;
  return fmt::format("http://{}:{}/{}", host, port(),
                     options_.token.empty() ? "" : "?token=" + options_.token);
}

std::vector<Route> ServeApp::page_routes() const {
  std::vector<Route> routes;
  for (const PageFile& file : page_files())
    routes.push_back(get(std::string(file.path), [&file](const HttpRequest&, const PathParts&) {
      return page_part(file);
    }));
  return routes;
}

Route ServeApp::of_run(std::string pattern, OfRun answer) const {
  return get(std::move(pattern), [this, answer = std::move(answer)](const HttpRequest& request,
                                                                    const PathParts& parts) {
    return with_run(parts,
                    [&](const std::filesystem::path& run) { return answer(request, parts, run); });
  });
}

HttpAnswer ServeApp::with_run(
    const PathParts& parts,
    const std::function<HttpAnswer(const std::filesystem::path&)>& answer) const {
  const auto folder = catalog_.find(parts.at("run"));
  if (!folder) return error_answer(404, "no such run");
  try {
    return answer(*folder);
  } catch (const Error& error) {
    return error_answer(error.exit_code() == ExitCode::kIo ? 500 : 422, error.what());
  }
}

// What is read anew as the run goes on.
std::vector<Route> ServeApp::run_routes() {
  using std::filesystem::path;
  return {
      get("/v1/runs",
          [this](const HttpRequest&, const PathParts&) { return json_answer(views_.list()); }),
      of_run("/v1/runs/{run}",
             [this](const HttpRequest&, const PathParts& parts, const path&) {
               return json_answer(views_.detail(parts.at("run")));
             }),
      of_run("/v1/runs/{run}/metrics",
             [this](const HttpRequest& request, const PathParts& parts, const path&) {
               const auto kept =
                   number_or<std::uint64_t>(request.query_or("generation", ""), ~0ULL);
               const auto after = number_or<double>(request.query_or("after", ""), -1);
               return fresh("application/json", views_.curves(parts.at("run"), kept, after));
             }),
      of_run("/v1/runs/{run}/logs/{log}",
             [](const HttpRequest& request, const PathParts& parts, const path& run) {
               return tail_of(request, run, parts.at("log"));
             }),
  };
}

// What lies in the run folder, and what is made of it when it is asked for.
std::vector<Route> ServeApp::file_routes() {
  using std::filesystem::path;
  return {
      of_run("/v1/runs/{run}/config",
             [](const HttpRequest&, const PathParts&, const path& run) {
               const auto text = read_inside(run, "config.yaml", kMostTail);
               return text ? fresh(kPlainText, *text)
                           : error_answer(404, "the run has no config.yaml");
             }),
      of_run("/v1/runs/{run}/triage",
             [this](const HttpRequest&, const PathParts&, const path& run) {
               return fresh("application/json", explanations_.triage(run));
             }),
      of_run("/v1/runs/{run}/pictures", [](const HttpRequest&, const PathParts&,
                                           const path& run) { return json_answer(pictures(run)); }),
      of_run("/v1/runs/{run}/pictures/{picture}",
             [](const HttpRequest&, const PathParts& parts, const path& run) {
               auto found = picture(run, parts.at("picture"));
               return found ? fresh(found->type, std::move(found->bytes))
                            : error_answer(404, "the run has no such picture");
             }),
      of_run("/v1/runs/{run}/gallery",
             [this](const HttpRequest&, const PathParts&, const path& run) {
               return fresh("text/html; charset=utf-8", explanations_.gallery(run));
             }),
  };
}

std::vector<Route> ServeApp::detect_routes() {
  const auto asking = [this](auto answer) {
    return [this, answer](const HttpRequest& request, const PathParts&) {
      if (queue_) return answer(request, *queue_);
      return error_answer(
          404, "no checkpoint is served: name one, `muster serve CHECKPOINT` or `--try RUN_DIR`");
    };
  };
  return {post("/v1/detect", asking(detect_one)), post("/v1/detect/batch", asking(detect_batch))};
}

std::vector<Route> ServeApp::service_routes() {
  return {
      get("/v1/server",
          [this](const HttpRequest&, const PathParts&) {
            json facts{{"version", kVersion},
                       {"writable", options_.writable},
                       {"most_body_bytes", options_.http.most_body_bytes},
                       {"detector", nullptr}};
            if (options_.detector) facts["detector"] = options_.detector->facts();
            return json_answer(facts);
          }),
      get("/healthz",
          [](const HttpRequest&, const PathParts&) {
            return json_answer({{"status", "ok"}});
          }),
      get("/metrics",
          [this](const HttpRequest&, const PathParts&) {
            std::optional<DetectQueue::Counts> counts;
            if (queue_) counts = queue_->counts();
            return fresh("text/plain; version=0.0.4; charset=utf-8",
                         telemetry_.as_text(views_.list(), counts));
          }),
  };
}

std::vector<Route> ServeApp::changing_routes() {
  const auto changing = [this](auto change) {
    return [this, change](const HttpRequest&, const PathParts& parts) {
      if (!options_.writable)
        return error_answer(403, "this server only reads; `muster serve --writable` may do that");
      return with_run(parts, [&](const std::filesystem::path& run) {
        return json_answer({{"done", change(run)}});
      });
    };
  };
  return {
      post("/v1/runs/{run}/stop", changing(ask_to_stop)),
      post("/v1/runs/{run}/report", changing([](const std::filesystem::path& run) {
             return trainer::write_report(run).string();
           })),
  };
}

}  // namespace muster::launcher
