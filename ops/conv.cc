// Conv, and its two gradients ai.graphrun.ConvGradInput and ai.graphrun.ConvGradWeight.
//
// Source: https://onnx.ai/onnx/operators/onnx__Conv.html (1, 11, 22). x [N, C, spatial...], w [M,
// C/group, kernel...], y [N, M, spatial...] with 1 to 3 spatial axes.
#include "ops/conv_channelwise.h"
#include "ops/conv_gradients.h"
#include "ops/conv_groups.h"
#include "ops/conv_native.h"
#include "ops/conv_onednn.h"
#include "ops/conv_pairs.h"
#include "ops/conv_tiles.h"
#include "ops/conv_winograd.h"
#include "ops/multiply_adds.h"
#include "ops/winograd_pairs.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status CheckRank(const InferContext& c, int input, absl::string_view name) {
  const Shape& s = c.input_shape(input);
  if (s.has_rank() && (s.rank() < 3 || s.rank() > 5)) {
    return c.Error("input ", name, " has shape ", s.ToString(),
                   " but must have 1 to 3 spatial axes after [N, C]");
  }
  return absl::OkStatus();
}

absl::Status InferConv(InferContext& c) {
  const Shape &x = c.input_shape(0), &w = c.input_shape(1);
  GR_RETURN_IF_ERROR(CheckRank(c, 0, "X"));
  GR_RETURN_IF_ERROR(CheckRank(c, 1, "W"));
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
  if (groups < 1) return c.Error("attribute group is ", groups, " but must be positive");
  if (x[1].is_number() && w[1].is_number() &&
      (w[1].value() > (int64_t{1} << 40) || groups > (int64_t{1} << 20) ||
       x[1].value() != w[1].value() * groups)) {
    return c.Error("input X has shape ", x.ToString(), " and W ", w.ToString(),
                   " with group=", groups, ": X must have W's second size times group channels");
  }
  if (w[0].is_number() && w[0].value() % groups != 0) {
    return c.Error("input W has ", w[0].value(), " output channels, which group=", groups,
                   " does not divide");
  }
  if (c.has_input(2) && c.input_shape(2).has_rank()) {
    const Shape& b = c.input_shape(2);
    if (b.rank() != 1 || (b[0].is_number() && w[0].is_number() && b[0].value() != w[0].value())) {
      return c.Error("input B has shape ", b.ToString(), " but must be [", w[0].ToString(), "]");
    }
  }
  GR_ASSIGN_OR_RETURN(const Window window, ReadWindow(c, x.rank() - 2, &w));
  GR_ASSIGN_OR_RETURN(const std::vector<Dim> out, SlideOver(c, window, SpatialDims(x)));
  Shape y({x[0], w[0]});
  for (const Dim& d : out) y.Append(d);
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

// The sizes of a prepared node, from those of x, w and y.
absl::StatusOr<ConvShape> ShapeOfConv(const PrepareContext& c, const Dims& x, const Dims& w,
                                      const Dims& y) {
  const Shape weight = Shape::Of(w);
  GR_ASSIGN_OR_RETURN(Window window, ReadWindow(c, static_cast<int>(x.size()) - 2, &weight));
  return ConvShape::Of(x, w, y, ResolvePads(c, std::move(window), SpatialDims(x)));
}

using Made = absl::StatusOr<std::unique_ptr<Kernel>>;

Made TransformedConv(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(0), c.input_dims(1), c.output_dims(0)));
  return WinogradConv(c, s, PostOp(), -1);
}

Made FastConv(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(0), c.input_dims(1), c.output_dims(0)));
  return OneDnnConv(c, s);
}

Made NativeConv(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(0), c.input_dims(1), c.output_dims(0)));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([s](RunContext& r) {
      ConvForward(s, r.input(0).data<T>(), r.input(1).data<T>(),
                  r.has_input(2) ? r.input(2).data<T>() : nullptr, r.output(0).mutable_data<T>());
      return absl::OkStatus();
    });
  });
  return kernel;
}

Made TransformedGradInput(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(2), c.input_dims(1), c.input_dims(0)));
  return WinogradConvBackwardData(c, s);
}

Made FastGradInput(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(2), c.input_dims(1), c.input_dims(0)));
  return OneDnnConvBackwardData(c, s);
}

Made GroupsGradInput(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(2), c.input_dims(1), c.input_dims(0)));
  return GroupsConvBackwardData(c, s);
}

Made NativeGradInput(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(2), c.input_dims(1), c.input_dims(0)));
  std::unique_ptr<Kernel> kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([s](RunContext& r) {
      ConvBackwardData<T>(s, r.input(0).data<T>(), r.input(1).data<T>(), nullptr,
                          r.output(0).mutable_data<T>());
      return absl::OkStatus();
    });
  });
  return kernel;
}

Made TransformedGradWeight(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(1), c.input_dims(2), c.input_dims(0)));
  if (auto kernel = WinogradConvBackwardWeights(c, s)) return kernel;
  return WinogradPairsConvBackwardWeights(c, s);
}

