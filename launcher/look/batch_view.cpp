#include "launcher/look/batch_view.h"

#include <ATen/core/Tensor.h>
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/progress.h"
#include "base/text.h"
#include "launcher/look/sample_view.h"
#include "launcher/look/trained_picture.h"
#include "trainer/assembly/run_data.h"
#include "trainer/batch_report.h"

namespace muster::launcher {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kSamplesOfConfig = 24;
constexpr std::size_t kDroppedListed = 12;

// A picture as the model gets it.
struct TrainedPicture {
  data::Image image;
  std::int64_t vision_tokens = 0;
};

// One sample of a micro-batch.
struct TrainedSample {
  std::int64_t index = 0;  // in the set
  std::int64_t micro_batch = 0;
  trainer::SampleReport report;
  std::vector<TrainedPicture> pictures;
};

std::vector<TrainedPicture> pictures_of(const MicroBatch& batch,
                                        const data::PatchOptions& patches) {
  std::vector<TrainedPicture> pictures;
  if (batch.num_images() == 0) return pictures;
  const auto* row = batch.pixel_values.const_data_ptr<float>();
  const auto* thw = batch.grid_thw.const_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < batch.num_images(); ++i, thw += 3) {
    const data::Grid grid{.t = thw[0], .h = thw[1], .w = thw[2]};
    const auto values = static_cast<std::size_t>(grid.patches() * patches.patch_dim());
    pictures.push_back(
        {.image = trained_picture({row, values}, grid, patches),
         .vision_tokens = grid.patches() / (patches.merge_size * patches.merge_size)});
    row += values;
  }
  return pictures;
}

