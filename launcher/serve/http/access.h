// Who may ask. Whoever knows the token: as `Authorization: Bearer TOKEN`, or in a cookie, which the
// printed address (/?token=TOKEN) sets. Without a token only requests that name this machine as it
// is known are answered, so that a page of another site cannot reach it under a name of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "launcher/serve/http/message.h"

namespace muster::launcher {

std::string new_token();  // 32 hex digits from the system's random numbers

class Access {
 public:
  // `token`: "" asks for none. `hosts`: names of this machine that a request may call it by.
  Access(std::string token, std::vector<std::string> hosts, int port);

  // Nothing when the request may go on; else what it is answered with.
  std::unique_ptr<HttpAnswer> refusal(const HttpRequest& request) const;
  const std::string& token() const { return token_; }

 private:
  bool knows_token(const HttpRequest& request) const;
  bool names_this_machine(const std::string& host) const;

  std::string token_;
  std::vector<std::string> hosts_;
  std::string cookie_;  // its name; cookies are shared by all ports of a host
};

}  // namespace muster::launcher
