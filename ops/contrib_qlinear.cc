// Operators of domain com.microsoft between quantised tensors: QuantizeLinear, DequantizeLinear,
// QLinearAveragePool, QLinearGlobalAveragePool, QLinearConcat, QLinearLeakyRelu, QLinearReduceMean,
// QLinearSigmoid, QLinearSoftmax, QLinearWhere, QGemm. All are function bodies: back to f32, the
// operator of ai.onnx, quantised again.
//
// Source: github.com/microsoft/onnxruntime, docs/ContribOperators.md.
#include "ops/pool.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr char kMicrosoft[] = "com.microsoft";
constexpr DTypeSet kBytes = {DType::kInt8, DType::kUInt8};
constexpr DTypeSet kCodes = {DType::kInt8,  DType::kUInt8, DType::kInt16, DType::kUInt16,
                             DType::kInt32, DType::kInt4,  DType::kUInt4};
constexpr char kWhy[] = "quantised";

// Input i with its scale and zero point behind it.
Expr Real(BodyContext& b, int i) {
  return b.Op("DequantizeLinear", {b.x(i), b.x(i + 1), b.x(i + 2)});
}

// y in the scale of input i, the zero point behind it, of the element type of input `like`.
Expr Quantised(BodyContext& b, Expr y, int i, int like = 0) {
  Expr zero = b.has_input(i + 1) ? b.x(i + 1) : b.builder().Scalar(b.x(like).dtype(), 0);
  return b.Op("QuantizeLinear", {y, b.x(i), zero});
}

// x, its scale and zero point, and those of the result.
OpDef Unary(const char* name) {
  return OpDef(name, 1, kMicrosoft)
      .Input("X", "T")
      .Input("X_scale", "S")
      .Input("X_zero_point", "T", Arity::kOptional)
      .Input("Y_scale", "S")
      .Input("Y_zero_point", "T", Arity::kOptional)
      .Output("Y", "T")
      .Types("T", kBytes)
      .Types("S", {DType::kFloat32})
      .NotDifferentiable(kWhy);
}

absl::Status SameType(InferContext& c) {
  c.set_output(0, c.input_dtype(0), c.input_shape(0));
  return absl::OkStatus();
}

absl::Status SameElements(InferContext& c) {
  c.set_output(0, c.input_dtype(0), Shape());
  return absl::OkStatus();
}

Sample Codes(Tensor x, float scale, uint8_t zero, float y_scale, uint8_t y_zero) {
  return Sample()
      .In(std::move(x))
      .In(Tensor::Scalar(scale))
      .Constant()
      .In(Tensor::Scalar<uint8_t>(zero))
      .In(Tensor::Scalar(y_scale))
      .Constant()
      .In(Tensor::Scalar<uint8_t>(y_zero));
}

// Pools the channels last as channels first.
void PoolBody(BodyContext& b, const char* op) {
  Expr x = Real(b, 0);
  const bool last = b.Int("channels_last") != 0;
  if (last && !x.shape().has_rank()) return b.Refuse(b.Error("the input's rank is unknown"));
  const int64_t rank = last ? x.shape().rank() : 0;
  if (last && rank < 3) return b.Refuse(b.Error("the input has no spatial axes"));
  std::vector<int64_t> in = {0, rank - 1}, out = {0};
  for (int64_t a = 1; a < rank - 1; ++a) in.push_back(a);
  for (int64_t a = 2; a < rank; ++a) out.push_back(a);
  out.push_back(1);
  Expr y = b.Op(op, {last ? Transpose(x, in) : x}, b.AttrsExcept({"channels_last"}));
  b.Return(Quantised(b, last ? Transpose(y, out) : y, 3));
}

absl::Status InferPool(InferContext& c, bool global) {
  if (c.Int("channels_last") != 0) return SameElements(c);
  GR_ASSIGN_OR_RETURN(const Shape y, InferPooled(c, global));
  c.set_output(0, c.input_dtype(0), y);
  return absl::OkStatus();
}

// Before opset 13, Softmax runs over all axes from `axis` on.
void SoftmaxBody(BodyContext& b) {
  Expr x = Real(b, 0);
  const int64_t axis = b.Int("axis");
  if (b.Int("opset") >= 13)
    return b.Return(Quantised(b, b.Op("Softmax", {x}, {{"axis", axis}}), 3));
  Expr rows = b.Op("Flatten", {x}, {{"axis", axis}});
  b.Return(Quantised(b, Reshape(b.Op("Softmax", {rows}, {{"axis", 1}}), ShapeOf(x)), 3));
}

