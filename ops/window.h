// Window: how a convolution or a pooling slides over the spatial axes of [N, C, spatial...].
//
// Attributes kernel_shape, strides, dilations, pads, auto_pad and ceil_mode as the standard gives
// them: https://onnx.ai/onnx/operators/onnx__Conv.html, onnx__MaxPool.html,
// onnx__ConvTranspose.html
#pragma once

#include <array>

#include "runtime/op/infer_context.h"
#include "runtime/op/op_def.h"

namespace graphrun {

// One entry per spatial axis. A dilation of 1 is a dense window.
struct Window {
  Dims kernel, strides, dilations, pads_begin, pads_end;

  int rank() const { return static_cast<int>(kernel.size()); }
  // Input elements that a window spans along an axis.
  int64_t Extent(int axis) const {
    const auto a = static_cast<size_t>(axis);
    return (kernel[a] - 1) * dilations[a] + 1;
  }
};

// Declares the attributes that ReadWindow reads; WithPoolWindow also declares ceil_mode.
OpDef WithWindow(OpDef def);
OpDef WithPoolWindow(OpDef def);

// The attributes as written, checked: lengths agree with the number of spatial axes, sizes and
// strides are positive, pads are not negative, nothing overflows. Pads are zeros where auto_pad
// decides. `weight` gives the kernel's sizes where there is no kernel_shape (null: it is required).
absl::StatusOr<Window> ReadWindow(const NodeContext& c, int spatial, const Shape* weight);

// `window` with the pads that auto_pad asks for on inputs of these spatial sizes.
Window ResolvePads(const NodeContext& c, Window window, const Dims& input);

// The output size along every axis; unknown where the input's size is a symbol that it depends on.
absl::StatusOr<std::vector<Dim>> SlideOver(const NodeContext& c, const Window& window,
                                           const std::vector<Dim>& input);

// As ReadWindow and SlideOver for a transposed convolution: attributes output_padding and
// output_shape take part. The pads of the result are resolved where `input` is concrete; its
// output sizes go to `output`.
absl::StatusOr<Window> ReadTransposedWindow(const NodeContext& c, const std::vector<Dim>& input,
                                            const Shape& weight, std::vector<Dim>* output);

// The spatial part of a shape [N, C, spatial...].
std::vector<Dim> SpatialDims(const Shape& shape);
Dims SpatialDims(const Dims& dims);

// The window's attributes, pads resolved, for a node of another operator.
AttrMap WindowAttrs(const Window& window);

}  // namespace graphrun
