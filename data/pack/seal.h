// The first 512 bytes of a pack, which HDF5 passes over (its user block): where the pictures are,
// and a checksum of everything else. It is checked before the library sees the file, because
// libhdf5 1.10 can crash on metadata that is damaged. Packs of before have none.
#pragma once

#include <cstdint>
#include <filesystem>

namespace muster::data {

inline constexpr std::int64_t kSealBytes = 512;

// The bytes of a file that have checksums of their own.
struct ImageRange {
  std::int64_t begin = 0, end = 0;
};

// Seals a whole file of HDF5 whose user block is kSealBytes long. Throws IoError.
void write_seal(const std::filesystem::path& pack, ImageRange images);

// Throws DataError for a file that is not what was sealed, and for one that is no pack by its first
// bytes. A pack without a seal passes.
void check_seal(const std::filesystem::path& pack);

}  // namespace muster::data
