#include "golden_check/model.h"

#include <ATen/core/grad_mode.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "golden_check/adamw.h"
#include "golden_check/compare.h"
#include "model/files/family.h"
#include "model/files/safetensors_reader.h"
#include "model/qwen/qwen_vl.h"
#include "model/qwen/rope_index.h"
#include "model/qwen/weights.h"

namespace muster::golden {
namespace {

using model::QwenVL;
using model::SafetensorsReader;

constexpr double kForward = 2e-4, kGradient = 1e-3, kOptimizer = 1e-3;
constexpr const char* kAdamCase = "two_images_padded_batch";

std::vector<fs::path> case_files(const fs::path& dir) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(dir)) {
    const fs::path& file = entry.path();
    if (file.extension() == ".safetensors" && !file.filename().string().starts_with("model"))
      files.push_back(file);
  }
  std::sort(files.begin(), files.end());
  return files;
}

// A case's padded inputs as one packed micro-batch, and which of the padded positions it kept.
struct Inputs {
  MicroBatch batch;
  at::Tensor kept;  // [tokens] indices into the flattened [B, S]
};

Inputs pack(const SafetensorsReader& file) {
  const auto has = [&](const char* name) { return file.contains(name); };
  const at::Tensor ids = file.copy("input_ids");
  const at::Tensor mask = has("attention_mask") ? file.copy("attention_mask") : at::ones_like(ids);
  Inputs in;
  in.kept = mask.flatten().nonzero().squeeze(1);
  in.batch.input_ids = ids.flatten().index_select(0, in.kept);
  in.batch.labels = has("labels") ? file.copy("labels").flatten().index_select(0, in.kept)
                                  : at::full_like(in.batch.input_ids, kIgnoreLabel);
  in.batch.cu_seqlens = {0};
  for (std::int64_t b = 0; b < ids.size(0); ++b) {
    const auto length = (mask[b] != 0).sum().item<std::int64_t>();
    in.batch.cu_seqlens.push_back(in.batch.cu_seqlens.back() + length);
    in.batch.sample_ids.push_back(b);
  }
  if (has("pixel_values")) in.batch.pixel_values = file.copy("pixel_values");
  if (has("image_grid_thw")) in.batch.grid_thw = file.copy("image_grid_thw");
  return in;
}

// Labels that a sample's first token does not carry: those the shifted loss is a mean over.
std::int64_t count_labels(const MicroBatch& batch) {
  std::int64_t count = 0;
  for (std::size_t s = 0; s + 1 < batch.cu_seqlens.size(); ++s) {
    const std::int64_t start = batch.cu_seqlens[s] + 1, length = batch.cu_seqlens[s + 1] - start;
    if (length > 0)
      count += (batch.labels.narrow(0, start, length) != kIgnoreLabel).sum().item<std::int64_t>();
  }
  return count;
}

at::Tensor mean_loss(const QwenVL& qwen, const at::Tensor& hidden, const MicroBatch& batch) {
  return qwen.lm_loss_sum(hidden, batch) /
         static_cast<double>(std::max<std::int64_t>(count_labels(batch), 1));
}

class ModelCheck {
 public:
  ModelCheck(const fs::path& dir, Report& report) : dir_(dir), report_(report) {}

  void run(const fs::path& file) {
    const std::string name = file.stem().string();
    if (name == "generate") {
      generate(file);
    } else if (name.starts_with("adamw")) {
      adamw(file);
    } else {
      forward_backward(file);
    }
  }

 private:
  std::string label(const fs::path& file, const std::string& what) const {
    return (dir_.filename() / file.stem()).string() + " " + what;
  }

  QwenVL load_trainable() const {
    QwenVL qwen = QwenVL::load(dir_, {});
    for (const model::NamedParam& p : qwen.parameters()) p.tensor.requires_grad_();
    return qwen;
  }

  void positions(const fs::path& path, const SafetensorsReader& file, const Inputs& in,
                 const QwenVL& qwen) {
    const model::RopeIndex rope =
        rope_index(in.batch.input_ids, in.batch.cu_seqlens, in.batch.grid_thw, qwen.config());
    if (file.contains("position_ids")) {
      const at::Tensor want = file.view("position_ids").flatten(1).index_select(1, in.kept);
      compare_exact(report_, label(path, "position_ids"), rope.position_ids, want);
    }
    if (!file.contains("rope_deltas")) return;
    const at::Tensor deltas =
        at::tensor(rope.deltas, at::kLong);  // from a sample's own length, without its padding
    compare_exact(report_, label(path, "rope_deltas"), deltas, file.view("rope_deltas").flatten());
  }

  void forward_backward(const fs::path& path) {
    const SafetensorsReader file(path);
    const Inputs in = pack(file);
    const QwenVL qwen = load_trainable();
    positions(path, file, in, qwen);
    const model::QwenOutput out = qwen.forward(in.batch);
    if (file.contains("image_embeds"))
      compare_close(report_, label(path, "image_embeds"), out.image_embeds,
                    file.view("image_embeds"), kForward);
    for (std::size_t k = 0; file.contains(fmt::format("deepstack.{}", k)); ++k) {
      const std::string level = fmt::format("deepstack.{}", k);
      const at::Tensor got = k < out.deepstack.size() ? out.deepstack[k] : at::Tensor();
      compare_close(report_, label(path, level), got, file.view(level), kForward);
    }
    if (file.contains("logits")) {
      const at::Tensor want = file.view("logits").flatten(0, 1).index_select(0, in.kept);
      compare_close(report_, label(path, "logits"), qwen.logits(out.hidden.detach()), want,
                    kForward);
    }
    const at::Tensor loss = mean_loss(qwen, out.hidden, in.batch);
    if (file.contains("loss"))
      compare_close(report_, label(path, "loss"), loss.reshape({1}), file.view("loss").reshape({1}),
                    kForward);
    gradients(path, file, qwen, loss);
  }

