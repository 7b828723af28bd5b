// Quantised operators of domain com.microsoft: DynamicQuantizeMatMul, MatMulIntegerToFloat,
// QLinearAdd, QLinearMul. All are function bodies; sums and products of tensors of the same size
// have a kernel that takes both in any layout.
//
// Source: github.com/microsoft/onnxruntime, docs/ContribOperators.md. Element types: int8 and uint8
// with scales in f32.
#include "ops/quantized.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr char kMicrosoft[] = "com.microsoft";
constexpr char kWhy[] = "quantised";

// Output 0 in f32: the product of inputs 0 and 1.
absl::Status InferProduct(InferContext& c) {
  const Shape &a = c.input_shape(0), &b = c.input_shape(1);
  if (!a.has_rank() || !b.has_rank()) {
    c.set_output(0, DType::kFloat32, Shape());
    return absl::OkStatus();
  }
  if (a.rank() < 2 || b.rank() < 2)
    return c.Error("A is ", a.ToString(), " and B is ", b.ToString(), " but both need two axes");
  const Dim &inner = a[a.rank() - 1], &outer = b[b.rank() - 2];
  if (inner.is_number() && outer.is_number() && inner.value() != outer.value()) {
    return c.Error("A is ", a.ToString(), " and B is ", b.ToString(),
                   ": A's last axis must be B's last but one");
  }
  auto shape = BroadcastShapes(Shape(std::vector<Dim>(a.dims().begin(), a.dims().end() - 2)),
                               Shape(std::vector<Dim>(b.dims().begin(), b.dims().end() - 2)));
  if (!shape.ok()) return Annotate(shape.status(), c.node().Describe());
  shape->Append(a[a.rank() - 2]);
  shape->Append(b[b.rank() - 1]);
  c.set_output(0, DType::kFloat32, *shape);
  return absl::OkStatus();
}

// The product of integers a and b, scaled, plus a bias where there is one.
Expr ScaledProduct(BodyContext& b, Expr x, Expr w, Expr scale, Expr x_zero, Expr w_zero,
                   Expr bias) {
  Expr y = Cast(b.Op("MatMulInteger", {x, w, x_zero, w_zero}), DType::kFloat32) * scale;
  return bias.is_defined() ? y + bias : y;
}

absl::Status InferBinary(InferContext& c) {
  auto shape = BroadcastShapes(c.input_shape(0), c.input_shape(3));
  if (!shape.ok()) return Annotate(shape.status(), c.node().Describe());
  c.set_output(0, c.input_dtype(0), *shape);
  return absl::OkStatus();
}

// c = round((a * b or a + b) / C_scale) + C_zero_point, in the arithmetic of the body.
absl::StatusOr<std::unique_ptr<Kernel>> BinaryKernel(PrepareContext& c, bool multiply) {
  if (c.input_dims(0) != c.input_dims(3)) return nullptr;
  for (const int i : {1, 2, 4, 5, 6, 7}) {
    if (c.has_input(i) && Product(c.input_dims(i)) != 1) return nullptr;
  }
  const Layout layout = c.input_layout(0);
  if (layout.is_blocked() && !layout.HasPadding(c.input_dims(0))) {
    c.Want(0, layout);
    c.Want(3, layout);
    c.Make(0, layout);
  }
  std::unique_ptr<Kernel> kernel;
  DispatchDType(TypeList<int8_t, uint8_t>(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([multiply](RunContext& r) {
      const auto number = [&](int i) { return static_cast<float>(Numbers(r, i)[0]); };
      const float a_scale = number(1), a_zero = number(2), b_scale = number(4), b_zero = number(5),
                  scale = number(6), zero = number(7);
      const T *a = r.input(0).data<T>(), *b = r.input(3).data<T>();
      T* y = r.output(0).mutable_data<T>();
      constexpr float kLow = std::numeric_limits<T>::lowest(),
                      kHigh = std::numeric_limits<T>::max();
      // Everything by value and in blocks of its own: bytes may alias whatever is captured.
      constexpr int64_t kBlock = 512;
      const int64_t n = r.output(0).num_elements();
      ParallelFor((n + kBlock - 1) / kBlock, 128, [=](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; ++block) {
          const int64_t at = block * kBlock, count = std::min(kBlock, n - at);
          float v[kBlock], w[kBlock];
          T bytes[kBlock];
          for (int64_t i = 0; i < count; ++i) {
            v[i] = (static_cast<float>(a[at + i]) - a_zero) * a_scale;
            w[i] = (static_cast<float>(b[at + i]) - b_zero) * b_scale;
          }
          if (multiply) {
            for (int64_t i = 0; i < count; ++i) v[i] = v[i] * w[i] / scale;
          } else {
            for (int64_t i = 0; i < count; ++i) v[i] = (v[i] + w[i]) / scale;
          }
          for (int64_t i = 0; i < count; ++i) {
            float q = std::nearbyint(v[i]) + zero;
            q = q < kLow ? kLow : q;
            q = q > kHigh ? kHigh : q;
            bytes[i] = static_cast<T>(static_cast<int32_t>(q == q ? q : 0));
          }
          std::copy(bytes, bytes + count, y + at);
        }
      });
      return absl::OkStatus();
    });
  });
  return kernel;
}

