// Winograd's algorithm F(2x2, 3x3) for bf16 convolutions with 3 x 3 windows and steps of 1: 16
// products for 4 outputs of a pair of channels, where direct sums take 36.
//
// As ops/winograd.h with tiles of 2 x 2 outputs that see 4 x 4 inputs, and points 0, +-1 and
// infinity: their transforms are sums of four numbers, so that rounding transformed tiles and
// weights to bf16 costs little more than rounding activations does. Products of pairs of input
// channels are summed in f32 and transformed back in f32. Activations lie in blocks of 16 channels
// (nChw16c), weights in OIhw8i16o2i.
#pragma once

#include "ops/winograd.h"
#include "runtime/base/numbers.h"

namespace graphrun::winograd_bf16 {

using winograd::Sizes;
using winograd::Weights;

// Whether this build has instructions for products of bf16 pairs. Everything below REQUIRES it.
bool IsBuilt();

// Whether it is faster than direct sums.
bool Pays(const Sizes& s, Weights form);
// Numbers of transformed weights, for `inputs` and `outputs` channels.
int64_t WeightCount(int64_t inputs, int64_t outputs);
// Transforms kPlain or kTurned weights of a convolution from `inputs` to `outputs` channels.
void TransformWeights(int64_t inputs, int64_t outputs, Weights form, const BFloat16* w,
                      BFloat16* to);

using Epilogue = winograd::EpilogueOf<BFloat16>;

// Scratch bytes that Convolve needs with so many threads.
int64_t ConvolveBytes(const Sizes& s, int threads, Weights form);
// y of x and weights. `scratch` begins at a multiple of 64.
void Convolve(const Sizes& s, int threads, const BFloat16* x, Weights form, const BFloat16* weights,
              const Epilogue& epilogue, BFloat16* y, void* scratch);

}  // namespace graphrun::winograd_bf16
