// Gradients of convolutions with narrow groups (depthwise ones are the narrowest): sixteen
// neighbouring channels, whole groups, are one vector.
#pragma once

#include "ops/conv_shape.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// Whether the two below take a node: groups of 1, 2, 4 or 8 inputs and as many outputs, at least 16
// channels, f32 or bf16 activations, weights of their type (f32 also where they are made from
// bf16), a processor with AVX-512.
bool ServesGroups(const ConvShape& s, DType activations, DType weights);

// Inputs dy, w, x (sizes only); output dx. Null where ServesGroups says no.
std::unique_ptr<Kernel> GroupsConvBackwardData(PrepareContext& c, const ConvShape& s);

// Inputs dy, x, w (sizes only); outputs dw, db (optional), in the layout of w. Null where
// ServesGroups says no.
std::unique_ptr<Kernel> GroupsConvBackwardWeights(PrepareContext& c, const ConvShape& s);

}  // namespace graphrun
