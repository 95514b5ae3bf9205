// This brings what the device that computes makes to the host, while both go on: the copy waits its
// turn behind what is queued, and the host waits when it wants to read. On the CPU the tensors
// themselves are returned.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <optional>
#include <vector>

namespace muster::model {

class Download {
 public:
  // f32 tensors of one device, without a graph. They travel as one.
  explicit Download(std::vector<at::Tensor> made);

  // The same values and shapes on the host, where they may be read.
  const std::vector<at::Tensor>& wait();

 private:
  std::vector<at::Tensor> tensors_;
  std::optional<c10::Event> arrived_;
};

}  // namespace muster::model
