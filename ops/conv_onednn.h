// Convolutions on oneDNN: forward, both gradients, transposed.
#pragma once

#include <dnnl.hpp>

#include "ops/conv_shape.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// Each gives null where oneDNN does not take the node, or only by its reference implementation.
// Layouts: what the neighbours have, where oneDNN is fast on it; else channels in blocks of 16 for
// f32, channels last for bf16, and whatever oneDNN asks for where channels are few.

// Inputs x, w, bias (optional); output y, after `activation` where that is given. Input `added`
// (-1: none) has y's sizes and is added in front of the activation; its memory may be y's.
absl::StatusOr<std::unique_ptr<Kernel>> OneDnnConv(PrepareContext& c, const ConvShape& s,
                                                   const dnnl::post_ops* activation = nullptr,
                                                   int added = -1);

// Inputs dy, w, x (sizes only); output dx.
absl::StatusOr<std::unique_ptr<Kernel>> OneDnnConvBackwardData(PrepareContext& c,
                                                               const ConvShape& s);

// Inputs dy, x, w (sizes only); outputs dw, db (optional).
absl::StatusOr<std::unique_ptr<Kernel>> OneDnnConvBackwardWeights(PrepareContext& c,
                                                                  const ConvShape& s);

// Inputs x, w [G*I, O, kernel...], bias (optional); output y. `s` is the convolution that it
// transposes: s.in are y's sizes.
absl::StatusOr<std::unique_ptr<Kernel>> OneDnnConvTranspose(PrepareContext& c, const ConvShape& s);

}  // namespace graphrun
