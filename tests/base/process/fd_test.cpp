#include "base/process/fd.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_exception.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cerrno>
#include <csignal>
#include <thread>

#include "base/error.h"
#include "base/process/spawn.h"

using namespace muster;
using Catch::Matchers::ContainsSubstring;
using Catch::Matchers::MessageMatches;

TEST_CASE("a descriptor has one owner", "[unit]") {
  Fd first = Fd::open("/dev/null", O_RDONLY);
  const int number = first.get();
  Fd second = std::move(first);
  CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move): that it is empty is what is tested
  CHECK(second.get() == number);
  second.reset();
  CHECK(::fcntl(number, F_GETFD) < 0);
  CHECK_THROWS_MATCHES(Fd::open("/no/such/file", O_RDONLY), IoError,
                       MessageMatches(ContainsSubstring("/no/such/file: No such file")));
}

TEST_CASE("a refused write names the file and the system's reason", "[fault]") {
  const Fd full = Fd::open("/dev/full", O_WRONLY);
  CHECK_THROWS_MATCHES(write_all(full.get(), "x", "/dev/full"), IoError,
                       MessageMatches(ContainsSubstring("/dev/full: No space left on device")));
  CHECK(write_until_done(full.get(), "x") == 0);
}

// A pipe takes 64 KiB at a time, and a signal interrupts the waiting writer: one write() returns
// short each time.
TEST_CASE("all bytes are written, however often the system stops half-way", "[unit]") {
  struct sigaction ignore_once {};
  ignore_once.sa_handler = [](int) {};  // without SA_RESTART
  struct sigaction before {};
  ::sigaction(SIGUSR1, &ignore_once, &before);
  Pipe pipe = make_pipe();
  const std::string sent(1 << 20, 'x');
  std::size_t written = 0;
  std::string received;
  {
    std::jthread writer([&] {
      written = write_until_done(pipe.write_end.get(), sent);
      pipe.write_end.reset();
    });
    const pthread_t thread = writer.native_handle();
    std::string buffer(10'000, '\0');
    for (;;) {
      ::pthread_kill(thread, SIGUSR1);
      const ssize_t n = ::read(pipe.read_end.get(), buffer.data(), buffer.size());
      if (n <= 0) break;
      received.append(buffer, 0, static_cast<std::size_t>(n));
    }
  }
  ::sigaction(SIGUSR1, &before, nullptr);
  CHECK(written == sent.size());
  CHECK(received == sent);
}
