// The table, part 1: what is trained and on what.
#include "configs/field_builder.h"

namespace muster::configs {
namespace {

using enum Resume;

std::vector<Field> run_fields() {
  const auto run = section("run", &Config::run);
  return {
      run("dir", &Run::dir, not_empty(), "folder", "everything the run writes", kFree),
      run("seed", &Run::seed, at_least(0), "", "of weights, sample order and denoising noise",
          kEpoch),
      run("threads_per_rank", &Run::threads_per_rank, between(1, 1024), "threads",
          "compute threads of one rank; part of what fixes the bits, so never derived from the "
          "machine",
          kTold),
      run("device", &Run::device, one_of<Device>(), "",
          "where tensors live; cuda: one GPU per rank", kTold),
      run("deterministic", &Run::deterministic, anything(), "",
          "cuda: the same bits run after run; false lets attention's backward add with atomics, "
          "which is faster. On cpu "
          "they always are",
          kTold),
  };
}

std::vector<Field> model_fields() {
  const auto model = section("model", &Config::model);
  return {
      model("path", &Model::path, not_empty(), "paths",
            "Hugging Face folders tried in order; with random_init a config.json or a folder that "
            "holds one",
            kTold),
      model("random_init", &Model::random_init, anything(), "",
            "draw the weights from run.seed instead of reading them from files", kTold),
      model("dtype", &Model::dtype, one_of<Dtype>(), "",
            "of weights and activations; master weights, moments, boxes and losses stay fp32",
            kNever),
      model("checkpoint_vision", &Model::checkpoint_vision, anything(), "",
            "recompute the vision tower's activations in backward: less memory, more time", kFree),
      model("checkpoint_language", &Model::checkpoint_language, anything(), "",
            "recompute the language model's activations in backward: less memory, more time",
            kFree),
      model("logits_chunk_tokens", &Model::logits_chunk_tokens, at_least(1), "labels",
            "per chunk of the cross-entropy; bounds the logits held at once to this many rows",
            kTold),
      model("adapter", &Model::adapter, anything(), "folder",
            "adapter_config.json and adapter_model.safetensors, as PEFT and muster export write "
            "them, that a LoRA run starts from; \"\": fresh adapters",
            kTold),
  };
}

std::vector<Field> lora_fields() {
  const auto lora = section("lora", &Config::lora);
  Limits dropout = between(0, 1);
  dropout.high_open = true;
  std::vector<Field> all = {
      lora("enabled", &Lora::enabled, anything(), "",
           "train low-rank adapters and the detection head; the weights of model.path are frozen",
           kNever),
      lora("rank", &Lora::rank, at_least(1), "", "of every adapter", kNever),
      lora("alpha", &Lora::alpha, above(0), "",
           "an adapter's output is scaled by alpha / rank, with rslora by alpha / sqrt(rank)",
           kNever),
      lora("dropout", &Lora::dropout, dropout, "of 1",
           "share of an adapter's inputs that training drops, drawn from run.seed, step, "
           "micro-batch and layer",
           kTold),
      lora("rslora", &Lora::rslora, anything(), "", "rank-stabilised scale", kNever),
      lora("dora", &Lora::dora, anything(), "",
           "a trained magnitude per output of each adapted layer (DoRA); about half as fast",
           kNever),
      lora("lora_plus_ratio", &Lora::lora_plus_ratio, above(0), "",
           "learning rate of the B matrices over their group's (LoRA+); 1: the same", kTold),
  };
  const auto targets = Section(
      "lora.targets", [](auto& config) -> auto& { return config.lora.targets; });
  for (Field& field : std::vector<Field>{
           targets("merger", &LoraTargets::merger, anything(), "names",
                   "layers of the merger, as in PEFT's target_modules: ends of names (mlp.0), a "
                   "regular expression of the whole name, or all-linear",
                   kNever),
           targets("visual", &LoraTargets::visual, anything(), "names",
                   "the same of the vision tower without the merger (qkv, proj, ...)", kNever),
           targets("model", &LoraTargets::model, anything(), "names",
                   "the same of the language model (q_proj, k_proj, ...)", kNever)})
    all.push_back(std::move(field));
  return all;
}

std::vector<Field> token_fields() {
  const auto tokens = section("tokens", &Config::tokens);
  Limits ids = at_least(0);
  ids.may_be_empty = false;
  return {
      tokens("tokenizer", &Tokens::tokenizer, not_empty(), "folder", "holds tokenizer.json", kTold),
      tokens("expected", &Tokens::expected, ids, "token: id",
             "special tokens and the ids the weights were trained with; every rank asserts them at "
             "start",
             kTold),
  };
}

std::vector<Field> data_fields() {
  const auto data = section("data", &Config::data);
  Limits mean = between(0, 1);
  mean.length = 3;
  Limits std = above(0);
  std.length = 3;
  Limits any_packs = above(0);
  Limits packs = any_packs;
  packs.may_be_empty = false;
  return {
      data("train", &Data::train, packs, "file",
           "what is trained on, made by muster pack; an epoch sees a pack's samples `weight` times "
           "(0.5: another half in each epoch), a path alone once",
           kEpoch),
      data("val", &Data::val, any_packs, "file",
           "what is evaluated on, each pack by itself and all together; weights are 1; \"\": no "
           "evaluation",
           kTold),
      data("limit", &Data::limit, at_least(0), "samples",
           "only the first so many of each pack, in training and evaluation; 0: all", kEpoch),
      data("repeat_factor", &Data::repeat_factor, between(0, 1), "of samples",
           "LVIS's threshold t: samples of a category that fewer than this part of the samples "
           "have, "
           "f, are seen sqrt(t / f) times as often; 0: off",
           kEpoch),
      data("system_prompt", &Data::system_prompt, anything(), "",
           "first turn of every chat; \"\": no system turn", kEpoch),
      data("prompt", &Data::prompt, not_empty(), "", "the user's question after the image", kEpoch),
      data("answer", &Data::answer, one_of<Answer>(), "",
           "what the language model learns to write: boxes (in pixels of the resized image as "
           "Qwen2.5-VL, or in 0..1000 as "
           "Qwen3-VL) and labels, labels alone, or nothing",
           kEpoch),
      data("min_pixels", &Data::min_pixels, at_least(1), "pixels",
           "smaller images are enlarged to this area", kEpoch),
      data("max_pixels", &Data::max_pixels, at_least(1), "pixels",
           "larger images are shrunk to this area", kEpoch),
      data("image_mean", &Data::image_mean, mean, "of 1",
           "per channel, red green blue; as in pre-training", kTold),
      data("image_std", &Data::image_std, std, "of 1",
           "per channel, red green blue; as in pre-training", kTold),
      data("max_vision_tokens", &Data::max_vision_tokens, at_least(1), "tokens",
           "budget of one sample", kEpoch),
      data("over_budget", &Data::over_budget, one_of<OverBudget>(), "",
           "what happens to a sample above max_vision_tokens; counted and listed either way",
           kEpoch),
      data("loader_threads", &Data::loader_threads, between(1, 256), "threads",
           "decode and resize, per rank", kFree),
      data("prefetch_bytes", &Data::prefetch_bytes, at_least(1), "bytes",
           "how far the loader runs ahead, per rank: it begins no micro-batch while those ahead "
           "take "
           "so much; 1 lets one be ahead",
           kFree),
  };
}

std::vector<Field> augment_fields() {
  const Section augment(
      "data.augment", [](auto& config) -> auto& { return config.data.augment; });
  Limits range = above(0);
  range.length = 2;
  Limits size = between(0, 1);
  size.low_open = true;
  const Limits part = between(0, 1);
  return {
      augment("flip", &Augment::flip, part, "probability", "mirror the picture, left and right",
              kEpoch),
      augment("flip_words", &Augment::flip_words, anything(), "",
              "then exchange the words left and right in its texts and labels; false: samples that "
              "say them are not mirrored",
              kEpoch),
      augment("scale", &Augment::scale, range, "factor",
              "smallest and largest, drawn evenly, on the size at which the picture is trained; "
              "above 1 a window of 1/factor of its sides is enlarged; [1, 1]: off",
              kEpoch),
      augment("crop", &Augment::crop, part, "probability", "train on a window of the picture",
              kEpoch),
      augment("crop_min_size", &Augment::crop_min_size, size, "of a side",
              "smallest window, each side drawn by itself", kEpoch),
      augment("min_visible", &Augment::min_visible, part, "of a box",
              "a box of which crop, scale or mosaic leaves less is dropped; others are clipped",
              kEpoch),
      augment("brightness", &Augment::brightness, part, "factor",
              "drawn from 1 - x to 1 + x, as are contrast and saturation; 0: off", kTold),
      augment("contrast", &Augment::contrast, part, "factor", "away from the picture's mean grey",
              kTold),
      augment("saturation", &Augment::saturation, part, "factor", "away from a pixel's own grey",
              kTold),
      augment("hue", &Augment::hue, between(0, 0.5), "of a turn", "drawn from -x to x; 0: off",
              kTold),
      augment("mosaic", &Augment::mosaic, part, "probability",
              "put four pictures into one; scale and crop are not drawn for it", kEpoch),
      augment("close_after", &Augment::close_after, part, "of the run",
              "after this part of its steps or epochs every sample is trained as stored; 1: never",
              kTold),
  };
}

std::vector<Field> loss_fields() {
  const auto loss = section("loss", &Config::loss);
  const Limits weight = at_least(0);
  return {
      loss("lm", &Loss::lm, weight, "weight", "cross-entropy of the answer; 0 leaves it out",
           kTold),
      loss("box_l1", &Loss::box_l1, weight, "weight", "L1 of matched boxes (cx, cy, w, h in 0..1)",
           kTold),
      loss("giou", &Loss::giou, weight, "weight", "1 - GIoU of matched boxes", kTold),
      loss("objectness", &Loss::objectness, weight, "weight", "focal loss: is this query an object",
           kTold),
      loss("caption", &Loss::caption, weight, "weight",
           "cross-entropy of matched queries' captions", kTold),
      loss("aux", &Loss::aux, weight, "factor", "on the terms of every decoder layer but the last",
           kTold),
      loss("one_to_many", &Loss::one_to_many, weight, "factor",
           "on the terms of the tokens that share an object", kTold),
      loss("denoising", &Loss::denoising, weight, "factor", "on the denoising queries' terms",
           kTold),
      loss("objectness_target", &Loss::objectness_target, one_of<Objectness>(), "",
           "what the objectness of a query with an object learns to be: 1, by the focal loss, or "
           "the "
           "IoU of its box, by the varifocal loss, so that better boxes score higher",
           kTold),
      loss("focal_alpha", &Loss::focal_alpha, between(0, 1), "",
           "weight of objects against background", kTold),
      loss("focal_gamma", &Loss::focal_gamma, weight, "",
           "how much easy queries count less; 0: not at all", kTold),
      loss("match_l1", &Loss::match_l1, weight, "cost", "of the matcher, on box L1", kTold),
      loss("match_giou", &Loss::match_giou, weight, "cost", "of the matcher, on -GIoU", kTold),
      loss("match_objectness", &Loss::match_objectness, weight, "cost",
           "of the matcher, on objectness", kTold),
      loss("match_caption", &Loss::match_caption, weight, "cost",
           "of the matcher, on the caption's likelihood", kTold),
  };
}

std::vector<Field> detection_fields() {
  const auto head = section("detection", &Config::detection);
  return {
      head("enabled", &Detection::enabled, anything(), "",
           "false: the language model alone is trained", kTold),
      head("queries", &Detection::queries, one_of<Queries>(), "",
           "where queries start: the best-scored vision tokens, or learned vectors", kNever),
      head("num_queries", &Detection::num_queries, at_least(1), "queries",
           "per image; with proposals the best-scored vision tokens, all of them where there are "
           "fewer",
           kNever),
      head("memory", &Detection::memory, one_of<Memory>(), "",
           "what queries attend to: the merger's output or, four times as many, the vision tower's "
           "patches before it, for small objects; and the last LM states at the image's tokens",
           kNever),
      head("cross_attention", &Detection::cross_attention, one_of<CrossAttention>(), "",
           "what a decoder layer reads: the whole memory, or points of each query's own box, which "
           "learns faster",
           kNever),
      head("neck_layers", &Detection::neck_layers, at_least(0), "blocks",
           "of a 3 x 3 convolution over the memory; 0: none", kNever),
      head("one_to_many", &Detection::one_to_many, at_least(0), "tokens",
           "that each object trains beside the query it is matched with, for features that learn "
           "fast; 0: none",
           kNever),
      head(
          "labels", &Detection::labels, one_of<Labels>(), "",
          "closed: captions are class names, told by the logits that tell the classes apart; open: "
          "free text, told by the vocabulary that caption_words names",
          kNever),
      head("caption_words", &Detection::caption_words, one_of<CaptionWords>(), "",
           "what open captions can say: pack: the tokens of data.train's captions, which costs "
           "little; all: every token of the vocabulary. Closed labels do not look at it",
           kNever),
      head("hidden_size", &Detection::hidden_size, at_least(1), "",
           "of a query; a multiple of 4 and of num_heads", kNever),
      head("num_layers", &Detection::num_layers, at_least(1), "layers", "of the decoder", kNever),
      head("num_heads", &Detection::num_heads, at_least(1), "heads", "of the decoder's attention",
           kNever),
      head("mlp_size", &Detection::mlp_size, at_least(1), "", "inner width of the decoder's MLP",
           kNever),
      head("caption_layers", &Detection::caption_layers, at_least(0), "layers",
           "of the caption decoder", kNever),
      head("caption_max_tokens", &Detection::caption_max_tokens, at_least(1), "tokens",
           "of one caption", kNever),
      head("denoising_groups", &Detection::denoising_groups, at_least(0), "groups",
           "noised copies of the true boxes as extra queries in training; 0: none", kTold),
      head("denoising_box_noise", &Detection::denoising_box_noise, between(0, 2), "of half a box",
           "largest shift of a noised box's sides", kTold),
      head("freeze_epochs", &Detection::freeze_epochs, at_least(0), "epochs",
           "before the head starts to train; until then no gradient of it reaches the backbone",
           kTold),
      head("score_threshold", &Detection::score_threshold, between(0, 1), "",
           "below it predict keeps no detection", kFree),
  };
}

}  // namespace

std::vector<Field> model_and_data_fields() {
  std::vector<Field> all;
  for (const auto& part : {run_fields(), model_fields(), lora_fields(), token_fields(),
                           data_fields(), augment_fields(), loss_fields(), detection_fields()}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

}  // namespace muster::configs
