#include "trainer/assembly/peak.h"

#include <catch2/catch_test_macros.hpp>

#include "base/files.h"
#include "support/test_paths.h"
#include "trainer/tiny_run.h"

namespace muster::trainer {
namespace {

TEST_CASE("peak: a known GPU's by its whole name, nothing for any other", "[unit]") {
  using configs::Dtype;
  CHECK(gpu_peak_tflops("NVIDIA H200", Dtype::kBf16) == 989);
  CHECK(gpu_peak_tflops("NVIDIA H100 80GB HBM3", Dtype::kFp16) == 989);
  CHECK(gpu_peak_tflops("NVIDIA H100 PCIe", Dtype::kBf16) == 756);
  CHECK(gpu_peak_tflops("NVIDIA A100-SXM4-80GB", Dtype::kFp32) == 19.5);
  CHECK(gpu_peak_tflops("NVIDIA H2", Dtype::kBf16) == 0);
  CHECK(gpu_peak_tflops("", Dtype::kBf16) == 0);
}

TEST_CASE("peak: what the config says, else on a CPU what a product reaches", "[unit]") {
  const TempDir dir;
  CHECK(peak_tflops(test::tiny_config(dir.path(), {"logging.peak_tflops=1.5"})) == 1.5);
  const double measured = peak_tflops(test::tiny_config(dir.path()));
  CHECK(measured > 1e-4);
  CHECK(measured < 100);
}

TEST_CASE("docs/flops.md has the table of GPUs as it is now", "[unit]") {
  const std::string page = read_text(test::source_dir() / "docs" / "flops.md");
  CHECK((page.find(gpu_peaks_table()) != std::string::npos));
}

}  // namespace
}  // namespace muster::trainer
