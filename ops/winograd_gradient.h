// The gradient of a convolution by its weights, by Winograd's algorithm.
#pragma once

#include "ops/winograd.h"

namespace graphrun::winograd {

// Whether WeightGradient is faster than direct sums.
bool WeightGradientPays(const Sizes& s);

// Scratch floats that WeightGradient needs.
int64_t GradientFloats(const Sizes& s);
// dw (OIhw16i16o) and, unless null, db (one for each output channel) of x and y's gradient.
// REQUIRES: IsBuilt().
void WeightGradient(const Sizes& s, const float* x, const float* dy, float* dw, float* db,
                    float* scratch);

}  // namespace graphrun::winograd
