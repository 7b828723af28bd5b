// MatMul; ai.graphrun.FusedMatMul, a matrix product that takes its operands transposed; and
// ai.graphrun.FusedLinear, the same with a bias c [N], a tensor z of y's sizes that is added, and
// an activation.
//
// Source: https://onnx.ai/onnx/operators/onnx__MatMul.html (1, 9, 13). Element types: every number
// (the standard leaves out the 8- and 16-bit integers); integers wrap around.
#include "ops/matmul_native.h"
#include "ops/matmul_onednn.h"
#include "ops/multiply_adds.h"
#include "ops/post_op.h"
#include "ops/row_product.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<std::unique_ptr<Kernel>> NativeMatMul(PrepareContext& c) {
  const MatMulShape s =
      MatMulShape::Of(c.input_dims(0), c.input_dims(1), c.Int("transA") != 0, c.Int("transB") != 0)
          .Simplified();
  const float alpha = c.Float("alpha", 1);
  const PostOp post_op = PostOp::Of(c);
  std::unique_ptr<Kernel> kernel;
  if (c.output_dtype(0) != c.input_dtype(0)) return kernel;
  if (c.has_input(2) && c.input_dtype(2) != c.input_dtype(0)) return kernel;
  DispatchDType(NumericTypes(), c.input_dtype(0), [&]<typename T>() {
    kernel = MakeKernel([=](RunContext& r) {
      T* y = r.output(0).mutable_data<T>();
      const T* bias = r.has_input(2) ? r.input(2).data<T>() : nullptr;
      const T* added = r.has_input(3) ? r.input(3).data<T>() : nullptr;
      const bool plain = bias == nullptr && added == nullptr && post_op.is_none();
      BatchedMatMul(s, r.input(0).data<T>(), r.input(1).data<T>(),
                    [&](int64_t batch, int64_t i, int64_t j, const ProductSum<T>* sums, int64_t n) {
                      T* row = y + (batch * s.m + i) * s.n + j;
                      using C = Compute<T>;
                      const auto scale = static_cast<C>(alpha);
                      for (int64_t q = 0; plain && q < n; ++q) {
                        if constexpr (std::is_integral_v<T>) {
                          row[q] = static_cast<T>(sums[q]);
                        } else {
                          row[q] = T(scale * sums[q]);
                        }
                      }
                      for (int64_t q = 0; !plain && q < n; ++q) {
                        double v = static_cast<double>(scale * static_cast<C>(sums[q]));
                        if (bias != nullptr) v += static_cast<double>(static_cast<C>(bias[j + q]));
                        if (added != nullptr)
                          v += static_cast<double>(static_cast<C>(added[row + q - y]));
                        row[q] = T(static_cast<C>(post_op.Apply(v)));
                      }
                    });
      return absl::OkStatus();
    });
  });
  return kernel;
}

absl::StatusOr<std::unique_ptr<Kernel>> RowMatMul(PrepareContext& c) {
  if (c.has_input(3)) return nullptr;
  RowProductRequest request;
  request.shape =
      MatMulShape::Of(c.input_dims(0), c.input_dims(1), c.Int("transA") != 0, c.Int("transB") != 0);
  request.alpha = c.Float("alpha", 1);
  if (c.has_input(2)) request.bias = 2;
  request.activation = PostOp::Of(c);
  return RowProduct(c, request);
}

absl::StatusOr<std::unique_ptr<Kernel>> FastMatMul(PrepareContext& c) {
  MatMulRequest request{
      MatMulShape::Of(c.input_dims(0), c.input_dims(1), c.Int("transA") != 0, c.Int("transB") != 0),
      c.Float("alpha", 1)};
  if (c.has_input(2)) request.bias = 2;
  if (c.has_input(3)) request.added = 3;
  dnnl::post_ops activation;
  PostOp::Of(c).AppendTo(activation);
  request.activation = &activation;
  return OneDnnMatMul(c, request);
}

