#include "model/qwen/weights.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <sys/mman.h>

#include <cmath>
#include <cstdint>
#include <set>

#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"
#include "model/files/safetensors_reader.h"
#include "model/qwen/shapes.h"

namespace muster::model {
namespace {

constexpr const char* kHead = "lm_head.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";

// Huge pages save page faults while a fresh tensor is first written: a third of the time of a load.
void ask_for_huge_pages(const at::Tensor& tensor) {
  constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;
  auto* const data = static_cast<std::byte*>(tensor.data_ptr());
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  const auto begin = (address + kHugePage - 1) / kHugePage * kHugePage;
  const auto end = (address + tensor.nbytes()) / kHugePage * kHugePage;
  if (begin < end) ::madvise(data + (begin - address), end - begin, MADV_HUGEPAGE);
}

at::Tensor copy_of(const at::Tensor& view, const at::TensorOptions& options) {
  if (options.device() != at::kCPU) return view.to(options, false, /*copy=*/true);
  const at::Tensor target = at::empty(view.sizes(), options);
  ask_for_huge_pages(target);
  return target.copy_(view);
}

// A reader with published names, whatever layout the file has.
class Source {
 public:
  Source(const std::filesystem::path& folder, std::vector<std::string>& problems)
      : reader_(folder) {
    for (const std::string& name : reader_.names())
      if (!stored_.emplace(published_name(name), name).second)
        problems.push_back(name + ": given twice, in both name layouts");
  }
  bool has(const std::string& name) const { return stored_.contains(name); }
  std::vector<std::int64_t> shape(const std::string& name) const {
    return reader_.shape(stored_.at(name));
  }
  at::ScalarType dtype(const std::string& name) const { return reader_.dtype(stored_.at(name)); }
  at::Tensor view(const std::string& name) const { return reader_.view(stored_.at(name)); }
  // Returns the tensor in `options`: as it lies in the file where it can, else a copy whose source
  // is forgotten.
  at::Tensor take(const std::string& name, const at::TensorOptions& options) const {
    if (options.device() == at::kCPU && dtype(name) == c10::typeMetaToScalarType(options.dtype()))
      return reader_.take(stored_.at(name));
    const at::Tensor copy = copy_of(view(name), options);
    reader_.forget(stored_.at(name));
    return copy;
  }
  const std::map<std::string, std::string>& stored() const { return stored_; }

