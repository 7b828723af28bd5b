// The gradient of a convolution by its weights in f32, straight from activations in blocks of 16
// channels or channels last: a tile of the weights between blocks of channels is summed in
// registers over all output positions of one element of the window.
#pragma once

#include "ops/conv_shape.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// Whether the kernel below takes a node: f32, one group, whole blocks of 16 inputs and outputs, a
// processor with AVX-512.
bool ServesTiles(const ConvShape& s, DType activations, DType weights);

// Inputs dy, x, w (sizes only); outputs dw in OI...16i16o, db (optional). Null where ServesTiles
// says no.
std::unique_ptr<Kernel> TilesConvBackwardWeights(PrepareContext& c, const ConvShape& s);

}  // namespace graphrun
