// StridedView: a regular part of a tensor, as Slice, Pad and their gradients move it.
#pragma once

#include "runtime/base/dtype.h"
#include "runtime/base/shape.h"

namespace graphrun {

// Element [i, j, ...] of the view is element offset + i * strides[0] + j * strides[1] + ... of the
// tensor. Strides may be negative or 0.
struct StridedView {
  int64_t offset = 0;
  Dims dims, strides;
};

// Copies the view of `src` to consecutive elements of `dst`.
void GatherView(DType dtype, const void* src, const StridedView& view, void* dst);

// Copies consecutive elements of `src` to the view of `dst`. REQUIRES: no stride of 0 where the
// size is above 1.
void ScatterView(DType dtype, const void* src, void* dst, const StridedView& view);

}  // namespace graphrun
