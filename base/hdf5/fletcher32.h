// The checksum that HDF5's filter of that name appends to a chunk: several times as fast as the
// library's own, which takes longer than reading the chunk does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace muster {

std::uint32_t fletcher32(std::span<const std::byte> bytes);

}  // namespace muster
