// The gradient of a convolution by its weights in bf16, as one product for each element of the
// window: sums in f32 over pairs of output positions, which the processor multiplies at once.
#pragma once

#include "ops/channel_runs.h"
#include "ops/conv_shape.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// Output 0 of ConvGradWeight in f32, made in OIhw8i16o2i, from bf16 activations that have channels
// last or in blocks of 16; two spatial axes, one group. Nothing where the types, the sizes or the
// processor are others, where there are too few channels for it to pay, or where the sum over dy is
// wanted as well.
std::unique_ptr<Kernel> PairsConvBackwardWeights(PrepareContext& c, const ConvShape& s);

namespace pairs {

// Whether this build has instructions for products of bf16 pairs. WeightGradient REQUIRES it.
bool IsBuilt();

// Where the elements of an activation lie: 16 channels from `block * block_step` on, positions
// `step` apart, images `image_step` apart.
struct Places {
  int64_t channels = 0, step = 0, block_step = 0, image_step = 0;

  // REQUIRES: one block of all channels or blocks of 16.
  static Places Of(const ChannelRuns& r);
};

// The runs of a bf16 activation that has channels last or in blocks of 16, as it is; channels last
// of any other. Nothing where the tensor is too large.
absl::optional<ChannelRuns> RunsOf(PrepareContext& c, int input);

struct Sums {
  ConvShape s;
  Places x, dy;
  int64_t pairs = 0, in_blocks = 0, out_blocks = 0, taps = 0;
  int64_t parts = 1;  // of the positions, summed apart; does not depend on the number of threads

  // REQUIRES: two spatial axes, one group, sizes of at least 1.
  static Sums Of(const ConvShape& s, const ChannelRuns& x, const ChannelRuns& dy);
  // Of the gradient, both numbers of channels rounded up to 16.
  int64_t floats() const;
  int64_t scratch_floats(int threads) const;
};

// dw [out_blocks, in_blocks, kernel..., 8 i, 16 o, 2 i]; zeros behind the last channels.
void WeightGradient(const Sums& z, int threads, const BFloat16* x, const BFloat16* dy, float* dw,
                    float* scratch);

}  // namespace pairs
}  // namespace graphrun
