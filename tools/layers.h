// LayerWriter: layers as ONNX nodes with weights, one behind the other.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/ir/graph.h"

namespace graphrun::cli {

inline constexpr int kNewOpset = 17;

// "DOMAIN::NAME".
bool IsOperatorOfDomain(const std::string& activation);

// Weights are zeros, normalisation is the identity. Names follow the layers: "fc1.weight".
class LayerWriter {
 public:
  explicit LayerWriter(const std::string& name);

  Value* Input(const std::string& name, DType dtype, const std::vector<int64_t>& sample);
  Value* Node(const std::string& op, std::vector<Value*> inputs, AttrMap attrs = {},
              const std::string& name = "", const std::string& domain = "");
  Value* Weight(const std::string& name, Dims dims, float value = 0);
  Value* Ints(const std::string& name, const std::vector<int64_t>& values);

  // x [N, in] -> [N, out]
  Value* Linear(Value* x, int64_t in, int64_t out, bool bias, const std::string& name);
  // x [..., in] -> [..., out], by a product and a sum
  Value* Project(Value* x, int64_t in, int64_t out, const std::string& name);
  // x [N, in, H, W]; "same" padding for odd kernels
  Value* Conv(Value* x, int64_t in, int64_t out, int64_t kernel, int64_t stride, bool bias,
              const std::string& name);
  Value* BatchNorm(Value* x, int64_t channels, const std::string& name);
  Value* LayerNorm(Value* x, int64_t features, const std::string& name);
  Value* Dropout(Value* x, double ratio, const std::string& name);
  // By a name of ActivationNames(), or a plugin's operator of one input ("graphrun.siren::Sine").
  Value* Activation(Value* x, const std::string& activation, const std::string& name);

  // Makes `value` the output under that name, and the graph sound.
  absl::StatusOr<std::unique_ptr<Graph>> Finish(Value* value, const std::string& name);

 private:
  std::unique_ptr<Graph> graph_;
};

}  // namespace graphrun::cli
