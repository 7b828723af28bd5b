// A convolution of few outputs as one matrix product.
#pragma once

#include <dnnl.hpp>

#include "ops/conv_shape.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// The windows of all outputs are gathered as rows of a matrix, which is multiplied by the weights.
// Where a batch has only few output positions over many channels (the last layers of a network that
// looks at one image) a convolution kernel reads its weights once for each row of outputs; the
// product reads them once. Inputs and outputs as of OneDnnConv; y's channels come last. Null where
// that does not pay: more than 64 output positions, weights that are not constant, grouped or
// 1 x 1 windows, types other than f32.
absl::StatusOr<std::unique_ptr<Kernel>> ProductConv(PrepareContext& c, const ConvShape& s,
                                                    const dnnl::post_ops* activation, int added);

}  // namespace graphrun
