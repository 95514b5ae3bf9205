#include "base/clock.h"

#include <unistd.h>

#include <array>
#include <chrono>

#include "base/fault.h"

namespace muster {
namespace {

template <typename Clock>
double seconds_of() {
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

}  // namespace

double unix_now() {
  return seconds_of<std::chrono::system_clock>() +
         1e-9 * static_cast<double>(fault::clock_ahead_ns());
}
double seconds_now() { return seconds_of<std::chrono::steady_clock>(); }

std::string own_host() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

}  // namespace muster
