#include "model/qwen/weights.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "model/files/foreign_model.h"
#include "model/files/safetensors_dtype.h"
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

// What training wrappers put before the names that they save.
constexpr std::string_view kWrappers[] = {"module.", "_orig_mod.", "base_model.model."};

// Old versions saved these tables, which are made from config.json.
bool is_made_from_config(std::string_view name) {
  return name.ends_with("rotary_emb.inv_freq") || name.ends_with("rotary_pos_emb.inv_freq");
}

// Problems of one kind, of which the first are listed and the others counted.
class ProblemList {
 public:
  explicit ProblemList(std::string_view kind) : kind_(kind) {}
  void add(const std::string& what) {
    if (++count_ <= kShown) lines_.push_back(fmt::format("{:<11} {}", kind_, what));
  }
  std::size_t count() const { return count_; }
  void append_to(std::vector<std::string>& all) const {
    all.insert(all.end(), lines_.begin(), lines_.end());
    if (count_ > kShown)
      all.push_back(fmt::format("{:<11} and {} more, {} in all", kind_, count_ - kShown, count_));
  }

 private:
  static constexpr std::size_t kShown = 10;
  std::string_view kind_;
  std::vector<std::string> lines_;
  std::size_t count_ = 0;
};

// A reader with published names, whatever layout the file has.
class Source {
 public:
  explicit Source(const std::filesystem::path& folder) : reader_(folder) {
    for (const std::string& name : reader_.names()) {
      if (is_made_from_config(name)) continue;
      const UnwrappedName unwrapped = unwrap(name);
      for (const std::string_view wrapper : unwrapped.wrappers) wrappers_.emplace(wrapper);
      if (!unwrapped.wrappers.empty()) ++wrapped_;
      if (!stored_.emplace(published_name(name), name).second)
        throw CheckpointError(
            fmt::format("{}: {} is given twice, under two names; write the weights again",
                        folder.string(), published_name(name)));
    }
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
  std::vector<std::string> names() const { return reader_.names(); }
  void say_wrappers(const std::filesystem::path& folder) const {
    if (wrapped_ == 0) return;
    log::info("{}: {} of {} weights are read without the prefix {} of their names", folder.string(),
              wrapped_, stored_.size(), fmt::join(wrappers_, " "));
  }

 private:
  SafetensorsReader reader_;
  std::map<std::string, std::string> stored_;  // published name -> name in the file
  std::set<std::string> wrappers_;
  std::size_t wrapped_ = 0;
};

// Equal once one of the two is rounded to the other's dtype: a head may be stored in one of its
// own.
bool equal_when_rounded(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || !a.is_floating_point() || !b.is_floating_point()) return false;
  return at::equal(a.to(b.scalar_type()), b) || at::equal(a, b.to(a.scalar_type()));
}

bool repeats_embedding(const Source& source) {
  return source.has(kEmbedding) && equal_when_rounded(source.view(kHead), source.view(kEmbedding));
}

// One line where all problems have one cause, "" else.
std::string common_cause(const Source& source) {
  const std::vector<std::string> names = source.names();
  const auto lora = std::ranges::count_if(names, [](const std::string& name) {
    return name.find(".lora_") != std::string::npos ||
           name.find(".base_layer.") != std::string::npos;
  });
  if (lora > 0)
    return fmt::format(
        "{} of its tensors are of a LoRA adapter that was not merged; merge it (peft: "
        "merge_and_unload().save_pretrained('OUT')), or set model.path to the base model and "
        "model.adapter to the adapter's folder",
        lora);
  const std::string method = quantisation_of(names);
  if (!method.empty()) return quantised_advice(method);
  const auto seen = [](const auto& entry) { return entry.first.starts_with("visual."); };
  if (std::ranges::none_of(source.stored(), seen))
    return "no tensor of a vision tower is among them: a language model, or a part of the folder";
  return "";
}

bool is_weight(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kDouble || dtype == at::kHalf ||
         dtype == at::kBFloat16;
}

std::vector<std::string> compare(const Source& source, const std::vector<NamedShape>& shapes,
                                 bool tied) {
  ProblemList missing("missing"), mis_shaped("mis-shaped"), no_weights("no weights"),
      unexpected("unexpected");
  std::set<std::string> expected;
  for (const auto& [name, shape] : shapes) {
    expected.insert(name);
    if (!source.has(name)) {
      missing.add(name);
    } else if (source.shape(name) != shape) {
      mis_shaped.add(
          fmt::format("{}: {} in the file, {} by config.json", name, source.shape(name), shape));
    } else if (!is_weight(source.dtype(name))) {
      no_weights.add(fmt::format("{}: {} numbers", name, c10::toString(source.dtype(name))));
    }
  }
  for (const auto& [name, stored] : source.stored()) {
    if (tied && name == kHead) {
      if (!repeats_embedding(source))
        unexpected.add(
            "lm_head.weight: tied by config.json, but not equal to "
            "model.embed_tokens.weight");
    } else if (!expected.contains(name)) {
      unexpected.add(stored);
    }
  }
  std::vector<std::string> problems;
  for (const ProblemList* list : {&missing, &mis_shaped, &no_weights, &unexpected})
    list->append_to(problems);
  if (problems.empty()) return problems;
  if (const std::string cause = common_cause(source); !cause.empty())
    problems.insert(problems.begin(), cause);
  return problems;
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
  Source source(folder);
  const auto problems = compare(source, parameter_shapes(config), config.text.tie_word_embeddings);
  if (!problems.empty())
    throw CheckpointError(folder.string() + ": the weights are not those of config.json:\n  " +
                          join(problems, "\n  "));
  return source;
}

}  // namespace

UnwrappedName unwrap(std::string_view name) {
  UnwrappedName result{std::string(name), {}};
  for (bool more = true; more;) {
    more = false;
    for (const std::string_view wrapper : kWrappers) {
      if (!result.name.starts_with(wrapper)) continue;
      result.name.erase(0, wrapper.size());
      result.wrappers.push_back(wrapper);
      more = true;
    }
  }
  return result;
}

std::string published_name(const std::string& stored) {
  std::string name = unwrap(stored).name;
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

WeightsSummary check_weights(const std::filesystem::path& folder, const QwenConfig& config) {
  const Source source = checked_source(folder, config);
  WeightsSummary summary;
  std::set<std::string> dtypes;
  for (const auto& [name, shape] : parameter_shapes(config)) {
    ++summary.tensors;
    summary.parameters +=
        std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
    dtypes.insert(name_of_dtype(source.dtype(name)));
  }
  summary.dtypes.assign(dtypes.begin(), dtypes.end());
  return summary;
}

Weights load_weights(const std::filesystem::path& folder, const QwenConfig& config,
                     const at::TensorOptions& options) {
  const Source source = checked_source(folder, config);
  source.say_wrappers(folder);
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
