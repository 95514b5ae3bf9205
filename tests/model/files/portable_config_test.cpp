// What transformers makes of the written file is seen by `./run bench python` and `bench export`.
#include "model/files/portable_config.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "base/files.h"
#include "base/process/atomic_file.h"
#include "model/qwen/shapes.h"
#include "support/test_paths.h"

using namespace muster;
using namespace muster::model;
using OrderedJson = nlohmann::ordered_json;

namespace {

QwenConfig read_back(const OrderedJson& json) {
  const TempDir dir;
  write_text(dir.path() / "config.json", json.dump());
  return read_config(dir.path());
}

OrderedJson portable(const OrderedJson& json) {
  return portable_config(json, read_back(json), "bfloat16");
}

OrderedJson case_config(const std::string& folder) {
  return OrderedJson::parse(
      read_text(test::shared("cases/checkpoints/" + folder + "/config.json")));
}

}  // namespace

TEST_CASE("a portable config.json says every size of any layout", "[golden]") {
  const std::string folder =
      GENERATE("pub-3b-t449", "q2-t445-tied", "q25-t449-tied", "q25-t524-tied", "q3-t524-tied");
  const OrderedJson file = case_config(folder);
  const OrderedJson written = portable(file);
  const QwenConfig before = read_back(file), after = read_back(written);
  CHECK(after.defaulted.empty());
  CHECK(parameter_shapes(after) == parameter_shapes(before));
  CHECK(after.text.rope_theta == before.text.rope_theta);
  CHECK(after.text.mrope_section == before.text.mrope_section);
  CHECK(after.text.rms_norm_eps == before.text.rms_norm_eps);
  CHECK(after.text.tie_word_embeddings == before.text.tie_word_embeddings);
  CHECK(after.vision.full_attention_blocks == before.vision.full_attention_blocks);
  CHECK((written["dtype"] == "bfloat16" && written["torch_dtype"] == "bfloat16"));
  CHECK(portable(written) == written);
}

TEST_CASE("Qwen2.5-VL as transformers 5 saved it becomes the flat layout that 4.49 reads",
          "[golden]") {
  const OrderedJson written = portable(case_config("q25-t524-tied"));
  CHECK_FALSE(written.contains("text_config"));
  CHECK_FALSE(written.contains("rope_parameters"));
  CHECK_FALSE(written["vision_config"].contains("model_type"));
  CHECK(written["model_type"] == "qwen2_5_vl");
  CHECK(written["hidden_size"] == 64);
  CHECK(written["rope_theta"] == 1e6);
  CHECK(written["rope_scaling"] == OrderedJson{{"mrope_section", {2, 3, 3}}, {"type", "mrope"}});
  CHECK(written["eos_token_id"] == 151645);
}

TEST_CASE("Qwen3-VL stays nested, with the rope that 4.57 reads", "[golden]") {
  const OrderedJson text = portable(case_config("q3-t524-tied"))["text_config"];
  CHECK_FALSE(text.contains("rope_parameters"));
  CHECK(text["rope_theta"] == 1e6);
  CHECK(text["rope_scaling"]["mrope_interleaved"] == true);
  CHECK(text["rope_scaling"]["mrope_section"] == OrderedJson{2, 3, 3});
  CHECK(text["tie_word_embeddings"] == true);
}

// transformers 5 gives a size for each side; a flat file that 4.57 saved again has a stale copy of
// the text's sizes beside text_config.
TEST_CASE("a portable config.json has one number for a size, the one that was read", "[golden]") {
  OrderedJson file = case_config("q25-t524-tied");
  file["hidden_size"] = 8192;
  file["vision_config"]["patch_size"] = {14, 14};
  file["text_config"]["num_key_value_heads"] = nullptr;
  const OrderedJson written = portable(file);
  CHECK(written["hidden_size"] == 64);
  CHECK(written["vision_config"]["patch_size"] == 14);
  CHECK(written["num_key_value_heads"] == 4);
}
