#include "trainer/kept_batch.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "model/files/safetensors_reader.h"
#include "model/files/safetensors_writer.h"

namespace muster::trainer {
namespace {

using nlohmann::json;
using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

constexpr const char* kMetadata = "muster_micro_batch";

std::string boxes_name(std::size_t image) { return fmt::format("targets.{}.boxes", image); }

Tensors tensors_of(const MicroBatch& batch) {
  Tensors tensors;
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    if (tensor.defined()) tensors.emplace_back(name, tensor.detach().cpu().contiguous());
  };
  add("input_ids", batch.input_ids);
  add("labels", batch.labels);
  add("pixel_values", batch.pixel_values);
  add("grid_thw", batch.grid_thw);
  for (std::size_t i = 0; i < batch.targets.size(); ++i) add(boxes_name(i), batch.targets[i].boxes);
  return tensors;
}

json as_json(const KeptBatch& kept) {
  const MicroBatch& batch = kept.batch;
  json targets = json::array();
  for (const ImageTargets& target : batch.targets) {
    targets.push_back({{"captions", target.captions},
                       {"categories", target.categories},
                       {"annotated", target.annotated}});
  }
  return {
      {"step", kept.step},
      {"number", kept.number},
      {"reason", kept.reason},
      {"samples", kept.samples},
      {"index", batch.index},
      {"sample_ids", batch.sample_ids},
      {"cu_seqlens", batch.cu_seqlens},
      {"image_samples", batch.image_samples},
      {"image_sizes", batch.image_sizes},
      {"denominators",
       {batch.denominators.tokens, batch.denominators.boxes, batch.denominators.caption_tokens}},
      {"targets", targets}};
}

void read_json(const json& j, KeptBatch& kept) {
  MicroBatch& batch = kept.batch;
  kept.step = j.at("step");
  kept.number = j.at("number");
  kept.reason = j.at("reason");
  kept.samples = j.at("samples");
  batch.index = j.at("index");
  batch.sample_ids = j.at("sample_ids").get<std::vector<std::int64_t>>();
  batch.cu_seqlens = j.at("cu_seqlens").get<std::vector<std::int64_t>>();
  batch.image_samples = j.at("image_samples").get<std::vector<std::int64_t>>();
  batch.image_sizes = j.at("image_sizes").get<std::vector<std::array<std::int64_t, 2>>>();
  batch.denominators = {j.at("denominators").at(0), j.at("denominators").at(1),
                        j.at("denominators").at(2)};
  for (const json& target : j.at("targets")) {
    ImageTargets& read = batch.targets.emplace_back();
    read.captions = target.at("captions").get<std::vector<std::vector<std::int64_t>>>();
    read.categories = target.at("categories").get<std::vector<std::int64_t>>();
    read.annotated = target.at("annotated");
  }
}

// What the rest of the program relies on without looking.
void check(const MicroBatch& batch, const fs::path& file) {
  const auto images = static_cast<std::size_t>(batch.num_images());
  const bool whole =
      batch.input_ids.defined() && batch.labels.defined() &&
      batch.labels.sizes() == batch.input_ids.sizes() &&
      batch.cu_seqlens.size() == batch.sample_ids.size() + 1 &&
      std::ranges::is_sorted(batch.cu_seqlens) && batch.cu_seqlens.front() == 0 &&
      batch.cu_seqlens.back() == batch.input_ids.numel() && batch.image_sizes.size() == images &&
      batch.pixel_values.defined() == batch.grid_thw.defined() &&
      (!batch.grid_thw.defined() || batch.grid_thw.size(0) == static_cast<std::int64_t>(images)) &&
      (batch.targets.empty() || batch.targets.size() == images);
  if (!whole) throw DataError(fmt::format("{}: its parts do not fit together", file.string()));
}

void prune(const fs::path& folder, std::int64_t keep) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::ranges::sort(files, std::greater());  // by name: steps have as many digits
  std::error_code ignored;                   // another rank may have been faster
  for (std::size_t i = static_cast<std::size_t>(keep); i < files.size(); ++i)
    fs::remove(files[i], ignored);
}

}  // namespace

fs::path keep_batch(const fs::path& run_dir, const KeptBatch& kept, std::int64_t keep) {
  const fs::path folder = run_dir / kKeptFolder;
  fs::create_directories(folder);
  const fs::path file =
      folder / fmt::format("step-{:09d}-micro-{}.safetensors", kept.step, kept.batch.index);
  model::write_safetensors(file, tensors_of(kept.batch), {{kMetadata, as_json(kept).dump()}});
  prune(folder, keep);
  return file;
}

std::vector<std::int64_t> suspects(std::span<const double> sums, const LossTerms& terms,
                                   const Denominators& step) {
  const auto width = static_cast<std::size_t>(terms.size());
  std::vector<double> losses;
  for (std::size_t at = 0; at + width <= sums.size(); at += width) {
    const double loss = terms.report(sums.subspan(at, width), step).total;
    losses.push_back(std::isnan(loss) ? std::numeric_limits<double>::infinity() : loss);
  }
  std::vector<std::int64_t> found;
  for (std::size_t slot = 0; slot < losses.size(); ++slot) {
    if (std::isinf(losses[slot])) found.push_back(static_cast<std::int64_t>(slot));
  }
  if (found.empty() && !losses.empty())
    found.push_back(std::ranges::max_element(losses) - losses.begin());
  return found;
}

KeptBatch read_kept_batch(const fs::path& file) {
  try {
    const model::SafetensorsReader reader(file);
    const auto metadata = reader.metadata().find(kMetadata);
    if (metadata == reader.metadata().end())
      throw DataError(fmt::format("{}: no micro-batch that health kept", file.string()));
    KeptBatch kept;
    read_json(parse_json(metadata->second), kept);
    const auto take = [&](const std::string& name, at::Tensor& tensor) {
      if (reader.contains(name)) tensor = reader.copy(name);
    };
    take("input_ids", kept.batch.input_ids);
    take("labels", kept.batch.labels);
    take("pixel_values", kept.batch.pixel_values);
    take("grid_thw", kept.batch.grid_thw);
    for (std::size_t i = 0; i < kept.batch.targets.size(); ++i)
      take(boxes_name(i), kept.batch.targets[i].boxes);
    check(kept.batch, file);
    return kept;
  } catch (const json::exception& error) {
    throw DataError(
        fmt::format("{}: no micro-batch that health kept: {}", file.string(), json_fault(error)));
  } catch (const CheckpointError& error) {
    throw DataError(error.what());
  }
}

}  // namespace muster::trainer
