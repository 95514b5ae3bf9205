// golden_check DIR...: compares muster with numbers made by other programs. Each directory's form
// is recognised from the files in it; a directory of such directories is walked. Exit 0 when
// everything compared passed, 1 when something did not, 64 when a directory has no form this
// program knows.
#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "golden_check/coco.h"
#include "golden_check/model.h"
#include "golden_check/processor.h"
#include "golden_check/report.h"

namespace {

namespace fs = std::filesystem;
using muster::golden::Report;

struct Form {
  bool (*recognise)(const fs::path& dir);
  bool (*check)(const fs::path& dir, Report& report);
};

bool check_or_skip_model(const fs::path& dir, Report& report) {
  if (muster::golden::is_supported_model(dir)) return muster::golden::check_model(dir, report);
  fmt::print("SKIP {}: its model_type is not supported\n", dir.string());
  return true;
}

constexpr Form kForms[] = {
    {muster::golden::is_model_dir, check_or_skip_model},
    {muster::golden::is_processor_dir, muster::golden::check_processor},
    {muster::golden::is_coco_dir, muster::golden::check_coco},
};

// False when neither `dir` nor any directory in it has a form.
bool check_tree(const fs::path& dir, Report& report) {
  bool known = false;
  for (const Form& form : kForms) {
    if (!form.recognise(dir)) continue;
    form.check(dir, report);
    known = true;
  }
  if (known) return true;
  std::vector<fs::path> inside;
  for (const auto& entry : fs::directory_iterator(dir))
    if (entry.is_directory()) inside.push_back(entry.path());
  std::sort(inside.begin(), inside.end());
  for (const fs::path& child : inside) known = check_tree(child, report) || known;
  return known;
}

constexpr int kUsage = static_cast<int>(muster::ExitCode::kUsage);

int run(int argc, char** argv) {
  Report report;
  bool all_known = true;
  for (int i = 1; i < argc; ++i) {
    if (fs::is_directory(argv[i]) && check_tree(argv[i], report)) continue;
    fmt::print(stderr, "{}: not a directory of oracles: no model, processor or COCO cases in it\n",
               argv[i]);
    all_known = false;
  }
  fmt::print("{} compared, {} failed\n", report.lines, report.failures);
  if (!all_known) return kUsage;
  return report.failures == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: golden_check DIR...\n");
    return kUsage;
  }
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {  // a directory that cannot be read
    fmt::print(stderr, "golden_check: {}\n", error.what());
    return kUsage;
  }
}
