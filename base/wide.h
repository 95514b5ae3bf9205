// The product of two 64-bit numbers needs 128 bits, which standard C++ has no type for.
#pragma once

namespace muster {

__extension__ using Wide = unsigned __int128;

}  // namespace muster
