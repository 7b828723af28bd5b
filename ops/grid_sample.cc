// GridSample: an image sampled at given places; ai.graphrun.GridSampleGrad: the gradients of both.
//
// Source: https://onnx.ai/onnx/operators/onnx__GridSample.html (16, 20, 22); the cubic filter is
// equation (4) of Keys (1981) with a = -0.75. Until version 19 the modes are called bilinear and
// bicubic. Any number of spatial axes. Gradients at kinks (whole coordinates, borders) are those of
// the side that the sample takes.
#include <cmath>

#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

enum class Mode { kNearest, kLinear, kCubic };
enum class Padding { kZeros, kBorder, kReflection };

struct Sampler {
  Mode mode = Mode::kLinear;
  Padding padding = Padding::kZeros;
  bool align_corners = false;
  int64_t batch = 0, channels = 0, pixels = 1, points = 1;
  Dims sizes, strides;  // spatial axes of the image
  int Width() const { return mode == Mode::kNearest ? 1 : mode == Mode::kLinear ? 2 : 4; }
};

absl::StatusOr<Sampler> SamplerOf(const NodeContext& c) {
  Sampler s;
  const std::string mode = c.String("mode", "linear"), padding = c.String("padding_mode", "zeros");
  if (mode == "nearest") {
    s.mode = Mode::kNearest;
  } else if (mode == "cubic" || mode == "bicubic") {
    s.mode = Mode::kCubic;
  } else if (mode != "linear" && mode != "bilinear") {
    return c.Error("mode is \"", mode, "\" but must be nearest, linear or cubic");
  }
  if (padding == "border") {
    s.padding = Padding::kBorder;
  } else if (padding == "reflection") {
    s.padding = Padding::kReflection;
  } else if (padding != "zeros") {
    return c.Error("padding_mode is \"", padding, "\" but must be zeros, border or reflection");
  }
  s.align_corners = c.Int("align_corners") != 0;
  return s;
}

void SetSizes(Sampler& s, const Dims& image, const Dims& grid) {
  s.batch = image[0];
  s.channels = image[1];
  s.sizes.assign(image.begin() + 2, image.end());
  s.strides = RowMajorStrides(s.sizes);
  s.pixels = Product(s.sizes);
  s.points = Product(absl::MakeConstSpan(grid).subspan(1, grid.size() - 2));
}

absl::Status CheckGrid(const InferContext& c, const Shape& x, const Shape& grid) {
  if (!x.has_rank() || !grid.has_rank()) return absl::OkStatus();
  if (x.rank() < 3 || grid.rank() != x.rank()) {
    return c.Error("the input has shape ", x.ToString(), " and the grid ", grid.ToString(),
                   ": both must have the same rank, at least 3");
  }
  const Dim& last = grid[grid.rank() - 1];
  if (last.is_number() && last.value() != x.rank() - 2) {
    return c.Error("the grid has shape ", grid.ToString(), " but its last axis must have one ",
                   "coordinate for each of ", x.rank() - 2, " spatial axes");
  }
  if (x[0].is_number() && grid[0].is_number() && x[0].value() != grid[0].value()) {
    return c.Error("the input has ", x[0].value(), " samples and the grid ", grid[0].value());
  }
  return absl::OkStatus();
}

