// Multiply-adds of products and convolutions, from the sizes of their tensors.
#pragma once

#include "runtime/op/node_context.h"

namespace graphrun {

// Every element of output 0 of A @ B is a sum over A's last axis (its last but one where `transA`
// says so).
double MatMulMultiplyAdds(const NodeContext& c);

// A convolution or one of its gradients: every element of the convolution's output is a sum over a
// filter. `y`: the number of the input that has the output's sizes, -1: output 0. `w`: the number
// of the input with the filters [outputs, ...].
double ConvMultiplyAdds(const NodeContext& c, int y, int w);

// Inputs 0 to 2: X [T, B, I], W [D, G*H, I], R [D, G*H, H]; every row of X meets every row of W and
// of R.
double RecurrentMultiplyAdds(const NodeContext& c);

// Inputs 0 and 1: queries and keys, their last but one axis the positions; output 0 has a sum over
// the keys' positions for each element, and so have the scores for each element of the queries.
double AttentionMultiplyAdds(const NodeContext& c);

}  // namespace graphrun
