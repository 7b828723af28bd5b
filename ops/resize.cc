// Resize, Upsample: tensors sampled at another resolution; ai.graphrun.ResizeGrad: the gradient.
//
// Source: https://onnx.ai/onnx/operators (Resize 10, 11, 13, 18, 19; Upsample 1, 7, 9, 10). nearest
// takes every element type, linear and cubic take numbers; integers are rounded and clipped. Sizes
// from scales are floor(size * scale) in float32. Axes are resized one after the other.
#include <cmath>
#include <limits>

#include "ops/move.h"
#include "ops/resize_taps.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

std::vector<double> Doubles(const Tensor* t) {
  std::vector<double> values;
  for (int64_t i = 0; t != nullptr && i < t->num_elements(); ++i) values.push_back(t->AsDouble(i));
  return values;
}

// `first`: the number of input roi; scales and sizes follow.
ResizeRequest RequestOf(const Tensor* roi, const Tensor* scales, const Tensor* sizes,
                        std::vector<int64_t> axes) {
  ResizeRequest request;
  request.axes = std::move(axes);
  request.roi = Doubles(roi);
  for (const double s : Doubles(scales)) request.scales.push_back(static_cast<float>(s));
  if (sizes != nullptr) request.sizes = sizes->AsInt64s();
  return request;
}

