// What `check --gradients` says: the numbers of the training step itself, and every trouble.
#include "trainer/gradient_report.h"

#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include "trainer/assembly/detector.h"
#include "trainer/assembly/first_micro_batch.h"
#include "trainer/tiny_run.h"

using namespace muster;
using Catch::Approx;

namespace {

struct ReportedGradients {
  TempDir dir;
  configs::Config config;
  trainer::RunData data;
  model::Detector detector;

  explicit ReportedGradients(const std::vector<std::string>& overrides = {})
      : config(test::tiny_config(dir.path(), overrides)),
        data(config),
        detector(trainer::build_detector(config, data.tokenizer, data.train.class_map(),
                                         data.captions.words)) {}
  trainer::GradientReport report() {
    return trainer::report_gradients(config, detector, trainer::first_micro_batch(data));
  }
};

const trainer::GroupGradients& group_of(const trainer::GradientReport& report,
                                        const std::string& name) {
  for (const trainer::GroupGradients& group : report.groups)
    if (group.name == name) return group;
  FAIL("there is no group " << name);
  return report.groups.front();
}

}  // namespace

TEST_CASE("check --gradients: with one micro-batch a step, the numbers of the step", "[unit]") {
  ReportedGradients r({"batch.micro_batches_per_step=1"});
  const trainer::GradientReport report = r.report();
  const TempDir run;
  trainer::Trainer trainer(test::tiny_config(run.path(), {"batch.micro_batches_per_step=1"}),
                           sharding::make_self());
  const trainer::StepStats step = trainer.train_step();
  CHECK(report.loss == Approx(step.agreed.loss.total).epsilon(1e-6));
  CHECK(report.norm == Approx(step.grad_norm).epsilon(1e-4));
  REQUIRE(report.groups.size() == step.group_norms.size());
  for (std::size_t g = 0; g < report.groups.size(); ++g) {
    CAPTURE(report.groups[g].name);
    CHECK(report.groups[g].norm == Approx(step.group_norms[g]).epsilon(1e-4).margin(1e-9));
  }
  REQUIRE(report.terms.size() == step.agreed.loss.terms.size());
  for (std::size_t i = 0; i < report.terms.size(); ++i)
    CHECK(report.terms[i].second == Approx(step.agreed.loss.terms[i]).epsilon(1e-6));
  CHECK(report.non_finite == 0);
}

TEST_CASE("check --gradients: parameters are listed by ratio, frozen groups without any",
          "[unit]") {
  const trainer::GradientReport report = ReportedGradients({"groups.visual.lr=0"}).report();
  CHECK(group_of(report, "visual").lr == 0);
  CHECK(group_of(report, "visual").parameters.empty());
  const auto& head = group_of(report, "detection_head").parameters;
  REQUIRE(head.size() > 10);
  for (std::size_t i = 1; i < head.size(); ++i) CHECK(head[i - 1].ratio() >= head[i].ratio());
  CHECK(head[0].name.starts_with("detection_head."));
  CHECK(head[0].norm > 0);
  CHECK(head[0].largest <= head[0].norm * 1.0001);
  CHECK(head[0].ratio() == Approx(head[0].norm / head[0].weight_norm));
}

TEST_CASE("check --gradients: what the loss does not reach has no gradient", "[unit]") {
  const auto unreached = [](const trainer::GradientReport& report) {
    std::size_t count = 0;
    for (const auto& p : group_of(report, "detection_head").parameters) {
      count += p.reached ? 0 : 1;
      CHECK((p.reached || p.vanished()));
    }
    return count;
  };
  const std::size_t with_captions = unreached(ReportedGradients().report());
  CHECK(unreached(ReportedGradients({"loss.caption=0"}).report()) > with_captions);
}

TEST_CASE("check --gradients: elements that are not finite are counted and come first", "[fault]") {
  const trainer::GradientReport report = ReportedGradients({"loss.giou=1e300"}).report();
  CHECK(report.non_finite > 0);
  const auto& head = group_of(report, "detection_head").parameters;
  CHECK(head[0].non_finite > 0);
  for (std::size_t i = 1; i < head.size(); ++i)
    CHECK((head[i].non_finite == 0 || head[i - 1].non_finite > 0));
}

TEST_CASE("check --gradients: fp16 numbers are without the loss scale", "[unit]") {
  const std::vector<std::string> fp32 = {"batch.micro_batches_per_step=1"};
  std::vector<std::string> fp16 = fp32;
  fp16.insert(fp16.end(), {"model.dtype=fp16", "optimizer.loss_scale_initial=1024"});
  const trainer::GradientReport half = ReportedGradients(fp16).report();
  CHECK(half.loss_scale == 1024);
  CHECK(half.norm == Approx(ReportedGradients(fp32).report().norm).epsilon(0.1));
}
