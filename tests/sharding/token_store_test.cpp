#include "sharding/collectives/token_store.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "base/error.h"
#include "sharding/collectives/store_server.h"

using namespace muster;
using namespace muster::sharding;
using namespace std::chrono_literals;

namespace {

// A served store, and how others reach it.
struct Served {
  StoreAddress address;
  c10::intrusive_ptr<c10d::Store> store;

  Served() {
    Fd listener = listen_on("127.0.0.1", 0);
    address = {.host = "127.0.0.1", .port = port_of(listener), .token = "right"};
    StoreAddress own = address;
    own.listener = ::dup(listener.get());
    store = make_token_store(own, 0, 5s);
  }
};

int connect_to(const std::string& host, int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  ::inet_pton(AF_INET, host.c_str(), &to.sin_addr);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return fd;
  ::close(fd);
  return -1;
}

// What the store answers to these bytes before it closes; "" when it says nothing.
std::string answer_to(const Served& served, const std::string& bytes) {
  const int fd = connect_to("127.0.0.1", served.address.port);
  REQUIRE(fd >= 0);
  ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  std::string answer(64, '\0');
  const ssize_t n = ::recv(fd, answer.data(), answer.size(), 0);
  ::close(fd);
  return n > 0 ? answer.substr(0, static_cast<std::size_t>(n)) : "";
}

}  // namespace

TEST_CASE("store: what one rank sets, another gets, once it is there", "[unit]") {
  const Served served;
  const auto other = make_token_store(served.address, 1, 5s);
  std::thread late([&] {
    std::this_thread::sleep_for(50ms);
    served.store->set("address/0", std::string("bytes\0more", 10));
  });
  CHECK(other->get_to_str("address/0") == std::string("bytes\0more", 10));
  late.join();
  CHECK(other->add("count", 3) == 3);
  CHECK(served.store->add("count", -1) == 2);
  CHECK(other->getNumKeys() == 2);
  CHECK(other->check({"address/0", "count"}));
  CHECK(!other->check({"address/0", "absent"}));
  CHECK(other->compareSet("leader", "", "1") == "1");
  CHECK(served.store->compareSet("leader", "", "0") == "1");
  CHECK(served.store->compareSet("leader", "1", "0") == "0");
  CHECK(other->deleteKey("leader"));
  CHECK(!other->deleteKey("leader"));
  CHECK_THROWS(other->wait({"absent"}, 100ms));
  CHECK(served.store->clone()->get_to_str("count") == "2");
}

TEST_CASE("store: who does not say the token is closed, whatever it sends", "[unit][fault]") {
  const Served served;
  served.store->set("secret", std::string("7"));
  const std::string get = to_wire({StoreCall::kGet, {"secret"}});
  CHECK(answer_to(served, get).empty());
  CHECK(answer_to(served, to_wire({StoreCall::kHello, {"wrong"}}) + get).empty());
  CHECK(answer_to(served, to_wire({StoreCall::kHello, {""}}) + get).empty());
  CHECK(answer_to(served, to_wire({StoreCall::kHello, {"right", "x"}}) + get).empty());
  CHECK(answer_to(served, std::string(8, '\xff')).empty());  // a length beyond all bounds
  CHECK(answer_to(served, "GET / HTTP/1.1\r\n\r\n").empty());
  CHECK(!answer_to(served, to_wire({StoreCall::kHello, {"right"}}) + get).empty());

  StoreAddress stranger = served.address;
  stranger.token = "wrong";
  CHECK_THROWS(make_token_store(stranger, 1, 1s));
  CHECK(served.store->get_to_str("secret") == "7");
  std::string damaged = to_wire({StoreCall::kHello, {"right"}});
  for (int call = 0; call < 256; ++call)
    damaged += std::string("\x01\0\0\0", 4) + static_cast<char>(call);
  answer_to(served, damaged);
  CHECK(make_token_store(served.address, 1, 1s)->get_to_str("secret") == "7");
}

TEST_CASE("store: it listens on the announced address and no other", "[unit]") {
  const Served served;
  const int there = connect_to("127.0.0.1", served.address.port);
  CHECK(there >= 0);
  ::close(there);
  CHECK(connect_to("127.0.0.2", served.address.port) < 0);  // of this machine, too
  CHECK_THROWS_AS(listen_on("192.0.2.1", 0), CollectiveError);
  CHECK_THROWS_AS(make_token_store({.host = "127.0.0.1", .port = 1, .token = "t"}, 1, 100ms),
                  CollectiveError);
}
