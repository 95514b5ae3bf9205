#include "launcher/serve/http/message.h"

#include <nlohmann/json.hpp>

namespace muster::launcher {

std::string HttpRequest::query_or(const std::string& name, std::string_view otherwise) const {
  const auto found = query.find(name);
  return found == query.end() ? std::string(otherwise) : found->second;
}

HttpAnswer error_answer(int status, std::string_view what) {
  using nlohmann::json;
  const json body{{"error", std::string(what)}};
  return {.status = status, .body = body.dump(-1, ' ', false, json::error_handler_t::replace)};
}

}  // namespace muster::launcher
