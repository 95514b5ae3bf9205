// What `check --batch` says of the first micro-batch: true, whole, and able to complain.
#include "trainer/batch_report.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include "data/loader.h"
#include "trainer/assembly/first_micro_batch.h"
#include "trainer/assembly/options.h"
#include "trainer/tiny_run.h"

using namespace muster;
using Catch::Approx;

namespace {

// The tiny run learns to write, too, so that some tokens take loss.
const std::vector<std::string> kWriting = {"loss.lm=1", "data.answer=json"};

struct ReportedBatch {
  TempDir dir;
  configs::Config config;
  trainer::RunData data;
  MicroBatch batch;
  trainer::BatchReport report;

  explicit ReportedBatch(const std::vector<std::string>& overrides = kWriting)
      : config(test::tiny_config(dir.path(), overrides)),
        data(config),
        batch(trainer::first_micro_batch(data)),
        report(trainer::report_batch(data, batch)) {}
};

}  // namespace

TEST_CASE("check --batch: the micro-batch is the one that training gets first", "[unit]") {
  const ReportedBatch r;
  data::Loader loader(r.data.samples, r.data.sampler,
                      trainer::loader_options(r.config, 0, 1, {}, 0));
  const MicroBatch trained = loader.next_step().micro_batches.front();
  CHECK(trained.sample_ids == r.batch.sample_ids);
  CHECK(trained.input_ids.equal(r.batch.input_ids));
  CHECK(trained.pixel_values.equal(r.batch.pixel_values));
  CHECK(trained.index == r.batch.index);
}

TEST_CASE("check --batch: every tensor with shape, dtype and range", "[unit]") {
  const ReportedBatch r;
  std::map<std::string, trainer::TensorReport> tensors;
  for (const auto& tensor : r.report.tensors) tensors[tensor.name] = tensor;
  for (const char* name : {"input_ids", "labels", "cu_seqlens", "pixel_values", "grid_thw",
                           "targets[0].boxes", "targets[1].boxes"})
    CHECK(tensors.contains(name));
  CHECK(tensors["pixel_values"].dtype == "fp32");
  CHECK(tensors["pixel_values"].shape == r.batch.pixel_values.sizes().vec());
  CHECK(tensors["pixel_values"].non_finite == 0);
  CHECK(tensors["labels"].dtype == "int64");
  CHECK(tensors["labels"].least == kIgnoreLabel);
  CHECK(tensors["cu_seqlens"].most == r.batch.input_ids.numel());
  CHECK(tensors["targets[0].boxes"].most <= 1);

  MicroBatch broken = r.batch;
  broken.pixel_values = r.batch.pixel_values.clone();
  broken.pixel_values[0][0] = std::numeric_limits<float>::quiet_NaN();
  const auto report = trainer::report_batch(r.data, broken);
  CHECK(report.tensors[3].name == "pixel_values");
  CHECK(report.tensors[3].non_finite == 1);
  CHECK(report.tensors[3].mean == Approx(tensors["pixel_values"].mean).epsilon(1e-3));
}

TEST_CASE("check --batch: the texts show which tokens take loss", "[unit]") {
  const ReportedBatch r;
  std::int64_t learned = 0, tokens = 0;
  REQUIRE(r.report.samples.size() == 2);
  for (const trainer::SampleReport& sample : r.report.samples) {
    REQUIRE(sample.pictures.size() == 1);
    CHECK(sample.pictures[0].width == 84);
    const std::string pads =
        "<|image_pad|> x " + std::to_string(sample.pictures[0].plan.vision_tokens);
    std::string answer, prompt;
    for (const trainer::TextRun& run : sample.text) {
      (run.learned ? answer : prompt) += run.text;
      learned += run.learned ? run.tokens : 0;
      tokens += run.tokens;
    }
    CHECK(prompt.find(pads + "<|vision_end|>" + r.config.data.prompt) != std::string::npos);
    CHECK(answer.find("bbox_2d") != std::string::npos);
    CHECK(answer.ends_with("<|im_end|>\n"));
    CHECK(prompt.find("bbox_2d") == std::string::npos);
    REQUIRE(!sample.objects.empty());
    for (const trainer::ObjectReport& object : sample.objects)
      CHECK(answer.find("\"" + object.caption + "\"") != std::string::npos);
  }
  CHECK(learned == r.batch.denominators.tokens);
  CHECK(tokens == r.batch.input_ids.numel());
}

TEST_CASE("check --batch: the budget's effect is that of the run", "[unit]") {
  const auto with = [](const char* over_budget) {
    return ReportedBatch(
               {"data.max_vision_tokens=4", std::string("data.over_budget=") + over_budget})
        .report;
  };
  const trainer::BatchReport resized = with("resize");
  CHECK(resized.pack_resized == 24);
  CHECK(resized.pack_dropped == 0);
  CHECK(resized.samples[0].pictures[0].plan.shrunk);
  CHECK(resized.samples[0].pictures[0].plan.vision_tokens <= 4);
  CHECK(ReportedBatch().report.pack_resized == 0);
}

TEST_CASE("check --batch: constants that do not normalise are noticed", "[unit]") {
  const auto unusual = [](const std::vector<std::string>& overrides) {
    int count = 0;
    for (const trainer::ChannelReport& c : ReportedBatch(overrides).report.channels)
      count += c.unusual() ? 1 : 0;
    return count;
  };
  CHECK(unusual({}) == 0);
  CHECK(unusual({"data.image_mean=[0.5, 0.5, 0.5]", "data.image_std=[0.5, 0.5, 0.5]"}) == 0);
  CHECK(unusual({"data.image_mean=[0, 0, 0]", "data.image_std=[1, 1, 1]"}) == 3);
  CHECK(unusual({"data.image_std=[0.0039, 0.0039, 0.0039]"}) == 3);
  const ReportedBatch plain;
  const trainer::ChannelReport& green = plain.report.channels[1];
  const auto values = plain.batch.pixel_values.view({plain.batch.pixel_values.size(0), 3, -1});
  CHECK(green.mean == Approx(values.select(1, 1).mean().item<double>()).margin(1e-5));
}
