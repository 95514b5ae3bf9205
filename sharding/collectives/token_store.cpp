#include "sharding/collectives/token_store.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <utility>

#include "base/error.h"
#include "sharding/collectives/store_server.h"

namespace muster::sharding {
namespace {

using Bytes = std::vector<std::uint8_t>;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }
Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

Fd connect_once(const std::string& host, int port) {
  addrinfo wanted{};
  wanted.ai_family = AF_INET;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found) != 0) return {};
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const bool connected = socket && ::connect(socket.get(), found->ai_addr, found->ai_addrlen) == 0;
  ::freeaddrinfo(found);
  if (!connected) return {};
  const int yes = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return socket;
}

// One request and its reply at a time; the calling thread waits.
class StoreLine {
 public:
  StoreLine(const StoreAddress& address, milliseconds timeout) {
    const auto until = steady_clock::now() + timeout;
    while (!(socket_ = connect_once(address.host, address.port))) {
      if (steady_clock::now() > until)
        throw CollectiveError(fmt::format("store: nobody answers at {}:{} within {:.0f} s",
                                          address.host, address.port,
                                          std::chrono::duration<double>(timeout).count()));
      std::this_thread::sleep_for(milliseconds(50));
    }
    call({StoreCall::kHello, {address.token}});
  }

  std::vector<std::string> call(const StoreMessage& message) {
    const std::lock_guard lock(mutex_);
    const std::string request = to_wire(message);
    std::size_t sent = 0;
    while (sent < request.size()) {
      const ssize_t n =
          ::send(socket_.get(), request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) lost();
      sent += static_cast<std::size_t>(n);
    }
    bool damaged = false;
    for (;;) {
      if (auto reply = take_message(received_, kLongestStoreMessage, damaged))
        return std::move(reply->fields);
      std::array<char, 4096> buffer{};
      const ssize_t n = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
      if (n <= 0 || damaged) lost();
      received_.append(buffer.data(), static_cast<std::size_t>(n));
    }
  }

 private:
  [[noreturn]] static void lost() {
    C10_THROW_ERROR(
        DistNetworkError,
        "store: rank 0 closed the connection: it is gone, or the token is another run's");
  }

  Fd socket_;
  std::string received_;
  std::mutex mutex_;
};

class TokenStore final : public c10d::Store {
 public:
  TokenStore(StoreAddress address, std::shared_ptr<StoreServer> server, milliseconds timeout)
      : Store(timeout),
        address_(std::move(address)),
        server_(std::move(server)),
        line_(address_, timeout) {}

  c10::intrusive_ptr<Store> clone() override {
    return c10::make_intrusive<TokenStore>(address_, server_, timeout_);
  }
  void set(const std::string& key, const Bytes& value) override {
    line_.call({StoreCall::kSet, {key, text_of(value)}});
  }
  Bytes compareSet(const std::string& key, const Bytes& expected, const Bytes& desired) override {
    return bytes_of(
        one(line_.call({StoreCall::kCompareSet, {key, text_of(expected), text_of(desired)}})));
  }
  Bytes get(const std::string& key) override {
    wait({key});
    return bytes_of(one(line_.call({StoreCall::kGet, {key}})));
  }
  std::int64_t add(const std::string& key, std::int64_t value) override {
    return std::atoll(one(line_.call({StoreCall::kAdd, {key, std::to_string(value)}})).c_str());
  }
  bool deleteKey(const std::string& key) override {
    return one(line_.call({StoreCall::kDelete, {key}})) == "1";
  }
  bool check(const std::vector<std::string>& keys) override {
    return std::ranges::all_of(keys, [&](const std::string& key) {
      return !line_.call({StoreCall::kGet, {key}}).empty();
    });
  }
  std::int64_t getNumKeys() override {
    return std::atoll(one(line_.call({StoreCall::kCount, {}})).c_str());
  }
  void wait(const std::vector<std::string>& keys) override { wait(keys, timeout_); }
  // Asks again and again, ever more seldom: the server keeps nobody waiting.
  void wait(const std::vector<std::string>& keys, const milliseconds& timeout) override {
    constexpr milliseconds kSeldom{50};
    const auto until = steady_clock::now() + timeout;
    for (milliseconds pause{1}; !check(keys); pause = std::min(2 * pause, kSeldom)) {
      if (steady_clock::now() > until)
        C10_THROW_ERROR(DistStoreError,
                        fmt::format("store: nobody set '{}' within {:.0f} s", keys.front(),
                                    std::chrono::duration<double>(timeout).count()));
      std::this_thread::sleep_for(pause);
    }
  }

 private:
  static std::string one(std::vector<std::string> fields) {
    if (fields.size() != 1) C10_THROW_ERROR(DistStoreError, "store: the key is gone");
    return std::move(fields.front());
  }

  StoreAddress address_;
  std::shared_ptr<StoreServer> server_;  // rank 0's
  StoreLine line_;
};

}  // namespace

c10::intrusive_ptr<c10d::Store> make_token_store(const StoreAddress& address, int rank,
                                                 milliseconds timeout) {
  StoreAddress at = address;
  std::shared_ptr<StoreServer> server;
  if (rank == 0) {
    Fd listener =
        at.listener >= 0 ? Fd(std::exchange(at.listener, -1)) : listen_on(at.host, at.port);
    at.port = port_of(listener);
    server = std::make_shared<StoreServer>(std::move(listener), at.token);
  }
  return c10::make_intrusive<TokenStore>(std::move(at), std::move(server), timeout);
}

}  // namespace muster::sharding
