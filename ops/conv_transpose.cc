// ConvTranspose: the gradient of a convolution by its input, as an operator of its own.
//
// Source: https://onnx.ai/onnx/operators/onnx__ConvTranspose.html (1, 11, 22). x [N, C,
// spatial...], w [C, M/group, kernel...], y [N, M, spatial...] with 1 to 3 spatial axes. Where
// output_shape is given without auto_pad, the odd pad goes to the begin.
#include "ops/conv_native.h"
#include "ops/conv_onednn.h"
#include "ops/multiply_adds.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferConvTranspose(InferContext& c) {
  const Shape &x = c.input_shape(0), &w = c.input_shape(1);
  for (const Shape* s : {&x, &w}) {
    if (s->has_rank() && (s->rank() < 3 || s->rank() > 5)) {
      return c.Error("input ", s == &x ? "X" : "W", " has shape ", s->ToString(),
                     " but must have 1 to 3 spatial axes");
    }
  }
  if (!x.has_rank() || !w.has_rank()) {
    c.set_output(0, c.input_dtype(0),
                 x.has_rank()   ? Shape::UnknownOfRank(x.rank())
                 : w.has_rank() ? Shape::UnknownOfRank(w.rank())
                                : Shape());
    return absl::OkStatus();
  }
  if (x.rank() != w.rank()) {
    return c.Error("input X has shape ", x.ToString(), " but W is ", w.ToString(),
                   ": both must have as many axes");
  }
  const int64_t groups = c.Int("group", 1);
  if (groups < 1 || groups > (int64_t{1} << 20))
    return c.Error("attribute group is ", groups, " but must be positive");
  if (x[1].is_number() && w[0].is_number() && x[1].value() != w[0].value()) {
    return c.Error("input X has shape ", x.ToString(), " but W is ", w.ToString(),
                   ": W's first size must be X's channels");
  }
  if (w[0].is_number() && w[0].value() % groups != 0) {
    return c.Error("input W has ", w[0].value(), " input channels, which group=", groups,
                   " does not divide");
  }
  Dim channels;
  if (w[1].is_number()) {
    const auto product = CheckedMul(w[1].value(), groups);
    if (!product) return c.Error("the number of output channels overflows");
    channels = Dim(*product);
  } else if (groups == 1) {
    channels = w[1];
  }
  if (c.has_input(2) && c.input_shape(2).has_rank()) {
    const Shape& b = c.input_shape(2);
    if (b.rank() != 1 ||
        (b[0].is_number() && channels.is_number() && b[0].value() != channels.value())) {
      return c.Error("input B has shape ", b.ToString(), " but must be [", channels.ToString(),
                     "]");
    }
  }
  std::vector<Dim> out;
  GR_RETURN_IF_ERROR(ReadTransposedWindow(c, SpatialDims(x), w, &out).status());
  Shape y({x[0], channels});
  for (const Dim& d : out) y.Append(d);
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

// The convolution from y to x that this node transposes.
absl::StatusOr<ConvShape> Transposed(const PrepareContext& c) {
  const Dims x = c.input_dims(0), w = c.input_dims(1), y = c.output_dims(0);
  std::vector<Dim> out;
  GR_ASSIGN_OR_RETURN(Window window,
                      ReadTransposedWindow(c, SpatialDims(Shape::Of(x)), Shape::Of(w), &out));
  ConvShape s = ConvShape::Of(y, w, x, std::move(window));
  s.groups = c.Int("group", 1);
  s.outputs = w[0] / s.groups;
  return s;
}

absl::StatusOr<std::unique_ptr<Kernel>> FastConvTranspose(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s, Transposed(c));
  return OneDnnConvTranspose(c, s);
}

absl::StatusOr<std::unique_ptr<Kernel>> NativeConvTranspose(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s, Transposed(c));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([s](RunContext& r) {
      ConvBackwardData(s, r.input(0).data<T>(), r.input(1).data<T>(),
                       r.has_input(2) ? r.input(2).data<T>() : nullptr,
                       r.output(0).mutable_data<T>());
      return absl::OkStatus();
    });
  });
  return kernel;
}