absl::Status InferGridSample(InferContext& c) {
  const Shape &x = c.input_shape(0), &grid = c.input_shape(1);
  GR_RETURN_IF_ERROR(SamplerOf(c).status());
  GR_RETURN_IF_ERROR(CheckGrid(c, x, grid));
  if (!x.has_rank() || !grid.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  std::vector<Dim> dims = {x[0].is_number() ? x[0] : grid[0], x[1]};
  dims.insert(dims.end(), grid.dims().begin() + 1, grid.dims().end() - 1);
  c.set_output(0, c.input_dtype(0), Shape(std::move(dims)));
  return absl::OkStatus();
}

absl::Status InferGridSampleGrad(InferContext& c) {
  GR_RETURN_IF_ERROR(SamplerOf(c).status());
  GR_RETURN_IF_ERROR(CheckGrid(c, c.input_shape(1), c.input_shape(2)));
  c.set_output(0, c.input_dtype(1), c.input_shape(1));
  c.set_output(1, c.input_dtype(2), c.input_shape(2));
  return absl::OkStatus();
}

// x mirrored at both borders until it lies between them; *slope becomes its derivative.
double Reflect(double x, double low, double high, double* slope) {
  const double range = high - low;
  if (range <= 0) {
    *slope = 0;
    return low;
  }
  if (x >= low && x <= high) return x;
  const double past = x < low ? low - x : x - high;
  const double turns = std::floor(past / range), rest = past - turns * range;
  const bool from_low = (x < low) == (std::fmod(turns, 2) == 0);
  *slope *= (x < low) == from_low ? -1 : 1;
  return from_low ? low + rest : high - rest;
}

double CubicWeight(double d, double* slope) {
  constexpr double a = -0.75;
  const double x = std::fabs(d), sign = d < 0 ? -1 : 1;
  if (x <= 1) {
    *slope = sign * (3 * (a + 2) * x - 2 * (a + 3)) * x;
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  }
  if (x >= 2) {
    *slope = 0;
    return 0;
  }
  *slope = sign * ((3 * a * x - 10 * a) * x + 8 * a);
  return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

// One axis of one sample: up to four elements, their weights and the weights' derivatives by the
// normalised coordinate. An index of -1 is a zero outside.
struct AxisTaps {
  int64_t index[4];
  double weight[4], slope[4];
};

void FindTaps(const Sampler& s, size_t axis, double normal, AxisTaps* taps) {
  const auto size = static_cast<double>(s.sizes[axis]);
  double x = s.align_corners ? (normal + 1) / 2 * (size - 1) : ((normal + 1) * size - 1) / 2;
  double dx = (s.align_corners ? size - 1 : size) / 2;
  if (!(std::fabs(x) < 1e15)) x = -1e15;  // NaN and far outside
  if (s.mode == Mode::kNearest) {
    x = std::nearbyint(x);
    dx = 0;
  }
  const double low = s.align_corners ? 0 : -0.5, high = s.align_corners ? size - 1 : size - 0.5;
  if (x < low || x > high) {
    if (s.padding == Padding::kBorder) {
      x = std::clamp(x, 0.0, size - 1);
      dx = 0;
    } else if (s.padding == Padding::kReflection) {
      x = Reflect(x, low, high, &dx);
    }
  }
  const double base = std::floor(x);
  const int width = s.Width(), first = s.mode == Mode::kCubic ? -1 : 0;
  for (int k = 0; k < width; ++k) {
    double at = base + first + k, unused = 0;
    double slope = 0, weight = 1;
    if (s.mode == Mode::kLinear) {
      weight = k == 0 ? 1 - (x - base) : x - base;
      slope = k == 0 ? -1 : 1;
    } else if (s.mode == Mode::kCubic) {
      weight = CubicWeight(x - at, &slope);
    }
    if (s.padding == Padding::kBorder) {
      at = std::clamp(at, 0.0, size - 1);
    } else if (s.padding == Padding::kReflection) {
      at = std::trunc(std::clamp(Reflect(at, low, high, &unused), 0.0, size - 1));
    }
    taps->index[k] = at >= 0 && at < size ? static_cast<int64_t>(at) : -1;
    taps->weight[k] = weight;
    taps->slope[k] = slope * dx;
  }
}

// Calls f(offset, weight, slopes[axes]) for every element that a sample reads.
template <typename F>
void ForEachTap(const Sampler& s, const std::vector<AxisTaps>& taps, F&& f) {
  const size_t axes = taps.size();
  const int width = s.Width();
  int64_t combinations = 1;
  for (size_t a = 0; a < axes; ++a) combinations *= width;
  double slopes[16];
  for (int64_t combination = 0; combination < combinations; ++combination) {
    int64_t rest = combination, offset = 0;
    double weight = 1;
    int which[16];
    bool inside = true;
    for (size_t a = axes; a-- > 0;) {
      which[a] = static_cast<int>(rest % width);
      rest /= width;
      inside &= taps[a].index[which[a]] >= 0;
      offset += taps[a].index[which[a]] * s.strides[a];
      weight *= taps[a].weight[which[a]];
    }
    if (!inside) continue;
    for (size_t a = 0; a < axes; ++a) {
      slopes[a] = taps[a].slope[which[a]];
      for (size_t o = 0; o < axes; ++o) {
        if (o != a) slopes[a] *= taps[o].weight[which[o]];
      }
    }
    f(offset, weight, slopes);
  }
}

// The taps of a point; coordinates lie in the grid from the last axis to the first.
template <typename T>
void PointTaps(const Sampler& s, const T* point, std::vector<AxisTaps>* taps) {
  const size_t axes = s.sizes.size();
  for (size_t a = 0; a < axes; ++a)
    FindTaps(s, a, static_cast<double>(point[axes - 1 - a]), &(*taps)[a]);
}

using Types = FloatTypes;

absl::StatusOr<std::unique_ptr<Kernel>> GridSampleKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(Sampler s, SamplerOf(c));
  SetSizes(s, c.input_dims(0), c.input_dims(1));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(Types(), c.input_dtype(0), [&]<typename T>() {
    DispatchDType(Types(), c.input_dtype(1), [&]<typename G>() {
      kernel = MakeKernel([s](RunContext& r) {
        const T* x = r.input(0).data<T>();
        const G* grid = r.input(1).data<G>();
        T* y = r.output(0).mutable_data<T>();
        const auto axes = static_cast<int64_t>(s.sizes.size());
        if (s.pixels == 0) {
          std::fill(y, y + r.output(0).num_elements(), T(Compute<T>(0)));
          return absl::OkStatus();
        }
        ParallelFor(s.batch * s.points,
                    std::max<int64_t>(1024 / std::max<int64_t>(s.channels, 1), 1),
                    [&](int64_t begin, int64_t end) {
                      std::vector<AxisTaps> taps(s.sizes.size());
                      std::vector<double> sums(static_cast<size_t>(s.channels));
                      for (int64_t i = begin; i < end; ++i) {
                        const int64_t n = i / s.points, p = i % s.points;
                        PointTaps(s, grid + i * axes, &taps);
                        std::fill(sums.begin(), sums.end(), 0);
                        const T* image = x + n * s.channels * s.pixels;
                        ForEachTap(s, taps, [&](int64_t at, double weight, const double*) {
                          for (int64_t ch = 0; ch < s.channels; ++ch) {
                            sums[static_cast<size_t>(ch)] +=
                                weight * static_cast<double>(image[ch * s.pixels + at]);
                          }
                        });
                        for (int64_t ch = 0; ch < s.channels; ++ch) {
                          y[(n * s.channels + ch) * s.points + p] =
                              T(static_cast<Compute<T>>(sums[static_cast<size_t>(ch)]));
                        }
                      }
                    });
        return absl::OkStatus();
      });
    });
  });
  return kernel;
}

// dimage += weight * dy at every element read; dgrid = sum of slope * image * dy. One thread a
// sample, so that sums have a fixed order.
absl::StatusOr<std::unique_ptr<Kernel>> GridSampleGradKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(Sampler s, SamplerOf(c));
  SetSizes(s, c.input_dims(1), c.input_dims(2));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(Types(), c.input_dtype(1), [&]<typename T>() {
    DispatchDType(Types(), c.input_dtype(2), [&]<typename G>() {
      kernel = MakeKernel([s](RunContext& r) {
        const T* dy = r.input(0).data<T>();
        const T* x = r.input(1).data<T>();
        const G* grid = r.input(2).data<G>();
        T* dx = r.has_output(0) ? r.output(0).mutable_data<T>() : nullptr;
        G* dgrid = r.has_output(1) ? r.output(1).mutable_data<G>() : nullptr;
        const size_t axes = s.sizes.size();
        const int64_t image_size = s.channels * s.pixels;
        ParallelFor(s.batch, 1, [&](int64_t begin, int64_t end) {
          std::vector<AxisTaps> taps(axes);
          std::vector<double> sums(static_cast<size_t>(image_size));
          double slopes[16];
          for (int64_t n = begin; n < end; ++n) {
            std::fill(sums.begin(), sums.end(), 0);
            const T* image = x + n * image_size;
            for (int64_t p = 0; p < s.points; ++p) {
              const int64_t i = n * s.points + p;
              PointTaps(s, grid + i * static_cast<int64_t>(axes), &taps);
              std::fill(slopes, slopes + axes, 0);
              if (image_size > 0) {
                ForEachTap(s, taps, [&](int64_t at, double weight, const double* slope) {
                  double along = 0;
                  for (int64_t ch = 0; ch < s.channels; ++ch) {
                    const auto g = static_cast<double>(dy[(n * s.channels + ch) * s.points + p]);
                    sums[static_cast<size_t>(ch * s.pixels + at)] += weight * g;
                    along += g * static_cast<double>(image[ch * s.pixels + at]);
                  }
                  for (size_t a = 0; a < axes; ++a) slopes[a] += slope[a] * along;
                });
              }
              for (size_t a = 0; a < axes && dgrid != nullptr; ++a) {
                dgrid[i * static_cast<int64_t>(axes) + static_cast<int64_t>(axes - 1 - a)] =
                    G(static_cast<Compute<G>>(slopes[a]));
              }
            }
            for (int64_t e = 0; e < image_size && dx != nullptr; ++e)
              dx[n * image_size + e] = T(static_cast<Compute<T>>(sums[static_cast<size_t>(e)]));
          }
        });
        return absl::OkStatus();
      });
    });
  });
  return kernel;
}

