#include "trainer/assembly/model_check.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/text.h"
#include "data/images/preprocessor_file.h"
#include "model/qwen/weights.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/lora_run.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::trainer {
namespace {

std::string defaults_text(const model::QwenConfig& model) {
  if (model.defaulted.empty()) return "";
  return fmt::format("{} values of config.json are the class's defaults: {}",
                     model.defaulted.size(), join(model.defaulted, ", "));
}

std::string weights_text(const configs::Config& config, const model::QwenConfig& model,
                         const std::filesystem::path& folder) {
  if (config.model.random_init) return "random (model.random_init)";
  try {
    const model::WeightsSummary weights = model::check_weights(folder, model);
    return fmt::format("{} tensors, {} parameters in {}, as config.json says", weights.tensors,
                       weights.parameters, join(weights.dtypes, " and "));
  } catch (const CheckpointError& error) {
    throw DataError(fmt::format("model.path: {}", error.what()));
  }
}

// What a LoRA run starts from must be adapters of its own kind.
void check_adapter(const configs::Config& config, const model::QwenConfig& model) {
  if (config.model.adapter.empty()) return;
  try {
    require_same_adapters(config.model.adapter, lora_setup(config, model));
  } catch (const CheckpointError& error) {
    throw DataError(fmt::format("model.adapter: {}", error.what()));
  }
}

std::string processor_text(const configs::Config& config, const std::filesystem::path& folder) {
  const auto file = data::preprocessor_in(folder);
  if (!file) return "no file; images enter as data.* says";
  const data::PatchOptions published = data::read_preprocessor(*file);
  const bool same = published.min_pixels == config.data.min_pixels &&
                    published.max_pixels == config.data.max_pixels;
  return fmt::format("{}: patches of {} pixels, {} to {} pixels a picture{}",
                     file->filename().string(), published.patch_size, published.min_pixels,
                     published.max_pixels,
                     same ? ""
                          : fmt::format("; the run takes {} to {}", config.data.min_pixels,
                                        config.data.max_pixels));
}

}  // namespace

ModelCheck check_model(const configs::Config& config, const model::QwenConfig& model) {
  const std::filesystem::path folder = find_model(config.model);
  check_adapter(config, model);
  encode_options(config, model);  // refuses pixels that the weights were not trained with
  return {.config = defaults_text(model),
          .weights = weights_text(config, model, folder),
          .processor = processor_text(config, folder)};
}

}  // namespace muster::trainer
