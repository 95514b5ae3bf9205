// What time it is, and on which machine.
#pragma once

#include <string>

namespace muster {

double unix_now();     // seconds since 1970; jumps when the clock is set
double seconds_now();  // of a clock that never jumps; only differences mean anything
std::string own_host();

}  // namespace muster
