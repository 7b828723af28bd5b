// Features of ai.onnx.ml: Binarizer, ArrayFeatureExtractor.
//
// Source: https://onnx.ai/onnx/operators/index.html (ai.onnx.ml, version 1).
#include "ops/native.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.onnx.ml";
using Numbers = TypeList<float, double, int64_t, int32_t>;
constexpr DTypeSet kNumbers = {DType::kFloat32, DType::kFloat64, DType::kInt64, DType::kInt32};

// y = x > threshold
absl::StatusOr<std::unique_ptr<Kernel>> BinarizerKernel(PrepareContext& c) {
  const auto threshold = static_cast<double>(c.Float("threshold"));
  return NativeUnary<Numbers>(
      [threshold](auto x) { return decltype(x)(static_cast<double>(x) > threshold); })(c);
}

// x [..., F], y any shape of M indices -> z [..., M]; a vector x gives [1, M].
absl::Status InferExtractor(InferContext& c) {
  const Shape &x = c.input_shape(0), &y = c.input_shape(1);
  if (!x.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  if (x.rank() == 0) return c.Error("input X is a scalar but must have features");
  Dim count;
  if (y.is_concrete()) {
    GR_ASSIGN_OR_RETURN(const int64_t n, NumElements(y.ToDims()));
    count = Dim(n);
  } else if (y.has_rank() && y.rank() == 1) {
    count = y[0];
  }
  Shape z = x;
  z[x.rank() - 1] = count;
  if (x.rank() == 1) z = Shape({Dim(1), count});
  c.set_output(0, c.input_dtype(0), std::move(z));
  return absl::OkStatus();
}

void ExtractorBody(BodyContext& b) {
  const Shape& x = b.x(0).shape();
  if (!x.has_rank()) return b.Refuse(ModelError("the rank of X must be known"));
  const Expr z = Gather(b.x(0), Reshape(b.x(1), {-1}), -1);
  b.Return(x.rank() == 1 ? Unsqueeze(z, {0}) : z);
}

}  // namespace

void RegisterMlFeaturesOps(OpRegistry& ops) {
  ops.Add(OpDef("Binarizer", 1, kDomain)
              .Input("X", "T")
              .Output("Y", "T")
              .Attr("threshold", 0.0f)
              .Types("T", kNumbers)
              .Infer(SameAsInput)
              .Kernel("native", BinarizerKernel)
              .InPlace(0, 0)
              .NotDifferentiable("a step")
              .Try(Sample()
                       .In(Tensor::Of<float>({2, 2}, {0.5f, 1, 1.5f, -3}))
                       .Attr("threshold", 1.0f)
                       .Gives(Tensor::Of<float>({2, 2}, {0, 0, 1, 0})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({3}, {-1, 0, 1}))
                       .Gives(Tensor::Of<int64_t>({3}, {0, 0, 1})))
              .Try(Sample().In({0, 4})));
  ops.Add(OpDef("ArrayFeatureExtractor", 1, kDomain)
              .Input("X", "T")
              .Input("Y", "int64")
              .Output("Z", "T")
              .Types("T", kNumbers | kStringsOnly)
              .NoGradientFor({1})
              .Infer(InferExtractor)
              .Body(ExtractorBody)
              .Try(Sample()
                       .In(Tensor::Of<float>({2, 3}, {0, 1, 2, 3, 4, 5}))
                       .In(Tensor::Of<int64_t>({1, 2}, {2, 0}))
                       .Gives(Tensor::Of<float>({2, 2}, {2, 0, 5, 3})))
              .Try(Sample()
                       .In(Tensor::Of<std::string>({3}, {"a", "b", "c"}))
                       .In(Tensor::Int64s({1, 1}))
                       .Gives(Tensor::Of<std::string>({1, 2}, {"b", "b"})))
              .Try(Sample().In({2, 0, 3}).In(Tensor::Int64s({1})))
              .Try(Sample().In(Dims()).In(Tensor::Int64s({0})).Refused("scalar")));
}

}  // namespace graphrun