std::array<double, 4> in_pixels(const std::array<double, 4>& box, const data::Image& image) {
  const auto width = static_cast<double>(image.width);
  const auto height = static_cast<double>(image.height);
  const auto [cx, cy, w, h] = box;
  return {(cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height};
}

std::string size_text(std::int64_t width, std::int64_t height) {
  return fmt::format("{} x {}", width, height);
}

class BatchLook {
 public:
  BatchLook(std::string file, const configs::Config& config, const LookOptions& options)
      : file_(std::move(file)), data_(config), shares_(config.data.train), classes_(data_.train) {
    micro_batches_per_step_ = config.batch.micro_batches_per_step;
    const std::vector<std::int64_t> asked = find_samples(data_.train, options.samples);
    take({asked.begin(), asked.end()}, options.first >= 0 ? options.first : kSamplesOfConfig);
    note_dropped({asked.begin(), asked.end()});
  }

  ordered_json facts() const {
    return {{"kind", "config"},
            {"path", file_},
            {"num_samples", data_.train.size()},
            {"packs", packs_json()},
            {"dropped", data_.sampler.dropped()},
            {"resized", resized()},
            {"max_vision_tokens", data_.encoder.options().max_vision_tokens},
            {"dropped_samples", dropped_}};
  }

  std::int64_t num_samples() const { return static_cast<std::int64_t>(samples_.size()); }

  ordered_json sample(std::int64_t k) const {
    const TrainedSample& sample = samples_[static_cast<std::size_t>(k)];
    ordered_json json = sample_json(data_.train, sample.index, classes_);
    json["pack"] = share_of(sample).pack;
    json["micro_batch"] = sample.micro_batch;
    json["trained"] = trained_json(sample);
    return json;
  }

  trainer::Gallery page() const {
    trainer::Gallery gallery;
    gallery.title = fs::path(file_).filename().string();
    gallery.place =
        fmt::format("{}: as trained, epoch 0", fs::absolute(file_).lexically_normal().string());
    gallery.facts = tiles();
    gallery.notes = notes();
    ClassList counted = classes_;
    std::int64_t pictures = 0;
    for (const TrainedSample& sample : samples_) {
      pictures += static_cast<std::int64_t>(sample.pictures.size());
      for (const trainer::ObjectReport& object : sample.report.objects)
        counted.count_named(object.category);
    }
    gallery.classes = counted.classes();
    for (const TrainedSample& sample : samples_) add_card(sample, room_for(pictures), gallery);
    return gallery;
  }

 private:
  // Epoch 0 from the start, or the micro-batches that hold the samples asked for.
  void take(const std::set<std::int64_t>& asked, std::int64_t first) {
    const std::vector<data::MicroBatchPlan> epoch = data_.sampler.epoch(0);
    Progress progress("encoding micro-batches", 0);
    for (std::size_t k = 0; k < epoch.size(); ++k) {
      const bool wanted = std::ranges::any_of(
          epoch[k].samples, [&](std::int64_t sample) { return asked.contains(sample); });
      if (asked.empty() ? num_samples() >= first : !wanted) continue;
      add_batch(static_cast<std::int64_t>(k), epoch[k], asked);
      progress.add();
    }
  }

  void add_batch(std::int64_t k, const data::MicroBatchPlan& plan,
                 const std::set<std::int64_t>& asked) {
    if (plan.samples.empty()) return;
    const MicroBatch batch = data_.samples.encode(plan, /*epoch=*/0);
    trainer::BatchReport report = trainer::report_batch(data_, batch);
    std::vector<TrainedPicture> pictures = pictures_of(batch, data_.encoder.options().patches);
    std::vector<TrainedSample> samples;
    for (std::size_t s = 0; s < plan.samples.size(); ++s)
      samples.push_back({plan.samples[s], k, std::move(report.samples[s]), {}});
    for (std::size_t i = 0; i < pictures.size(); ++i)
      samples[static_cast<std::size_t>(batch.image_samples[i])].pictures.push_back(
          std::move(pictures[i]));
    for (TrainedSample& sample : samples) {
      if (asked.empty() || asked.contains(sample.index)) samples_.push_back(std::move(sample));
    }
  }

  void note_dropped(const std::set<std::int64_t>& asked) {
    const std::vector<data::SampleSize>& sizes = data_.sampler.sizes();
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      const auto index = static_cast<std::int64_t>(i);
      if (!sizes[i].dropped || (!asked.empty() && !asked.contains(index))) continue;
      dropped_.push_back(data_.train.sample(index).name);
    }
  }

  const configs::PackShare& share_of(const TrainedSample& sample) const {
    return shares_[data_.train.locate(sample.index).first];
  }

  ordered_json packs_json() const {
    ordered_json packs = ordered_json::array();
    for (std::size_t p = 0; p < shares_.size(); ++p)
      packs.push_back({{"path", shares_[p].pack},
                       {"weight", shares_[p].weight},
                       {"num_samples", data_.train.used(p)}});
    return packs;
  }

  std::int64_t resized() const {
    return std::ranges::count_if(data_.sampler.sizes(), &data::SampleSize::resized);
  }

  ordered_json trained_json(const TrainedSample& sample) const {
    ordered_json pictures = ordered_json::array();
    for (std::size_t p = 0; p < sample.pictures.size(); ++p) {
      const trainer::PictureReport& report = sample.report.pictures[p];
      const data::Image& image = sample.pictures[p].image;
      pictures.push_back({{"size", {image.width, image.height}},
                          {"before_resizing", {report.width, report.height}},
                          {"vision_tokens", sample.pictures[p].vision_tokens},
                          {"shrunk", report.plan.shrunk}});
    }
    ordered_json boxes = ordered_json::array();
    ordered_json labels = ordered_json::array();
    ordered_json box_images = ordered_json::array();
    for (const trainer::ObjectReport& object : sample.report.objects) {
      boxes.push_back(in_pixels(object.box, image_of(sample, object)));
      labels.push_back(object.caption);
      box_images.push_back(object.picture);
    }
    ordered_json text = ordered_json::array();
    for (const trainer::TextRun& run : sample.report.text)
      text.push_back({{"loss", run.learned}, {"tokens", run.tokens}, {"text", run.text}});
    return {{"images", pictures},
            {"boxes", boxes},
            {"labels", labels},
            {"box_images", box_images},
            {"annotated", sample.report.annotated},
            {"tokens", sample.report.tokens},
            {"text", text}};
  }

  static const data::Image& image_of(const TrainedSample& sample,
                                     const trainer::ObjectReport& object) {
    return sample.pictures[static_cast<std::size_t>(object.picture)].image;
  }

  // Of one pack the whole list says it all.
  std::vector<trainer::Fact> pack_tiles() const {
    std::vector<trainer::Fact> facts;
    for (std::size_t p = 0; p < shares_.size() && shares_.size() > 1; ++p)
      facts.push_back({fmt::format("in {}, weight {}", shares_[p].pack, shares_[p].weight),
                       fmt::format("{}", data_.train.used(p))});
    return facts;
  }

  std::vector<trainer::Fact> tiles() const {
    const auto number = [](std::int64_t n) { return fmt::format("{}", n); };
    std::int64_t learned = 0;
    for (const TrainedSample& sample : samples_) {
      for (const trainer::TextRun& run : sample.report.text)
        learned += run.learned ? run.tokens : 0;
    }
    std::vector<trainer::Fact> facts = {
        {"samples of data.train", number(data_.train.size())},
        {"shown here", number(num_samples())},
        {"vision tokens allowed", number(data_.encoder.options().max_vision_tokens)},
        {"shrunk to fit them", number(resized())},
        {"dropped because of them", number(data_.sampler.dropped())},
        {"tokens learned, shown here", number(learned)}};
    const std::vector<trainer::Fact> packs = pack_tiles();
    facts.insert(facts.begin() + 1, packs.begin(), packs.end());
    return facts;
  }

  std::vector<std::string> notes() const {
    if (dropped_.empty()) return {};
    std::vector<std::string> names = dropped_;
    const std::size_t all = names.size();
    names.resize(std::min(all, kDroppedListed));
    std::string line =
        fmt::format("over data.max_vision_tokens and never trained on: {}", join(names, ", "));
    if (all > names.size()) line += fmt::format(", and {} more", all - names.size());
    return {line};
  }

  // Micro-batches are sections; the samples of one come one after the other.
  void add_card(const TrainedSample& sample, const PictureRoom& room,
                trainer::Gallery& gallery) const {
    const std::string title = fmt::format(
        "Step {}, micro-batch {} of {}", sample.micro_batch / micro_batches_per_step_ + 1,
        sample.micro_batch % micro_batches_per_step_ + 1, micro_batches_per_step_);
    if (gallery.sections.empty() || gallery.sections.back().title != title)
      gallery.sections.push_back({title, "", {}});
    trainer::Card& card = gallery.sections.back().cards.emplace_back();
    card.name = sample.report.name;
    card.note = fmt::format("{} tokens{}", sample.report.tokens,
                            sample.report.annotated ? "" : "; not annotated: no detection loss");
    if (shares_.size() > 1) card.note += ", from " + share_of(sample).pack;
    card.open = true;
    for (std::size_t p = 0; p < sample.pictures.size(); ++p)
      card.pictures.push_back(shown_picture(sample, p, room));
    for (const trainer::PictureReport& picture : sample.report.pictures) {
      if (picture.plan.shrunk && card.tags.empty()) card.tags.emplace_back("shrunk to the budget");
    }
    trainer::ShownTurn& text =
        card.turns.emplace_back(trainer::ShownTurn{"the tokens; what is marked is learned", {}});
    for (const trainer::TextRun& run : sample.report.text)
      text.parts.push_back({run.text, run.learned});
  }

  trainer::ShownPicture shown_picture(const TrainedSample& sample, std::size_t p,
                                      const PictureRoom& room) const {
    const data::Image& image = sample.pictures[p].image;
    trainer::ShownPicture shown;
    shown.width = image.width;
    shown.height = image.height;
    shown.jpeg = thumbnail(image, room);
    shown.note = became(sample, p);
    for (const trainer::ObjectReport& object : sample.report.objects) {
      if (object.picture != static_cast<std::int64_t>(p)) continue;
      trainer::ShownBox& box = shown.boxes.emplace_back();
      box.box = in_pixels(object.box, image);
      box.label = object.caption;
      box.category = classes_.place_named(object.category);
      if (object.category != object.caption) box.note = "class " + object.category;
    }
    return shown;
  }

  // "stored 640 x 480, augmented to 500 x 400, trained at 336 x 252: 108 vision tokens".
  std::string became(const TrainedSample& sample, std::size_t p) const {
    const data::Sample stored = data_.train.sample(sample.index);
    const trainer::PictureReport& report = sample.report.pictures[p];
    std::string text;
    if (p < stored.pictures.size()) {
      const data::Picture& picture = stored.pictures[p];
      text = "stored " + size_text(picture.width, picture.height);
      if (picture.width != report.width || picture.height != report.height)
        text += ", augmented to " + size_text(report.width, report.height);
    }
    const data::Image& image = sample.pictures[p].image;
    return text + fmt::format(", trained at {}: {} vision tokens{}",
                              size_text(image.width, image.height),
                              sample.pictures[p].vision_tokens,
                              report.plan.shrunk ? ", shrunk to fit the budget" : "");
  }

  std::string file_;
  trainer::RunData data_;
  std::vector<configs::PackShare> shares_;  // data_.train's packs, in its order
  ClassList classes_;
  std::int64_t micro_batches_per_step_ = 1;
  std::vector<TrainedSample> samples_;
  std::vector<std::string> dropped_;
};

}  // namespace

View look_at_batches(const std::string& config_file, const configs::Config& config,
                     const LookOptions& options) {
  const auto look = std::make_shared<const BatchLook>(config_file, config, options);
  return {.facts = look->facts(),
          .num_samples = look->num_samples(),
          .sample = [look](std::int64_t k) { return look->sample(k); },
          .page = [look] { return look->page(); }};
}

}  // namespace muster::launcher
