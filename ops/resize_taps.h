// ResizeTaps: which elements, with which weights, make an element of a resized axis.
//
// Source: https://onnx.ai/onnx/operators/onnx__Resize.html; the cubic filter is equation (4) of
// Keys, "Cubic convolution interpolation for digital image processing" (1981).
#pragma once

#include <vector>

#include "runtime/op/infer_context.h"

namespace graphrun {

// The attributes of Resize.
struct ResizeMode {
  enum class Filter { kNearest, kLinear, kCubic } filter = Filter::kNearest;
  enum class Rounding { kPreferFloor, kPreferCeil, kFloor, kCeil } rounding{};
  enum class Coordinates {
    kHalfPixel,
    kHalfPixelUnshifted,  // tf_half_pixel_for_nn of Resize-11
    kHalfPixelSymmetric,
    kPytorchHalfPixel,
    kAlignCorners,
    kAsymmetric,
    kCropAndResize
  } coordinates{};
  enum class Policy { kStretch, kNotLarger, kNotSmaller } policy{};
  bool antialias = false, exclude_outside = false;
  double cubic_a = -0.75;

  // Errors name the attribute that has no such value.
  static absl::StatusOr<ResizeMode> Of(const NodeContext& c);
};

// One axis: out[o] = sum over k < width of weight[o * width + k] * in[index[o * width + k]]; an
// index of -1 marks an output that lies outside the region of interest.
struct ResizeAxis {
  int64_t in = 0, out = 0, width = 1;
  std::vector<int64_t> index;
  std::vector<double> weight;
  bool identity = false;
};

struct ResizePlan {
  Dims in, out;
  std::vector<ResizeAxis> axes;
};

// What Resize's inputs say: each empty where it is left out; by axis of `axes`.
struct ResizeRequest {
  std::vector<int64_t> axes;  // normalised
  std::vector<double> roi;    // starts, then ends
  std::vector<float> scales;
  std::vector<int64_t> sizes;
};

// The axes that attribute `axes` names (all where it is not set), normalised.
absl::StatusOr<std::vector<int64_t>> ResizeAxes(const NodeContext& c, int rank);

// The sizes of the result, and the scale of each axis where `scales` is not null.
absl::StatusOr<Dims> ResizedDims(const Dims& in, const ResizeRequest& request,
                                 const ResizeMode& mode, std::vector<double>* scales);

absl::StatusOr<ResizePlan> PlanResize(const Dims& in, const ResizeRequest& request,
                                      const ResizeMode& mode);

}  // namespace graphrun
