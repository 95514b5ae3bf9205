#include "data/pack/seal.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/files.h"
#include "base/process/fd.h"

namespace muster::data {
namespace {

static_assert(std::endian::native == std::endian::little);  // as the seal is written

constexpr std::string_view kMagic = "muster pack\n";
constexpr std::string_view kHdf5 = "\x89HDF\r\n\x1a\n";  // how a pack without a seal begins
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kDigits = 32;  // of XXH3-128, as xxh128sum prints

// As it stands at the file's begin.
struct Seal {
  std::array<char, kMagic.size()> magic{};
  std::uint32_t version = kVersion;
  std::int64_t images_begin = 0, images_end = 0, file_bytes = 0;
  std::array<char, kDigits> metadata{};  // of all bytes behind the seal but the pictures'
  std::array<char, kDigits> self{};      // of the fields above

  std::string digest() const {
    return xxh128({reinterpret_cast<const std::byte*>(this), offsetof(Seal, self)});
  }
};
static_assert(sizeof(Seal) == 104);  // no padding

void put(const std::string& digits, std::array<char, kDigits>& to) {
  digits.copy(to.data(), to.size());
}

std::string_view text_of(const std::array<char, kDigits>& digits) {
  return {digits.data(), digits.size()};
}

bool is_within(const Seal& seal) {
  return kSealBytes <= seal.images_begin && seal.images_begin <= seal.images_end &&
         seal.images_end <= seal.file_bytes;
}

// The digest of the two parts' digests.
std::string metadata_digest(const std::filesystem::path& pack, const Seal& seal) {
  const std::string digests = xxh128_file(pack, kSealBytes, seal.images_begin) +
                              xxh128_file(pack, seal.images_end, seal.file_bytes);
  return xxh128(std::as_bytes(std::span(digests)));
}

[[noreturn]] void fail(const std::filesystem::path& pack, const std::string& what) {
  throw DataError(fmt::format("{}: {}", pack.string(), what));
}

}  // namespace

void write_seal(const std::filesystem::path& pack, ImageRange images) {
  Seal seal;
  kMagic.copy(seal.magic.data(), seal.magic.size());
  seal.images_begin = images.begin;
  seal.images_end = images.end;
  seal.file_bytes = static_cast<std::int64_t>(MappedFile(pack).bytes().size());
  if (!is_within(seal)) throw std::logic_error("write_seal: pictures outside the file");
  put(metadata_digest(pack, seal), seal.metadata);
  put(seal.digest(), seal.self);
  const Fd out = Fd::open(pack, O_WRONLY);
  const ssize_t written = ::pwrite(out.get(), &seal, sizeof seal, 0);
  if (written != static_cast<ssize_t>(sizeof seal))
    throw IoError(fmt::format("{}: cannot be sealed: {}", pack.string(),
                              written < 0 ? std::strerror(errno) : "it was not written whole"));
}

void check_seal(const std::filesystem::path& pack) {
  constexpr const char* kHelp = "copy it from a good source or pack the source again";
  const MappedFile file(pack);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  if (text.starts_with(kHdf5)) return;
  if (!text.starts_with(kMagic))
    fail(pack, "not a muster pack, or its first bytes are damaged; make one with `muster pack`");
  Seal seal;
  if (text.size() < kSealBytes) fail(pack, fmt::format("the pack is cut short: {}", kHelp));
  std::memcpy(&seal, text.data(), sizeof seal);
  if (seal.digest() != text_of(seal.self))
    fail(pack, fmt::format("the pack's first bytes are damaged: {}", kHelp));
  if (seal.version > kVersion)
    fail(pack, fmt::format("the pack's seal {} is a newer muster's, this one reads up to {}: "
                           "update muster or pack the source again",
                           seal.version, kVersion));
  const auto bytes = static_cast<std::int64_t>(text.size());
  if (bytes != seal.file_bytes)
    fail(pack, fmt::format("the pack is {} bytes long, {} were written: {}", bytes, seal.file_bytes,
                           kHelp));
  if (!is_within(seal) || metadata_digest(pack, seal) != text_of(seal.metadata))
    fail(pack,
         fmt::format("the pack's metadata does not have its checksum (storage damage): {}", kHelp));
}

}  // namespace muster::data