 private:
  SafetensorsReader reader_;
  std::map<std::string, std::string> stored_;  // published name -> name in the file
};

void compare(const Source& source, const std::vector<NamedShape>& shapes, bool tied,
             std::vector<std::string>& problems) {
  std::set<std::string> expected;
  for (const auto& [name, shape] : shapes) {
    expected.insert(name);
    if (!source.has(name)) {
      problems.push_back("missing     " + name);
    } else if (source.shape(name) != shape) {
      problems.push_back(fmt::format("mis-shaped  {}: {} in the file, {} by config.json", name,
                                     source.shape(name), shape));
    } else if (!c10::isFloatingType(source.dtype(name))) {
      problems.push_back(
          fmt::format("no weights  {}: {} numbers", name, c10::toString(source.dtype(name))));
    }
  }
  for (const auto& [name, stored] : source.stored()) {
    if (tied && name == kHead) {
      if (!source.has(kEmbedding) || !at::equal(source.view(kHead), source.view(kEmbedding)))
        problems.push_back(
            "unexpected  lm_head.weight: tied by config.json, but not equal to "
            "model.embed_tokens.weight");
    } else if (!expected.contains(name)) {
      problems.push_back("unexpected  " + stored);
    }
  }
}

// Standard normal from one uniform in (0, 1): Wichura's algorithm AS 241 (PPND7, 1988), about seven
// digits. The central branch, 85 % of draws, is a handful of multiplications: twenty times as fast
// as Box-Muller's log and cos.
double inverse_normal(double p) {
  const double q = p - 0.5;
  if (std::abs(q) <= 0.425) {
    const double r = 0.180625 - q * q;
    return q * (((59.10937472 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) /
           (((67.1875636 * r + 78.757757664) * r + 17.895169469) * r + 1.0);
  }
  const double tail = std::sqrt(-std::log(q < 0 ? p : 1.0 - p));
  double value = 0;
  if (tail <= 5.0) {
    const double r = tail - 1.6;
    value = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) /
            ((0.12021132975 * r + 0.73700164250) * r + 1.0);
  } else {
    const double r = tail - 5.0;
    value = (((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150) /
            ((0.012258202635 * r + 0.24197894225) * r + 1.0);
  }
  return q < 0 ? -value : value;
}

// Uniform in +-1/sqrt(columns).
at::Tensor uniform_tensor(const std::string& name, at::IntArrayRef shape, std::uint64_t seed) {
  const at::Tensor tensor = at::empty(shape, at::kFloat);
  const double bound = 1 / std::sqrt(static_cast<double>(shape[1]));
  Rng rng(seed, hash_name(name));
  float* values = tensor.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i)
    values[i] = static_cast<float>(rng.uniform(-bound, bound));
  return tensor;
}

Source checked_source(const std::filesystem::path& folder, const QwenConfig& config) {
  std::vector<std::string> problems;
  Source source(folder, problems);
  compare(source, parameter_shapes(config), config.text.tie_word_embeddings, problems);
  if (!problems.empty())
    throw CheckpointError(folder.string() + ": the weights are not those of config.json:\n  " +
                          join(problems, "\n  "));
  return source;
}

}  // namespace

std::string published_name(const std::string& name) {
  if (name.starts_with("model.visual.")) return name.substr(6);
  if (name.starts_with("model.language_model.")) return "model." + name.substr(21);
  return name;
}

std::string file_name(const std::string& name, const Family& family) {
  if (!family.nested_names) return name;
  if (name.starts_with("visual.")) return "model." + name;
  if (name.starts_with("model.")) return "model.language_model." + name.substr(6);
  return name;
}

void check_weights(const std::filesystem::path& folder, const QwenConfig& config) {
  checked_source(folder, config);
}

Weights load_weights(const std::filesystem::path& folder, const QwenConfig& config,
                     const at::TensorOptions& options) {
  const Source source = checked_source(folder, config);
  Weights weights;
  for (const auto& [name, shape] : parameter_shapes(config))
    weights[name] = source.take(name, options);
  return weights;
}

at::Tensor random_tensor(const std::string& name, at::IntArrayRef shape, double std,
                         std::uint64_t seed) {
  if (name.ends_with(".bias")) return at::zeros(shape, at::kFloat);
  if (shape.size() == 1) return at::ones(shape, at::kFloat);
  at::Tensor tensor = at::empty(shape, at::kFloat);
  Rng rng(seed, hash_name(name));
  float* values = tensor.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    const double middle = rng.uniform() + 0x1p-54;  // of one of 2^53 intervals: never 0 or 1
    values[i] = static_cast<float>(std * inverse_normal(middle));
  }
  return tensor;
}

Weights random_weights(const QwenConfig& config, const at::TensorOptions& options,
                       std::uint64_t seed) {
  Weights weights;
  for (const auto& [name, shape] : parameter_shapes(config))
    weights[name] = random_tensor(name, shape, config.initializer_range, seed).to(options);
  return weights;
}

void add_adapters(Weights& weights, const QwenConfig& config, const LoraOptions& lora,
                  const at::TensorOptions& options) {
  for (const auto& [name, shape] : adapter_shapes(config, lora)) {
    if (is_lora_b(name)) {
      weights[name] = at::zeros(shape, options);
    } else if (shape.size() == 2) {
      weights[name] = uniform_tensor(name, shape, lora.seed).to(options);
    } else {
      const std::string layer = name.substr(0, name.rfind('.'));
      weights[name] = at::linalg_vector_norm(weights.at(layer + ".weight"), 2, 1);
    }
  }
}

}  // namespace muster::model