void ConcatBody(BodyContext& b) {
  const int inputs = b.node().num_inputs();
  if (inputs < 5 || inputs % 3 != 2) {
    return b.Refuse(b.Error("has ", inputs, " inputs but takes Y_scale, Y_zero_point and then ",
                            "a tensor, its scale and its zero point for each part"));
  }
  std::vector<Expr> parts;
  for (int i = 2; i < inputs; i += 3) parts.push_back(Real(b, i));
  b.Return(Quantised(b, ConcatAll(std::move(parts), b.Int("axis")), 0, 2));
}

void QGemmBody(BodyContext& b) {
  Expr a = b.x(0), w = b.x(3);
  const bool turned = b.Int("transB") != 0;
  const Shape &ws = w.shape(), bias = b.has_input(6) ? b.x(6).shape() : Shape();
  const bool by_rows = ws.is_concrete() && ws.rank() == 2 && b.has_input(7) &&
                       b.Int("transA") == 0 && b.Float("alpha") == 1 &&
                       (!b.has_input(6) || bias == Shape({ws[turned ? 0 : 1]}));
  if (by_rows) {
    // A product of matrices is a convolution of sequences of length 1, which rounds its own sums.
    const Expr axes = b.builder().Constant(Tensor::Int64s({2}));
    if (!turned) w = Transpose(w, {1, 0});
    const Expr zero = b.has_input(8) ? b.x(8) : b.builder().Scalar(a.dtype(), 0);
    Expr y = b.Op("QLinearConv",
                  {b.Op("Unsqueeze", {a, axes}), b.x(1), b.x(2), b.Op("Unsqueeze", {w, axes}),
                   b.x(4), b.x(5), b.x(7), zero, b.has_input(6) ? b.x(6) : Expr()});
    b.Return(b.Op("Squeeze", {y, axes}));
    return;
  }
  if (b.Int("transA") != 0) a = Transpose(a, {1, 0});
  if (b.Int("transB") != 0) w = Transpose(w, {1, 0});
  Expr sum = b.Op("MatMulInteger", {a, w, b.x(2), b.x(5)});
  if (b.has_input(6)) sum = sum + b.x(6);
  Expr y = Cast(sum, DType::kFloat32) * (b.x(1) * b.x(4) * static_cast<double>(b.Float("alpha")));
  b.Return(b.has_input(7) ? Quantised(b, y, 7) : y);
}

absl::Status InferQGemm(InferContext& c) {
  const Shape &a = c.input_shape(0), &w = c.input_shape(3);
  const DType y = c.has_input(7) ? c.input_dtype(0) : DType::kFloat32;
  if (!a.has_rank() || !w.has_rank()) {
    c.set_output(0, y, Shape());
    return absl::OkStatus();
  }
  if (a.rank() != 2 || w.rank() != 2)
    return c.Error("A is ", a.ToString(), " and B is ", w.ToString(), " but both must have 2 axes");
  const bool ta = c.Int("transA") != 0, tb = c.Int("transB") != 0;
  c.set_output(0, y, Shape({a[ta ? 1 : 0], w[tb ? 0 : 1]}));
  return absl::OkStatus();
}

}  // namespace