  void gradients(const fs::path& path, const SafetensorsReader& file, const QwenVL& qwen,
                 const at::Tensor& loss) {
    std::map<std::string, std::string> entries;  // published name -> entry
    for (const std::string& name : file.names())
      if (name.starts_with("grad.")) entries[model::published_name(name.substr(5))] = name;
    if (entries.empty()) return;
    loss.backward();
    double stray = 0;
    for (const auto& [name, param] : qwen.parameters()) {
      const auto entry = entries.find(name);
      const at::Tensor grad = param.grad();
      if (entry != entries.end()) {
        compare_close(report_, label(path, entry->second), grad, file.view(entry->second),
                      kGradient);
        entries.erase(entry);
      } else if (grad.defined()) {
        stray = std::max(stray, grad.abs().max().item<double>());
      }
    }
    report_.line(label(path, "gradients without an entry"), stray, 0, stray == 0);
    for (const auto& [name, entry] : entries)
      report_.line(label(path, entry + " of no parameter"), INFINITY, 0, false);
  }

  void generate(const fs::path& path) {
    const SafetensorsReader file(path);
    const Inputs in = pack(file);
    const QwenVL qwen = QwenVL::load(dir_, {});
    const at::Tensor want = file.view("generated").flatten();
    const std::int64_t prompt = in.batch.input_ids.size(0);
    at::Tensor step_logits;
    const auto ids =
        qwen.generate(in.batch, {.max_new_tokens = want.size(0) - prompt}, &step_logits);
    compare_exact(report_, label(path, "generated"),
                  at::cat({in.batch.input_ids, at::tensor(ids, at::kLong)}), want);
    if (file.contains("step_logits"))
      compare_close(report_, label(path, "step_logits"), step_logits, file.view("step_logits"),
                    kForward);
  }

  void adamw(const fs::path& path) {
    const SafetensorsReader file(path);
    const Inputs in = pack(SafetensorsReader(dir_ / (std::string(kAdamCase) + ".safetensors")));
    const QwenVL qwen = load_trainable();
    std::vector<std::pair<std::string, at::Tensor>> params;
    for (const auto& [name, param] : qwen.parameters()) params.emplace_back(name, param);
    AdamW optimizer(params, {.beta1 = 0.9,
                             .beta2 = 0.95,
                             .eps = 1e-8,
                             .clip_norm = 1.0,
                             .weight_decay = 0.1,
                             .groups = {{"visual.merger.", 3e-3}, {"visual.", 1e-3}, {"", 2e-3}}});
    std::vector<double> losses, norms;
    for (std::int64_t step = 0; step < file.shape("losses").front(); ++step) {
      // Parameters stay fp32, gradients are computed in fp64. Some elements of a key bias have a
      // gradient that is zero but for rounding (softmax does not see a constant added to a row);
      // AdamW divides it by its own size and takes full steps along the noise. One side's noise is
      // within the tolerance, both sides' together are not always.
      const QwenVL exact = qwen.cast(at::kDouble);
      const at::Tensor loss = mean_loss(exact, exact.forward(in.batch).hidden, in.batch);
      loss.backward();
      losses.push_back(loss.item<double>());
      norms.push_back(optimizer.step());
    }
    compare_close(report_, label(path, "losses"), at::tensor(losses, at::kDouble),
                  file.view("losses"), kForward);
    if (file.contains("grad_norms"))
      compare_close(report_, label(path, "grad_norms"), at::tensor(norms, at::kDouble),
                    file.view("grad_norms"), kGradient);
    parameters(path, file, qwen);
  }

  void parameters(const fs::path& path, const SafetensorsReader& file, const QwenVL& qwen) {
    std::map<std::string, at::Tensor> ours;
    for (const auto& [name, param] : qwen.parameters()) ours[name] = param;
    if (qwen.config().text.tie_word_embeddings) ours["lm_head.weight"] = qwen.token_embedding();
    for (const std::string& name : file.names())
      if (name.starts_with("param."))
        compare_close(report_, label(path, name), ours[model::published_name(name.substr(6))],
                      file.view(name), kOptimizer);
  }

  fs::path dir_;
  Report& report_;
};

std::string model_type(const fs::path& dir) {
  const auto json = nlohmann::json::parse(read_text(dir / "config.json"), nullptr, false);
  return json.is_object() ? json.value("model_type", "") : "";
}

}  // namespace

bool is_model_dir(const fs::path& dir) {
  return fs::exists(dir / "config.json") && !case_files(dir).empty();
}

bool is_supported_model(const fs::path& dir) {
  try {
    model::family_of(model_type(dir));
    return true;
  } catch (const ConfigError&) {
    return false;
  }
}

bool check_model(const fs::path& dir, Report& report) {
  const std::int64_t lines = report.lines, failures = report.failures;
  ModelCheck check(fs::canonical(dir), report);
  for (const fs::path& file : case_files(dir)) {
    try {
      check.run(file);
    } catch (const std::exception& error) {
      fmt::print(stderr, "{}: {}\n", file.string(), error.what());
      report.line(file.stem().string(), INFINITY, 0, false);
    }
  }
  return report.lines > lines && report.failures == failures;
}

}  // namespace muster::golden