// dx = the convolution of dy with w; dw = ConvGradWeight with x as the gradient and dy as the
// input; db = dy summed over all but the channels.
void ConvTransposeGradient(GradContext& g) {
  Builder& e = g.builder();
  const Shape &x = g.x(0).shape(), &w = g.x(1).shape();
  std::vector<Dim> out;
  if (g.needs(2)) {
    std::vector<int64_t> axes = {0};
    for (int i = 2; i < x.rank(); ++i) axes.push_back(i);
    g.dx(2, ReduceSum(g.dy(), axes, false));
  }
  if (!g.needs(0) && !g.needs(1)) return;
  const auto window = ReadTransposedWindow(g, SpatialDims(x), w, &out);
  if (!window.ok()) return;
  AttrMap attrs = WindowAttrs(*window);
  attrs.insert_or_assign("group", g.Int("group", 1));
  if (g.needs(0)) {
    Expr dx = e.Op("Conv", {g.dy(), g.x(1)}, attrs);
    if (!dx.shape().SurelyEquals(x)) {
      // Where output_padding reaches a whole stride, the convolution has windows too many.
      std::vector<int64_t> starts, ends, axes;
      for (int i = 2; i < x.rank(); ++i) {
        if (!x[i].is_number()) continue;
        starts.push_back(0);
        ends.push_back(x[i].value());
        axes.push_back(i);
      }
      if (!axes.empty()) dx = Slice(dx, starts, ends, axes);
    }
    g.dx(0, dx);
  }
  if (g.needs(1)) {
    g.dx(1, e.Op("ConvGradWeight", {g.x(0), g.dy(), g.x(1)}, attrs, kGraphrunDomain));
  }
}

using Ints = std::vector<int64_t>;

}  // namespace

void RegisterConvTransposeOps(OpRegistry& ops) {
  ops.Add(
      OpDef("ConvTranspose", 1)
          .Versions({1, 11, 22})
          .Input("X", "T")
          .Input("W", "T")
          .Input("B", "T", Arity::kOptional)
          .Output("Y", "T")
          .Parameter(1, ParameterKind::kWeight, [](const NodeContext&) { return 1; })
          .Parameter(2, ParameterKind::kBias)
          .Types("T", kFloats)
          .Attr("auto_pad", "NOTSET")
          .Attr("dilations", Attr::Kind::kInts)
          .Attr("group", 1)
          .Attr("kernel_shape", Attr::Kind::kInts)
          .Attr("output_padding", Attr::Kind::kInts)
          .Attr("output_shape", Attr::Kind::kInts)
          .Attr("pads", Attr::Kind::kInts)
          .Attr("strides", Attr::Kind::kInts)
          .Infer(InferConvTranspose)
          .MultiplyAdds([](const NodeContext& c) { return ConvMultiplyAdds(c, 0, 1); })
          .Kernel("onednn", FastConvTranspose)
          .Kernel("native", NativeConvTranspose)
          .Gradient(ConvTransposeGradient)
          .Try(Sample().In({1, 2, 3, 4}).In({2, 3, 3, 2}).In({3}))
          .Try(Sample().In({2, 16, 5, 5}).In({16, 32, 2, 2}).Attr("strides", Ints{2, 2}))
          .Try(Sample()
                   .In({2, 16, 5, 5})
                   .In({16, 8, 3, 3})
                   .Constant()
                   .In({8})
                   .Attr("strides", Ints{2, 2})
                   .Attr("pads", Ints{1, 1, 1, 1})
                   .Attr("output_padding", Ints{1, 1}))
          .Try(Sample()
                   .In({1, 4, 3})
                   .In({4, 3, 3})
                   .Attr("group", 2)
                   .Attr("strides", Ints{3})
                   .Attr("output_shape", Ints{8}))
          .Try(Sample()
                   .In({1, 2, 3, 3})
                   .In({2, 2, 3, 3})
                   .Attr("strides", Ints{3, 2})
                   .Attr("output_shape", Ints{10, 8}))
          .Try(Sample()
                   .In({1, 2, 3, 3})
                   .In({2, 2, 3, 3})
                   .Attr("strides", Ints{2, 2})
                   .Attr("auto_pad", "SAME_UPPER"))
          .Try(Sample()
                   .In({1, 2, 3, 3})
                   .In({2, 2, 2, 2})
                   .Attr("strides", Ints{3, 3})
                   .Attr("auto_pad", "SAME_LOWER"))
          .Try(Sample().In({1, 1, 3, 3, 2}).In({1, 2, 2, 2, 2}).Attr("dilations", Ints{2, 1, 1}))
          .Try(Sample().In({0, 2, 3, 4}).In({2, 3, 3, 2}))
          .Try(Sample().In({1, 2, 3, 4}).In({3, 3, 3, 2}).Refused("X's channels"))
          .Try(Sample()
                   .In({1, 2, 3, 4})
                   .In({2, 3, 3, 2})
                   .Attr("output_padding", Ints{1, 0})
                   .Refused("output_padding")));
}

}  // namespace graphrun
