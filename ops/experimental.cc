// Operators that early versions of ai.onnx had on trial and that converters of Core ML, Caffe2 and
// CNTK wrote: Affine, ConstantFill, Crop, DynamicSlice, ImageScaler, ParametricSoftplus, Scale,
// ScaledTanh, MeanVarianceNormalization-1. Stock runtimes still run them in every version. All are
// function bodies.
//
// Source: docs/Operators.md of the ONNX standard 1.3, section experimental.
#include <algorithm>

#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status SameType(InferContext& c) {
  c.set_output(0, c.input_dtype(0), c.input_shape(0));
  return absl::OkStatus();
}

OpDef Unary(const char* name) {
  return OpDef(name, 1).Input("X", "T").Output("Y", "T").Types("T", kFloats);
}

OpDef Scaled(const char* name) {
  return Unary(name).Infer(SameType).Attr("alpha", 1.0f).Attr("beta", 1.0f);
}

double Alpha(const BodyContext& b) { return double{b.Float("alpha")}; }
double Beta(const BodyContext& b) { return double{b.Float("beta")}; }

// The rows and columns [from, to) that Crop keeps of an image; `to` may count from the end.
struct Kept {
  std::vector<int64_t> from, to;
};

// border: left, top, right, bottom; scale: height, width, in place of right and bottom.
absl::StatusOr<Kept> ReadCrop(const NodeContext& c) {
  const std::vector<int64_t> border = c.Ints("border"), scale = c.Ints("scale");
  if (border.size() != 4 || *std::min_element(border.begin(), border.end()) < 0)
    return c.Error("attribute border must hold 4 sizes: left, top, right, bottom");
  Kept kept{{border[1], border[0]}, {-border[3], -border[2]}};
  if (!scale.empty()) {
    if (scale.size() != 2 || scale[0] < 0 || scale[1] < 0)
      return c.Error("attribute scale must hold 2 sizes: height, width");
    kept.to = {border[1] + scale[0], border[0] + scale[1]};
  }
  return kept;
}

absl::Status InferCrop(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Kept kept, ReadCrop(c));
  const Shape& x = c.input_shape(0);
  if (x.has_rank() && x.rank() != 4)
    return c.Error("the input has shape ", x.ToString(), " but must be [N, C, H, W]");
  for (int a = 0; a < 2 && x.has_rank(); ++a) {
    if (!x[2 + a].is_number()) continue;
    const auto i = static_cast<size_t>(a);
    const int64_t size = x[2 + a].value();
    const int64_t to = kept.to[i] + (c.Ints("scale").empty() ? size : 0);
    if (to > size || kept.from[i] > to) {
      return c.Error("the border leaves [", kept.from[i], ", ", to, ") of axis ", 2 + a,
                     ", which has ", size, " elements");
    }
  }
  c.set_output(0, c.input_dtype(0), Shape());
  return absl::OkStatus();
}

void CropBody(BodyContext& b) {
  const auto kept = ReadCrop(b);
  if (!kept.ok()) return b.Refuse(kept.status());
  std::vector<int64_t> to = kept->to;
  if (b.Ints("scale").empty()) {
    for (int64_t& end : to) end = end == 0 ? std::numeric_limits<int64_t>::max() : end;
  }
  b.Return(Slice(b.x(), kept->from, to, {2, 3}));
}

void ImageScalerBody(BodyContext& b) {
  const std::vector<float> bias = b.Floats("bias");
  Expr y = b.x() * double{b.Float("scale")};
  if (bias.empty()) return b.Return(y);
  const auto channels = static_cast<int64_t>(bias.size());
  Expr shift = b.builder().Constant(Tensor::Of<float>({channels, 1, 1}, bias));
  b.Return(y + Cast(shift, b.x().dtype()));
}

