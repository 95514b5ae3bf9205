#include "launcher/commands/check_gradients.h"

#include <ATen/Parallel.h>
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "trainer/assembly/detector.h"
#include "trainer/assembly/device.h"
#include "trainer/assembly/first_micro_batch.h"
#include "trainer/checkpoint/files.h"
#include "trainer/checkpoint/manifest/step_folders.h"
#include "trainer/checkpoint/verify.h"
#include "trainer/gradient_report.h"
#include "trainer/kept_batch.h"

namespace muster::launcher {
namespace {

using nlohmann::ordered_json;

// What a reader should look at; "" when there is nothing.
std::string flag_of(const trainer::ParameterGradient& p) {
  if (p.non_finite > 0) return fmt::format("{} NOT FINITE", p.non_finite);
  if (!p.reached) return "none: the loss does not reach it";
  return p.vanished() ? "zero" : "";
}

void print_row(const trainer::ParameterGradient& p) {
  fmt::print("  {:<58} {:<18} {:>10.3e} {:>10.3e} {:>10.3e} {:>10.3e}  {}\n", p.name,
             fmt::format("[{}]", fmt::join(p.shape, ", ")), p.norm, p.weight_norm, p.ratio(),
             p.largest, flag_of(p));
}

void print_group(const trainer::GroupGradients& group) {
  if (group.lr == 0) {
    fmt::print("\n{}: frozen\n", group.name);
    return;
  }
  fmt::print("\n{}: {} parameters, learning rate {:g}, gradient norm {:.4e}, weight norm {:.4e}\n",
             group.name, group.parameters.size(), group.lr, group.norm, group.weight_norm);
  for (const trainer::ParameterGradient& parameter : group.parameters) print_row(parameter);
}

// One line per kind of trouble and group, with the words that the diary looks for (T-004).
std::vector<std::string> warnings_of(const trainer::GradientReport& report) {
  std::vector<std::string> warnings;
  if (!std::isfinite(report.loss)) warnings.push_back("the loss is not finite");
  for (const trainer::GroupGradients& group : report.groups) {
    std::size_t vanished = 0;
    std::size_t broken = 0;
    for (const trainer::ParameterGradient& p : group.parameters) {
      vanished += p.vanished() ? 1 : 0;
      broken += p.non_finite > 0 ? 1 : 0;
    }
    const std::size_t all = group.parameters.size();
    if (vanished > 0) {
      warnings.push_back(fmt::format("gradients vanish in {} of the {} parameters of {} (T-004)",
                                     vanished, all, group.name));
    }
    if (broken > 0) {
      warnings.push_back(fmt::format("gradients are not finite in {} of the {} parameters of {}",
                                     broken, all, group.name));
    }
  }
  return warnings;
}

void print_text(const std::string& what, const trainer::GradientReport& report) {
  fmt::print("{}: loss {:.6g}, gradient norm {:.4e}\n", what, report.loss, report.norm);
  if (report.loss_scale != 1) fmt::print("backward ran at loss scale {:g}\n", report.loss_scale);
  for (const auto& [name, value] : report.terms) fmt::print("  {:<20} {:>12.6g}\n", name, value);
  fmt::print("\n  {:<58} {:<18} {:>10} {:>10} {:>10} {:>10}\n", "parameter", "shape", "grad norm",
             "norm", "ratio", "max |g|");
  for (const trainer::GroupGradients& group : report.groups) print_group(group);
  fmt::print("\n");
  for (const std::string& warning : warnings_of(report)) fmt::print("warning: {}\n", warning);
  if (report.anomaly) fmt::print("anomaly: {} (W-002)\n", report.anomaly->text());
}

ordered_json group_json(const trainer::GroupGradients& group) {
  ordered_json parameters = ordered_json::array();
  for (const trainer::ParameterGradient& p : group.parameters) {
    parameters.push_back({{"name", p.name},
                          {"shape", p.shape},
                          {"reached", p.reached},
                          {"grad_norm", p.norm},
                          {"norm", p.weight_norm},
                          {"ratio", p.ratio()},
                          {"max", p.largest},
                          {"non_finite", p.non_finite}});
  }
  return {{"name", group.name},
          {"lr", group.lr},
          {"grad_norm", group.norm},
          {"norm", group.weight_norm},
          {"parameters", parameters}};
}

void print_json(const trainer::GradientReport& report) {
  ordered_json terms = ordered_json::object();
  for (const auto& [name, value] : report.terms) terms[name] = value;
  ordered_json groups = ordered_json::array();
  for (const trainer::GroupGradients& group : report.groups) groups.push_back(group_json(group));
  const ordered_json all{
      {"loss", report.loss},
      {"terms", terms},
      {"loss_scale", report.loss_scale},
      {"grad_norm", report.norm},
      {"non_finite", report.non_finite},
      {"groups", groups},
      {"warnings", warnings_of(report)},
      {"anomaly", report.anomaly ? ordered_json(report.anomaly->text()) : ordered_json()}};
  fmt::print("{}\n", all.dump());
}

}  // namespace

namespace {

trainer::KeptBatch batch_of(const trainer::RunData& data, const std::string& replay) {
  if (!replay.empty()) return trainer::read_kept_batch(replay);
  return {.batch = trainer::first_micro_batch(data), .reason = "", .samples = {}};
}

std::string described(const configs::Config& config, const trainer::KeptBatch& kept) {
  if (kept.step == 0) return "the first micro-batch of " + configs::pack_names(config.data.train);
  return fmt::format("micro-batch {} of step {}, of {}, skipped because {}", kept.batch.index,
                     kept.step, fmt::join(kept.samples, ", "), kept.reason);
}

// A kept batch was met in the middle of a run: its newest weights are the nearest there are.
void load_newest(const configs::Config& config, model::Detector& detector) {
  const auto folders = trainer::step_folders(std::filesystem::path(config.run.dir) / "checkpoints");
  if (folders.empty()) {
    log::info("the run has no checkpoint: the weights are those it started from");
    return;
  }
  trainer::verify_checkpoint(folders.front().path, /*with_optimizer=*/false);
  trainer::load_parameters(detector, folders.front().path);
  log::info("the weights are those of {}", folders.front().path.string());
}

}  // namespace

ExitCode check_gradients(const configs::Config& config, const std::string& replay, bool watched,
                         bool json) {
  at::set_num_threads(static_cast<int>(config.run.threads_per_rank));
  trainer::open_device(config.run, /*local_rank=*/0);
  const trainer::RunData data(config);
  const trainer::KeptBatch kept = batch_of(data, replay);
  model::Detector detector =
      trainer::build_detector(config, data.tokenizer, data.train.class_map(), data.captions.words);
  if (!replay.empty()) load_newest(config, detector);
  const trainer::GradientReport report = trainer::report_gradients(
      config, detector, kept.batch, {.number = kept.number, .watched = watched || !replay.empty()});
  if (json) {
    print_json(report);
  } else {
    print_text(described(config, kept), report);
  }
  const bool finite = report.non_finite == 0 && std::isfinite(report.loss);
  return finite ? ExitCode::kDone : ExitCode::kNumeric;
}

}  // namespace muster::launcher
