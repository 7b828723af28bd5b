// MaxUnpool: puts elements back where MaxPool found them; zeros elsewhere.
//
// Source: https://onnx.ai/onnx/operators/onnx__MaxUnpool.html (9, 11, 22). The indices count in the
// tensor that the attributes imply; where output_shape asks for a larger one, that tensor is its
// first corner. Of equal indices the last one counts (the standard is silent), and the gradient
// takes them all.
#include "ops/sliding.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// The sizes that the attributes imply.
absl::StatusOr<Shape> Implied(const NodeContext& c, const Shape& x) {
  GR_ASSIGN_OR_RETURN(const Window w, ReadWindow(c, x.rank() - 2, nullptr));
  Shape y({x[0], x[1]});
  for (int i = 0; i < w.rank(); ++i) {
    const auto a = static_cast<size_t>(i);
    const Dim& d = x[i + 2];
    if (!d.is_number()) {
      y.Append(Dim());
      continue;
    }
    const auto steps = CheckedMul(d.value() - (d.value() > 0 ? 1 : 0), w.strides[a]);
    if (!steps) return c.Error("the output's size overflows along spatial axis ", i);
    const int64_t size = *steps + w.kernel[a] - w.pads_begin[a] - w.pads_end[a];
    if (size < 0) return c.Error("pads are larger than the output along spatial axis ", i);
    y.Append(Dim(size));
  }
  return y;
}

absl::Status InferMaxUnpool(InferContext& c) {
  const Shape& x = c.input_shape(0);
  if (!x.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  if (x.rank() < 3 || x.rank() > 5) {
    return c.Error("input X has shape ", x.ToString(), " but must have 1 to 3 spatial axes");
  }
  GR_ASSIGN_OR_RETURN(Shape y, Implied(c, x));
  if (c.has_input(2)) {
    const auto asked = c.sizes(2);
    if (asked && static_cast<int>(asked->size()) != x.rank()) {
      return c.Error("input output_shape has ", asked->size(), " entries but X has ", x.rank(),
                     " axes");
    }
    for (int i = 0; asked && i < x.rank(); ++i) {
      const Dim& d = (*asked)[static_cast<size_t>(i)];
      if (d.is_number() && y[i].is_number() && d.value() < y[i].value()) {
        return c.Error("input output_shape asks for ", d.value(), " along axis ", i,
                       " but the windows cover ", y[i].value());
      }
    }
    y = asked ? Shape(*asked) : Shape::UnknownOfRank(x.rank());
  }
  if (c.input_shape(1).is_concrete() && x.is_concrete() && !(c.input_shape(1) == x)) {
    return c.Error("input I has shape ", c.input_shape(1).ToString(), " but X is ", x.ToString(),
                   ": every element needs its index");
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> MakeMaxUnpool(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const Shape implied, Implied(c, Shape::Of(c.input_dims(0))));
  const Dims from = implied.ToDims();
  const bool dynamic = c.output_is_dynamic(0);
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& r) -> absl::Status {
      const T* x = r.input(0).data<T>();
      const int64_t* indices = r.input(1).data<int64_t>();
      if (dynamic) {
        const Dims asked = r.input(2).AsInt64s();
        bool fits = asked.size() == from.size();
        for (size_t i = 0; fits && i < from.size(); ++i) fits = asked[i] >= from[i];
        if (!fits) {
          return ModelError("MaxUnpool: input output_shape is ", DimsToString(asked),
                            " but the windows cover ", DimsToString(from));
        }
        GR_RETURN_IF_ERROR(r.ResizeOutput(0, kDTypeOf<T>, asked));
      }
      const Dims strides = RowMajorStrides(r.output(0).dims());
      T* y = r.output(0).mutable_data<T>();
      std::fill(y, y + r.output(0).num_elements(), T(0.0f));
      const int64_t elements = Product(from);
      for (int64_t i = 0; i < r.input(0).num_elements(); ++i) {
        int64_t rest = indices[i];
        if (rest < 0 || rest >= elements) {
          return ModelError("MaxUnpool: index ", rest, " at position ", i,
                            " of input I lies outside of the output ", DimsToString(from));
        }
        int64_t at = 0;
        for (size_t axis = from.size(); axis-- > 0;) {
          at += rest % from[axis] * strides[axis];
          rest /= from[axis];
        }
        y[at] = x[i];
      }
      return absl::OkStatus();
    });
  });
  return kernel;
}

// dx = dy at the indices
void MaxUnpoolGradient(GradContext& g) {
  Expr dy = g.dy();
  const auto implied = Implied(g, g.x(0).shape());
  if (!implied.ok()) return;
  if (!dy.shape().SurelyEquals(*implied)) {
    std::vector<int64_t> starts, ends, axes;
    for (int i = 0; i < implied->rank(); ++i) {
      if (!(*implied)[i].is_number()) continue;
      starts.push_back(0);
      ends.push_back((*implied)[i].value());
      axes.push_back(i);
    }
    if (!axes.empty()) dy = Slice(dy, starts, ends, axes);
  }
  g.dx(0, Gather(Reshape(dy, {-1}), g.x(1), 0));
}

using Ints = std::vector<int64_t>;

}  // namespace

void RegisterMaxUnpoolOps(OpRegistry& ops) {
  ops.Add(
      OpDef("MaxUnpool", 9)
          .Versions({9, 11, 22})
          .Input("X", "T")
          .Input("I", "int64")
          .Input("output_shape", "int64", Arity::kOptional)
          .Output("output", "T")
          .Types("T", kFloats)
          .RequiredAttr("kernel_shape", Attr::Kind::kInts)
          .Attr("pads", Attr::Kind::kInts)
          .Attr("strides", Attr::Kind::kInts)
          .Infer(InferMaxUnpool)
          .NoGradientFor({1, 2})
          .Kernel("native", MakeMaxUnpool)
          .Gradient(MaxUnpoolGradient)
          .Try(Sample()
                   .In({1, 1, 2, 2})
                   .In(Tensor::Of<int64_t>({1, 1, 2, 2}, {5, 7, 13, 15}))
                   .Attr("kernel_shape", Ints{2, 2})
                   .Attr("strides", Ints{2, 2}))
          .Try(Sample()
                   .In(Tensor::Of<float>({1, 1, 2, 2}, {5, 6, 7, 8}))
                   .In(Tensor::Of<int64_t>({1, 1, 2, 2}, {5, 7, 13, 15}))
                   .In(Tensor::Int64s({1, 1, 5, 5}))
                   .Attr("kernel_shape", Ints{2, 2})
                   .Attr("strides", Ints{2, 2})
                   .Gives(Tensor::Of<float>({1, 1, 5, 5}, {0, 0, 0, 0, 0, 0, 5, 0, 6, 0, 0, 0, 0,
                                                           0, 0, 0, 7, 0, 8, 0, 0, 0, 0, 0, 0})))
          .Try(Sample()
                   .In({1, 1, 2, 2})
                   .In(Tensor::Of<int64_t>({1, 1, 2, 2}, {5, 7, 13, 16}))
                   .Attr("kernel_shape", Ints{2, 2})
                   .Attr("strides", Ints{2, 2})
                   .Refused("index 16")));
}

}  // namespace graphrun