absl::Status InferResize(InferContext& c) {
  const Shape& x = c.input_shape(0);
  GR_ASSIGN_OR_RETURN(const ResizeMode mode, ResizeMode::Of(c));
  if (mode.filter != ResizeMode::Filter::kNearest && !kNumeric.Contains(c.input_dtype(0)) &&
      c.input_dtype(0) != DType::kUndefined) {
    return c.Error("mode ", c.String("mode"), " is for numbers, not for ",
                   DTypeName(c.input_dtype(0)));
  }
  if (!x.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(std::vector<int64_t> axes, ResizeAxes(c, x.rank()));
  const bool crop = mode.coordinates == ResizeMode::Coordinates::kCropAndResize;
  const auto known = [&](int i) { return !c.has_input(i) || c.constant(i) != nullptr; };
  Shape y = x;
  if ((!crop || known(1)) && known(2) && known(3)) {
    // Axes of unknown size stand in as 1; what they become is unknown unless nothing changes them.
    Dims in;
    for (const Dim& d : x.dims()) in.push_back(d.is_number() ? d.value() : 1);
    const ResizeRequest request =
        RequestOf(c.constant(1), c.constant(2), c.constant(3), std::move(axes));
    const auto out = ResizedDims(in, request, mode, nullptr);
    if (!out.ok()) return Annotate(out.status(), c.node().Describe());
    const bool stretched = mode.policy == ResizeMode::Policy::kStretch || request.sizes.empty();
    for (size_t i = 0; i < request.axes.size(); ++i) {
      const auto a = static_cast<int>(request.axes[i]);
      const int64_t size = (*out)[static_cast<size_t>(a)];
      if (x.is_concrete() || (stretched && (x[a].is_number() || !request.sizes.empty()))) {
        y[a] = Dim(size);
      } else if (!(stretched && request.scales[i] == 1 && !crop)) {
        y[a] = Dim();
      }
    }
  } else {
    const auto sizes = c.sizes(3);
    for (size_t i = 0; i < axes.size(); ++i) {
      const bool from_sizes =
          sizes && sizes->size() == axes.size() && mode.policy == ResizeMode::Policy::kStretch;
      y[static_cast<int>(axes[i])] = from_sizes ? (*sizes)[i] : Dim();
    }
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::Status InferResizeGrad(InferContext& c) {
  GR_RETURN_IF_ERROR(ResizeMode::Of(c).status());
  c.set_output(0, c.input_dtype(0), c.input_shape(1));
  return absl::OkStatus();
}

template <typename T, typename C>
T Narrow(C v) {
  if constexpr (std::is_integral_v<T>) {
    const double rounded = std::nearbyint(static_cast<double>(v));
    constexpr auto kLow = static_cast<double>(std::numeric_limits<T>::min());
    constexpr auto kHigh = static_cast<double>(std::numeric_limits<T>::max());
    if (rounded >= kHigh) return std::numeric_limits<T>::max();
    return rounded <= kLow ? std::numeric_limits<T>::min() : static_cast<T>(rounded);
  } else {
    return T(v);
  }
}

// What sums are made in: float for floats up to 32 bits, double otherwise.
template <typename T>
using Sum = std::conditional_t<std::is_same_v<Compute<T>, float>, float, double>;

// x [outer, in, inner] -> y [outer, out, inner]
template <typename C>
void Along(const ResizeAxis& axis, int64_t outer, int64_t inner, const C* x, C* y, C outside) {
  const int64_t width = axis.width;
  if (inner == 1) {
    ParallelFor(outer, std::max<int64_t>(16384 / (axis.out * width), 1),
                [&](int64_t begin, int64_t end) {
                  for (int64_t o = begin; o < end; ++o) {
                    const C* row = x + o * axis.in;
                    for (int64_t i = 0; i < axis.out; ++i) {
                      const int64_t* index = axis.index.data() + i * width;
                      const double* weight = axis.weight.data() + i * width;
                      C sum = index[0] < 0 ? outside : C(0);
                      for (int64_t k = 0; k < width && index[0] >= 0; ++k)
                        sum += static_cast<C>(weight[k]) * row[index[k]];
                      y[o * axis.out + i] = sum;
                    }
                  }
                });
    return;
  }
  ParallelFor(outer * axis.out, std::max<int64_t>(16384 / (inner * width), 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t i = begin; i < end; ++i) {
                  const int64_t* index = axis.index.data() + i % axis.out * width;
                  const double* weight = axis.weight.data() + i % axis.out * width;
                  C* to = y + i * inner;
                  std::fill(to, to + inner, index[0] < 0 ? outside : C(0));
                  for (int64_t k = 0; k < width && index[0] >= 0; ++k) {
                    const C* from = x + (i / axis.out * axis.in + index[k]) * inner;
                    const C w = static_cast<C>(weight[k]);
                    for (int64_t e = 0; e < inner; ++e) to[e] += w * from[e];
                  }
                }
              });
}

// dy [outer, out, inner] -> dx [outer, in, inner], the transpose of Along.
template <typename C>
void Back(const ResizeAxis& axis, int64_t outer, int64_t inner, const C* dy, C* dx) {
  ParallelFor(outer, std::max<int64_t>(16384 / std::max<int64_t>(axis.out * inner, 1), 1),
              [&](int64_t begin, int64_t end) {
                std::fill(dx + begin * axis.in * inner, dx + end * axis.in * inner, C(0));
                for (int64_t o = begin; o < end; ++o) {
                  for (int64_t i = 0; i < axis.out * axis.width; ++i) {
                    const auto at = static_cast<size_t>(i);
                    if (axis.index[at] < 0) continue;
                    const C* from = dy + (o * axis.out + i / axis.width) * inner;
                    C* to = dx + (o * axis.in + axis.index[at]) * inner;
                    const C w = static_cast<C>(axis.weight[at]);
                    for (int64_t e = 0; e < inner; ++e) to[e] += w * from[e];
                  }
                }
              });
}

// Applies step(axis, outer, inner, from, to) for every axis that changes, the intermediate results
// in two buffers.
template <typename T, typename F>
absl::Status EachAxis(const ResizePlan& p, bool back, const T* x, T* y, F&& step) {
  using C = Sum<T>;
  Dims dims = back ? p.out : p.in;
  std::vector<C> from(x, x + Product(dims)), to;
  for (size_t k = 0; k < dims.size(); ++k) {
    const size_t a = back ? dims.size() - 1 - k : k;
    if (p.axes[a].identity) continue;
    const int64_t outer = Product(absl::MakeConstSpan(dims).subspan(0, a));
    const int64_t inner = Product(absl::MakeConstSpan(dims).subspan(a + 1));
    dims[a] = back ? p.in[a] : p.out[a];
    GR_RETURN_IF_ERROR(NumElements(dims).status());
    to.resize(static_cast<size_t>(Product(dims)));
    step(p.axes[a], outer, inner, from.data(), to.data());
    from.swap(to);
  }
  for (size_t i = 0; i < from.size(); ++i) y[i] = Narrow<T>(from[i]);
  return absl::OkStatus();
}

// One index map an axis; rows are copied where the last axis stays.
template <typename W>
void NearestRows(const ResizePlan& p, const W* x, W* y, const W& outside) {
  const size_t rank = p.in.size();
  const Dims strides = RowMajorStrides(p.in);
  const bool whole = rank == 0 || p.axes.back().identity;
  const int64_t n = rank == 0 ? 1 : p.out.back();
  ParallelFor(Product(p.out) / n, RowGrain(n * static_cast<int64_t>(sizeof(W))),
              [&](int64_t begin, int64_t end) {
                for (int64_t r = begin; r < end; ++r) {
                  int64_t rest = r, at = 0;
                  for (size_t a = rank == 0 ? 0 : rank - 1; a-- > 0;) {
                    const int64_t o = rest % p.out[a];
                    rest /= p.out[a];
                    const int64_t i =
                        p.axes[a].identity ? o : p.axes[a].index[static_cast<size_t>(o)];
                    at = i < 0 || at < 0 ? -1 : at + i * strides[a];
                  }
                  W* row = y + r * n;
                  if (at < 0) {
                    std::fill(row, row + n, outside);
                  } else if (whole) {
                    CopyRow(x + at, row, n);
                  } else {
                    const int64_t* index = p.axes.back().index.data();
                    for (int64_t i = 0; i < n; ++i)
                      row[i] = index[i] < 0 ? outside : x[at + index[i]];
                  }
                }
              });
}

absl::StatusOr<std::unique_ptr<Kernel>> ResizeKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ResizeMode mode, ResizeMode::Of(c));
  const Dims in = c.input_dims(0);
  GR_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, ResizeAxes(c, static_cast<int>(in.size())));
  const float outside = c.Float("extrapolation_value");
  const auto make = [in, axes, mode](const InputValues& v) {
    return PlanResize(in, RequestOf(v[1], v[2], v[3], axes), mode);
  };
  if (mode.filter == ResizeMode::Filter::kNearest) {
    return KernelByValues(
        c, {1, 2, 3}, make, [outside](const ResizePlan& p, RunContext& r) -> absl::Status {
          const DType dtype = r.input(0).dtype();
          GR_RETURN_IF_ERROR(r.ResizeOutput(0, dtype, p.out));
          if (Product(p.out) == 0) return absl::OkStatus();
          Tensor fill = Tensor::Zeros(dtype, {});
          DispatchDType(NumericTypes(), dtype,
                        [&]<typename T>() { *fill.mutable_data<T>() = Narrow<T>(outside); });
          DispatchWidth(dtype, [&]<typename W>() {
            NearestRows(p, static_cast<const W*>(r.input(0).raw()),
                        static_cast<W*>(r.output(0).mutable_raw()),
                        *static_cast<const W*>(fill.raw()));
          });
          return absl::OkStatus();
        });
  }
  absl::StatusOr<std::unique_ptr<Kernel>> kernel = std::unique_ptr<Kernel>();
  DispatchDType(NumericTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = KernelByValues(
        c, {1, 2, 3}, make, [outside](const ResizePlan& p, RunContext& r) -> absl::Status {
          GR_RETURN_IF_ERROR(r.ResizeOutput(0, r.input(0).dtype(), p.out));
          if (Product(p.out) == 0) return absl::OkStatus();
          using C = Sum<T>;
          return EachAxis(p, false, r.input(0).data<T>(), r.output(0).mutable_data<T>(),
                          [&](const ResizeAxis& axis, int64_t outer, int64_t inner, const C* x,
                              C* y) { Along<C>(axis, outer, inner, x, y, C(outside)); });
        });
  });
  return kernel;
}

