#include "runtime/op/sample.h"

#include "runtime/base/rng.h"

namespace graphrun {

std::vector<Tensor> Sample::Materialize(DType dtype) const {
  std::vector<Tensor> tensors;
  uint64_t index = 0;
  for (const Input& in : inputs_) {
    ++index;
    if (in.fill == Fill::kOmitted || in.fill == Fill::kDatum) {
      tensors.emplace_back();
      continue;
    }
    if (in.fill == Fill::kTensor && in.tensor.dtype() != DType::kFloat32) {
      tensors.push_back(in.tensor);
      continue;
    }
    Tensor t = Tensor::Zeros(dtype, in.dims);
    Rng rng(Mix(0x5eed, index));
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      double v = 0;
      if (in.fill == Fill::kTensor) {
        v = static_cast<double>(in.tensor.data<float>()[i]);
      } else {
        v = in.fill == Fill::kNormal ? rng.Normal() : rng.Uniform(in.low, in.high);
        // Short mantissas, so that the same numbers are exact in every element type above 8 bits.
        v = std::nearbyint(v * 64) / 64;
      }
      DispatchDType(FloatTypes(), dtype, [&]<typename T>() { t.mutable_data<T>()[i] = T(v); });
    }
    tensors.push_back(std::move(t));
  }
  return tensors;
}

}  // namespace graphrun
