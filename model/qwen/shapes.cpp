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

std::vector<std::string> adaptable_layers(const QwenConfig& config) {
  std::vector<std::string> names;
  QwenNet net(config);
  net.visit(ParamVisitor::layers([&](const std::string& name, Linear&) {
    if (name != "lm_head") names.push_back(name);
  }));
  return names;
}

std::vector<NamedShape> adapter_shapes(const QwenConfig& config, const LoraOptions& lora) {
  std::vector<NamedShape> shapes;
  QwenNet net(config, lora);
  net.visit([&](const std::string& name, at::Tensor& tensor) {
    if (is_adapter(name)) shapes.emplace_back(name, tensor.sizes().vec());
  });
  return shapes;
}

}  // namespace muster::model
