// What the fuzz targets share. A target hands libFuzzer's bytes to one reader. An Error is what a
// reader of damaged bytes should throw; anything else that leaves a target is a finding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"

namespace muster::fuzz {

// Runs read(); Errors are what it may throw. Returns what LLVMFuzzerTestOneInput must.
template <typename Read>
int read_damaged(const Read& read) {
  try {
    read();
  } catch (const Error& error) {
    if (std::string_view(error.what()).empty()) throw;  // an error that says nothing
  }
  return 0;
}

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// A folder of this process alone, in memory where the system has a place for that.
const std::filesystem::path& folder();

// Writes folder()/name and returns its path; folders in between are made.
std::filesystem::path write_input(const std::string& name, std::string_view bytes);

}  // namespace muster::fuzz
