#include "launcher/serve/http/router.h"

#include "base/text.h"

namespace muster::launcher {

std::optional<PathParts> match(const std::string& pattern, const std::string& path) {
  const std::vector<std::string> wanted = split(pattern, '/');
  const std::vector<std::string> given = split(path, '/');
  if (wanted.size() != given.size()) return std::nullopt;
  PathParts parts;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const bool any = wanted[i].starts_with('{');
    if (!any && wanted[i] != given[i]) return std::nullopt;
    if (any && given[i].empty()) return std::nullopt;
    if (any) parts[wanted[i].substr(1, wanted[i].size() - 2)] = given[i];
  }
  return parts;
}

HttpAnswer Router::answer(const HttpRequest& request) const {
  bool known = false;
  for (const Route& route : routes_) {
    const std::optional<PathParts> parts = match(route.pattern, request.path);
    if (parts && route.method == request.method) return route.answer(request, *parts);
    known = known || parts;
  }
  if (known) return error_answer(405, "this address is not asked in that way; see /openapi.json");
  return error_answer(404, "nothing is at this address; see /openapi.json");
}

std::string Router::pattern_of(const std::string& path) const {
  for (const Route& route : routes_)
    if (match(route.pattern, path)) return route.pattern;
  return "other";
}

}  // namespace muster::launcher