OpDef QuantizedBinary(const char* name, const char* op) {
  const bool multiply = op[0] == 'M';
  const Tensor a = Tensor::Of<uint8_t>({2, 3}, {0, 10, 128, 130, 200, 255});
  const Tensor b = Tensor::Of<uint8_t>({3}, {1, 128, 250});
  const Tensor zero = Tensor::Scalar<uint8_t>(128);
  return OpDef(name, 1, kMicrosoft)
      .Input("A", "T")
      .Input("A_scale", "S")
      .Input("A_zero_point", "T", Arity::kOptional)
      .Input("B", "T")
      .Input("B_scale", "S")
      .Input("B_zero_point", "T", Arity::kOptional)
      .Input("C_scale", "S")
      .Input("C_zero_point", "T", Arity::kOptional)
      .Output("C", "T")
      .Types("T", kBytes)
      .Types("S", {DType::kFloat32})
      .Infer(InferBinary)
      .NotDifferentiable(kWhy)
      .Kernel("native", [multiply](PrepareContext& c) { return BinaryKernel(c, multiply); })
      .Body([op](BodyContext& b) {
        Expr x = b.Op("DequantizeLinear", {b.x(0), b.x(1), b.x(2)});
        Expr y = b.Op("DequantizeLinear", {b.x(3), b.x(4), b.x(5)});
        Expr zero = b.has_input(7) ? b.x(7) : b.builder().Scalar(b.x(0).dtype(), 0);
        b.Return(b.Op("QuantizeLinear", {b.Op(op, {x, y}), b.x(6), zero}));
      })
      .Try(Sample()
               .In(a)
               .In(Tensor::Scalar(0.5f))
               .Constant()
               .In(zero)
               .In(a)
               .In(Tensor::Scalar(0.75f))
               .Constant()
               .None()
               .In(Tensor::Scalar(2.f))
               .Constant()
               .In(zero))
      .Try(Sample()
               .In(a)
               .In(Tensor::Scalar(0.5f))
               .Constant()
               .In(zero)
               .In(b)
               .In(Tensor::Scalar(0.25f))
               .Constant()
               .In(zero)
               .In(Tensor::Scalar(1.f))
               .Constant()
               .In(zero));
}

}  // namespace

void RegisterContribQuantizedOps(OpRegistry& ops) {
  const Tensor w = Tensor::Of<int8_t>({3, 2}, {1, -2, 3, 4, -5, 6});
  ops.Add(OpDef("DynamicQuantizeMatMul", 1, kMicrosoft)
              .Input("A", "T1")
              .Input("B", "T2")
              .Input("b_scale", "T1")
              .Input("b_zero_point", "T2", Arity::kOptional)
              .Input("bias", "T1", Arity::kOptional)
              .Output("Y", "T1")
              .Types("T1", {DType::kFloat32})
              .Types("T2", kBytes)
              .Infer(InferProduct)
              .NotDifferentiable(kWhy)
              .Body([](BodyContext& b) {
                const std::vector<Expr> q = b.builder().Ops("DynamicQuantizeLinear", {b.x(0)}, 3);
                b.Return(ScaledProduct(b, q[0], b.x(1), q[1] * b.x(2), q[2], b.x(3), b.x(4)));
              })
              .Try(Sample().In({2, 3}).In(w).In(Tensor::Scalar(0.5f)).Constant())
              .Try(Sample()
                       .In({2, 3})
                       .In(w)
                       .In(Tensor::Of<float>({2}, {0.5f, 0.1f}))
                       .Constant()
                       .None()
                       .In({2}))
              .Try(Sample()
                       .In({2, 2})
                       .In(w)
                       .In(Tensor::Scalar(0.5f))
                       .Constant()
                       .Refused("A's last axis")));
  ops.Add(OpDef("MatMulIntegerToFloat", 1, kMicrosoft)
              .Input("A", "T1")
              .Input("B", "T2")
              .Input("a_scale", "T3")
              .Input("b_scale", "T3")
              .Input("a_zero_point", "T1", Arity::kOptional)
              .Input("b_zero_point", "T2", Arity::kOptional)
              .Input("bias", "T3", Arity::kOptional)
              .Output("Y", "T3")
              .Types("T1", kBytes)
              .Types("T2", kBytes)
              .Types("T3", {DType::kFloat32})
              .Infer(InferProduct)
              .NotDifferentiable(kWhy)
              .Body([](BodyContext& b) {
                b.Return(ScaledProduct(b, b.x(0), b.x(1), b.x(2) * b.x(3), b.x(4), b.x(5), b.x(6)));
              })
              .Try(Sample()
                       .In(Tensor::Of<uint8_t>({2, 3}, {1, 2, 3, 4, 5, 6}))
                       .In(w)
                       .In(Tensor::Scalar(0.5f))
                       .Constant()
                       .In(Tensor::Scalar(2.f))
                       .Constant()
                       .In(Tensor::Scalar<uint8_t>(1))
                       .None()
                       .In(Tensor::Of<float>({2}, {0, 1}))
                       .Constant()
                       .Gives(Tensor::Of<float>({2, 2}, {-7, 17, -10, 41}))));
  ops.Add(QuantizedBinary("QLinearAdd", "Add"));
  ops.Add(QuantizedBinary("QLinearMul", "Mul"));
}

}  // namespace graphrun