absl::Status InferMatMul(InferContext& c) {
  GR_ASSIGN_OR_RETURN(Shape y, InferMatMulShape(c, c.input_shape(0), c.input_shape(1)));
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::Status InferFusedMatMul(InferContext& c) {
  for (const int i : {0, 1}) {
    if (c.input_shape(i).has_rank() && c.input_shape(i).rank() < 2) {
      return c.Error("input ", c.def().inputs()[static_cast<size_t>(i)].name, " has shape ",
                     c.input_shape(i).ToString(), " but must have at least 2 axes");
    }
  }
  GR_ASSIGN_OR_RETURN(Shape y, InferMatMulShape(c, c.input_shape(0), c.input_shape(1),
                                                c.Int("transA") != 0, c.Int("transB") != 0));
  for (const int i : {2, 3}) {
    if (!c.has_input(i) || !c.input_shape(i).is_concrete() || !y.is_concrete()) continue;
    const Shape want = i == 3 ? y : Shape({y[y.rank() - 1]});
    if (!(c.input_shape(i) == want)) {
      return c.Error("input ", i == 2 ? "C" : "Z", " has shape ", c.input_shape(i).ToString(),
                     " but must be ", want.ToString());
    }
  }
  const int64_t to = c.Int("output_type", 0);
  const DType made = to == 0 ? c.input_dtype(0) : static_cast<DType>(to);
  if (!IsFloat(made) || (c.has_input(3) && c.input_dtype(3) != made)) {
    return c.Error("output_type is ", to, ", but it must be 0 or a float type, and Z must have it");
  }
  c.set_output(0, made, std::move(y));
  return absl::OkStatus();
}

Expr Product(Expr a, Expr b, bool trans_a, bool trans_b) {
  Builder& e = *a.builder();
  const bool flat = a.shape().has_rank() && b.shape().has_rank() && a.shape().rank() == 2 &&
                    b.shape().rank() == 2;
  if (flat) return e.Op("Gemm", {a, b}, {{"transA", trans_a}, {"transB", trans_b}});
  return e.Op("FusedMatMul", {a, b}, {{"transA", trans_a}, {"transB", trans_b}}, kGraphrunDomain);
}

// x [..., C] as a matrix [rows, C].
Expr Flattened(Expr x) {
  const Dim& last = x.shape()[x.shape().rank() - 1];
  if (last.is_number() && last.value() > 0) return Reshape(x, {-1, last.value()});
  return x.builder()->Op("Flatten", {x}, {{"axis", x.shape().rank() - 1}});
}

// da = dy b^T, db = a^T dy; a weight matrix shared by a whole batch is one product over all rows.
void MatMulGradient(GradContext& g) {
  Expr a = g.x(0), b = g.x(1), dy = g.dy();
  const bool row = a.shape().has_rank() && a.shape().rank() == 1;
  const bool column = b.shape().has_rank() && b.shape().rank() == 1;
  if (column) {
    b = Unsqueeze(b, {1});
    dy = Unsqueeze(dy, {-1});
  }
  if (row) {
    a = Unsqueeze(a, {0});
    dy = Unsqueeze(dy, {-2});
  }
  if (g.needs(0)) g.dx(0, Product(dy, b, false, true));
  if (!g.needs(1)) return;
  Expr db;
  if (!row && a.shape().has_rank() && b.shape().has_rank() && a.shape().rank() > 2 &&
      b.shape().rank() == 2) {
    db = Product(Flattened(a), Flattened(dy), true, false);
  } else {
    db = Product(a, dy, true, false);
  }
  g.dx(1, column ? Squeeze(db, {-1}) : db);
}

Expr LastAxesSwapped(Expr x) {
  std::vector<int64_t> perm;
  for (int i = 0; i < x.shape().rank(); ++i) perm.push_back(i);
  std::swap(perm[perm.size() - 1], perm[perm.size() - 2]);
  return Transpose(x, std::move(perm));
}

void FusedMatMulBody(BodyContext& b) {
  Expr x = b.x(0), w = b.x(1);
  if (!x.shape().has_rank() || !w.shape().has_rank()) {
    b.Refuse(b.Error("the ranks of A and B must be known"));
    return;
  }
  if (b.Int("transA") != 0) x = LastAxesSwapped(x);
  if (b.Int("transB") != 0) w = LastAxesSwapped(w);
  const DType to = static_cast<DType>(b.Int("output_type", 0));
  Expr y = MatMul(x, w);
  if (to != DType::kUndefined && to != y.dtype()) y = Cast(y, to);
  const float alpha = b.Float("alpha", 1);
  if (alpha != 1) y = y * alpha;
  if (b.has_input(2)) y = y + CastLike(b.x(2), y);
  if (b.has_input(3)) y = y + b.x(3);
  b.Return(PostOp::Of(b).Apply(y));
}

// FusedMatMul, and FusedLinear: y = activation(alpha * a' b' + c + z). `output_type`: y's element
// type, 0 for that of a and b; z has y's, c has one of the two.
OpDef Transposing(const char* name) {
  return OpDef(name, 1, kGraphrunDomain)
      .Input("A", "T")
      .Input("B", "T")
      .Output("Y", "T")
      .Types("T", kFloats)
      .Attr("transA", 0)
      .Attr("transB", 0)
      .Attr("alpha", 1.0f)
      .Attr("output_type", 0)
      .Infer(InferFusedMatMul)
      .MultiplyAdds(MatMulMultiplyAdds)
      .Kernel("row", RowMatMul)
      .Kernel("onednn", FastMatMul)
      .Kernel("native", NativeMatMul)
      .Body(FusedMatMulBody);
}

// y = alpha * a' b': da' = alpha * dy b'^T, db' = alpha * a'^T dy, each transposed back where the
// operand was.
void FusedMatMulGradient(GradContext& g) {
  const bool ta = g.Int("transA") != 0, tb = g.Int("transB") != 0;
  const auto product = [&](Expr a, Expr b, bool trans_a, bool trans_b) {
    return g.builder().Op(
        "FusedMatMul", {a, b},
        {{"transA", trans_a}, {"transB", trans_b}, {"alpha", g.Float("alpha", 1)}},
        kGraphrunDomain);
  };
  Expr a = g.x(0), b = g.x(1), dy = g.dy();
  if (g.needs(0)) g.dx(0, ta ? product(b, dy, tb, true) : product(dy, b, false, !tb));
  if (g.needs(1)) g.dx(1, tb ? product(dy, a, true, ta) : product(a, dy, !ta, false));
}

}  // namespace