absl::StatusOr<DType> FillType(const NodeContext& c) {
  const int64_t code = c.Int("dtype");
  if (code < 0 || code > 1000 || !IsValidDType(static_cast<int32_t>(code)) ||
      static_cast<DType>(code) == DType::kString) {
    return c.Error("attribute dtype is ", code, ", which is no element type of numbers");
  }
  return static_cast<DType>(code);
}

void ConstantFillBody(BodyContext& b) {
  const auto dtype = FillType(b);
  if (!dtype.ok()) return b.Refuse(dtype.status());
  Expr shape;
  if (!b.has_input(0)) {
    shape = b.builder().Ints(b.Ints("shape"));
  } else if (b.Int("input_as_shape") != 0) {
    shape = Cast(b.x(), DType::kInt64);
  } else {
    shape = ShapeOf(b.x());
  }
  if (b.has_input(0) && !b.Ints("extra_shape").empty())
    shape = ConcatAll({shape, b.builder().Ints(b.Ints("extra_shape"))}, 0);
  b.Return(Expand(b.builder().Scalar(*dtype, double{b.Float("value")}), shape));
}

void MeanVarianceBody(BodyContext& b) {
  if (!b.x().shape().has_rank()) return b.Refuse(b.Error("the input's rank is unknown"));
  std::vector<int64_t> axes;
  for (int64_t a = b.Int("across_channels") != 0 ? 1 : 2; a < b.x().shape().rank(); ++a)
    axes.push_back(a);
  if (axes.empty()) return b.Refuse(b.Error("the input has no axes to normalise over"));
  Expr d = b.x() - ReduceMean(b.x(), axes, true);
  b.Return(b.Int("normalize_variance") == 0 ? d : d / (Sqrt(ReduceMean(d * d, axes, true)) + 1e-9));
}

}  // namespace

