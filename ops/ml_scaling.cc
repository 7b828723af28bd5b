// Numbers made ready for a model, of ai.onnx.ml: Scaler, Normalizer, Imputer.
//
// Source: https://onnx.ai/onnx/operators/index.html (ai.onnx.ml, version 1). All are functions of
// ai.onnx operators. Normalizer divides by the largest magnitude (MAX), the sum of magnitudes (L1)
// or the Euclidean length (L2) of a row, as the standard's reference does; the sign stays.
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.onnx.ml";
constexpr char kSingle[] = "the result is float32 whatever the input: too coarse for differences";
constexpr DTypeSet kNumbers = {DType::kFloat32, DType::kFloat64, DType::kInt64, DType::kInt32};

// One element for all features or one for each: [1] or [F].
absl::Status CheckPerFeature(const InferContext& c, const char* name, size_t n) {
  const Shape& x = c.input_shape(0);
  if (n == 1 || !x.has_rank()) return absl::OkStatus();
  if (n > 1 && x.rank() > 0) {
    const Dim& features = x[x.rank() - 1];
    if (!features.is_number() || features.value() == static_cast<int64_t>(n)) {
      return absl::OkStatus();
    }
  }
  return c.Error(name, " has ", n, " elements but the input has shape ", x.ToString(),
                 ": 1 or one for each feature is needed");
}

template <typename T>
Expr Row(BodyContext& b, const std::vector<T>& values) {
  return b.builder().Constant(
      Tensor::Of<T>({static_cast<int64_t>(values.size())}, absl::Span<const T>(values)));
}

absl::Status InferScaler(InferContext& c) {
  for (const char* name : {"offset", "scale"}) {
    if (c.has_attr(name)) GR_RETURN_IF_ERROR(CheckPerFeature(c, name, c.Floats(name).size()));
  }
  c.set_output(0, DType::kFloat32, c.input_shape(0));
  return absl::OkStatus();
}

// y = (x - offset) * scale
void ScalerBody(BodyContext& b) {
  const Expr x = Cast(b.x(0), DType::kFloat32);
  b.Return((x - Row(b, b.Floats("offset", {0.0f}))) * Row(b, b.Floats("scale", {1.0f})));
}

absl::Status InferNormalizer(InferContext& c) {
  const std::string norm = c.String("norm");
  if (norm != "MAX" && norm != "L1" && norm != "L2") {
    return c.Error("attribute norm is \"", norm, "\" but must be MAX, L1 or L2");
  }
  const Shape& x = c.input_shape(0);
  if (x.has_rank() && x.rank() != 1 && x.rank() != 2) {
    return c.Error("the input has shape ", x.ToString(), " but must be [N, C] or [C]");
  }
  c.set_output(0, DType::kFloat32, x);
  return absl::OkStatus();
}

// y = x / norm(x); x where the norm is 0
void NormalizerBody(BodyContext& b) {
  const std::string norm = b.String("norm");
  const Expr x = Cast(b.x(0), DType::kFloat32);
  Expr length = norm == "MAX"  ? ReduceMax(Abs(x), {-1}, true)
                : norm == "L1" ? ReduceSum(Abs(x), {-1}, true)
                               : Sqrt(ReduceSum(Square(x), {-1}, true));
  length = Where(Equal(length, 0.0), FullLike(length, 1.0), length);
  b.Return(x / length);
}

absl::Status InferImputer(InferContext& c) {
  const bool whole = IsInteger(c.input_dtype(0));
  const char* name = whole ? "imputed_value_int64s" : "imputed_value_floats";
  const size_t n = whole ? c.Ints(name).size() : c.Floats(name).size();
  GR_RETURN_IF_ERROR(CheckPerFeature(c, name, n));
  c.set_output(0, c.input_dtype(0), c.input_shape(0));
  return absl::OkStatus();
}

