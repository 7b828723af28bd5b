// Winograd's algorithm F(4x4, 3x3) for convolutions with 3 x 3 windows and steps of 1: 36 products
// for 16 outputs of a pair of channels, where direct sums take 144.
//
// Outputs are cut into tiles of 4 x 4, each of which sees 6 x 6 inputs. Both the tiles and the
// windows are transformed to 6 x 6 numbers (polynomials evaluated at 0, +-11/16, +-3/2 and
// infinity: points that round less than the usual 0, +-1, +-2), multiplied and summed over the
// channels, one matrix product for each of the 36 places, and transformed back. Activations lie in
// blocks of 16 channels (nChw16c), weights in blocks of 16 x 16 (OIhw16i16o).
#pragma once

#include <cstdint>
#include <limits>

namespace graphrun::winograd {

struct Sizes {
  int64_t batch = 0;
  int64_t inputs = 0, outputs = 0;  // channels, multiples of 16
  int64_t in_h = 0, in_w = 0, out_h = 0, out_w = 0;
  // Output (h, w) sees inputs from (h - pad_h, w - pad_w) on; zeros outside.
  int64_t pad_h = 0, pad_w = 0;

  int64_t tiles_h() const { return (out_h + 3) / 4; }
  int64_t tiles_w() const { return (out_w + 3) / 4; }
  int64_t tiles() const { return batch * tiles_h() * tiles_w(); }
  // The gradient by the input: the convolution of y's gradient with the weights turned by half.
  Sizes Reversed() const;
};

// Whether this build has the vector registers that the kernels are written for. Everything below
// REQUIRES it.
bool IsBuilt();

// Whether Winograd's way is faster than direct sums, by measurements on a processor with AVX-512.
// Direct sums cost 9 for each output position and pair of channels; a tile costs `product` for its
// sums and `transforms` for a pair of channels' transforms, and the weights cost `weights`.
bool Pays(const Sizes& s, double product, double transforms, double weights);

// The form of a convolution's weights.
enum class Weights {
  kPlain,        // OIhw16i16o
  kTurned,       // of the convolution whose gradient by the input this is: OIhw16i16o of its axes
  kTransformed,  // by TransformWeights
};

// Transformed weights cost less than those that are transformed at each run.
bool ConvolvePays(const Sizes& s, Weights form);

// Whether Convolve transforms plain weights as it goes: where there are few tiles, it reads a
// quarter of what it would read of transformed ones. It then takes no transformed weights.
bool TransformsAsItGoes(const Sizes& s);

// Floats of transformed weights, for `inputs` and `outputs` channels.
int64_t WeightFloats(int64_t inputs, int64_t outputs);
// Transforms kPlain or kTurned weights of a convolution from `inputs` to `outputs` channels.
void TransformWeights(int64_t inputs, int64_t outputs, Weights form, const float* w, float* to);

// What happens to each result before it is rounded to T and stored: + bias[channel] + added[same
// place], then min(max(v, low), high).
template <typename T>
struct EpilogueOf {
  const float* bias = nullptr;
  const T* added = nullptr;  // as y; may be y
  bool clamps = false;
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};
using Epilogue = EpilogueOf<float>;

// Scratch floats that Convolve needs with so many threads.
int64_t ConvolveFloats(const Sizes& s, int threads, Weights form);
// y of x and weights.
void Convolve(const Sizes& s, int threads, const float* x, Weights form, const float* weights,
              const Epilogue& epilogue, float* y, float* scratch);

}  // namespace graphrun::winograd
