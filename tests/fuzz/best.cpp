// best.json, as the commands that look for a checkpoint and the ranks that mark one read it.
#include "fuzz.h"
#include "trainer/checkpoint/manifest/step_folders.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::write_input("checkpoints/best.json", fuzz::as_text(data, size));
  const auto root = file.parent_path();
  fuzz::read_damaged([&] { trainer::best_folder_names(root); });
  fuzz::read_damaged([&] { trainer::resolve_checkpoint(root); });
  return fuzz::read_damaged([&] { trainer::write_best(root, 7, 0.5, "ap"); });
}
