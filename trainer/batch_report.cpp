#include "trainer/batch_report.h"

#include <ATen/ATen.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <span>

namespace muster::trainer {
namespace {

std::string dtype_word(at::ScalarType type) {
  if (type == at::kFloat) return "fp32";
  if (type == at::kLong) return "int64";
  return c10::toString(type);
}

TensorReport tensor_report(const std::string& name, const at::Tensor& tensor) {
  TensorReport report;
  report.name = name;
  report.dtype = dtype_word(tensor.scalar_type());
  report.shape = tensor.sizes().vec();
  const at::Tensor values = tensor.to(at::kDouble).flatten();
  const at::Tensor finite = values.masked_select(at::isfinite(values));
  report.non_finite = values.numel() - finite.numel();
  if (finite.numel() == 0) return report;
  report.least = finite.min().item<double>();
  report.most = finite.max().item<double>();
  report.mean = finite.mean().item<double>();
  return report;
}

std::vector<TensorReport> tensor_reports(const MicroBatch& batch) {
  std::vector<TensorReport> all = {
      tensor_report("input_ids", batch.input_ids), tensor_report("labels", batch.labels),
      tensor_report("cu_seqlens", at::tensor(batch.cu_seqlens, at::kLong))};
  if (batch.num_images() > 0) {
    all.push_back(tensor_report("pixel_values", batch.pixel_values));
    all.push_back(tensor_report("grid_thw", batch.grid_thw));
  }
  for (std::size_t i = 0; i < batch.targets.size(); ++i)
    all.push_back(tensor_report(fmt::format("targets[{}].boxes", i), batch.targets[i].boxes));
  return all;
}

std::span<const std::int64_t> integers_of(const at::Tensor& host) {  // [n] i64
  return {host.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(host.numel())};
}

// Cuts a sample's tokens where the label mask changes, and around its picture.
std::vector<TextRun> text_runs(const RunData& data, std::span<const std::int64_t> ids,
                               std::span<const std::int64_t> labels) {
  const std::int64_t pad = data.model.image_token_id;
  const auto same_run = [&](std::size_t a, std::size_t b) {
    const bool same_mask = (labels[a] == kIgnoreLabel) == (labels[b] == kIgnoreLabel);
    return same_mask && (ids[a] == pad) == (ids[b] == pad);
  };
  std::vector<TextRun> runs;
  for (std::size_t begin = 0, end = 0; begin < ids.size(); begin = end) {
    end = begin + 1;
    while (end < ids.size() && same_run(begin, end)) ++end;
    const auto run = ids.subspan(begin, end - begin);
    const std::string text = ids[begin] == pad ? fmt::format("<|image_pad|> x {}", run.size())
                                               : data.tokenizer.decode(run, false);
    runs.push_back({.learned = labels[begin] != kIgnoreLabel,
                    .tokens = static_cast<std::int64_t>(run.size()),
                    .text = text});
  }
  return runs;
}

void add_objects(const RunData& data, const ImageTargets& targets, std::int64_t picture,
                 std::vector<ObjectReport>& objects) {
  for (std::size_t i = 0; i < targets.captions.size(); ++i) {
    ObjectReport object;
    object.picture = picture;
    const float* box = targets.boxes.const_data_ptr<float>() + 4 * i;
    std::copy_n(box, 4, object.box.begin());
    object.caption = data.tokenizer.decode(targets.captions[i]);
    object.category = data.train.class_map().category(targets.categories[i]).name;
    objects.push_back(std::move(object));
  }
}

// What became of a sample's pictures, which share one budget.
void plan_pictures_of(const RunData& data, SampleReport& sample) {
  std::vector<data::Picture> pictures;
  for (const PictureReport& picture : sample.pictures)
    pictures.push_back({.path = {}, .width = picture.width, .height = picture.height});
  const data::PicturesPlan plan =
      data::plan_pictures(pictures, data.encoder.options().budget(), sample.name);
  for (std::size_t k = 0; k < pictures.size(); ++k) sample.pictures[k].plan = plan.pictures[k];
}

std::vector<SampleReport> sample_reports(const RunData& data, const MicroBatch& batch) {
  const auto ids = integers_of(batch.input_ids);
  const auto labels = integers_of(batch.labels);
  std::vector<SampleReport> samples;
  for (std::size_t s = 0; s < batch.sample_ids.size(); ++s) {
    const auto begin = static_cast<std::size_t>(batch.cu_seqlens[s]);
    const std::size_t count = static_cast<std::size_t>(batch.cu_seqlens[s + 1]) - begin;
    SampleReport sample;
    sample.name = data.train.sample(batch.sample_ids[s]).name;
    sample.tokens = static_cast<std::int64_t>(count);
    sample.text = text_runs(data, ids.subspan(begin, count), labels.subspan(begin, count));
    samples.push_back(std::move(sample));
  }
  for (std::size_t i = 0; i < batch.image_samples.size(); ++i) {
    SampleReport& sample = samples[static_cast<std::size_t>(batch.image_samples[i])];
    const auto [width, height] = batch.image_sizes[i];
    add_objects(data, batch.targets[i], static_cast<std::int64_t>(sample.pictures.size()),
                sample.objects);
    sample.pictures.push_back({.width = width, .height = height, .plan = {}});
    sample.annotated = batch.targets[i].annotated;
  }
  for (SampleReport& sample : samples) plan_pictures_of(data, sample);
  return samples;
}

// A row of pixel_values is [channel, frame, y, x].
std::vector<ChannelReport> channel_reports(const MicroBatch& batch) {
  if (batch.num_images() == 0) return {};
  const at::Tensor values = batch.pixel_values.view({batch.pixel_values.size(0), 3, -1});
  std::vector<ChannelReport> channels;
  for (const char* name : {"red", "green", "blue"}) {
    const auto c = static_cast<std::int64_t>(channels.size());
    const at::Tensor one = values.select(1, c).to(at::kDouble);
    channels.push_back({.name = name,
                        .least = one.min().item<double>(),
                        .most = one.max().item<double>(),
                        .mean = one.mean().item<double>(),
                        .deviation = one.std(/*unbiased=*/false).item<double>()});
  }
  return channels;
}

}  // namespace

// Published constants give a blank white page a mean of 1.9 to 2.1 at most, and photographs a
// deviation of 0.4 to 1.1; drawn scenes have less. Values that were left in 0..1 have none below 0.
bool ChannelReport::unusual() const {
  const bool one_sided = least >= 0 || most <= 0;
  return one_sided || std::abs(mean) > 2.2 || deviation < 0.1 || deviation > 3;
}

BatchReport report_batch(const RunData& data, const MicroBatch& batch) {
  BatchReport report;
  report.tensors = tensor_reports(batch);
  report.samples = sample_reports(data, batch);
  report.channels = channel_reports(batch);
  report.denominators = batch.denominators;
  report.pack_samples = data.train.size();
  report.pack_resized = std::ranges::count_if(data.sampler.sizes(), &data::SampleSize::resized);
  report.pack_dropped = data.sampler.dropped();
  return report;
}

}  // namespace muster::trainer
