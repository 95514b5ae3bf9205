// A YOLO folder: the first byte says whether the rest is a label file, data.yaml or classes.txt.
#include "data/sources/sources.h"
#include "fuzz.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text = fuzz::as_text(data + 1, size - 1);
  const std::string root = "yolo" + std::to_string(data[0] % 3);
  fuzz::write_input(root + "/images/a.jpg", "not read here");
  if (data[0] % 3 == 0) {
    fuzz::write_input(root + "/data.yaml", "names: [cat, dog]\n");
    fuzz::write_input(root + "/labels/a.txt", text);
  } else {
    fuzz::write_input(root + (data[0] % 3 == 1 ? "/data.yaml" : "/classes.txt"), text);
    fuzz::write_input(root + "/labels/a.txt", "0 0.5 0.5 0.2 0.2\n");
  }
  return fuzz::read_damaged([&] { data::read_source(fuzz::folder() / root, "yolo", ""); });
}
