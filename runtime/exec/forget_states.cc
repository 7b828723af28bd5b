#include "runtime/exec/forget_states.h"

#include <algorithm>

namespace graphrun {

Tensor Placeholder(const Tensor& tensor) {
  constexpr int64_t kSmall = 16 << 10;
  constexpr int64_t kLarge = 1 << 20;  // zeros of that size are pages of no memory
  if (tensor.byte_size() < kSmall || tensor.dtype() == DType::kString) return tensor;
  const Tensor zeros = Tensor::Zeros(DType::kUInt8, {std::max(tensor.byte_size(), kLarge)});
  return Tensor::View(tensor.dtype(), tensor.dims(), const_cast<void*>(zeros.raw()), zeros.owner());
}

void ForgetStateValues(Graph& graph) {
  for (const StateUpdate& s : graph.states())
    graph.SetInitializer(s.state, Placeholder(s.state->initializer()));
}

}  // namespace graphrun
