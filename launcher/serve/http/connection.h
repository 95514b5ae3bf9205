// One client's socket, as cpp-httplib reads and writes it, with what the library does not bound: a
// request has a deadline from its first byte to its last, its line and headers a size, and its body
// about as many bytes as a body may have.
#pragma once

#include <httplib.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <string>

#include "base/process/fd.h"

namespace muster::launcher {

struct ConnectionLimits {
  std::size_t head_bytes = 64 << 10;  // of the request line and all headers
  std::size_t body_bytes = 0;
  std::chrono::milliseconds idle{5'000};      // between requests
  std::chrono::milliseconds request{60'000};  // to receive a request; then again to take its answer
};

class Connection final : public httplib::Stream {
 public:
  Connection(int socket, const ConnectionLimits& limits);
  ~Connection() override;  // says goodbye, and drops what the client still sends
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Waits for the first byte of a request; false when none comes within the idle time, or
  // `stopping` becomes true.
  bool wait_for_request(const std::function<bool()>& stopping);
  // The head is read; what follows is the body.
  void head_is_read();
  // The request is answered from now on.
  void answer_begins();

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* to, size_t size) override;
  ssize_t write(const char* from, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;
  // The library refuses numbers of 1024 and more, for a select() that is not called here.
  socket_t socket() const override { return 0; }

 private:
  using Clock = std::chrono::steady_clock;

  bool wait_for(short events) const;  // until the deadline
  bool fill();                        // the buffer, from the socket

  Fd fd_;
  ConnectionLimits limits_;
  Clock::time_point deadline_{};
  std::size_t may_read_ = 0;  // bytes left of the head's or the body's room
  std::array<char, 4096> buffer_{};
  std::size_t begin_ = 0, end_ = 0;  // unread bytes of buffer_
};

}  // namespace muster::launcher
