#include "fuzz.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace muster::fuzz {
namespace {

namespace fs = std::filesystem;

// Removed when the process ends by itself; a crash leaves it to the system's temporary folder.
struct Folder {
  Folder() {
    const fs::path memory = "/dev/shm";
    const fs::path root = fs::is_directory(memory) ? memory : fs::temp_directory_path();
    path = root / ("muster-fuzz-" + std::to_string(::getpid()));
    fs::create_directories(path);
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  fs::path path;
};

}  // namespace

const fs::path& folder() {
  static const Folder made;
  return made.path;
}

fs::path write_input(const std::string& name, std::string_view bytes) {
  const fs::path path = folder() / name;
  if (path.parent_path() != folder()) fs::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!out) std::abort();  // a full disk is no finding about the reader
  return path;
}

}  // namespace muster::fuzz