OpDef WithModes(OpDef def) {
  return def.Attr("align_corners", 0)
      .Attr("mode", "linear")
      .Attr("padding_mode", "zeros")
      .Types("T1", kFloats)
      .Types("T2", kFloats);
}

// Places spread over [-limit, limit), none of them at a kink.
Tensor Spread(Dims dims, double limit) {
  Tensor t(DType::kFloat32, std::move(dims));
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    const double turn = std::fmod(0.37 + 0.6180339887 * static_cast<double>(i), 1.0);
    t.mutable_data<float>()[i] = static_cast<float>(limit * (2 * turn - 1));
  }
  return t;
}

Sample Points(const char* mode, const char* padding, int align_corners) {
  return Sample()
      .In({2, 2, 3, 4})
      .In(Spread({2, 2, 3, 2}, 1.4))
      .Attr("mode", mode)
      .Attr("padding_mode", padding)
      .Attr("align_corners", align_corners);
}

}  // namespace

void RegisterGridSampleOps(OpRegistry& ops) {
  ops.Add(
      WithModes(OpDef("GridSample", 16)
                    .Versions({16, 20, 22})
                    .Input("X", "T1")
                    .Input("grid", "T2")
                    .Output("Y", "T1"))
          .Infer(InferGridSample)
          .Kernel("native", GridSampleKernel)
          .Gradient([](GradContext& g) {
            const auto grads = g.builder().Ops("GridSampleGrad", {g.dy(), g.x(0), g.x(1)}, 2,
                                               g.node().attrs(), kGraphrunDomain);
            g.dx(0, grads[0]);
            g.dx(1, grads[1]);
          })
          .Try(Points("linear", "zeros", 0))
          .Try(Points("linear", "border", 1))
          .Try(Points("linear", "reflection", 0))
          .Try(Points("cubic", "zeros", 0))
          .Try(Points("cubic", "border", 0))
          .Try(Points("cubic", "reflection", 1))
          .Try(Points("nearest", "border", 0).NoGradient("jumps with the grid"))
          .Try(Sample().In({1, 2, 2, 3, 2}).In(Spread({1, 2, 1, 2, 3}, 1.2)))
          .Try(Sample().In({1, 1, 3}).In(Spread({1, 4, 1}, 0.9)))
          .Try(Sample().In({1, 1, 3, 3}).In({1, 2, 2, 3}).Refused("one coordinate for each of 2"))
          .Try(Points("area", "zeros", 0).Refused("mode is \"area\"")));
  ops.Add(WithModes(OpDef("GridSampleGrad", 1, kGraphrunDomain)
                        .Input("dY", "T1")
                        .Input("X", "T1")
                        .Input("grid", "T2")
                        .Output("dX", "T1")
                        .Output("dgrid", "T2"))
              .Infer(InferGridSampleGrad)
              .Kernel("native", GridSampleGradKernel)
              .NotDifferentiable("second derivatives of sampling are not provided")
              .Try(Sample().In({1, 2, 2, 2}).In({1, 2, 3, 4}).In({1, 2, 2, 2}, -1, 1).Outputs(2)));
}

}  // namespace graphrun
