#include "trainer/assembly/run_data.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <mutex>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "data/measured_sizes.h"
#include "trainer/assembly/options.h"
#include "trainer/checkpoint/model_folder.h"

namespace muster::trainer {
namespace {

constexpr std::size_t kNamesShown = 10;

std::optional<data::SampleSet> open_validation_set(const configs::Config& config) {
  if (config.data.val.empty()) return std::nullopt;
  return data::open_set(configs::pack_files(config.data.val), config.data.limit);
}

// The sizes of the newest epoch that was measured.
struct MeasuredEpoch {
  std::mutex mutex;
  std::int64_t epoch = -1;
  std::vector<data::SampleSize> sizes;
};

}  // namespace

data::Tokenizer checked_tokenizer(const configs::Config& config, const model::QwenConfig& model) {
  data::Tokenizer tokenizer(config.tokens.tokenizer);
  tokenizer.assert_tokens(config.tokens.expected);
  const std::map<std::string, std::int64_t> of_model = {
      {"<|image_pad|>", model.image_token_id}, {"<|vision_start|>", model.vision_start_token_id}};
  for (const auto& [token, id] : of_model) {
    if (tokenizer.token_id(token) != id) {
      throw ConfigError(fmt::format(
          "special token {}: the model's config.json says id {}, the tokenizer {} says {}", token,
          id, config.tokens.tokenizer, tokenizer.token_id(token).value_or(-1)));
    }
  }
  if (tokenizer.size() > model.text.vocab_size) {
    throw ConfigError(
        fmt::format("the tokenizer {} has ids up to {}, the model's vocabulary ends at {}",
                    config.tokens.tokenizer, tokenizer.size() - 1, model.text.vocab_size - 1));
  }
  return tokenizer;
}

data::SampleSet open_training_set(const configs::Config& config) {
  return data::open_set(configs::pack_files(config.data.train), config.data.limit);
}

data::TrainingSamples training_samples(const configs::Config& config, const data::SampleSet& set,
                                       const data::SampleEncoder& encoder) {
  return {set, encoder, augment_options(config), fill_limits(config),
          static_cast<std::uint64_t>(config.run.seed)};
}

namespace {

data::SizesOptions sizes_options(const configs::Config& config) {
  const fs::path tokenizer = fs::path(config.tokens.tokenizer) / "tokenizer.json";
  return {.tokenizer_identity = xxh128_file(tokenizer),
          .threads = static_cast<int>(config.data.loader_threads)};
}

}  // namespace

std::vector<data::SampleSize> sizes_of(const configs::Config& config, const data::SampleSet& set,
                                       const data::SampleEncoder& encoder) {
  return data::measured_sizes(set, encoder, sizes_options(config));
}

data::Sampler training_sampler(const configs::Config& config, const model::QwenConfig& model,
                               const data::TrainingSamples& samples,
                               const data::SampleEncoder& encoder, std::int64_t caption_words) {
  const data::SizesOptions options = sizes_options(config);
  data::SizesOfEpoch augmented;
  if (samples.resizes()) {
    // Several ask for the epoch that begins: its length is told before the loader deals it.
    augmented = [&samples, options, last = std::make_shared<MeasuredEpoch>()](std::int64_t epoch) {
      const std::lock_guard lock(last->mutex);
      if (last->epoch != epoch) last->sizes = data::measured_epoch(samples, epoch, options);
      last->epoch = epoch;
      return last->sizes;
    };
  }
  return {data::measured_sizes(samples.set(), encoder, options),
          sampler_options(config, model, samples.set(), caption_words), std::move(augmented)};
}

RunData::RunData(const configs::Config& config)
    : tokenizer(checked_tokenizer(config, model::read_config(find_model(config.model)))),
      model(model::read_config(find_model(config.model))),
      train(open_training_set(config)),
      val(open_validation_set(config)),
      encoder(tokenizer, encode_options(config, model)),
      samples(training_samples(config, train, encoder)),
      captions(check_captions("data.train", train, tokenizer, train.class_map(), config.detection)),
      sampler(training_sampler(config, model, samples, encoder,
                               static_cast<std::int64_t>(captions.words.size()))) {
  if (!val) return;
  val_captions = check_captions("data.val", *val, tokenizer, train.class_map(), config.detection,
                                captions.words);
}

void RunData::log_summary() const {
  std::vector<std::string> dropped;
  std::int64_t resized = 0;
  for (std::size_t i = 0; i < sampler.sizes().size(); ++i) {
    if (sampler.sizes()[i].dropped)
      dropped.push_back(train.sample(static_cast<std::int64_t>(i)).name);
    resized += sampler.sizes()[i].resized;
  }
  log::info("{} training samples, {} resized to fit the vision-token budget", train.size(),
            resized);
  if (!captions.words.empty())
    log::info("captions {}", words_text(captions, model.text.vocab_size));
  if (val_captions.unsaid > 0) log::warn("{}", unsaid_text(val_captions));
  if (dropped.empty()) return;
  log::warn("{} samples are over data.max_vision_tokens {} and dropped (data.over_budget: drop):",
            dropped.size(), encoder.options().max_vision_tokens);
  for (std::size_t i = 0; i < std::min(dropped.size(), kNamesShown); ++i)
    log::warn("  {}", dropped[i]);
  if (dropped.size() > kNamesShown) log::warn("  and {} more", dropped.size() - kNamesShown);
}

}  // namespace muster::trainer