Made LanesGradWeight(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(1), c.input_dims(2), c.input_dims(0)));
  return ChannelwiseGradWeight(c, s);
}

Made PairsGradWeight(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(1), c.input_dims(2), c.input_dims(0)));
  return PairsConvBackwardWeights(c, s);
}

Made FastGradWeight(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(1), c.input_dims(2), c.input_dims(0)));
  return OneDnnConvBackwardWeights(c, s);
}

Made GroupsGradWeight(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(1), c.input_dims(2), c.input_dims(0)));
  return GroupsConvBackwardWeights(c, s);
}

Made TilesGradWeight(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(1), c.input_dims(2), c.input_dims(0)));
  return TilesConvBackwardWeights(c, s);
}

Made NativeGradWeight(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(const ConvShape s,
                      ShapeOfConv(c, c.input_dims(1), c.input_dims(2), c.input_dims(0)));
  std::unique_ptr<Kernel> kernel;
  if (c.output_dtype(0) != c.input_dtype(0)) return kernel;
  DispatchDType(FloatTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([s](RunContext& r) {
      ConvBackwardWeights(s, r.input(1).data<T>(), r.input(0).data<T>(),
                          r.output(0).mutable_data<T>(),
                          r.has_output(1) ? r.output(1).mutable_data<T>() : nullptr);
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::Status InferGradInput(InferContext& c) {
  c.set_output(0, c.input_dtype(0), c.input_shape(2));
  return absl::OkStatus();
}

absl::Status InferGradWeight(InferContext& c) {
  const Shape& dy = c.input_shape(0);
  const int64_t to = c.Int("output_type", 0);
  const DType made = to == 0 ? c.input_dtype(0) : static_cast<DType>(to);
  if (!IsFloat(made)) return c.Error("output_type is ", to, " but must be 0 or a float type");
  c.set_output(0, made, c.input_shape(2));
  c.set_output(1, made, Shape({dy.has_rank() && dy.rank() > 1 ? dy[1] : Dim()}));
  return absl::OkStatus();
}

OpDef WithConvAttrs(OpDef def) {
  return WithWindow(std::move(def.Types("T", kFloats).Attr("group", 1)));
}

using Ints = std::vector<int64_t>;

}  // namespace

void RegisterConvOps(OpRegistry& ops) {
  ops.Add(
      WithConvAttrs(OpDef("Conv", 1).Versions({1, 11, 22}))
          .Input("X", "T")
          .Input("W", "T")
          .Input("B", "T", Arity::kOptional)
          .Output("Y", "T")
          .Parameter(1, ParameterKind::kWeight)
          .Parameter(2, ParameterKind::kBias)
          .Infer(InferConv)
          .MultiplyAdds([](const NodeContext& c) { return ConvMultiplyAdds(c, -1, 1); })
          .Kernel("winograd", TransformedConv)
          .Kernel("onednn", FastConv)
          .Kernel("native", NativeConv)
          .Gradient(ConvGradient)
          .Try(Sample().In({2, 3, 5, 6}).In({4, 3, 3, 3}).In({4}))
          .Try(Sample().In({1, 1, 5, 5}).In({2, 1, 3, 3}).Attr("pads", Ints{1, 1, 1, 1}))
          .Try(
              Sample().In({1, 1, 5, 5}).In({16, 1, 3, 3}).Constant().Attr("pads", Ints{1, 1, 1, 1}))
          .Try(
              Sample().In({2, 16, 9, 9}).In({32, 16, 3, 3}).In({32}).Attr("pads", Ints{1, 1, 1, 1}))
          .Try(Sample()
                   .In({2, 16, 9, 10})
                   .In({16, 16, 3, 3})
                   .Constant()
                   .Attr("strides", Ints{2, 3})
                   .Attr("pads", Ints{0, 2, 1, 0}))
          .Try(Sample().In({2, 20, 4, 4}).In({10, 20, 1, 1}).In({10}))
          .Try(Sample().In({1, 2, 8}).In({4, 1, 3}).Attr("group", 2).Attr("strides", Ints{2}))
          .Try(Sample().In({2, 32, 6, 6}).In({32, 1, 3, 3}).Attr("group", 32))
          .Try(Sample().In({2, 32, 6, 6}).In({64, 16, 3, 3}).Attr("group", 2))
          .Try(Sample().In({2, 6, 6, 6}).In({4, 3, 3, 3}).Constant().Attr("group", 2))
          .Try(Sample()
                   .In({1, 2, 4, 5, 6})
                   .In({3, 2, 2, 3, 2})
                   .In({3})
                   .Attr("dilations", Ints{2, 1, 2}))
          .Try(Sample()
                   .In({1, 2, 7, 8})
                   .In({2, 2, 3, 2})
                   .Attr("auto_pad", "SAME_UPPER")
                   .Attr("strides", Ints{2, 3}))
          .Try(Sample()
                   .In({1, 2, 7, 8})
                   .In({2, 2, 3, 2})
                   .Attr("auto_pad", "SAME_LOWER")
                   .Attr("strides", Ints{2, 1}))
          .Try(Sample().In({1, 2, 7, 8}).In({2, 2, 3, 2}).Attr("auto_pad", "VALID"))
          .Try(Sample().In({0, 2, 7, 8}).In({2, 2, 3, 2}).In({2}))
          .Try(Sample().In({1, 2, 3, 3}).In({2, 2, 5, 5}).Refused("spans 5 elements"))
          .Try(Sample().In({1, 2, 3, 3}).In({2, 3, 1, 1}).Refused("group channels"))
          .Try(Sample()
                   .In({1, 2, 3, 3})
                   .In({2, 2, 1, 1})
                   .Attr("strides", Ints{0, 1})
                   .Refused("strides"))
          .Try(Sample().In({1, 2, 3, 3}).In({2, 2, 1, 1}).Attr("pads", Ints{1, 1}).Refused("pads"))
          .Try(Sample().In({1, 2, 3, 3}).In({2, 2, 1}).Refused("as many axes")));
  ops.Add(
      WithConvAttrs(OpDef("ConvGradInput", 1, kGraphrunDomain))
          .Input("DY", "T")
          .Input("W", "T")
          .Input("X", "U")
          .Output("DX", "T")
          .Types("U", kFloats)
          .Infer(InferGradInput)
          .MultiplyAdds([](const NodeContext& c) { return ConvMultiplyAdds(c, 0, 1); })
          .ShapeOnly(2)
          .NoGradientFor({2})
          .Kernel("winograd", TransformedGradInput)
          .Kernel("onednn", FastGradInput)
          .Kernel("groups", GroupsGradInput)
          .Kernel("native", NativeGradInput)
          .Gradient(ConvGradInputGradient)
          .Body(ConvGradInputBody)
          .Try(Sample().In({2, 4, 3, 4}).In({4, 3, 3, 3}).In({2, 3, 5, 6}))
          .Try(Sample()
                   .In({2, 32, 9, 9})
                   .In({32, 16, 3, 3})
                   .In({2, 16, 9, 9})
                   .Attr("pads", Ints{1, 1, 1, 1}))
          .Try(Sample()
                   .In({2, 16, 4, 4})
                   .In({16, 16, 3, 3})
                   .In({2, 16, 9, 10})
                   .Attr("strides", Ints{2, 3})
                   .Attr("pads", Ints{0, 2, 1, 0}))
          .Try(Sample()
                   .In({1, 4, 3})
                   .In({4, 1, 3})
                   .In({1, 2, 8})
                   .Attr("group", 2)
                   .Attr("strides", Ints{2}))
          .Try(Sample().In({2, 32, 4, 4}).In({32, 1, 3, 3}).In({2, 32, 6, 6}).Attr("group", 32)));
  ops.Add(
      WithConvAttrs(OpDef("ConvGradWeight", 1, kGraphrunDomain))
          .Input("DY", "T")
          .Input("X", "T")
          .Input("W", "U")
          .Output("DW", "T")
          .Output("DB", "T", Arity::kOptional)
          .Types("U", kFloats)
          .Attr("output_type", 0)
          .Infer(InferGradWeight)
          .MultiplyAdds([](const NodeContext& c) { return ConvMultiplyAdds(c, 0, 2); })
          .ShapeOnly(2)
          .NoGradientFor({2})
          .Kernel("winograd", TransformedGradWeight)
          .Kernel("lanes", LanesGradWeight)
          .Kernel("pairs", PairsGradWeight)
          .Kernel("onednn", FastGradWeight)
          .Kernel("groups", GroupsGradWeight)
          .Kernel("tiles", TilesGradWeight)
          .Kernel("native", NativeGradWeight)
          .Gradient(ConvGradWeightGradient)
          .Body(ConvGradWeightBody)
          .Try(Sample().In({2, 4, 3, 4}).In({2, 3, 5, 6}).In({4, 3, 3, 3}).Outputs(2))
          .Try(Sample()
                   .In({2, 32, 9, 9})
                   .In({2, 16, 9, 9})
                   .In({32, 16, 3, 3})
                   .Attr("pads", Ints{1, 1, 1, 1}))
          .Try(Sample()
                   .In({2, 16, 4, 4})
                   .In({2, 16, 9, 10})
                   .In({16, 16, 3, 3})
                   .Outputs(2)
                   .Attr("strides", Ints{2, 3})
                   .Attr("pads", Ints{0, 2, 1, 0}))
          .Try(Sample()
                   .In({1, 4, 3})
                   .In({1, 2, 8})
                   .In({4, 1, 3})
                   .Attr("group", 2)
                   .Attr("strides", Ints{2}))
          .Try(Sample().In({2, 32, 4, 4}).In({2, 32, 6, 6}).In({32, 1, 3, 3}).Attr("group", 32)));
}

}  // namespace graphrun
