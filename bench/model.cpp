// Forward and backward of the whole model on one padded batch, for ./run bench model. Prints one
// JSON object: seconds per step, loss, peak memory. The batch has the form of the oracles
// (input_ids and attention_mask [B, S], labels, pixels); here the padding is cut out, as the loader
// never makes any. With --device cuda for ./run bench gpu, too.
#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <CLI/CLI.hpp>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/tensors/micro_batch.h"
#include "base/tensors/process_memory.h"
#include "model/adapters/peft_folder.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"
#include "model/qwen/qwen_vl.h"
#include "sharding/cuda_library.h"

namespace muster::bench {
namespace {

using Clock = std::chrono::steady_clock;
using model::QwenVL;

struct Options {
  std::string model, batch, dtype, gradients, device = "cpu";
  std::string adapter, adapter_copy, merged;  // of ./run bench lora
  int threads = 1, steps = 1;
  std::int64_t chunk = 128;
  bool recompute = false, redraw = false, deterministic = false;
  bool on_gpu() const { return device == "cuda"; }
};

MicroBatch packed(const std::string& path) {
  const model::SafetensorsReader file(path);
  const at::Tensor ids = file.copy("input_ids"), mask = file.copy("attention_mask");
  const at::Tensor kept = mask.flatten().nonzero().squeeze(1);
  MicroBatch batch;
  batch.input_ids = ids.flatten().index_select(0, kept);
  batch.labels = file.copy("labels").flatten().index_select(0, kept);
  batch.pixel_values = file.copy("pixel_values");
  batch.grid_thw = file.copy("image_grid_thw");
  batch.cu_seqlens = {0};
  for (std::int64_t row = 0; row < ids.size(0); ++row)
    batch.cu_seqlens.push_back(batch.cu_seqlens.back() + mask[row].sum().item<std::int64_t>());
  return batch;
}

// What tensors take on the device that computes, at the most so far.
std::int64_t peak_bytes(const Options& o) {
  return o.on_gpu() ? sharding::load_cuda_library().device_memory().peak_held
                    : peak_resident_bytes();
}

// Weights of a folder that has only their shapes.
void redraw(const QwenVL& qwen) {
  constexpr double kStd = 0.02;
  for (auto& param : qwen.parameters())
    param.tensor.dim() == 1 ? param.tensor.fill_(1) : param.tensor.normal_(0, kStd);
}

double cpu_now() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// One step's time and its parts. The loss computes the gradients of its two products while the
// logits are there.
struct Step {
  double loss = 0, seconds = 0, cpu_seconds = 0, forward = 0, cross_entropy = 0, backward = 0;
};

// The mean loss over the labels, as the peer's.
Step step(const QwenVL& qwen, const MicroBatch& batch, std::int64_t labels) {
  for (auto& param : qwen.parameters()) param.tensor.mutable_grad().reset();
  const auto start = Clock::now();
  const double begin = cpu_now();
  const model::QwenOutput seen = qwen.forward(batch);
  const double forward = cpu_now();
  const at::Tensor loss =
      qwen.lm_loss_sum(seen.hidden, batch, seen.tied) / static_cast<double>(labels);
  const double cross_entropy = cpu_now();
  loss.backward();
  const double end = cpu_now();
  return {loss.item<double>(),
          std::chrono::duration<double>(Clock::now() - start).count(),
          end - begin,
          forward - begin,
          cross_entropy - forward,
          end - cross_entropy};
}

void save_gradients(const QwenVL& qwen, const std::string& path) {
  std::vector<std::pair<std::string, at::Tensor>> gradients;
  for (const auto& [name, tensor] : qwen.parameters())
    if (tensor.grad().defined())
      gradients.emplace_back(name, tensor.grad().to(at::kCPU, at::kFloat).contiguous());
  model::write_safetensors(path, gradients);
}

using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

// The adapters as muster writes them, for PEFT to read.
void write_adapter_copy(const QwenVL& qwen, const Options& o) {
  Tensors tensors;
  for (const auto& [name, tensor] : qwen.parameters())
    if (model::is_adapter(name)) tensors.emplace_back(name, tensor.detach());
  std::filesystem::create_directories(o.adapter_copy);
  model::write_adapter(o.adapter_copy, model::read_adapter(o.adapter), qwen.config(), tensors);
}

void write_merged(const QwenVL& qwen, const std::string& path) {
  Tensors tensors;
  for (const auto& [name, tensor] : qwen.merged_parameters())
    tensors.emplace_back(name, tensor.detach());
  model::write_safetensors(path, tensors);
}

// The folder's weights, and the adapters of another folder beside them, which then train alone.
QwenVL load(const Options& o, model::QwenOptions options) {
  if (o.adapter.empty()) {
    QwenVL qwen = QwenVL::load(o.model, options);
    if (o.redraw) redraw(qwen);
    for (auto& param : qwen.parameters()) param.tensor.requires_grad_();
    return qwen;
  }
  options.lora = model::read_adapter(o.adapter).setup.options(/*seed=*/0);
  QwenVL qwen = QwenVL::load(o.model, options);
  model::load_adapter(o.adapter, qwen.parameters());
  for (auto& param : qwen.parameters()) param.tensor.requires_grad_(model::is_adapter(param.name));
  if (!o.adapter_copy.empty()) write_adapter_copy(qwen, o);
  if (!o.merged.empty()) write_merged(qwen, o.merged);
  return qwen;
}

void run(const Options& o) {
  at::set_num_threads(o.threads);
  if (o.on_gpu()) sharding::load_cuda_library().use_device(0, o.deterministic);
  const at::ScalarType dtype = o.dtype == "bf16" ? at::kBFloat16 : at::kFloat;
  const QwenVL qwen = load(o, {.dtype = dtype,
                               .device = o.on_gpu() ? at::kCUDA : at::kCPU,
                               .checkpoint_vision = o.recompute,
                               .checkpoint_language = o.recompute,
                               .logits_chunk_tokens = o.chunk});
  const MicroBatch batch = packed(o.batch);
  const std::int64_t labels = batch.labels.ne(kIgnoreLabel).sum().item<std::int64_t>();
  const std::int64_t loaded = resident_bytes();

  nlohmann::json seconds = nlohmann::json::array(), cpu_seconds = nlohmann::json::array();
  Step last;
  for (int i = 0; i < o.steps; ++i) {
    last = step(qwen, batch, labels);
    seconds.push_back(last.seconds);
    cpu_seconds.push_back(last.cpu_seconds);
  }
  if (!o.gradients.empty()) save_gradients(qwen, o.gradients);
  const nlohmann::json result{{"tokens", batch.input_ids.size(0)},
                              {"labels", labels},
                              {"loss", last.loss},
                              {"seconds", seconds},
                              {"cpu_seconds", cpu_seconds},
                              {"cpu_seconds_of",
                               {{"forward", last.forward},
                                {"cross_entropy", last.cross_entropy},
                                {"backward", last.backward}}},
                              {"loaded_bytes", loaded},
                              {"peak_bytes", peak_bytes(o)}};
  fmt::print("{}\n", result.dump());
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) try {
  muster::bench::Options o;
  CLI::App app("one model's forward and backward, timed");
  app.add_option("MODEL", o.model, "Hugging Face folder")->required();
  app.add_option("BATCH", o.batch, "safetensors with a padded batch")->required();
  app.add_option("--dtype", o.dtype, "fp32 or bf16")
      ->required()
      ->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--threads", o.threads)->required();
  app.add_option("--steps", o.steps)->required();
  app.add_option("--chunk", o.chunk, "rows of logits at a time");
  app.add_flag("--recompute", o.recompute, "activation checkpointing in both towers");
  app.add_option("--device", o.device)->check(CLI::IsMember({"cpu", "cuda"}));
  app.add_flag("--redraw", o.redraw, "random weights in place of the folder's");
  app.add_flag("--deterministic", o.deterministic, "as run.deterministic");
  app.add_option("--gradients", o.gradients, "write them here");
  app.add_option("--adapter", o.adapter, "a folder of PEFT's: its adapters train, nothing else");
  app.add_option("--adapter-copy", o.adapter_copy, "write the adapters into this folder");
  app.add_option("--merged", o.merged, "write the merged weights here");
  CLI11_PARSE(app, argc, argv);
  muster::bench::run(o);
  return 0;
} catch (const muster::Error& error) {
  fmt::print(stderr, "{}\n", error.what());
  return static_cast<int>(error.exit_code());
}
