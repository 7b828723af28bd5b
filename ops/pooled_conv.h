// A convolution of small images with bias, activation and max-pooling of 2 x 2 windows in one pass:
// what the convolution makes never leaves the registers before it is pooled.
//
// For every output the windows' four sums are made side by side over offsets into a padded copy of
// one image, so that any kernel's size and number of channels is served alike. A sum runs in order:
// results depend neither on the number of threads nor on the batch.
#pragma once

#include "ops/conv_shape.h"
#include "ops/post_op.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// Null where the sizes, types or weights are not its. Inputs 0, 1, 2: x, constant w, and a bias or
// none; output 0: [N, O, out / 2...].
std::unique_ptr<Kernel> PooledConv(PrepareContext& c, const ConvShape& s, const PostOp& activation);

// True for activations that may as well follow the pooling, as PooledConv applies them.
bool PoolsFirst(const PostOp& activation);

// Packs weights `dims` for PooledConv; null where `to` is not one of its layouts.
std::unique_ptr<Kernel> PooledConvReorder(DType dtype, const Dims& dims, const Layout& from,
                                          const Layout& to);

}  // namespace graphrun