// y = x is the replaced value ? the imputed one : x
void ImputerBody(BodyContext& b) {
  const Expr x = b.x(0);
  if (IsInteger(x.dtype())) {
    const Expr imputed = Cast(Row(b, b.Ints("imputed_value_int64s")), x.dtype());
    const Expr replaced = Cast(Row(b, Dims{b.Int("replaced_value_int64")}), x.dtype());
    return b.Return(Where(Equal(x, replaced), imputed, x));
  }
  const Expr imputed = Cast(Row(b, b.Floats("imputed_value_floats")), x.dtype());
  const float replaced = b.Float("replaced_value_float");
  const Expr missing = replaced != replaced
                           ? b.Op("IsNaN", {x})
                           : Equal(x, Cast(Row(b, std::vector<float>{replaced}), x.dtype()));
  b.Return(Where(missing, imputed, x));
}

OpDef Unary(const char* name, const char* result) {
  return OpDef(name, 1, kDomain).Input("X", "T").Output("Y", result).Types("T", kNumbers);
}

}  // namespace

void RegisterMlScalingOps(OpRegistry& ops) {
  using Floats = std::vector<float>;
  using Ints = std::vector<int64_t>;
  const Tensor x = Tensor::Of<float>({2, 2}, {3, -4, 0, 0});
  ops.Add(Unary("Scaler", "float32")
              .Attr("offset", Attr::Kind::kFloats)
              .Attr("scale", Attr::Kind::kFloats)
              .Infer(InferScaler)
              .Body(ScalerBody)
              .Try(Sample()
                       .In(x)
                       .Attr("offset", Floats{1, 2})
                       .Attr("scale", Floats{10})
                       .NoGradient(kSingle)
                       .Gives(Tensor::Of<float>({2, 2}, {20, -60, -10, -20})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2}, {1, 2}))
                       .Attr("scale", Floats{0.5f})
                       .Gives(Tensor::Of<float>({2}, {0.5f, 1})))
              .Try(Sample().In({2, 3}).Attr("offset", Floats{1, 2}).Refused("offset has 2")));
  ops.Add(Unary("Normalizer", "float32")
              .Attr("norm", "MAX")
              .Infer(InferNormalizer)
              .Body(NormalizerBody)
              .Try(Sample().In(x).NoGradient(kSingle).Gives(
                  Tensor::Of<float>({2, 2}, {0.75f, -1, 0, 0})))
              .Try(Sample()
                       .In(x)
                       .Attr("norm", "L2")
                       .NoGradient(kSingle)
                       .Gives(Tensor::Of<float>({2, 2}, {0.6f, -0.8f, 0, 0})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({2}, {1, -3}))
                       .Attr("norm", "L1")
                       .Gives(Tensor::Of<float>({2}, {0.25f, -0.75f})))
              .Try(Sample().In({2, 3}).Attr("norm", "L3").Refused("L3")));
  ops.Add(Unary("Imputer", "T")
              .Attr("imputed_value_floats", Attr::Kind::kFloats)
              .Attr("imputed_value_int64s", Attr::Kind::kInts)
              .Attr("replaced_value_float", 0.0f)
              .Attr("replaced_value_int64", 0)
              .Infer(InferImputer)
              .Body(ImputerBody)
              .Try(Sample()
                       .In(Tensor::Of<float>({2, 2}, {3, -1, -1, 5}))
                       .Attr("imputed_value_floats", Floats{7, 8})
                       .Attr("replaced_value_float", -1.0f)
                       .NoGradient("a jump at the replaced value")
                       .Gives(Tensor::Of<float>({2, 2}, {3, 8, 7, 5})))
              .Try(Sample()
                       .In(Tensor::Of<int64_t>({3}, {0, 4, 0}))
                       .Attr("imputed_value_int64s", Ints{9})
                       .Gives(Tensor::Of<int64_t>({3}, {9, 4, 9})))
              .Try(Sample()
                       .In(Tensor::Of<float>({2}, {std::numeric_limits<float>::quiet_NaN(), 2}))
                       .Attr("imputed_value_floats", Floats{1})
                       .Attr("replaced_value_float", std::numeric_limits<float>::quiet_NaN())
                       .NoGradient("an input is missing")
                       .Gives(Tensor::Of<float>({2}, {1, 2})))
              .Try(Sample().In({2, 3}).Refused("has 0 elements")));
}

}  // namespace graphrun
