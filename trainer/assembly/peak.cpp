#include "trainer/assembly/peak.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/core.h>

#include <algorithm>
#include <ctime>
#include <string_view>

#include "sharding/cuda_library.h"
#include "trainer/assembly/options.h"

namespace muster::trainer {
namespace {

// Dense, without the doubling for sparse matrices; fp16 with sums in fp32, as bf16.
struct GpuPeak {
  std::string_view names;  // each between bars
  double sixteen_bits;
  double fp32;  // without TF32, which LibTorch does not use unless told
  std::string_view source;
};

constexpr GpuPeak kGpuPeaks[] = {
    {"|NVIDIA H200|NVIDIA H100 80GB HBM3|", 989, 67, "NVIDIA H100 and H200 data sheets, SXM"},
    {"|NVIDIA H100 NVL|NVIDIA H200 NVL|", 835, 60, "NVIDIA H100 and H200 data sheets, NVL"},
    {"|NVIDIA H100 PCIe|", 756, 51, "NVIDIA H100 data sheet, PCIe"},
    {"|NVIDIA A100-SXM4-40GB|NVIDIA A100-SXM4-80GB|NVIDIA A100-PCIE-40GB|NVIDIA A100 80GB PCIe|",
     312, 19.5, "NVIDIA A100 data sheet"},
    {"|NVIDIA L40S|", 362, 91.6, "NVIDIA L40S data sheet"},
    {"|NVIDIA L4|", 121, 30.3, "NVIDIA L4 data sheet"},
    {"|NVIDIA A10|", 125, 31.2, "NVIDIA A10 data sheet"},
};

// Of this thread's processor: what else runs on the machine must not make the peak small, and a
// step's share of it large.
double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double seconds_of_product(const at::Tensor& a, const at::Tensor& b) {
  const double start = processor_seconds();
  at::mm(a, b);
  return processor_seconds() - start;
}

// The best of a few: neighbours also take caches and clock rate.
double cpu_peak_tflops(at::ScalarType dtype) {
  constexpr std::int64_t kSize = 768;
  constexpr int kTries = 4;
  const c10::InferenceMode no_graph;
  const at::Tensor a = at::ones({kSize, kSize}, dtype);
  double best = seconds_of_product(a, a);
  for (int i = 1; i < kTries; ++i) best = std::min(best, seconds_of_product(a, a));
  return 2.0 * kSize * kSize * kSize / best / 1e12;
}

}  // namespace

double gpu_peak_tflops(const std::string& name, configs::Dtype dtype) {
  for (const GpuPeak& gpu : kGpuPeaks) {
    if (gpu.names.find("|" + name + "|") == std::string_view::npos) continue;
    return dtype == configs::Dtype::kFp32 ? gpu.fp32 : gpu.sixteen_bits;
  }
  return 0;
}

std::string gpu_peaks_table() {
  std::string table =
      "| GPU, as its driver names it | bf16, fp16 | fp32 | source |\n|---|---|---|---|\n";
  for (const GpuPeak& gpu : kGpuPeaks) {
    std::string names(gpu.names.substr(1, gpu.names.size() - 2));
    for (std::size_t at = 0; (at = names.find('|', at)) != std::string::npos; at += 2)
      names.replace(at, 1, ", ");
    table += fmt::format("| {} | {} | {} | {} |\n", names, gpu.sixteen_bits, gpu.fp32, gpu.source);
  }
  return table;
}

double peak_tflops(const configs::Config& config) {
  if (config.logging.peak_tflops) return *config.logging.peak_tflops;
  if (config.run.device == configs::Device::kCuda)
    return gpu_peak_tflops(sharding::load_cuda_library().device_name(), config.model.dtype);
  return cpu_peak_tflops(scalar_type(config.model.dtype));
}

}  // namespace muster::trainer
