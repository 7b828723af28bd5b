#include "ops/resize_taps.h"

#include <algorithm>
#include <cmath>

namespace graphrun {
namespace {

template <typename E>
absl::StatusOr<E> OneOf(const NodeContext& c, const char* attr, const char* fallback,
                        std::initializer_list<std::pair<const char*, E>> values) {
  const std::string given = c.String(attr, fallback);
  std::string all;
  for (const auto& [name, value] : values) {
    if (given == name) return value;
    absl::StrAppend(&all, all.empty() ? "" : ", ", name);
  }
  return c.Error(attr, " is \"", given, "\" but must be one of ", all);
}

double Linear(double x) { return std::max(1 - std::fabs(x), 0.0); }

double Cubic(double x, double a) {
  x = std::fabs(x);
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

// Where output o lies on an axis of the input.
double Coordinate(double o, double scale, int64_t in, int64_t out, double start, double end,
                  ResizeMode::Coordinates coordinates) {
  using K = ResizeMode::Coordinates;
  const auto length = static_cast<double>(in);
  const double exact = scale * length;
  switch (coordinates) {
    case K::kHalfPixel:
      return (o + 0.5) / scale - 0.5;
    case K::kHalfPixelUnshifted:
      return (o + 0.5) / scale;
    case K::kHalfPixelSymmetric:
      return length / 2 * (1 - static_cast<double>(out) / exact) + (o + 0.5) / scale - 0.5;
    case K::kPytorchHalfPixel:
      return exact == 1 ? -0.5 : (o + 0.5) / scale - 0.5;
    case K::kAlignCorners:
      return exact == 1 ? 0 : o * (length - 1) / (exact - 1);
    case K::kAsymmetric:
      return o / scale;
    case K::kCropAndResize:
      return start * (length - 1) + (exact == 1 ? (end - start) * (length - 1) / 2
                                                : o * (end - start) * (length - 1) / (exact - 1));
  }
  return 0;
}

int64_t Nearest(double x, ResizeMode::Rounding rounding) {
  using R = ResizeMode::Rounding;
  switch (rounding) {
    case R::kPreferFloor:
      return static_cast<int64_t>(std::ceil(x - 0.5));
    case R::kPreferCeil:
      return static_cast<int64_t>(std::floor(x + 0.5));
    case R::kFloor:
      return static_cast<int64_t>(std::floor(x));
    case R::kCeil:
      return static_cast<int64_t>(std::ceil(x));
  }
  return 0;
}

absl::StatusOr<ResizeAxis> PlanAxis(int64_t in, int64_t out, double scale, double start, double end,
                                    const ResizeMode& mode) {
  const bool crop = mode.coordinates == ResizeMode::Coordinates::kCropAndResize;
  ResizeAxis axis;
  axis.in = in;
  axis.out = out;
  if (in == out && std::fabs(scale - 1) < 1e-9 && (!crop || (start == 0 && end == 1))) {
    axis.identity = true;
    return axis;
  }
  const bool cubic = mode.filter == ResizeMode::Filter::kCubic;
  const double shrink = mode.antialias ? std::min(scale, 1.0) : 1.0;
  const double reach = cubic ? 2 : 1;
  if (static_cast<double>(out) * reach / shrink > 1e9) {
    return LimitError("an axis of size ", in, " resized to ", out, " by the scale ", scale,
                      " needs too many weights");
  }
  // The window around floor(x): elements first, first + 1, ..., 1 - first.
  const auto first = static_cast<int64_t>(std::floor(-reach / shrink)) + 1;
  const bool nearest = mode.filter == ResizeMode::Filter::kNearest;
  axis.width = nearest ? 1 : 2 - 2 * first;
  axis.index.resize(static_cast<size_t>(out * axis.width));
  axis.weight.assign(axis.index.size(), 1);
  for (int64_t o = 0; o < out; ++o) {
    const double x =
        Coordinate(static_cast<double>(o), scale, in, out, start, end, mode.coordinates);
    int64_t* index = axis.index.data() + o * axis.width;
    double* weight = axis.weight.data() + o * axis.width;
    if (crop && !(x >= 0 && x <= static_cast<double>(in - 1))) {
      std::fill(index, index + axis.width, -1);
      std::fill(weight, weight + axis.width, 0);
      continue;
    }
    // Far beyond the input every window holds the border only.
    const double near = std::clamp(x, -1e9, static_cast<double>(in) + 1e9);
    if (nearest) {
      index[0] = std::clamp<int64_t>(Nearest(near, mode.rounding), 0, in - 1);
      continue;
    }
    const double base = std::ceil(near) - 1;  // the element left of x, also where x is whole
    double sum = 0;
    for (int64_t k = 0; k < axis.width; ++k) {
      const int64_t at = static_cast<int64_t>(base) + first + k;
      const double distance = (near - static_cast<double>(at)) * shrink;
      double w = cubic ? Cubic(distance, mode.cubic_a) : Linear(distance);
      if (mode.exclude_outside && (at < 0 || at >= in)) w = 0;
      index[k] = std::clamp<int64_t>(at, 0, in - 1);
      weight[k] = w;
      sum += w;
    }
    if ((mode.antialias || mode.exclude_outside) && sum != 0) {
      for (int64_t k = 0; k < axis.width; ++k) weight[k] /= sum;
    }
  }
  return axis;
}

}  // namespace

absl::StatusOr<ResizeMode> ResizeMode::Of(const NodeContext& c) {
  ResizeMode mode;
  GR_ASSIGN_OR_RETURN(mode.filter, OneOf<Filter>(c, "mode", "nearest",
                                                 {{"nearest", Filter::kNearest},
                                                  {"linear", Filter::kLinear},
                                                  {"cubic", Filter::kCubic}}));
  GR_ASSIGN_OR_RETURN(mode.rounding,
                      OneOf<Rounding>(c, "nearest_mode", "round_prefer_floor",
                                      {{"round_prefer_floor", Rounding::kPreferFloor},
                                       {"round_prefer_ceil", Rounding::kPreferCeil},
                                       {"floor", Rounding::kFloor},
                                       {"ceil", Rounding::kCeil}}));
  using K = Coordinates;
  GR_ASSIGN_OR_RETURN(mode.coordinates,
                      OneOf<K>(c, "coordinate_transformation_mode", "half_pixel",
                               {{"half_pixel", K::kHalfPixel},
                                {"half_pixel_symmetric", K::kHalfPixelSymmetric},
                                {"pytorch_half_pixel", K::kPytorchHalfPixel},
                                {"align_corners", K::kAlignCorners},
                                {"asymmetric", K::kAsymmetric},
                                {"tf_crop_and_resize", K::kCropAndResize},
                                {"tf_half_pixel_for_nn", K::kHalfPixelUnshifted}}));
  GR_ASSIGN_OR_RETURN(mode.policy, OneOf<Policy>(c, "keep_aspect_ratio_policy", "stretch",
                                                 {{"stretch", Policy::kStretch},
                                                  {"not_larger", Policy::kNotLarger},
                                                  {"not_smaller", Policy::kNotSmaller}}));
  mode.antialias = c.Int("antialias") != 0 && mode.filter != Filter::kNearest;
  mode.exclude_outside = c.Int("exclude_outside") != 0;
  mode.cubic_a = static_cast<double>(c.Float("cubic_coeff_a", -0.75f));
  return mode;
}

absl::StatusOr<std::vector<int64_t>> ResizeAxes(const NodeContext& c, int rank) {
  std::vector<int64_t> axes;
  if (!c.has_attr("axes")) {
    for (int i = 0; i < rank; ++i) axes.push_back(i);
    return axes;
  }
  std::vector<bool> seen(static_cast<size_t>(rank), false);
  for (const int64_t a : c.Ints("axes")) {
    const auto axis = NormalizeAxis(a, rank);
    if (!axis.ok()) return Annotate(axis.status(), c.node().Describe());
    if (seen[static_cast<size_t>(*axis)]) return c.Error("axes name axis ", *axis, " twice");
    seen[static_cast<size_t>(*axis)] = true;
    axes.push_back(*axis);
  }
  return axes;
}

absl::StatusOr<Dims> ResizedDims(const Dims& in, const ResizeRequest& request,
                                 const ResizeMode& mode, std::vector<double>* scales) {
  const size_t n = request.axes.size();
  if (request.scales.empty() == request.sizes.empty() && n > 0) {
    return ModelError("exactly one of scales and sizes must be given");
  }
  if (!request.scales.empty() && request.scales.size() != n) {
    return ModelError("scales has ", request.scales.size(), " elements but ", n, " axes need ", n);
  }
  if (!request.sizes.empty() && request.sizes.size() != n) {
    return ModelError("sizes has ", request.sizes.size(), " elements but ", n, " axes need ", n);
  }
  const bool crop = mode.coordinates == ResizeMode::Coordinates::kCropAndResize;
  if (crop && request.roi.size() != 2 * n) {
    return ModelError("roi has ", request.roi.size(), " elements but tf_crop_and_resize needs ",
                      2 * n);
  }
  Dims out = in;
  std::vector<double> factors(in.size(), 1);
  double least = 0, most = 0;
  for (size_t i = 0; i < n; ++i) {
    const auto a = static_cast<size_t>(request.axes[i]);
    if (!request.sizes.empty()) {
      if (request.sizes[i] < 0) return ModelError("sizes has the negative ", request.sizes[i]);
      if (in[a] == 0 && request.sizes[i] > 0) {
        return ModelError("axis ", a, " is empty and cannot be resized to ", request.sizes[i]);
      }
      out[a] = request.sizes[i];
      factors[a] =
          in[a] == 0 ? 1 : static_cast<double>(request.sizes[i]) / static_cast<double>(in[a]);
    } else {
      const float scale = request.scales[i];
      if (!(scale > 0 && scale < 1e9f))
        return ModelError("scales has ", scale, ", which is no scale");
      factors[a] = static_cast<double>(scale);
      // In float, as the sizes that models were exported with.
      float size = static_cast<float>(in[a]) * scale;
      if (crop) size *= static_cast<float>(request.roi[i + n] - request.roi[i]);
      if (!(size >= 0 && size < 9e15f)) return ModelError("axis ", a, " would have size ", size);
      out[a] = static_cast<int64_t>(std::floor(size));
    }
    least = i == 0 ? factors[a] : std::min(least, factors[a]);
    most = i == 0 ? factors[a] : std::max(most, factors[a]);
  }
  if (!request.sizes.empty() && mode.policy != ResizeMode::Policy::kStretch) {
    const double scale = mode.policy == ResizeMode::Policy::kNotLarger ? least : most;
    for (const int64_t axis : request.axes) {
      const auto a = static_cast<size_t>(axis);
      factors[a] = scale;
      out[a] = static_cast<int64_t>(std::floor(scale * static_cast<double>(in[a]) + 0.5));
    }
  }
  GR_RETURN_IF_ERROR(NumElements(out).status());
  if (scales != nullptr) *scales = factors;
  return out;
}

absl::StatusOr<ResizePlan> PlanResize(const Dims& in, const ResizeRequest& request,
                                      const ResizeMode& mode) {
  ResizePlan plan;
  plan.in = in;
  std::vector<double> scales;
  GR_ASSIGN_OR_RETURN(plan.out, ResizedDims(in, request, mode, &scales));
  std::vector<double> start(in.size(), 0), end(in.size(), 1);
  for (size_t i = 0; i < request.axes.size() && request.roi.size() == 2 * request.axes.size();
       ++i) {
    start[static_cast<size_t>(request.axes[i])] = request.roi[i];
    end[static_cast<size_t>(request.axes[i])] = request.roi[i + request.axes.size()];
  }
  for (size_t a = 0; a < in.size(); ++a) {
    if (Product(plan.out) == 0) {
      plan.axes.push_back({in[a], plan.out[a], 1, {}, {}, true});
    } else {
      GR_ASSIGN_OR_RETURN(ResizeAxis axis,
                          PlanAxis(in[a], plan.out[a], scales[a], start[a], end[a], mode));
      plan.axes.push_back(std::move(axis));
    }
  }
  return plan;
}

}  // namespace graphrun