absl::StatusOr<std::unique_ptr<Kernel>> ResizeGradKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ResizeMode mode, ResizeMode::Of(c));
  const Dims in = c.input_dims(1);
  GR_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, ResizeAxes(c, static_cast<int>(in.size())));
  absl::StatusOr<std::unique_ptr<Kernel>> kernel = std::unique_ptr<Kernel>();
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = KernelByValues(
        c, {2, 3, 4},
        [in, axes, mode](const InputValues& v) {
          return PlanResize(in, RequestOf(v[2], v[3], v[4], axes), mode);
        },
        [](const ResizePlan& p, RunContext& r) -> absl::Status {
          T* dx = r.output(0).mutable_data<T>();
          if (r.input(0).dims() != p.out) {
            return ModelError("dy has shape ", DimsToString(r.input(0).dims()), " but must have ",
                              DimsToString(p.out));
          }
          if (Product(p.out) == 0) {
            std::fill(dx, dx + r.output(0).num_elements(), T(0));
            return absl::OkStatus();
          }
          using C = Sum<T>;
          return EachAxis(p, true, r.input(0).data<T>(), dx,
                          [&](const ResizeAxis& axis, int64_t outer, int64_t inner, const C* dy,
                              C* to) { Back<C>(axis, outer, inner, dy, to); });
        });
  });
  return kernel;
}

