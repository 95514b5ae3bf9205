// A request and its answer as the rest of `muster serve` sees them: nothing here knows the library.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster::launcher {

enum class Method { kGet, kPost, kOther };

struct HttpRequest {
  Method method = Method::kGet;
  std::string path;                               // decoded, without the query
  std::multimap<std::string, std::string> query;  // decoded
  std::string host;                               // of the Host header, with its port
  std::string origin;                             // of the page that asks; "" when no page does
  std::string authorization;
  std::string cookie;
  std::string content_type;
  std::string body;

  // The first value of that name; `otherwise` when there is none.
  std::string query_or(const std::string& name, std::string_view otherwise) const;
};

struct HttpAnswer {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers = {};
};

// {"error": what}
HttpAnswer error_answer(int status, std::string_view what);

}  // namespace muster::launcher
