// Small files beside a checkpoint or a node: the first byte chooses their reader.
#include "data/images/preprocessor_file.h"
#include "data/pack/class_map.h"
#include "fuzz.h"
#include "launcher/doctor/node_facts.h"
#include "trainer/show/metrics.h"

using namespace muster;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(fuzz::as_text(data + 1, size - 1));
  return fuzz::read_damaged([&] {
    switch (data[0] % 4) {
      case 0: data::ClassMap::from_json(text); break;
      case 1: data::read_preprocessor(fuzz::write_input("preprocessor.json", text)); break;
      case 2: launcher::facts_from_json(text); break;
      default: trainer::read_metrics(fuzz::write_input("metrics.jsonl", text));
    }
  });
}
