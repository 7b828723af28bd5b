// Convolutions of f32 and bf16 by Winograd's algorithm (ops/winograd.h, ops/winograd_bf16.h), as
// kernels.
#pragma once

#include "ops/conv_shape.h"
#include "ops/post_op.h"
#include "ops/winograd.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// GRAPHRUN_WINOGRAD=off: direct sums, which round less, here and in oneDNN.
bool WinogradIsOff();

// The sizes of a convolution of `type` that the algorithm fits: windows of 3 x 3 with steps of 1,
// no groups, multiples of 16 channels, at least one image; nothing where it is left out.
absl::optional<winograd::Sizes> WinogradSizes(DType type, const ConvShape& s);

// Inputs and outputs as of OneDnnConv and its gradients; `added`: an input that is added before the
// activation, -1: none. Null where the algorithm does not fit or does not pay: windows other than
// 3 x 3 with steps of 1, groups, channels that are no multiple of 16, few outputs or channels,
// types other than f32 and bf16, activations other than Relu and Clip.
std::unique_ptr<Kernel> WinogradConv(PrepareContext& c, const ConvShape& s,
                                     const PostOp& activation, int added);
std::unique_ptr<Kernel> WinogradConvBackwardData(PrepareContext& c, const ConvShape& s);
// Of f32 only; ops/winograd_pairs.h has that of bf16.
std::unique_ptr<Kernel> WinogradConvBackwardWeights(PrepareContext& c, const ConvShape& s);

// Whether WinogradConv fits f32 of these sizes and pays even where it transforms the weights.
bool WinogradPays(const ConvShape& s);

// The layout of constant weights of f32 or bf16 that WinogradConv wants.
Layout WinogradWeights(DType dtype, const Dims& w);
// A reorder of row-major weights into it; null where `to` is another layout.
std::unique_ptr<Kernel> WinogradReorder(DType dtype, const Dims& w, const Layout& from,
                                        const Layout& to);

}  // namespace graphrun
