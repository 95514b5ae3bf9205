#include "model/qwen/shapes.h"

#include "model/qwen/qwen_net.h"

namespace muster::model {

// The towers are built of shape-only tensors, so the list cannot differ from what the forward pass
// uses.
std::vector<NamedShape> parameter_shapes(const QwenConfig& config) {
  std::vector<NamedShape> shapes;
  QwenNet net(config);
  net.visit([&](const std::string& name, at::Tensor& tensor) {
    shapes.emplace_back(name, tensor.sizes().vec());
  });
  return shapes;
}

}  // namespace muster::model