// For each axis: dy with that axis last, times the [out, in] matrix of its weights.
void ResizeGradBody(BodyContext& b) {
  Builder& e = b.builder();
  const Shape& like = b.x(1).shape();
  const auto constant = [&](int i) -> const Tensor* {
    return b.has_input(i) ? &b.node().input(i)->initializer() : nullptr;
  };
  for (int i = 2; i < 5; ++i) {
    if (b.has_input(i) && !b.node().input(i)->is_constant())
      return b.Refuse(ModelError("roi, scales and sizes must be constant"));
  }
  if (!like.is_concrete()) return b.Refuse(ModelError("the input's sizes must be known"));
  const auto mode = ResizeMode::Of(b);
  const auto axes = ResizeAxes(b, like.rank());
  if (!mode.ok() || !axes.ok()) return b.Refuse(mode.ok() ? axes.status() : mode.status());
  const auto plan =
      PlanResize(like.ToDims(), RequestOf(constant(2), constant(3), constant(4), *axes), *mode);
  if (!plan.ok()) return b.Refuse(plan.status());
  Expr dx = b.x(0);
  const int rank = like.rank();
  for (int a = 0; a < rank; ++a) {
    const ResizeAxis& axis = plan->axes[static_cast<size_t>(a)];
    if (axis.identity) continue;
    std::vector<double> matrix(static_cast<size_t>(axis.out * axis.in));
    for (int64_t i = 0; i < axis.out * axis.width; ++i) {
      const int64_t at = axis.index[static_cast<size_t>(i)];
      if (at < 0) continue;
      matrix[static_cast<size_t>(i / axis.width * axis.in + at)] +=
          axis.weight[static_cast<size_t>(i)];
    }
    Tensor weights(dx.dtype(), {axis.out, axis.in});
    DispatchDType(FloatTypes(), dx.dtype(), [&]<typename T>() {
      for (size_t i = 0; i < matrix.size(); ++i)
        weights.mutable_data<T>()[i] = T(static_cast<Compute<T>>(matrix[i]));
    });
    std::vector<int64_t> swap;
    for (int i = 0; i < rank; ++i) swap.push_back(i);
    std::swap(swap[static_cast<size_t>(a)], swap[static_cast<size_t>(rank - 1)]);
    dx = Transpose(MatMul(Transpose(dx, swap), e.Constant(weights)), swap);
  }
  b.Return(Identity(dx));
}

