// Hidden: how fast weights come in, beside what `cat` reaches on the same file (`./run bench
// load`), and how fast text goes out.
#include <ATen/Parallel.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "base/files.h"
#include "base/tensors/process_memory.h"
#include "model/files/safetensors_writer.h"
#include "model/qwen/shapes.h"
#include "model/qwen/small_model.h"
#include "model/qwen/weights.h"

using namespace muster;
using namespace muster::model;
using namespace muster::test;

namespace {

// About 2 GB in bf16, in tensors of the 3B model's shapes.
QwenConfig two_gigabytes() {
  QwenConfig c = small_config();
  c.vision.out_hidden_size = 2048;
  c.text = {.vocab_size = 151936,
            .hidden_size = 2048,
            .intermediate_size = 11008,
            .num_layers = 9,
            .num_heads = 16,
            .num_kv_heads = 2,
            .head_dim = 128,
            .rms_norm_eps = 1e-6,
            .rope_theta = 1e6,
            .mrope_section = {16, 24, 24},
            .tie_word_embeddings = true};
  return c;
}

double best_seconds(const std::function<void()>& work) {
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// Every byte goes through the processor once, as cat's do.
void hash_all(const Weights& weights) {
  for (const auto& [name, tensor] : weights)
    xxh128({static_cast<const std::byte*>(tensor.const_data_ptr()),
            static_cast<std::size_t>(tensor.nbytes())});
}

}  // namespace

TEST_CASE("load: speed beside cat", "[.speed][load]") {
  const TempDir dir("muster-load");
  const QwenConfig config = two_gigabytes();
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, shape] : parameter_shapes(config))
    tensors.emplace_back(name, at::ones(shape, at::kBFloat16));
  const fs::path file = dir.path() / "model.safetensors";
  write_safetensors(file, tensors);
  tensors.clear();
  const auto bytes = static_cast<double>(fs::file_size(file));
  const std::string cat = "cat " + file.string() + " >/dev/null";
  const double peer = best_seconds([&] { CHECK(std::system(cat.c_str()) == 0); });
  const std::int64_t before = resident_bytes();
  const double ours = best_seconds([&] { load_weights(dir.path(), config, at::kBFloat16); });
  const double read =
      best_seconds([&] { hash_all(load_weights(dir.path(), config, at::kBFloat16)); });
  const Weights held = load_weights(dir.path(), config, at::kBFloat16);
  const auto resident = static_cast<double>(resident_bytes() - before);
  const double wider = best_seconds([&] { load_weights(dir.path(), config, at::kFloat); });
  std::printf(
      "{\"bytes\": %.0f, \"threads\": %d, \"cat_bytes_per_s\": %.4g, \"load_bytes_per_s\": %.4g, "
      "\"ratio\": %.3f, "
      "\"load_and_hash_bytes_per_s\": %.4g, \"load_and_hash_ratio\": %.3f, "
      "\"load_as_fp32_bytes_per_s\": %.4g, "
      "\"resident_over_file\": %.3f}\n",
      bytes, at::get_num_threads(), bytes / peer, bytes / ours, peer / ours, bytes / read,
      peer / read, bytes / wider, resident / bytes);
  CHECK(resident < 1.05 * bytes);  // one copy, and every page of it is there
  CHECK(resident > 0.95 * bytes);
}

TEST_CASE("generate: speed per token", "[.speed][generate]") {
  QwenConfig config = small_config();
  config.vision.out_hidden_size = 512;
  config.text = {.vocab_size = 32768,
                 .hidden_size = 512,
                 .intermediate_size = 2048,
                 .num_layers = 8,
                 .num_heads = 8,
                 .num_kv_heads = 2,
                 .head_dim = 64,
                 .rms_norm_eps = 1e-6,
                 .rope_theta = 1e6,
                 .mrope_section = {8, 12, 12},
                 .tie_word_embeddings = true};
  const QwenVL qwen = QwenVL::random(config, {}, 1);
  const MicroBatch prompt = small_batch({{{16, 16}}}, 50);
  std::vector<double> at;  // seconds since the start when the n-th token was known
  const auto start = std::chrono::steady_clock::now();
  qwen.generate(
      prompt,
      {.max_new_tokens = 2000, .on_token = [&](std::int64_t) {
         at.push_back(
             std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
       }});
  for (const std::size_t n : {std::size_t{200}, std::size_t{1000}, std::size_t{2000}})
    std::printf("tokens %4zu..%4zu: %.2f ms each\n", n - 100, n, 10 * (at[n - 1] - at[n - 101]));
}
