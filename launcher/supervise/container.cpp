#include "launcher/supervise/container.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/files.h"

namespace muster::launcher {
namespace {

// The host's path means nothing inside.
void use_path_of_container(std::vector<std::string>& program) {
  program.at(0) = fs::path(program[0]).filename().string();
}

}  // namespace

void enter_container(LaunchSpec& spec, const std::string& image, bool gpu) {
  use_path_of_container(spec.wrapper);
  use_path_of_container(spec.rank_program);
  const std::string here = fs::current_path().string();
  const std::string run_dir = spec.run_dir.string();
  if (fs::path(image).extension() == ".sif") {
    std::vector<std::string> enter = {"apptainer",          "exec",  "--bind",
                                      here + "," + run_dir, "--pwd", here};
    if (gpu) enter.push_back("--nv");
    enter.push_back(image);
    spec.wrapper.insert(spec.wrapper.begin(), enter.begin(), enter.end());
    return;
  }
  if (spec.starter.kind != StarterKind::kSrun)
    throw UsageError(fmt::format(
        "--container {}: without srun only an Apptainer image (.sif) can be used", image));
  for (const std::string& option :
       {"--container-image=" + image,
        fmt::format("--container-mounts={0}:{0},{1}:{1}", here, run_dir),
        "--container-workdir=" + here})
    spec.starter.options.push_back(option);
}

}  // namespace muster::launcher
