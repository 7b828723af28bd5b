// Slice: a regular part of a tensor; ai.graphrun.SliceGrad: its gradient.
//
// Source: https://onnx.ai/onnx/operators/onnx__Slice.html (1, 10, 11, 13; every element type).
// Version 1 has starts and ends in attributes and no steps.
#include "ops/move.h"
#include "ops/strided.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// What Slice's inputs say of one axis.
struct AxisRange {
  int axis;
  int64_t start, end, step;
};

absl::StatusOr<std::vector<AxisRange>> Ranges(int rank, const Dims& starts, const Dims& ends,
                                              const Dims& axes, const Dims& steps, bool has_axes,
                                              bool has_steps) {
  if (starts.size() != ends.size() || (has_axes && axes.size() != starts.size()) ||
      (has_steps && steps.size() != starts.size())) {
    return ModelError("starts, ends, axes and steps have ", starts.size(), ", ", ends.size(), ", ",
                      axes.size(), " and ", steps.size(), " elements: they must be equally long");
  }
  if (starts.size() > static_cast<size_t>(rank)) {
    return ModelError("starts has ", starts.size(), " elements but the input has ", rank, " axes");
  }
  std::vector<AxisRange> ranges;
  std::vector<bool> seen(static_cast<size_t>(rank), false);
  for (size_t i = 0; i < starts.size(); ++i) {
    GR_ASSIGN_OR_RETURN(const int axis,
                        NormalizeAxis(has_axes ? axes[i] : static_cast<int64_t>(i), rank));
    if (seen[static_cast<size_t>(axis)]) return ModelError("axes name axis ", axis, " twice");
    seen[static_cast<size_t>(axis)] = true;
    const int64_t step = has_steps ? steps[i] : 1;
    if (step == 0) return ModelError("steps has a 0 for axis ", axis);
    ranges.push_back({axis, starts[i], ends[i], step});
  }
  return ranges;
}

// The first index taken and the number of indices, on an axis of that size.
std::pair<int64_t, int64_t> Resolve(const AxisRange& r, int64_t size) {
  const int64_t low = r.step > 0 ? 0 : -1, high = r.step > 0 ? size : size - 1;
  const auto place = [&](int64_t v, int64_t least) {
    if (v < 0) v = v < -size ? -1 : v + size;
    return std::clamp(v, least, std::max(high, least));
  };
  const int64_t start = place(r.start, r.step > 0 ? 0 : std::min<int64_t>(0, high));
  const int64_t end = r.end < -size ? low : place(r.end, low);
  const int64_t span = r.step > 0 ? end - start : start - end;
  // |step| in unsigned arithmetic: it may be the smallest int64.
  const uint64_t stride =
      r.step > 0 ? static_cast<uint64_t>(r.step) : -static_cast<uint64_t>(r.step);
  if (span <= 0 || size == 0) return {0, 0};
  return {start, static_cast<int64_t>((static_cast<uint64_t>(span) - 1) / stride) + 1};
}

StridedView ViewOf(const std::vector<AxisRange>& ranges, const Dims& x) {
  StridedView view{0, x, RowMajorStrides(x)};
  for (const AxisRange& r : ranges) {
    const auto axis = static_cast<size_t>(r.axis);
    const auto [start, count] = Resolve(r, x[axis]);
    view.offset += start * view.strides[axis];
    view.dims[axis] = count;
    view.strides[axis] = count <= 1 ? 0 : view.strides[axis] * r.step;
  }
  return view;
}