void RegisterMatmulOps(OpRegistry& ops) {
  ops.Add(OpDef("MatMul", 1)
              .Versions({1, 9, 13})
              .Input("A", "T")
              .Input("B", "T")
              .Output("Y", "T")
              .Types("T", kNumeric)
              .Parameter(1, ParameterKind::kWeight, [](const NodeContext&) { return -1; })
              .Infer(InferMatMul)
              .MultiplyAdds(MatMulMultiplyAdds)
              .Kernel("row", RowMatMul)
              .Kernel("onednn", FastMatMul)
              .Kernel("native", NativeMatMul)
              .Gradient(MatMulGradient)
              .Try(Sample().In({2, 3}).In({3, 4}))
              .Try(Sample().In({2, 3}).In({3, 4}).Constant())
              .Try(Sample().In({1, 3}).In({3, 20}).Constant())
              .Try(Sample().In({5, 2, 3}).In({3, 4}))
              .Try(Sample().In({5, 2, 3}).In({5, 3, 4}))
              .Try(Sample().In({2, 1, 2, 3}).In({5, 3, 4}))
              .Try(Sample().In({5, 2, 3}).In({1, 3, 4}))
              .Try(Sample().In({2, 3}).In({4, 3, 2}))
              .Try(Sample().In({3}).In({3}))
              .Try(Sample().In({3}).In({4, 3, 2}))
              .Try(Sample().In({4, 2, 3}).In({3}))
              .Try(Sample().In({0, 3}).In({3, 4}))
              .Try(Sample().In({2, 0}).In({0, 4}))
              .Try(Sample().In({70, 33}).In({33, 150}))
              .Try(Sample()
                       .In(Tensor::Of<int32_t>({1, 2}, {3, -4}))
                       .In(Tensor::Of<int32_t>({2, 1}, {5, 6}))
                       .Gives(Tensor::Of<int32_t>({1, 1}, {-9})))
              .Try(Sample().In({2, 3}).In({2, 3}).Refused("must have 3 rows"))
              .Try(Sample().In(Dims{}).In({2, 3}).Refused("is a scalar")));
  ops.Add(Transposing("FusedMatMul")
              .Gradient(FusedMatMulGradient)
              .Try(Sample().In({3, 2}).In({4, 3}).Attr("transA", 1).Attr("transB", 1))
              .Try(Sample().In({5, 3, 2}).In({5, 3, 4}).Attr("transA", 1).Attr("alpha", 0.5f))
              .Try(Sample().In({5, 2, 3}).In({4, 3}).Attr("transB", 1))
              .Try(Sample().In({1, 3}).In({4, 3}).Constant().Attr("transB", 1).Attr("alpha", 2.0f))
              .Try(Sample().In({2, 1, 3, 2}).In({5, 3, 4}).Attr("transA", 1))
              .Try(Sample().In({3}).In({3, 2}).Refused("at least 2 axes")));
  OpDef linear = Transposing("FusedLinear");
  linear.Input("C", "S", Arity::kOptional)
      .Input("Z", "R", Arity::kOptional)
      .Types("S", kFloats)
      .Types("R", kFloats)
      .InPlace(3, 0);
  PostOp::Declare(linear)
      .Try(Sample()
               .In({4, 3})
               .In({6, 3})
               .Constant()
               .In({6})
               .Attr("transB", 1)
               .Attr("activation", "Relu")
               .NoGradient("the kink of Relu"))
      .Try(Sample()
               .In({1, 7})
               .In({130, 7})
               .Constant()
               .In({130})
               .Attr("transB", 1)
               .Attr("activation", "Tanh"))
      .Try(Sample().In({2, 3, 4}).In({4, 6}).In({6}).In({2, 3, 6}).Attr("activation", "Tanh"))
      .Try(Sample().In({2, 3, 4}).In({2, 4, 6}).None().In({2, 3, 6}))
      .Try(Sample().In({20, 40}).In({40, 33}).In({33}).Attr("activation", "Sigmoid"))
      .Try(Sample().In({2, 3}).In({3, 4}).In({3}).Refused("input C has shape"));
  ops.Add(std::move(linear));
}

}  // namespace graphrun