void RegisterExperimentalOps(OpRegistry& ops) {
  const Tensor x = Tensor::Of<float>({2}, {-1, 2});
  ops.Add(Unary("Affine")
              .Infer(SameType)
              .Attr("alpha", 1.0f)
              .Attr("beta", 0.0f)
              .Body([](BodyContext& b) { b.Return(b.x() * Alpha(b) + Beta(b)); })
              .Try(Sample()
                       .In(x)
                       .Attr("alpha", 2.f)
                       .Attr("beta", 1.f)
                       .Gives(Tensor::Of<float>({2}, {-1, 5}))));
  ops.Add(
      Scaled("ParametricSoftplus")
          .Body([](BodyContext& b) { b.Return(b.Op("Softplus", {b.x() * Beta(b)}) * Alpha(b)); })
          .Try(Sample()
                   .In(x)
                   .Attr("alpha", 2.f)
                   .Attr("beta", 0.f)
                   .Gives(Tensor::Of<float>({2}, {1.3862944f, 1.3862944f}))));
  ops.Add(Scaled("ScaledTanh")
              .Body([](BodyContext& b) { b.Return(Tanh(b.x() * Beta(b)) * Alpha(b)); })
              .Try(Sample().In({2, 3}).Attr("alpha", 2.f).Attr("beta", 0.5f)));
  ops.Add(Unary("Scale")
              .Infer(SameType)
              .Attr("scale", 1.0f)
              .Body([](BodyContext& b) { b.Return(b.x() * double{b.Float("scale")}); })
              .Try(Sample().In(x).Attr("scale", 3.f).Gives(Tensor::Of<float>({2}, {-3, 6}))));
  ops.Add(Unary("ImageScaler")
              .Infer(SameType)
              .Attr("scale", 1.0f)
              .Attr("bias", Attr::Kind::kFloats)
              .Body(ImageScalerBody)
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 2, 1, 2}, {1, 2, 3, 4}))
                       .Attr("scale", 2.f)
                       .Attr("bias", std::vector<float>{1, -1})
                       .Gives(Tensor::Of<float>({1, 2, 1, 2}, {3, 5, 5, 7})))
              .Try(Sample().In({1, 3, 2, 2}).Attr("scale", 0.5f)));
  ops.Add(Unary("Crop")
              .Infer(InferCrop)
              .RequiredAttr("border", Attr::Kind::kInts)
              .Attr("scale", Attr::Kind::kInts)
              .Body(CropBody)
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 1, 2, 3}, {1, 2, 3, 4, 5, 6}))
                       .Attr("border", std::vector<int64_t>{1, 0, 0, 1})
                       .Gives(Tensor::Of<float>({1, 1, 1, 2}, {2, 3})))
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 1, 2, 3}, {1, 2, 3, 4, 5, 6}))
                       .Attr("border", std::vector<int64_t>{1, 1, 0, 0})
                       .Attr("scale", std::vector<int64_t>{1, 1})
                       .Gives(Tensor::Of<float>({1, 1, 1, 1}, {5})))
              .Try(Sample()
                       .In({1, 1, 2, 3})
                       .Attr("border", std::vector<int64_t>{2, 0, 2, 0})
                       .Refused("of axis 3")));
  ops.Add(OpDef("DynamicSlice", 1)
              .Input("data", "T")
              .Input("starts", "Tind")
              .Input("ends", "Tind")
              .Input("axes", "Tind", Arity::kOptional)
              .Output("output", "T")
              .Types("T", kAnyType)
              .Types("Tind", {DType::kInt32, DType::kInt64})
              .NoGradientFor({1, 2, 3})
              .Infer([](InferContext& c) {
                c.set_output(0, c.input_dtype(0), Shape());
                return absl::OkStatus();
              })
              .Body([](BodyContext& b) {
                b.Return(b.Op("Slice", {b.x(0), b.x(1), b.x(2), b.x(3)}));
              })
              .Try(Sample()
                       .In({3, 4})
                       .In(Tensor::Int64s({1}))
                       .In(Tensor::Int64s({3}))
                       .In(Tensor::Int64s({1}))));
  ops.Add(OpDef("ConstantFill", 1)
              .Input("input", "T", Arity::kOptional)
              .Output("output", "any")
              .Types("T", kNumeric | DTypeSet{DType::kBool})
              .Attr("dtype", 1)
              .Attr("extra_shape", Attr::Kind::kInts)
              .Attr("input_as_shape", 0)
              .Attr("shape", Attr::Kind::kInts)
              .Attr("value", 0.0f)
              .NotDifferentiable("a constant")
              .Infer([](InferContext& c) -> absl::Status {
                GR_ASSIGN_OR_RETURN(const DType dtype, FillType(c));
                c.set_output(0, dtype, Shape());
                return absl::OkStatus();
              })
              .Body(ConstantFillBody)
              .Try(Sample()
                       .Attr("shape", std::vector<int64_t>{2})
                       .Attr("value", 3.f)
                       .Gives(Tensor::Of<float>({2}, {3, 3})))
              .Try(Sample()
                       .In(Tensor::Int64s({1, 2}))
                       .Attr("input_as_shape", 1)
                       .Attr("dtype", 7)
                       .Gives(Tensor::Of<int64_t>({1, 2}, {0, 0})))
              .Try(Sample()
                       .In({2})
                       .Attr("extra_shape", std::vector<int64_t>{1})
                       .Gives(Tensor::Of<float>({2, 1}, {0, 0})))
              .Try(Sample().Attr("dtype", 99).Refused("dtype is 99")));
  ops.Add(Unary("MeanVarianceNormalization")
              .Infer(SameType)
              .Attr("across_channels", 0)
              .Attr("normalize_variance", 1)
              .Body(MeanVarianceBody)
              .Try(Sample().In({2, 3, 2, 2}))
              .Try(Sample().In({2, 3, 2, 2}).Attr("across_channels", 1))
              .Try(Sample()
                       .In(Tensor::Of<float>({1, 1, 2}, {1, 4}))
                       .Attr("normalize_variance", 0)
                       .Gives(Tensor::Of<float>({1, 1, 2}, {-1.5f, 1.5f}))));
}

}  // namespace graphrun
