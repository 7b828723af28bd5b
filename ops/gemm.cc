// Gemm: y = alpha * a' b' + beta * c, where ' transposes if asked to.
//
// Source: https://onnx.ai/onnx/operators/onnx__Gemm.html (1, 6, 7, 9, 11, 13). c broadcasts to
// [M, N]; versions 1 and 6 had an attribute `broadcast` for that, and c without it has y's shape.
// Integers: alpha and beta are applied in double precision, then truncated.
#include "ops/broadcast.h"
#include "ops/matmul_native.h"
#include "ops/matmul_onednn.h"
#include "ops/multiply_adds.h"
#include "ops/row_product.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::Status InferGemm(InferContext& c) {
  const Shape &a = c.input_shape(0), &b = c.input_shape(1);
  for (const int i : {0, 1}) {
    const Shape& s = c.input_shape(i);
    if (s.has_rank() && s.rank() != 2) {
      return c.Error("input ", i == 0 ? "A" : "B", " has shape ", s.ToString(),
                     " but must be a matrix. Use MatMul, or Flatten in front");
    }
  }
  Shape y = Shape::UnknownOfRank(2);
  if (a.has_rank() && b.has_rank()) {
    GR_ASSIGN_OR_RETURN(y, InferMatMulShape(c, a, b, c.Int("transA") != 0, c.Int("transB") != 0));
  } else if (a.has_rank()) {
    y[0] = a[c.Int("transA") != 0 ? 1 : 0];
  } else if (b.has_rank()) {
    y[1] = b[c.Int("transB") != 0 ? 0 : 1];
  }
  if (c.has_input(2) && c.input_shape(2).has_rank()) {
    const Shape& bias = c.input_shape(2);
    bool fits = bias.rank() <= 2;
    for (int i = 0; fits && i < bias.rank(); ++i) {
      const Dim& d = bias[i];
      const Dim& to = y[2 - bias.rank() + i];
      fits = !d.is_number() || !to.is_number() || d.value() == 1 || d.value() == to.value();
    }
    if (!fits) {
      return c.Error("input C has shape ", bias.ToString(), " but must broadcast to the result ",
                     y.ToString());
    }
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> NativeGemm(PrepareContext& c) {
  const MatMulShape s =
      MatMulShape::Of(c.input_dims(0), c.input_dims(1), c.Int("transA") != 0, c.Int("transB") != 0);
  const float alpha = c.Float("alpha", 1), beta = c.Float("beta", 1);
  int64_t row_step = 0, column_step = 0;  // of C
  if (c.has_input(2)) {
    Dims bias = c.input_dims(2);
    bias.insert(bias.begin(), 2 - bias.size(), 1);
    column_step = bias[1] == 1 ? 0 : 1;
    row_step = bias[0] == 1 ? 0 : bias[1];
  }
  std::unique_ptr<Kernel> kernel;
  DispatchDType(NumericTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& r) {
      const T* bias = r.has_input(2) && beta != 0 ? r.input(2).data<T>() : nullptr;
      T* y = r.output(0).mutable_data<T>();
      BatchedMatMul(
          s, r.input(0).data<T>(), r.input(1).data<T>(),
          [&](int64_t, int64_t i, int64_t j, const ProductSum<T>* sums, int64_t n) {
            using C = std::conditional_t<std::is_integral_v<T>, double, Compute<T>>;
            const bool plain = alpha == 1 && beta == 1;
            T* row = y + i * s.n + j;
            for (int64_t q = 0; q < n; ++q) {
              const T* at = bias == nullptr ? nullptr : bias + i * row_step + (j + q) * column_step;
              if constexpr (std::is_integral_v<T>) {
                if (plain) {
                  row[q] = static_cast<T>(sums[q] +
                                          static_cast<ProductSum<T>>(at == nullptr ? T(0) : *at));
                  continue;
                }
              }
              C sum = static_cast<C>(alpha) * static_cast<C>(static_cast<Compute<T>>(sums[q]));
              if (at != nullptr)
                sum += static_cast<C>(beta) * static_cast<C>(static_cast<Compute<T>>(*at));
              row[q] = static_cast<T>(sum);
            }
          });
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::StatusOr<std::unique_ptr<Kernel>> RowGemm(PrepareContext& c) {
  RowProductRequest request;
  request.shape =
      MatMulShape::Of(c.input_dims(0), c.input_dims(1), c.Int("transA") != 0, c.Int("transB") != 0);
  request.alpha = c.Float("alpha", 1);
  request.beta = c.Float("beta", 1);
  if (c.has_input(2) && request.beta != 0) request.bias = 2;
  return RowProduct(c, request);
}

absl::StatusOr<std::unique_ptr<Kernel>> FastGemm(PrepareContext& c) {
  MatMulRequest request{
      MatMulShape::Of(c.input_dims(0), c.input_dims(1), c.Int("transA") != 0, c.Int("transB") != 0),
      c.Float("alpha", 1), c.Float("beta", 1)};
  if (c.has_input(2) && request.beta != 0) request.c = 2;
  return OneDnnMatMul(c, request);
}

// da' = alpha * dy b'^T, db' = alpha * a'^T dy, transposed back by the choice of flags; dc = beta *
// dy, summed where c was broadcast.
void GemmGradient(GradContext& g) {
  const bool ta = g.Int("transA") != 0, tb = g.Int("transB") != 0;
  const auto product = [&](Expr a, Expr b, bool trans_a, bool trans_b) {
    return g.builder().Op(
        "Gemm", {a, b}, {{"transA", trans_a}, {"transB", trans_b}, {"alpha", g.Float("alpha", 1)}});
  };
  Expr a = g.x(0), b = g.x(1), dy = g.dy();
  if (g.needs(0)) g.dx(0, ta ? product(b, dy, tb, true) : product(dy, b, false, !tb));
  if (g.needs(1)) g.dx(1, tb ? product(dy, a, true, ta) : product(a, dy, !ta, false));
  if (g.needs(2)) g.dx(2, g.Float("beta", 1) == 1 ? dy : dy * g.Float("beta", 1));
}

OpDef GemmDef(int since) {
  return OpDef("Gemm", since)
      .Input("A", "T")
      .Input("B", "T")
      .Input("C", "T", Arity::kOptional)
      .Output("Y", "T")
      .Types("T", kNumeric)
      .Attr("alpha", 1.0f)
      .Attr("beta", 1.0f)
      .Attr("transA", 0)
      .Attr("transB", 0)
      .Parameter(1, ParameterKind::kWeight,
                 [](const NodeContext& c) { return c.Int("transB") != 0 ? 0 : 1; })
      .Parameter(2, ParameterKind::kBias)
      .Infer(InferGemm)
      .MultiplyAdds(MatMulMultiplyAdds);
}

}  // namespace

void RegisterGemmOps(OpRegistry& ops) {
  ops.Add(GemmDef(1).Versions({1, 6}).Attr("broadcast", 0).Body([](BodyContext& b) {
    b.Return(b.Op("Gemm", b.xs(), b.AttrsExcept({"broadcast"})));
  }));
  ops.Add(
      GemmDef(7)
          .Versions({7, 9, 11, 13})
          .Kernel("row", RowGemm)
          .Kernel("onednn", FastGemm)
          .Kernel("native", NativeGemm)
          .Gradient(GemmGradient)
          .Try(Sample().In({2, 3}).In({3, 4}))
          .Try(Sample().In({2, 3}).In({3, 4}).In({4}))
          .Try(Sample().In({2, 3}).In({4, 3}).Constant().In({4}).Constant().Attr("transB", 1))
          .Try(Sample().In({3, 2}).In({3, 4}).In({2, 1}).Attr("transA", 1).Attr("beta", 0.5f))
          .Try(Sample()
                   .In({3, 2})
                   .In({4, 3})
                   .In({2, 4})
                   .Attr("transA", 1)
                   .Attr("transB", 1)
                   .Attr("alpha", 2.0f))
          .Try(Sample().In({2, 3}).In({3, 4}).In(Dims{}).Attr("alpha", 0.25f).Attr("beta", 3.0f))
          .Try(Sample().In({2, 3}).In({3, 4}).In({1, 4}).Attr("beta", 0.0f))
          .Try(Sample()
                   .In({1, 5})
                   .In({5, 70})
                   .Constant()
                   .In({1, 70})
                   .Attr("alpha", 0.5f)
                   .Attr("beta", 2.0f))
          .Try(Sample().In({0, 3}).In({3, 4}).In({4}))
          .Try(Sample().In({2, 0}).In({0, 4}).In({4}))
          .Try(Sample().In({65, 40}).In({130, 40}).In({130}).Attr("transB", 1))
          .Try(Sample()
                   .In(Tensor::Of<int32_t>({1, 2}, {3, -4}))
                   .In(Tensor::Of<int32_t>({2, 1}, {5, 6}))
                   .In(Tensor::Of<int32_t>({1}, {10}))
                   .Gives(Tensor::Of<int32_t>({1, 1}, {1})))
          .Try(Sample().In({2, 3}).In({4, 3}).Refused("must have 3 rows"))
          .Try(Sample().In({2, 3}).In({3, 4}).In({3}).Refused("must broadcast"))
          .Try(Sample().In({1, 2, 3}).In({3, 4}).Refused("must be a matrix")));
}

}  // namespace graphrun
