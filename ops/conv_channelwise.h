// The gradient of the weights of a convolution whose every channel has a window of its own
// (depthwise), in vector loops over lanes of channels.
#pragma once

#include "ops/conv_shape.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// Inputs and outputs as of OneDnnConvBackwardWeights. Null where it does not fit: more than one
// input or output a group, windows of other widths than 3, 5 and 7 or spread along the width, three
// axes, wide rows, types other than f32 and bf16, activations in other layouts than channels last
// and blocks of 16 channels.
std::unique_ptr<Kernel> ChannelwiseGradWeight(PrepareContext& c, const ConvShape& s);

}  // namespace graphrun
