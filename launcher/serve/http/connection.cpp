#include "launcher/serve/http/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace muster::launcher {
namespace {

using std::chrono::milliseconds;

int poll_for(int fd, short events, milliseconds limit) {
  pollfd one{fd, events, 0};
  return ::poll(&one, 1, static_cast<int>(std::max<std::int64_t>(0, limit.count())));
}

}  // namespace

Connection::Connection(int socket, const ConnectionLimits& limits) : fd_(socket), limits_(limits) {}

// A socket that is closed while bytes wait in it is reset, and the client may lose the answer.
Connection::~Connection() {
  constexpr milliseconds kPatience{500};
  constexpr std::size_t kMostDropped = 64u << 20;
  ::shutdown(fd_.get(), SHUT_WR);
  const Clock::time_point until = Clock::now() + 4 * kPatience;
  std::size_t dropped = 0;
  while (dropped < kMostDropped && Clock::now() < until) {
    if (poll_for(fd_.get(), POLLIN, kPatience) <= 0) return;
    const ssize_t got = ::recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got <= 0) return;
    dropped += static_cast<std::size_t>(got);
  }
}

bool Connection::wait_for_request(const std::function<bool()>& stopping) {
  constexpr milliseconds kGlance{200};
  const Clock::time_point until = Clock::now() + limits_.idle;
  while (begin_ == end_) {
    if (stopping() || Clock::now() >= until) return false;
    if (poll_for(fd_.get(), POLLIN, kGlance) > 0) break;
  }
  deadline_ = Clock::now() + limits_.request;
  may_read_ = limits_.head_bytes;
  return true;
}

// More than a body may have: chunks have heads of their own, and whoever counts the body's bytes
// shall see that there are too many.
void Connection::head_is_read() {
  constexpr std::size_t kForChunks = 64 << 10;
  may_read_ = 2 * limits_.body_bytes + kForChunks;
}

void Connection::answer_begins() { deadline_ = Clock::now() + limits_.request; }

bool Connection::wait_for(short events) const {
  const auto left = std::chrono::duration_cast<milliseconds>(deadline_ - Clock::now());
  return left.count() > 0 && poll_for(fd_.get(), events, left) > 0;
}

bool Connection::fill() {
  if (!wait_for(POLLIN)) return false;
  const ssize_t got = ::recv(fd_.get(), buffer_.data(), buffer_.size(), 0);
  if (got <= 0) return false;
  begin_ = 0;
  end_ = static_cast<std::size_t>(got);
  return true;
}

ssize_t Connection::read(char* to, size_t size) {
  size = std::min(size, may_read_);
  if (size == 0) return -1;
  if (begin_ == end_ && !fill()) return -1;
  const std::size_t count = std::min(size, end_ - begin_);
  std::memcpy(to, buffer_.data() + begin_, count);
  begin_ += count;
  may_read_ -= count;
  return static_cast<ssize_t>(count);
}

ssize_t Connection::write(const char* from, size_t size) {
  if (!wait_for(POLLOUT)) return -1;
  return ::send(fd_.get(), from, size, MSG_NOSIGNAL);
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  ip.clear();
  port = 0;
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  ip.clear();
  port = 0;
}

}  // namespace muster::launcher
