#include "trainer/checkpoint/verify.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "trainer/checkpoint/shares.h"

namespace muster::trainer {
namespace {

// "" when the file is there with its size.
std::string wrong_size(const fs::path& folder, const std::string& name, std::int64_t bytes) {
  std::error_code error;
  const std::uintmax_t found = fs::file_size(folder / name, error);
  if (error == std::errc::no_such_file_or_directory) return name + " is missing";
  if (error)
    throw IoError(fmt::format("cannot stat {}: {}", (folder / name).string(), error.message()));
  if (found == static_cast<std::uintmax_t>(bytes)) return "";
  return fmt::format("{} has {} bytes, its manifest says {}", name, found, bytes);
}

std::vector<std::string> part_of(const Manifest& manifest, int rank, int ranks) {
  std::vector<std::string> names;
  std::vector<std::int64_t> bytes;
  for (const auto& [name, file] : manifest.files) {
    names.push_back(name);
    bytes.push_back(file.bytes);
  }
  const std::vector<int> owners = even_shares(bytes, ranks);
  std::vector<std::string> part;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (owners[i] == rank) part.push_back(names[i]);
  }
  return part;
}

}  // namespace

std::string missing_or_cut(const fs::path& folder, const Manifest& manifest) {
  for (const auto& [name, file] : manifest.files) {
    if (std::string problem = wrong_size(folder, name, file.bytes); !problem.empty())
      return problem;
  }
  return "";
}

std::string damaged_file(const fs::path& folder, const std::string& name,
                         const Manifest::File& file) {
  if (std::string problem = wrong_size(folder, name, file.bytes); !problem.empty()) return problem;
  return xxh128_file(folder / name) == file.xxh128 ? "" : name + " does not match its checksum";
}

bool is_file_system_failure(std::string_view message) {
  constexpr std::array kFailures{EIO, ESTALE, EREMOTEIO, ENOLCK, ENOTCONN, ETIMEDOUT};
  return std::ranges::any_of(kFailures, [&](int number) {
    return message.find(std::strerror(number)) != std::string_view::npos;
  });
}

Verification::Verification(fs::path folder, const Manifest& manifest, int rank, int ranks)
    : result_(
          std::async(std::launch::async, [this, folder = std::move(folder), files = manifest.files,
                                          part = part_of(manifest, rank, ranks)] {
            for (const std::string& name : part) {
              if (given_up_) break;
              if (std::string damage = damaged_file(folder, name, files.at(name)); !damage.empty())
                return damage;
            }
            return std::string();
          })) {}

Verification::~Verification() {
  given_up_ = true;
  if (result_.valid()) result_.wait();
}

void verify_checkpoint(const fs::path& folder, bool with_optimizer) {
  if (!fs::exists(folder / kManifestFile)) return;
  for (const auto& [name, file] : read_manifest(folder).files) {
    if (!with_optimizer && name.starts_with("optimizer-")) continue;
    if (const std::string damage = damaged_file(folder, name, file); !damage.empty())
      throw CheckpointError(fmt::format("{}: damaged: {}; use another checkpoint of the run",
                                        folder.string(), damage));
  }
}

}  // namespace muster::trainer
