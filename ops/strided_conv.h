// Convolutions of f32 with steps of 2: products of 14 outputs of a row and 32 channels, straight
// from the activations' blocks of 16 channels. oneDNN's lose a sixth to a third of a product's
// speed there.
#pragma once

#include <cstdint>
#include <limits>

#include "ops/conv_shape.h"
#include "ops/post_op.h"
#include "runtime/op/kernel.h"

namespace graphrun {

namespace strided_conv {

struct Sizes {
  int64_t batch = 0;
  int64_t inputs = 0, outputs = 0;  // channels, multiples of 16 and of 32
  int64_t in_h = 0, in_w = 0, out_h = 0, out_w = 0;
  int64_t kernel_h = 0, kernel_w = 0;
  int64_t pad_h = 0, pad_w = 0;  // zeros above and on the left; others as out_h and out_w need them
};

// Each result: + bias[channel], if any, then min(max(v, low), high).
struct Epilogue {
  const float* bias = nullptr;
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};

// Whether this build has the vector registers that Convolve is written for; it REQUIRES them.
bool IsBuilt();

// x and y in blocks of 16 channels (nChw16c), w as OIhw16i32o. A result does not depend on the
// number of threads.
void Convolve(const Sizes& s, int threads, const float* x, const float* w, const Epilogue& epilogue,
              float* y);

}  // namespace strided_conv

// Inputs and outputs as of OneDnnConv. Null where the sizes are not its: steps other than 2,
// windows of one place, groups, channels that do not fill blocks, weights that are not constant, an
// input that is added (`added`, -1: none), types other than f32, activations other than Relu and
// Clip.
std::unique_ptr<Kernel> StridedConv(PrepareContext& c, const ConvShape& s, const PostOp& activation,
                                    int added);

}  // namespace graphrun