absl::Status InferSliceBy(InferContext& c, const absl::optional<Dims>& starts,
                          const absl::optional<Dims>& ends, const absl::optional<Dims>& axes,
                          const absl::optional<Dims>& steps, bool has_axes, bool has_steps) {
  const Shape& x = c.input_shape(0);
  if (!x.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  if (!starts || !ends || (has_axes && !axes) || (has_steps && !steps)) {
    Shape y = Shape::UnknownOfRank(x.rank());
    if (has_axes && axes) {
      y = x;
      for (const int64_t a : *axes) {
        GR_ASSIGN_OR_RETURN(const int axis, c.Axis(a, x.rank()));
        y[axis] = Dim();
      }
    }
    c.set_output(0, c.input_dtype(0), std::move(y));
    return absl::OkStatus();
  }
  const auto ranges = Ranges(x.rank(), *starts, *ends, has_axes ? *axes : Dims(),
                             has_steps ? *steps : Dims(), has_axes, has_steps);
  if (!ranges.ok()) return Annotate(ranges.status(), c.node().Describe());
  Shape y = x;
  for (const AxisRange& r : *ranges) {
    if (x[r.axis].is_number()) {
      y[r.axis] = Dim(Resolve(r, x[r.axis].value()).second);
    } else if (!(r.step == 1 && r.start == 0 && r.end >= INT32_MAX)) {
      y[r.axis] = Dim();
    }
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  if (const auto sizes = c.sizes(0); sizes && x.rank() == 1 && ranges->size() == 1) {
    const auto [start, count] = Resolve((*ranges)[0], static_cast<int64_t>(sizes->size()));
    std::vector<Dim> part;
    for (int64_t i = 0; i < count; ++i)
      part.push_back((*sizes)[static_cast<size_t>(start + i * (*ranges)[0].step)]);
    c.set_sizes(0, std::move(part));
  }
  return absl::OkStatus();
}

absl::Status InferSlice(InferContext& c) {
  return InferSliceBy(c, c.ints(1), c.ints(2), c.ints(3), c.ints(4), c.has_input(3),
                      c.has_input(4));
}
absl::Status InferSlice1(InferContext& c) {
  return InferSliceBy(c, c.Ints("starts"), c.Ints("ends"), c.Ints("axes"), Dims(),
                      c.has_attr("axes"), false);
}
absl::Status InferSliceGrad(InferContext& c) {
  c.set_output(0, c.input_dtype(0), c.input_shape(1));
  return absl::OkStatus();
}

// `first`: the number of the input that holds starts; the others follow.
auto MakeView(Dims x, int first) {
  return [x, first](const InputValues& v) -> absl::StatusOr<StridedView> {
    GR_ASSIGN_OR_RETURN(
        const std::vector<AxisRange> ranges,
        Ranges(static_cast<int>(x.size()), v.ints(first), v.ints(first + 1), v.ints(first + 2),
               v.ints(first + 3), v[first + 2] != nullptr, v[first + 3] != nullptr));
    return ViewOf(ranges, x);
  };
}

absl::StatusOr<std::unique_ptr<Kernel>> SliceKernel(PrepareContext& c) {
  return KernelByValues(c, {1, 2, 3, 4}, MakeView(c.input_dims(0), 1),
                        [](const StridedView& view, RunContext& r) -> absl::Status {
                          const Tensor& x = r.input(0);
                          GR_RETURN_IF_ERROR(r.ResizeOutput(0, x.dtype(), view.dims));
                          GatherView(x.dtype(), x.raw(), view, r.output(0).mutable_raw());
                          return absl::OkStatus();
                        });
}

absl::StatusOr<std::unique_ptr<Kernel>> SliceGradKernel(PrepareContext& c) {
  return KernelByValues(c, {2, 3, 4, 5}, MakeView(c.input_dims(1), 2),
                        [](const StridedView& view, RunContext& r) -> absl::Status {
                          const Tensor& dy = r.input(0);
                          if (dy.dims() != view.dims) {
                            return ModelError("dy has shape ", DimsToString(dy.dims()),
                                              " but the slice has ", DimsToString(view.dims));
                          }
                          FillAll(Tensor::Zeros(dy.dtype(), {}), r.output(0));
                          ScatterView(dy.dtype(), dy.raw(), r.output(0).mutable_raw(), view);
                          return absl::OkStatus();
                        });
}

Sample SliceSample(Dims dims, std::vector<int64_t> starts, std::vector<int64_t> ends) {
  return Sample().In(std::move(dims)).In(Tensor::Int64s(starts)).In(Tensor::Int64s(ends));
}

}  // namespace

void RegisterSliceOps(OpRegistry& ops) {
  using Ints = std::vector<int64_t>;
  ops.Add(OpDef("Slice", 1)
              .Input("data", "T")
              .Output("output", "T")
              .Attr("axes", Attr::Kind::kInts)
              .RequiredAttr("starts", Attr::Kind::kInts)
              .RequiredAttr("ends", Attr::Kind::kInts)
              .Types("T", kAnyType)
              .Infer(InferSlice1)
              .Body([](BodyContext& b) {
                Builder& e = b.builder();
                Expr axes = b.has_attr("axes") ? e.Ints(b.Ints("axes")) : Expr();
                b.Return(b.Op("Slice",
                              {b.x(0), e.Ints(b.Ints("starts")), e.Ints(b.Ints("ends")), axes}));
              })
              .Try(Sample().In({4, 3}).Attr("starts", Ints{1}).Attr("ends", Ints{-1})));
  ops.Add(
      OpDef("Slice", 10)
          .Versions({10, 11, 13})
          .Input("data", "T")
          .Input("starts", "Tind")
          .Input("ends", "Tind")
          .Input("axes", "Tind", Arity::kOptional)
          .Input("steps", "Tind", Arity::kOptional)
          .Output("output", "T")
          .Types("T", kAnyType)
          .Types("Tind", kIndices)
          .Infer(InferSlice)
          .NoGradientFor({1, 2, 3, 4})
          .Kernel("native", SliceKernel)
          // dx = zeros of x's sizes with dy in the slice's place
          .Gradient([](GradContext& g) {
            g.dx(0, g.builder().Op("SliceGrad", {g.dy(), g.x(0), g.x(1), g.x(2), g.x(3), g.x(4)},
                                   {}, kGraphrunDomain));
          })
          .Try(SliceSample({5, 4}, {1, 0}, {3, 3}))
          .Try(SliceSample({5, 4}, {1}, {-1}).In(Tensor::Int64s({1})))
          .Try(SliceSample({5, 4}, {0, -3}, {1000, -1}))
          .Try(SliceSample({5, 4}, {4}, {-1000}).In(Tensor::Int64s({0})).In(Tensor::Int64s({-2})))
          .Try(SliceSample({5, 4}, {-1, 0}, {0, 4})
                   .In(Tensor::Int64s({-2, -1}))
                   .In(Tensor::Int64s({-1, 3})))
          .Try(SliceSample({2, 5, 3}, {1}, {4}).In(Tensor::Int64s({1})).In(Tensor::Int64s({2})))
          .Try(SliceSample({5, 4}, {3}, {1}).In(Tensor::Int64s({0})))
          .Try(SliceSample({0, 4}, {0}, {3}))
          .Try(SliceSample({3}, {INT64_MAX}, {INT64_MIN})
                   .In(Tensor::Int64s({0}))
                   .In(Tensor::Int64s({INT64_MIN})))
          .Try(Sample()
                   .In({5})
                   .In(Tensor::Of<int32_t>({1}, {1}))
                   .Variable()
                   .In(Tensor::Of<int32_t>({1}, {4}))
                   .Variable())
          .Try(Sample()
                   .In(Tensor::Of<std::string>({3}, {"a", "b", "c"}))
                   .In(Tensor::Int64s({1}))
                   .In(Tensor::Int64s({3}))
                   .Gives(Tensor::Of<std::string>({2}, {"b", "c"})))
          .Try(SliceSample({5}, {0}, {2})
                   .In(Tensor::Int64s({0}))
                   .In(Tensor::Int64s({0}))
                   .Refused("steps has a 0"))
          .Try(SliceSample({5}, {0, 0}, {2, 2}).In(Tensor::Int64s({0, 0})).Refused("1 axes"))
          .Try(SliceSample({5}, {0}, {2, 3}).Refused("equally long")));
  ops.Add(OpDef("SliceGrad", 1, kGraphrunDomain)
              .Input("dY", "T")
              .Input("like", "U")
              .Input("starts", "Tind")
              .Input("ends", "Tind")
              .Input("axes", "Tind", Arity::kOptional)
              .Input("steps", "Tind", Arity::kOptional)
              .Output("dX", "T")
              .Types("T", kAnyType)
              .Types("U", kAnyType)
              .Types("Tind", kIndices)
              .Infer(InferSliceGrad)
              .ShapeOnly(1)
              .NoGradientFor({1, 2, 3, 4, 5})
              .Kernel("native", SliceGradKernel)
              // d(dy) = the slice of the incoming gradient
              .Gradient([](GradContext& g) {
                g.dx(0, g.builder().Op("Slice", {g.dy(), g.x(2), g.x(3), g.x(4), g.x(5)}));
              })
              // The slice of the elements' numbers says where each element of dy goes.
              .Body([](BodyContext& b) {
                Builder& e = b.builder();
                Expr shape = ShapeOf(b.x(1));
                Expr size = e.Op("Size", {b.x(1)});
                Expr numbers =
                    e.Op("Range", {e.Scalar(DType::kInt64, 0), size, e.Scalar(DType::kInt64, 1)});
                Expr grid = e.Op("Reshape", {numbers, shape}, {{"allowzero", 1}});
                Expr taken = e.Op("Slice", {grid, b.x(2), b.x(3), b.x(4), b.x(5)});
                Expr zeros = e.Op("ConstantOfShape", {Reshape(size, {1})},
                                  {{"value", Tensor::Zeros(b.x(0).dtype(), {1})}});
                Expr flat =
                    e.Op("ScatterElements", {zeros, Reshape(taken, {-1}), Reshape(b.x(0), {-1})});
                b.Return(e.Op("Reshape", {flat, shape}, {{"allowzero", 1}}));
              })
              .Try(Sample()
                       .In({2, 2})
                       .In({5, 3})
                       .In(Tensor::Int64s({4, 0}))
                       .In(Tensor::Int64s({0, 2}))
                       .In(Tensor::Int64s({0, 1}))
                       .In(Tensor::Int64s({-2, 1}))));
}

}  // namespace graphrun