void RegisterContribQlinearOps(OpRegistry& ops) {
  const Tensor bytes = Tensor::Of<uint8_t>({2, 3}, {0, 10, 128, 130, 200, 255});
  ops.Add(OpDef("QuantizeLinear", 1, kMicrosoft)
              .Input("x", "T1")
              .Input("y_scale", "T1")
              .Input("y_zero_point", "T2", Arity::kOptional)
              .Output("y", "T2")
              .Types("T1", {DType::kFloat32, DType::kFloat16})
              .Types("T2", kCodes)
              .Attr("axis", 1)
              .Infer([](InferContext& c) {
                c.set_output(0, c.has_input(2) ? c.input_dtype(2) : DType::kUInt8,
                             c.input_shape(0));
                return absl::OkStatus();
              })
              .NotDifferentiable(kWhy)
              .Body([](BodyContext& b) {
                b.Return(b.Op("QuantizeLinear", {b.x(0), b.x(1), b.x(2)}, b.node().attrs()));
              })
              .Try(Sample()
                       .In(Tensor::Of<float>({3}, {-1, 0, 2.4f}))
                       .In(Tensor::Scalar(1.f))
                       .In(Tensor::Scalar<int16_t>(7))
                       .Gives(Tensor::Of<int16_t>({3}, {6, 7, 9}))));
  ops.Add(OpDef("DequantizeLinear", 1, kMicrosoft)
              .Input("x", "T1")
              .Input("x_scale", "T2")
              .Input("x_zero_point", "T1", Arity::kOptional)
              .Output("y", "T2")
              .Types("T1", kCodes)
              .Types("T2", {DType::kFloat32, DType::kFloat16})
              .Attr("axis", 1)
              .Infer([](InferContext& c) {
                c.set_output(0, c.input_dtype(1), c.input_shape(0));
                return absl::OkStatus();
              })
              .NotDifferentiable(kWhy)
              .Body([](BodyContext& b) {
                b.Return(b.Op("DequantizeLinear", {b.x(0), b.x(1), b.x(2)}, b.node().attrs()));
              })
              .Try(Sample()
                       .In(Tensor::Of<uint16_t>({3}, {0, 7, 300}))
                       .In(Tensor::Scalar(0.5f))
                       .In(Tensor::Scalar<uint16_t>(7))
                       .Gives(Tensor::Of<float>({3}, {-3.5f, 0, 146.5f}))));
  ops.Add(Unary("QLinearSigmoid")
              .Infer(SameType)
              .Body([](BodyContext& b) { b.Return(Quantised(b, Sigmoid(Real(b, 0)), 3)); })
              .Try(Codes(Tensor::Of<uint8_t>({3}, {0, 128, 255}), 0.1f, 128, 1 / 256.f, 0)
                       .Gives(Tensor::Of<uint8_t>({3}, {0, 128, 255}))));
  ops.Add(Unary("QLinearLeakyRelu")
              .Attr("alpha", 0.01f)
              .Infer(SameType)
              .Body([](BodyContext& b) {
                b.Return(Quantised(
                    b, b.Op("LeakyRelu", {Real(b, 0)}, {{"alpha", b.Float("alpha")}}), 3));
              })
              .Try(Codes(Tensor::Of<uint8_t>({3}, {0, 128, 255}), 1, 128, 1, 128)
                       .Attr("alpha", 0.5f)
                       .Gives(Tensor::Of<uint8_t>({3}, {64, 128, 255}))));
  ops.Add(Unary("QLinearSoftmax")
              .Attr("axis", -1)
              .Attr("opset", 0)
              .Infer(SameType)
              .Body(SoftmaxBody)
              .Try(Codes(bytes, 0.1f, 128, 1 / 256.f, 0).Attr("opset", 13))
              .Try(Codes(bytes, 0.1f, 128, 1 / 256.f, 0).Attr("opset", 12).Attr("axis", 0)));
  ops.Add(Unary("QLinearReduceMean")
              .Attr("axes", Attr::Kind::kInts)
              .Attr("keepdims", 1)
              .Infer(SameElements)
              .Body([](BodyContext& b) {
                b.Return(Quantised(
                    b, ReduceMean(Real(b, 0), b.Ints("axes"), b.Int("keepdims") != 0), 3));
              })
              .Try(Codes(bytes, 1, 0, 1, 0)
                       .Attr("axes", std::vector<int64_t>{1})
                       .Gives(Tensor::Of<uint8_t>({2, 1}, {46, 195}))));
  ops.Add(WithPoolWindow(Unary("QLinearAveragePool"))
              .Attr("channels_last", 0)
              .Attr("count_include_pad", 0)
              .Infer([](InferContext& c) { return InferPool(c, false); })
              .Body([](BodyContext& b) { PoolBody(b, "AveragePool"); })
              .Try(Codes(Tensor::Of<uint8_t>({1, 1, 4}, {2, 4, 6, 8}), 1, 2, 1, 0)
                       .Attr("kernel_shape", std::vector<int64_t>{2})
                       .Gives(Tensor::Of<uint8_t>({1, 1, 3}, {1, 3, 5})))
              .Try(Codes(Tensor::Of<uint8_t>({1, 2, 2}, {2, 4, 6, 8}), 1, 2, 1, 0)
                       .Attr("channels_last", 1)
                       .Attr("kernel_shape", std::vector<int64_t>{2})
                       .Gives(Tensor::Of<uint8_t>({1, 1, 2}, {2, 4}))));
  ops.Add(Unary("QLinearGlobalAveragePool")
              .Attr("channels_last", 0)
              .Infer([](InferContext& c) { return InferPool(c, true); })
              .Body([](BodyContext& b) { PoolBody(b, "GlobalAveragePool"); })
              .Try(Codes(Tensor::Of<uint8_t>({1, 2, 2}, {2, 4, 6, 8}), 1, 0, 1, 0)
                       .Gives(Tensor::Of<uint8_t>({1, 2, 1}, {3, 7})))
              .Try(Codes(Tensor::Of<uint8_t>({1, 2, 2}, {2, 4, 6, 8}), 1, 0, 1, 0)
                       .Attr("channels_last", 1)
                       .Gives(Tensor::Of<uint8_t>({1, 1, 2}, {4, 6}))));
  ops.Add(OpDef("QLinearConcat", 1, kMicrosoft)
              .Input("Y_scale", "S")
              .Input("Y_zero_point", "T")
              .Input("inputs", "any", Arity::kVariadic)
              .Output("Y", "T")
              .Types("T", kBytes)
              .Types("S", {DType::kFloat32})
              .RequiredAttr("axis", Attr::Kind::kInt)
              .Infer([](InferContext& c) {
                c.set_output(0, c.input_dtype(1), Shape());
                return absl::OkStatus();
              })
              .NotDifferentiable(kWhy)
              .Body(ConcatBody)
              .Try(Sample()
                       .In(Tensor::Scalar(1.f))
                       .Constant()
                       .In(Tensor::Scalar<uint8_t>(0))
                       .In(Tensor::Of<uint8_t>({2}, {1, 2}))
                       .In(Tensor::Scalar(2.f))
                       .Constant()
                       .In(Tensor::Scalar<uint8_t>(0))
                       .In(Tensor::Of<uint8_t>({1}, {9}))
                       .In(Tensor::Scalar(1.f))
                       .Constant()
                       .In(Tensor::Scalar<uint8_t>(1))
                       .Attr("axis", 0)
                       .Gives(Tensor::Of<uint8_t>({3}, {2, 4, 8}))));
  ops.Add(OpDef("QLinearWhere", 1, kMicrosoft)
              .Input("condition", "B")
              .Input("X", "T")
              .Input("x_scale", "S")
              .Input("x_zero_point", "T")
              .Input("Y", "T")
              .Input("y_scale", "S")
              .Input("y_zero_point", "T")
              .Input("z_scale", "S")
              .Input("z_zero_point", "T")
              .Output("Z", "T")
              .Types("B", {DType::kBool})
              .Types("T", kBytes)
              .Types("S", {DType::kFloat32})
              .Infer([](InferContext& c) {
                c.set_output(0, c.input_dtype(1), Shape());
                return absl::OkStatus();
              })
              .NotDifferentiable(kWhy)
              .Body([](BodyContext& b) {
                b.Return(Quantised(b, Where(b.x(0), Real(b, 1), Real(b, 4)), 7, 1));
              })
              .Try(Sample()
                       .In(Tensor::Of<bool>({2}, {true, false}))
                       .In(Tensor::Of<uint8_t>({2}, {3, 4}))
                       .In(Tensor::Scalar(2.f))
                       .Constant()
                       .In(Tensor::Scalar<uint8_t>(0))
                       .In(Tensor::Of<uint8_t>({1}, {9}))
                       .In(Tensor::Scalar(1.f))
                       .Constant()
                       .In(Tensor::Scalar<uint8_t>(1))
                       .In(Tensor::Scalar(1.f))
                       .Constant()
                       .In(Tensor::Scalar<uint8_t>(0))
                       .Gives(Tensor::Of<uint8_t>({2}, {6, 8}))));
  ops.Add(OpDef("QGemm", 1, kMicrosoft)
              .Input("A", "TA")
              .Input("a_scale", "S")
              .Input("a_zero_point", "TA")
              .Input("B", "TB")
              .Input("b_scale", "S")
              .Input("b_zero_point", "TB")
              .Input("C", "I", Arity::kOptional)
              .Input("y_scale", "S", Arity::kOptional)
              .Input("y_zero_point", "TY", Arity::kOptional)
              .Output("Y", "any")
              .Types("TA", kBytes)
              .Types("TB", kBytes)
              .Types("TY", kBytes)
              .Types("I", {DType::kInt32})
              .Types("S", {DType::kFloat32})
              .Attr("alpha", 1.0f)
              .Attr("transA", 0)
              .Attr("transB", 0)
              .Infer(InferQGemm)
              .NotDifferentiable(kWhy)
              .Body(QGemmBody)
              .Try(Sample()
                       .In(Tensor::Of<uint8_t>({1, 2}, {3, 5}))
                       .In(Tensor::Scalar(0.5f))
                       .Constant()
                       .In(Tensor::Scalar<uint8_t>(1))
                       .In(Tensor::Of<int8_t>({2, 2}, {1, 2, 3, 4}))
                       .In(Tensor::Of<float>({2}, {1, 2}))
                       .Constant()
                       .In(Tensor::Of<int8_t>({2}, {0, 0}))
                       .In(Tensor::Of<int32_t>({2}, {10, 20}))
                       .Attr("transB", 1)
                       .Gives(Tensor::Of<float>({1, 2}, {10, 42}))));
}

}  // namespace graphrun
