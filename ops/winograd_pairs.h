// The gradient of a 3 x 3 convolution by its weights in bf16, by Winograd's algorithm
// (ops/winograd.h): tiles of 4 x 4 gradients and the 6 x 6 inputs that they saw are transformed in
// f32, rounded to bf16 and multiplied in pairs of tiles, with sums in f32.
#pragma once

#include "ops/conv_pairs.h"
#include "ops/winograd.h"

namespace graphrun {

// ConvGradWeight in f32, output 0 made in OIhw8i16o2i, from bf16 activations that have channels
// last or in blocks of 16. Nothing where the types, the sizes or the processor are others or where
// it does not pay.
std::unique_ptr<Kernel> WinogradPairsConvBackwardWeights(PrepareContext& c, const ConvShape& s);

namespace winograd {

// How a gradient is summed; the same for every number of threads.
struct PairSums {
  Sizes s;
  pairs::Places x, dy;
  int64_t pairs = 0;      // of tiles whose transforms are kept at once
  int64_t in_blocks = 0;  // whose sums are kept at once where all tiles are

  // REQUIRES: `s.batch` >= 1, outputs.
  static PairSums Of(const Sizes& s, const pairs::Places& x, const pairs::Places& dy);
  // Whether `pairs` has all tiles: then sums are finished block by block.
  bool whole() const { return pairs * 2 >= s.tiles(); }
  int64_t scratch_bytes(int threads) const;
};

// Whether WeightGradient by pairs of tiles is faster than by pairs of positions.
bool PairsPay(const Sizes& s);

// dw [outputs / 16, inputs / 16, 3, 3, 8 i, 16 o, 2 i] and, unless null, db (one for each output
// channel). REQUIRES: pairs::IsBuilt().
void WeightGradient(const PairSums& z, int threads, const BFloat16* x, const BFloat16* dy,
                    float* dw, float* db, void* scratch);

}  // namespace winograd
}  // namespace graphrun
