#include "sharding/collectives/store_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/process/signal_hub.h"

namespace muster::sharding {
namespace {

// Who connects and does not say the token by then is closed; so many may be at it at once.
constexpr double kHelloWithin_s = 10;
constexpr std::size_t kStrangers = 64;
constexpr int kTick_ms = 1000;

std::int64_t number(const std::string& text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

sockaddr_in address_of(const std::string& host, int port) {
  addrinfo wanted{};
  wanted.ai_family = AF_INET;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &wanted, &found); error != 0)
    throw CollectiveError(fmt::format("store: no address for {}: {}", host, ::gai_strerror(error)));
  sockaddr_in address{};
  std::memcpy(&address, found->ai_addr, sizeof address);
  ::freeaddrinfo(found);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

}  // namespace

Fd listen_on(const std::string& host, int port) {
  constexpr int kBacklog = 4096;
  const sockaddr_in address = address_of(host, port);
  Fd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const bool listens =
      listener &&
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::listen(listener.get(), kBacklog) == 0;
  if (!listens)
    throw CollectiveError(
        fmt::format("store: cannot listen on {}:{}: {}", host, port, std::strerror(errno)));
  return listener;
}

int port_of(const Fd& listener) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

StoreServer::StoreServer(Fd listener, std::string token)
    : listener_(std::move(listener)), token_(std::move(token)), wake_(::eventfd(0, EFD_CLOEXEC)) {
  thread_ = thread_without_signals([this] { serve(); });
}

StoreServer::~StoreServer() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
  thread_.join();
}

void StoreServer::serve() {
  for (;;) {
    std::vector<pollfd> fds{{wake_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const Peer& peer : peers_) fds.push_back({peer.socket.get(), POLLIN, 0});
    ::poll(fds.data(), fds.size(), kTick_ms);
    if (fds[0].revents != 0) return;
    std::size_t at = 2;
    for (auto peer = peers_.begin(); peer != peers_.end(); ++at) {
      const bool late = !peer->known && seconds_now() - peer->since_s > kHelloWithin_s;
      const bool stays = !late && (fds[at].revents == 0 || hear(*peer));
      peer = stays ? std::next(peer) : peers_.erase(peer);
    }
    if (fds[1].revents != 0) accept_one();
  }
}

void StoreServer::accept_one() {
  Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  std::size_t strangers = 0;
  for (const Peer& peer : peers_) strangers += peer.known ? 0 : 1;
  if (!socket || strangers >= kStrangers) return;
  const int yes = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  const timeval patience{5, 0};  // a reader that does not read must not hold up the others
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  peers_.push_back({std::move(socket), "", false, seconds_now()});
}

bool StoreServer::hear(Peer& peer) {
  std::array<char, 16384> buffer{};
  const ssize_t n = ::recv(peer.socket.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (n < 0) return errno == EAGAIN || errno == EINTR;
  if (n == 0) return false;
  peer.received.append(buffer.data(), static_cast<std::size_t>(n));
  bool damaged = false;
  const auto longest = [&] { return peer.known ? kLongestStoreMessage : kLongestHello; };
  while (const auto message = take_message(peer.received, longest(), damaged))
    if (!answer(peer, *message)) return false;
  return !damaged;
}

bool StoreServer::answer(Peer& peer, const StoreMessage& message) {
  if (!peer.known) {
    peer.known = message.call == StoreCall::kHello && message.fields.size() == 1 &&
                 same_secret(message.fields[0], token_);
    if (!peer.known) return false;
  }
  bool known_call = true;
  const std::string reply = reply_to(message, known_call);
  if (!known_call) return false;
  return ::send(peer.socket.get(), reply.data(), reply.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(reply.size());
}

std::string StoreServer::reply_to(const StoreMessage& message, bool& known_call) {
  constexpr std::array<std::size_t, 7> kFields{1, 2, 1, 2, 3, 1, 0};
  StoreMessage reply{message.call, {}};
  const auto& fields = message.fields;
  known_call = fields.size() == kFields[static_cast<std::size_t>(message.call)];
  if (!known_call) return "";
  switch (message.call) {
    case StoreCall::kHello: break;
    case StoreCall::kSet: values_[fields[0]] = fields[1]; break;
    case StoreCall::kGet:
      if (const auto value = values_.find(fields[0]); value != values_.end())
        reply.fields = {value->second};
      break;
    case StoreCall::kAdd: {
      std::string& value = values_[fields[0]];
      value = std::to_string(number(value) + number(fields[1]));
      reply.fields = {value};
      break;
    }
    case StoreCall::kCompareSet: {
      const auto value = values_.find(fields[0]);
      const bool fits = value == values_.end() ? fields[1].empty() : value->second == fields[1];
      if (fits) values_[fields[0]] = fields[2];
      const auto now = values_.find(fields[0]);
      reply.fields = {now == values_.end() ? fields[1] : now->second};
      break;
    }
    case StoreCall::kDelete: reply.fields = {values_.erase(fields[0]) == 1 ? "1" : "0"}; break;
    case StoreCall::kCount: reply.fields = {std::to_string(values_.size())}; break;
  }
  return to_wire(reply);
}

}  // namespace muster::sharding
