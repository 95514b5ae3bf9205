// Which function answers which request. Patterns are compared part by part; "{name}" stands for one
// part of any text.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launcher/serve/http/message.h"

namespace muster::launcher {

using PathParts = std::map<std::string, std::string>;  // by the name in the braces

struct Route {
  Method method = Method::kGet;
  std::string pattern;  // "/v1/runs/{run}"
  std::function<HttpAnswer(const HttpRequest&, const PathParts&)> answer;
};

std::optional<PathParts> match(const std::string& pattern, const std::string& path);

class Router {
 public:
  explicit Router(std::vector<Route> routes) : routes_(std::move(routes)) {}
  // 404 for a path that is nobody's, 405 for one that is asked in another way.
  HttpAnswer answer(const HttpRequest& request) const;
  // The pattern that a path belongs to; "other" when it is nobody's.
  std::string pattern_of(const std::string& path) const;
  const std::vector<Route>& routes() const { return routes_; }

 private:
  std::vector<Route> routes_;
};

}  // namespace muster::launcher