// Version 10 and Upsample: coordinates are divided by the scale, nearest rounds down.
void AsymmetricBody(BodyContext& b, Expr scales) {
  const std::string mode = b.String("mode", "nearest");
  b.Return(b.Op("Resize", {b.x(0), Expr(), scales},
                {{"mode", mode == "bilinear" ? "linear" : mode},
                 {"coordinate_transformation_mode", "asymmetric"},
                 {"nearest_mode", "floor"}}));
}

absl::Status InferByScales(InferContext& c, const Tensor* scales) {
  const Shape& x = c.input_shape(0);
  if (!x.has_rank() || scales == nullptr) {
    c.set_output(0, c.input_dtype(0), x.has_rank() ? Shape::UnknownOfRank(x.rank()) : Shape());
    return absl::OkStatus();
  }
  if (scales->num_elements() != x.rank()) {
    return c.Error("scales has ", scales->num_elements(), " elements but the input has ", x.rank(),
                   " axes");
  }
  Shape y = x;
  for (int i = 0; i < x.rank(); ++i) {
    const auto scale = static_cast<float>(scales->AsDouble(i));
    if (!(scale > 0)) return c.Error("scales has ", scale, ", which is no scale");
    if (scale == 1) continue;
    y[i] = x[i].is_number()
               ? Dim(static_cast<int64_t>(std::floor(static_cast<float>(x[i].value()) * scale)))
               : Dim();
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

Tensor AttrScales(const NodeContext& c) {
  const std::vector<float> scales = c.Floats("scales");
  return Tensor::Of<float>({static_cast<int64_t>(scales.size())}, absl::MakeConstSpan(scales));
}

OpDef ResizeLike(OpDef def) {
  return def.Attr("antialias", 0)
      .Attr("axes", Attr::Kind::kInts)
      .Attr("coordinate_transformation_mode", "half_pixel")
      .Attr("cubic_coeff_a", -0.75f)
      .Attr("exclude_outside", 0)
      .Attr("extrapolation_value", 0.0f)
      .Attr("keep_aspect_ratio_policy", "stretch")
      .Attr("mode", "nearest")
      .Attr("nearest_mode", "round_prefer_floor")
      .Types("T2", kFloats);
}

// Scales are constant float32 whatever type the sample takes.
Sample Scaled(Dims dims, std::vector<float> scales, const char* mode) {
  const auto n = static_cast<int64_t>(scales.size());
  return Sample()
      .In(std::move(dims))
      .None()
      .In(Tensor::Of<float>({n}, absl::MakeConstSpan(scales)))
      .Constant()
      .Attr("mode", mode);
}
Sample Sized(Dims dims, std::vector<int64_t> sizes, const char* mode) {
  return Sample().In(std::move(dims)).None().None().In(Tensor::Int64s(sizes)).Attr("mode", mode);
}

// Version 1 names the scales of the last two axes.
absl::Status InferUpsample1(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (x.has_rank() && x.rank() != 4) {
    return c.Error("the input has shape ", x.ToString(), " but must be [N, C, H, W]");
  }
  const Tensor scales =
      Tensor::Of<float>({4}, {1, 1, c.Float("height_scale"), c.Float("width_scale")});
  return InferByScales(c, &scales);
}

}  // namespace

void RegisterResizeOps(OpRegistry& ops) {
  const char* const kCoordinates = "coordinate_transformation_mode";
  ops.Add(
      ResizeLike(OpDef("Resize", 11)
                     .Versions({11, 13, 18, 19})
                     .Input("X", "T1")
                     .Input("roi", "T2", Arity::kOptional)
                     .Input("scales", "T3", Arity::kOptional)
                     .Input("sizes", "int64", Arity::kOptional)
                     .Output("Y", "T1"))
          .Types("T1", kAnyType)
          .Types("T3", kFloats)
          .Infer(InferResize)
          .NoGradientFor({1, 2, 3})
          .Kernel("native", ResizeKernel)
          .Gradient([](GradContext& g) {
            g.dx(0, g.builder().Op("ResizeGrad", {g.dy(), g.x(0), g.x(1), g.x(2), g.x(3)},
                                   g.node().attrs(), kGraphrunDomain));
          })
          .Try(Scaled({1, 2, 2, 3}, {1, 1, 2, 3}, "nearest"))
          .Try(Scaled({1, 1, 2, 4}, {1, 1, 0.6f, 0.6f}, "nearest").Attr("nearest_mode", "ceil"))
          .Try(Scaled({1, 1, 2, 4}, {1, 1, 2, 0.6f}, "linear"))
          .Try(Scaled({1, 1, 4, 4}, {1, 1, 0.8f, 0.8f}, "cubic"))
          .Try(Scaled({1, 1, 4, 4}, {1, 1, 0.6f, 2}, "cubic").Attr("exclude_outside", 1))
          .Try(Scaled({1, 1, 4, 4}, {1, 1, 0.6f, 0.6f}, "linear").Attr("antialias", 1))
          .Try(Scaled({1, 1, 4, 4}, {1, 1, 0.6f, 0.6f}, "cubic").Attr("antialias", 1))
          .Try(Scaled({1, 1, 2, 2}, {1, 1, 2, 2}, "linear").Attr(kCoordinates, "align_corners"))
          .Try(Scaled({1, 1, 2, 4}, {1, 1, 0.6f, 0.6f}, "linear")
                   .Attr(kCoordinates, "half_pixel_symmetric"))
          .Try(Sized({1, 1, 4, 4}, {1, 1, 3, 1}, "linear").Attr(kCoordinates, "pytorch_half_pixel"))
          .Try(Sized({2, 4}, {3, 3}, "nearest").Attr(kCoordinates, "asymmetric"))
          .Try(Sample()
                   .In(Tensor::Of<float>({4}, {1, 2, 3, 4}))
                   .None()
                   .None()
                   .In(Tensor::Int64s({2}))
                   .Attr(kCoordinates, "tf_half_pixel_for_nn")
                   .Gives(Tensor::Of<float>({2}, {2, 4})))
          .Try(Sized({2, 4, 3}, {3, 6}, "linear")
                   .Attr("axes", std::vector<int64_t>{0, 1})
                   .Attr("keep_aspect_ratio_policy", "not_larger"))
          .Try(Sample()
                   .In({1, 1, 4, 4})
                   .In(Tensor::Of<float>({8}, {0, 0, 0.4f, 0.6f, 1, 1, 0.6f, 1.7f}))
                   .Constant()
                   .None()
                   .In(Tensor::Int64s({1, 1, 3, 3}))
                   .Attr("mode", "linear")
                   .Attr("extrapolation_value", 10.0f)
                   .Attr(kCoordinates, "tf_crop_and_resize"))
          .Try(Sized({2, 0}, {3, 0}, "linear"))
          .Try(Sample()
                   .In(Tensor::Of<std::string>({2}, {"a", "b"}))
                   .None()
                   .None()
                   .In(Tensor::Int64s({4}))
                   .Gives(Tensor::Of<std::string>({4}, {"a", "a", "b", "b"})))
          .Try(Sized({2, 4}, {3}, "linear").Refused("2 axes need 2"))
          .Try(Sized({2}, {3}, "lanczos").Refused("mode is \"lanczos\""))
          .Try(Sample().In({2}).Refused("exactly one of scales and sizes")));
  ops.Add(ResizeLike(OpDef("ResizeGrad", 1, kGraphrunDomain)
                         .Input("dY", "T1")
                         .Input("like", "U")
                         .Input("roi", "T2", Arity::kOptional)
                         .Input("scales", "T3", Arity::kOptional)
                         .Input("sizes", "int64", Arity::kOptional)
                         .Output("dX", "T1"))
              .Types("T1", kFloats)
              .Types("U", kAnyType)
              .Types("T3", kFloats)
              .Infer(InferResizeGrad)
              .ShapeOnly(1)
              .NoGradientFor({1, 2, 3, 4})
              .Kernel("native", ResizeGradKernel)
              // d(dy) = the incoming gradient resized alike, without extrapolation
              .Gradient([](GradContext& g) {
                AttrMap attrs = g.node().attrs();
                attrs.erase("extrapolation_value");
                g.dx(0, g.builder().Op("Resize", {g.dy(), g.x(2), g.x(3), g.x(4)}, attrs));
              })
              .Body(ResizeGradBody)
              .Try(Sample()
                       .In({1, 1, 3, 6})
                       .In({1, 1, 5, 4})
                       .None()
                       .None()
                       .In(Tensor::Int64s({1, 1, 3, 6}))
                       .Attr("mode", "linear"))
              .Try(Sample().In({4, 3}).In({2, 3}).None().None().In(Tensor::Int64s({4, 3}))));
  ops.Add(OpDef("Resize", 10)
              .Input("X", "T")
              .Input("scales", "float32")
              .Output("Y", "T")
              .Attr("mode", "nearest")
              .Types("T", kAnyType)
              .NoGradientFor({1})
              .Infer([](InferContext& c) { return InferByScales(c, c.constant(1)); })
              .Body([](BodyContext& b) { AsymmetricBody(b, b.x(1)); }));
  ops.Add(OpDef("Upsample", 9)
              .Versions({9, 10})
              .Input("X", "T")
              .Input("scales", "S")
              .Output("Y", "T")
              .Attr("mode", "nearest")
              .Types("T", kAnyType)
              .Types("S", kFloats)
              .NoGradientFor({1})
              .Infer([](InferContext& c) { return InferByScales(c, c.constant(1)); })
              .Body([](BodyContext& b) { AsymmetricBody(b, b.x(1)); })
              .Try(Sample().In({1, 1, 2, 2}).In(Tensor::Of<float>({4}, {1, 1, 2, 3})).Constant()));
  ops.Add(OpDef("Upsample", 1)
              .Input("X", "T")
              .Output("Y", "T")
              .RequiredAttr("height_scale", Attr::Kind::kFloat)
              .RequiredAttr("width_scale", Attr::Kind::kFloat)
              .Attr("mode", "nearest")
              .Types("T", kAnyType)
              .Infer(InferUpsample1)
              .Body([](BodyContext& b) {
                AsymmetricBody(b,
                               b.builder().Constant(Tensor::Of<float>(
                                   {4}, {1, 1, b.Float("height_scale"), b.Float("width_scale")})));
              })
              .Try(Sample().In({1, 1, 2, 2}).Attr("height_scale", 2.0f).Attr("width_scale", 1.0f)));
  ops.Add(OpDef("Upsample", 7)
              .Input("X", "T")
              .Output("Y", "T")
              .Attr("mode", "nearest")
              .RequiredAttr("scales", Attr::Kind::kFloats)
              .Types("T", kAnyType)
              .Infer([](InferContext& c) {
                const Tensor scales = AttrScales(c);
                return InferByScales(c, &scales);
              })
              .Body([](BodyContext& b) { AsymmetricBody(b, b.builder().Constant(AttrScales(b))); })
              .Try(Sample()
                       .In({1, 1, 2, 2})
                       .Attr("mode", "linear")
                       .Attr("scales", std::vector<float>{1, 1, 2, 2})));
}

}  // namespace graphrun
