// Float tensors for tests, the same in every run.
#pragma once

#include "runtime/base/tensor.h"

namespace graphrun {

// float32 numbers in [-0.5, 0.5), drawn by `seed`.
inline Tensor RandomTensor(const Dims& dims, uint32_t seed) {
  Tensor t(DType::kFloat32, dims);
  uint32_t state = seed + 1;
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    state = state * 1664525u + 1013904223u;
    t.mutable_data<float>()[i] = static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
  }
  return t;
}

}  // namespace graphrun
