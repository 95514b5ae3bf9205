#include "launcher/commands/check_batch.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "trainer/assembly/first_micro_batch.h"
#include "trainer/batch_report.h"

namespace muster::launcher {
namespace {

using nlohmann::ordered_json;

// One line of text: control characters are written as escapes.
std::string escaped(const std::string& text) {
  const std::string quoted =
      ordered_json(text).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  return quoted.substr(1, quoted.size() - 2);
}

void print_tensors(const trainer::BatchReport& report) {
  fmt::print("{:<20} {:<16} {:<6} {:>12} {:>12} {:>12}\n", "tensor", "shape", "dtype", "min", "max",
             "mean");
  for (const trainer::TensorReport& t : report.tensors) {
    fmt::print("{:<20} {:<16} {:<6} {:>12.6g} {:>12.6g} {:>12.6g}{}\n", t.name,
               fmt::format("[{}]", fmt::join(t.shape, ", ")), t.dtype, t.least, t.most, t.mean,
               t.non_finite > 0 ? fmt::format("  {} NOT FINITE", t.non_finite) : "");
  }
}

std::string picture_text(const trainer::PictureReport& picture) {
  const data::ImagePlan& plan = picture.plan;
  return fmt::format("stored {}x{}, resized {}x{}, grid {}x{}x{}, {} vision tokens{}; ",
                     picture.width, picture.height, plan.resized.width, plan.resized.height,
                     plan.grid.t, plan.grid.h, plan.grid.w, plan.vision_tokens,
                     plan.shrunk ? " (shrunk to fit the budget)" : "");
}

std::string pictures_text(const trainer::SampleReport& sample) {
  std::string all;
  for (const trainer::PictureReport& picture : sample.pictures) all += picture_text(picture);
  return sample.annotated ? all : all + "not annotated; ";
}

void print_sample(const trainer::SampleReport& sample) {
  fmt::print("\nsample {}: {}{} tokens\n", sample.name, pictures_text(sample), sample.tokens);
  for (const trainer::TextRun& run : sample.text)
    fmt::print("  {} {}\n", run.learned ? "loss |" : "     |", escaped(run.text));
  for (const trainer::ObjectReport& object : sample.objects) {
    fmt::print("  box cx {:.4f} cy {:.4f} w {:.4f} h {:.4f}  \"{}\" (class {})\n", object.box[0],
               object.box[1], object.box[2], object.box[3], escaped(object.caption),
               object.category);
  }
}

void print_channels(const trainer::BatchReport& report) {
  if (report.channels.empty()) return;
  fmt::print("\n{:<20} {:>12} {:>12} {:>12} {:>12}\n", "after normalisation", "min", "max", "mean",
             "deviation");
  for (const trainer::ChannelReport& c : report.channels) {
    fmt::print("{:<20} {:>12.4f} {:>12.4f} {:>12.4f} {:>12.4f}\n", c.name, c.least, c.most, c.mean,
               c.deviation);
  }
}

std::vector<std::string> warnings_of(const trainer::BatchReport& report) {
  std::vector<std::string> warnings;
  for (const trainer::ChannelReport& c : report.channels) {
    if (!c.unusual()) continue;
    warnings.push_back(fmt::format(
        "after normalisation {} lies in an unusual range: mean {:.3f} and deviation {:.3f}, where "
        "about 0 and 1 are expected; see data.image_mean and data.image_std (D-007)",
        c.name, c.mean, c.deviation));
  }
  return warnings;
}

void print_text(const configs::Config& config, const trainer::BatchReport& report) {
  fmt::print("the first micro-batch of {}: {} samples\n\n", configs::pack_names(config.data.train),
             report.samples.size());
  print_tensors(report);
  const Denominators& d = report.denominators;
  fmt::print("\nloss is taken at {} tokens, {} boxes and {} caption tokens\n", d.tokens, d.boxes,
             d.caption_tokens);
  fmt::print(
      "a picture has at most {} vision tokens (data.max_vision_tokens): of {} samples {} are "
      "shrunk to fit and {} dropped\n",
      config.data.max_vision_tokens, report.pack_samples, report.pack_resized, report.pack_dropped);
  for (const trainer::SampleReport& sample : report.samples) print_sample(sample);
  print_channels(report);
  for (const std::string& warning : warnings_of(report)) fmt::print("warning: {}\n", warning);
}

ordered_json tensors_json(const trainer::BatchReport& report) {
  ordered_json all = ordered_json::array();
  for (const trainer::TensorReport& t : report.tensors) {
    all.push_back({{"name", t.name},
                   {"shape", t.shape},
                   {"dtype", t.dtype},
                   {"min", t.least},
                   {"max", t.most},
                   {"mean", t.mean},
                   {"non_finite", t.non_finite}});
  }
  return all;
}

ordered_json picture_json(const trainer::PictureReport& picture) {
  const data::ImagePlan& plan = picture.plan;
  return {{"stored", {picture.width, picture.height}},
          {"resized", {plan.resized.width, plan.resized.height}},
          {"grid_thw", {plan.grid.t, plan.grid.h, plan.grid.w}},
          {"vision_tokens", plan.vision_tokens},
          {"shrunk", plan.shrunk}};
}

ordered_json sample_json(const trainer::SampleReport& sample) {
  ordered_json text = ordered_json::array();
  for (const trainer::TextRun& run : sample.text)
    text.push_back({{"loss", run.learned}, {"tokens", run.tokens}, {"text", run.text}});
  ordered_json objects = ordered_json::array();
  for (const trainer::ObjectReport& object : sample.objects) {
    objects.push_back(
        {{"box", object.box}, {"caption", object.caption}, {"category", object.category}});
  }
  ordered_json result{{"name", sample.name}, {"tokens", sample.tokens}};
  if (!sample.pictures.empty()) result["picture"] = picture_json(sample.pictures.front());
  if (sample.pictures.size() > 1) {
    result["pictures"] = ordered_json::array();
    for (const trainer::PictureReport& picture : sample.pictures)
      result["pictures"].push_back(picture_json(picture));
  }
  if (!sample.annotated) result["annotated"] = false;
  result["text"] = text;
  result["objects"] = objects;
  return result;
}

void print_json(const configs::Config& config, const trainer::BatchReport& report) {
  ordered_json samples = ordered_json::array();
  for (const trainer::SampleReport& sample : report.samples) samples.push_back(sample_json(sample));
  ordered_json channels = ordered_json::array();
  for (const trainer::ChannelReport& c : report.channels) {
    channels.push_back({{"channel", c.name},
                        {"min", c.least},
                        {"max", c.most},
                        {"mean", c.mean},
                        {"deviation", c.deviation}});
  }
  const Denominators& d = report.denominators;
  const ordered_json all{
      {"tensors", tensors_json(report)},
      {"denominators",
       {{"tokens", d.tokens}, {"boxes", d.boxes}, {"caption_tokens", d.caption_tokens}}},
      {"budget",
       {{"max_vision_tokens", config.data.max_vision_tokens},
        {"samples", report.pack_samples},
        {"resized", report.pack_resized},
        {"dropped", report.pack_dropped}}},
      {"samples", samples},
      {"channels", channels},
      {"warnings", warnings_of(report)}};
  fmt::print("{}\n", all.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
}

}  // namespace

void check_batch(const configs::Config& config, bool json) {
  const trainer::RunData data(config);
  const trainer::BatchReport report = trainer::report_batch(data, trainer::first_micro_batch(data));
  if (json) {
    print_json(config, report);
  } else {
    print_text(config, report);
  }
}

}  // namespace muster::launcher
