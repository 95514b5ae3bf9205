// Serves the store in which ranks find each other, on one address, to those who say the token.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <thread>

#include "base/process/fd.h"
#include "sharding/collectives/store_wire.h"

namespace muster::sharding {

// A socket that listens on `host` (an IPv4 address or a name of one) and no other address; port 0:
// any free one. Throws CollectiveError.
Fd listen_on(const std::string& host, int port);
int port_of(const Fd& listener);

class StoreServer {
 public:
  StoreServer(Fd listener, std::string token);
  ~StoreServer();
  StoreServer(const StoreServer&) = delete;
  StoreServer& operator=(const StoreServer&) = delete;

 private:
  struct Peer {
    Fd socket;
    std::string received;
    bool known = false;  // it said the token
    double since_s = 0;  // when it connected
  };

  void serve();
  void accept_one();
  bool hear(Peer& peer);  // false: it is to be closed
  bool answer(Peer& peer, const StoreMessage& message);
  std::string reply_to(const StoreMessage& message, bool& known_call);

  Fd listener_;
  std::string token_;
  Fd wake_;  // written to by the destructor
  std::list<Peer> peers_;
  std::map<std::string, std::string> values_;
  std::thread thread_;
};

}  // namespace muster::sharding
