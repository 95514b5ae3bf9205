#include "launcher/serve/http/access.h"

#include <fmt/core.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace muster::launcher {
namespace {

constexpr std::string_view kBearer = "Bearer ";
constexpr const char* kOpenPath = "/healthz";  // for whoever restarts servers; it tells nothing

// Takes as long for a near miss as for a far one.
bool same(std::string_view a, std::string_view b) {
  unsigned different = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    different |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return different == 0;
}

std::string cookie_value(std::string_view cookies, const std::string& name) {
  for (std::string& part : split(std::string(cookies), ';')) {
    part.erase(0, part.find_first_not_of(' '));
    if (part.starts_with(name + "=")) return part.substr(name.size() + 1);
  }
  return "";
}

std::string without_port(const std::string& host) {
  const std::size_t colon = host.rfind(':');
  const bool bracketed = host.ends_with(']');
  return colon == std::string::npos || bracketed ? host : host.substr(0, colon);
}

// Browsers say which page a POST comes from.
bool of_another_site(const HttpRequest& request) {
  if (request.method == Method::kGet || request.origin.empty()) return false;
  const std::size_t scheme = request.origin.find("://");
  return scheme == std::string::npos || request.origin.substr(scheme + 3) != request.host;
}

HttpAnswer unknown_visitor(const HttpRequest& request) {
  HttpAnswer answer = error_answer(
      401,
      "a token is asked for: open the address that `muster serve` printed, or send `Authorization: "
      "Bearer TOKEN`");
  answer.headers.emplace_back("WWW-Authenticate", "Bearer");
  if (request.path != "/") return answer;
  answer.type = "text/html; charset=utf-8";
  answer.body =
      "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>muster serve</title><p>Open "
      "the address that <code>muster serve</code> printed: it ends in <code>?token=...</code></p>";
  return answer;
}

}  // namespace

std::string new_token() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    throw PreflightError(
        "serve: the system gives no random numbers for a token; --token T sets one");
  std::string token;
  for (const unsigned char byte : bytes) token += fmt::format("{:02x}", byte);
  return token;
}

Access::Access(std::string token, std::vector<std::string> hosts, int port)
    : token_(std::move(token)), hosts_(std::move(hosts)), cookie_(fmt::format("muster_{}", port)) {}

bool Access::knows_token(const HttpRequest& request) const {
  if (request.authorization.starts_with(kBearer))
    return same(std::string_view(request.authorization).substr(kBearer.size()), token_);
  return same(cookie_value(request.cookie, cookie_), token_);
}

bool Access::names_this_machine(const std::string& host) const {
  return host.empty() || std::ranges::find(hosts_, without_port(host)) != hosts_.end();
}

std::unique_ptr<HttpAnswer> Access::refusal(const HttpRequest& request) const {
  if (request.path == kOpenPath) return nullptr;
  if (of_another_site(request))
    return std::make_unique<HttpAnswer>(error_answer(403, "a page of another site may not ask"));
  if (token_.empty()) {
    if (names_this_machine(request.host)) return nullptr;
    return std::make_unique<HttpAnswer>(error_answer(
        421, fmt::format("this server does not answer to the name '{}'", request.host)));
  }
  const std::string given = request.query_or("token", "");
  if (request.path == "/" && !given.empty() && same(given, token_)) {
    HttpAnswer answer{.status = 303, .type = "text/plain", .body = "come in"};
    answer.headers = {
        {"Location", "/"},
        {"Cache-Control", "no-store"},
        {"Set-Cookie", fmt::format("{}={}; Path=/; HttpOnly; SameSite=Strict", cookie_, token_)}};
    return std::make_unique<HttpAnswer>(std::move(answer));
  }
  if (knows_token(request)) return nullptr;
  return std::make_unique<HttpAnswer>(unknown_visitor(request));
}

}  // namespace muster::launcher
