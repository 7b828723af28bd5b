// Fused products and layouts of domain com.microsoft: FusedMatMul, FusedGemm, GemmFastGelu,
// FusedConv, NhwcConv, NhwcFusedConv, NhwcMaxPool. All are function bodies.
//
// Source: github.com/microsoft/onnxruntime, docs/ContribOperators.md.
#include "ops/window.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr char kMicrosoft[] = "com.microsoft";

// The axes of an operand of FusedMatMul: the batch axes moved where trans_batch says so, the last
// two swapped where trans does.
std::vector<int64_t> Order(int rank, bool trans, bool trans_batch) {
  std::vector<int64_t> order;
  for (int64_t a = 0; a < rank; ++a) order.push_back(a);
  if (rank < 2) return order;
  if (trans_batch) {
    order.erase(order.begin());
    order.insert(order.end() - 1, 0);
  }
  if (trans) std::swap(order[order.size() - 1], order[order.size() - 2]);
  return order;
}

absl::Status InferFusedMatMul(InferContext& c) {
  Shape shapes[2];
  for (int i = 0; i < 2; ++i) {
    const Shape& s = c.input_shape(i);
    if (!s.has_rank()) {
      c.set_output(0, c.input_dtype(0), Shape());
      return absl::OkStatus();
    }
    std::vector<Dim> dims;
    for (const int64_t a : Order(s.rank(), c.Int(i == 0 ? "transA" : "transB") != 0,
                                 c.Int(i == 0 ? "transBatchA" : "transBatchB") != 0)) {
      dims.push_back(s[static_cast<int>(a)]);
    }
    if (dims.empty()) return c.Error("input ", i, " is a scalar but must have at least one axis");
    shapes[i] = Shape(std::move(dims));
  }
  std::vector<Dim> a = shapes[0].dims(), b = shapes[1].dims();
  const bool row = a.size() == 1, column = b.size() == 1;
  if (row) a.insert(a.begin(), Dim(1));
  if (column) b.push_back(Dim(1));
  const Dim &inner = a.back(), &outer = b[b.size() - 2];
  if (inner.is_number() && outer.is_number() && inner.value() != outer.value()) {
    return c.Error("A is ", shapes[0].ToString(), " and B is ", shapes[1].ToString(),
                   " after transposing: A's last axis must be B's last but one");
  }
  auto batch = BroadcastShapes(Shape(std::vector<Dim>(a.begin(), a.end() - 2)),
                               Shape(std::vector<Dim>(b.begin(), b.end() - 2)));
  if (!batch.ok()) return Annotate(batch.status(), c.node().Describe());
  if (!row) batch->Append(a[a.size() - 2]);
  if (!column) batch->Append(b.back());
  c.set_output(0, c.input_dtype(0), *batch);
  return absl::OkStatus();
}

void FusedMatMulBody(BodyContext& b) {
  Expr operands[2];
  for (int i = 0; i < 2; ++i) {
    operands[i] = b.x(i);
    const bool trans = b.Int(i == 0 ? "transA" : "transB") != 0;
    const bool trans_batch = b.Int(i == 0 ? "transBatchA" : "transBatchB") != 0;
    if (!trans && !trans_batch) continue;
    const Shape& s = operands[i].shape();
    if (!s.has_rank()) return b.Refuse(b.Error("the rank of an input is unknown"));
    if (s.rank() > 1) operands[i] = Transpose(operands[i], Order(s.rank(), trans, trans_batch));
  }
  Expr y = MatMul(operands[0], operands[1]);
  const double alpha = b.Float("alpha", 1);
  b.Return(alpha == 1 ? y : y * alpha);
}

// The activation that a fused node names; its numbers are `params` in the operator's own order.
Expr Activated(BodyContext& b, Expr x, const std::string& name, const std::vector<float>& params) {
  const auto param = [&](size_t i, float fallback) {
    return i < params.size() ? params[i] : fallback;
  };
  if (name.empty()) return x;
  if (name == "Clip") {
    Builder& e = b.builder();
    Expr low = e.Scalar(x.dtype(), double{param(0, std::numeric_limits<float>::lowest())});
    Expr high = e.Scalar(x.dtype(), double{param(1, std::numeric_limits<float>::max())});
    return b.Op("Clip", {x, low, high});
  }
  if (name == "LeakyRelu") return b.Op(name, {x}, {{"alpha", param(0, 0.01f)}});
  if (name == "Elu" || name == "ThresholdedRelu" || name == "Celu")
    return b.Op(name, {x}, {{"alpha", param(0, 1.f)}});
  if (name == "HardSigmoid")
    return b.Op(name, {x}, {{"alpha", param(0, 0.2f)}, {"beta", param(1, 0.5f)}});
  for (const char* plain :
       {"Relu", "Sigmoid", "Tanh", "Softplus", "Softsign", "HardSwish", "Gelu"}) {
    if (name == plain) return b.Op(name, {x});
  }
  b.Refuse(b.Error("the activation \"", name, "\" is not known"));
  return x;
}

absl::Status InferConv(InferContext& c) {
  const Shape &x = c.input_shape(0), &w = c.input_shape(1);
  if (!x.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  Shape y = Shape::UnknownOfRank(x.rank());
  if (x.rank() > 1) {
    y[0] = x[0];
    if (w.has_rank() && w.rank() > 0) y[1] = w[0];
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::Status InferGemm(InferContext& c) {
  const Shape &a = c.input_shape(0), &b = c.input_shape(1);
  if (a.has_rank() && b.has_rank() && a.rank() == 2 && b.rank() == 2) {
    c.set_output(
        0, c.input_dtype(0),
        Shape(std::vector<Dim>{a[c.Int("transA") != 0 ? 1 : 0], b[c.Int("transB") != 0 ? 0 : 1]}));
  } else {
    c.set_output(0, c.input_dtype(0), Shape::UnknownOfRank(2));
  }
  return absl::OkStatus();
}

// [N, ..., channels], the spatial sizes unknown.
absl::Status InferChannelsLast(InferContext& c, bool same_channels) {
  const Shape &x = c.input_shape(0), &w = c.input_shape(1);
  if (!x.has_rank()) {
    c.set_output(0, c.input_dtype(0), Shape());
    return absl::OkStatus();
  }
  if (x.rank() < 3)
    return c.Error("the input has shape ", x.ToString(), " but must be [N, ..., C]");
  Shape y = Shape::UnknownOfRank(x.rank());
  y[0] = x[0];
  if (same_channels) {
    y[x.rank() - 1] = x[x.rank() - 1];
  } else if (w.has_rank() && w.rank() > 0) {
    y[x.rank() - 1] = w[0];
  }
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}
absl::Status InferNhwc(InferContext& c) { return InferChannelsLast(c, true); }
absl::Status InferNhwcConv(InferContext& c) { return InferChannelsLast(c, false); }

// op(x, rest...) on channels first, for x with channels last.
void ChannelsLast(BodyContext& b, const char* op, std::vector<Expr> rest, AttrMap attrs, Expr* y) {
  Expr x = b.x(0);
  if (!x.shape().has_rank()) return b.Refuse(b.Error("the input's rank is unknown"));
  const int64_t rank = x.shape().rank();
  std::vector<int64_t> in = {0, rank - 1}, out = {0};
  for (int64_t a = 1; a < rank - 1; ++a) in.push_back(a);
  for (int64_t a = 2; a < rank; ++a) out.push_back(a);
  out.push_back(1);
  rest.insert(rest.begin(), Transpose(x, in));
  *y = Transpose(b.Op(op, std::move(rest), std::move(attrs)), out);
}

void NhwcConvBody(BodyContext& b) {
  Expr y;
  ChannelsLast(b, "Conv", {b.x(1), b.x(2)}, b.AttrsExcept({"activation", "activation_params"}), &y);
  if (!y.is_defined()) return;
  if (b.has_input(3)) y = y + b.x(3);
  b.Return(Activated(b, y, b.String("activation"), b.Floats("activation_params")));
}

}  // namespace

void RegisterContribFusedOps(OpRegistry& ops) {
  ops.Add(OpDef("FusedMatMul", 1, kMicrosoft)
              .Input("A", "T")
              .Input("B", "T")
              .Output("Y", "T")
              .Types("T", kFloats)
              .Attr("alpha", 1.f)
              .Attr("transA", 0)
              .Attr("transB", 0)
              .Attr("transBatchA", 0)
              .Attr("transBatchB", 0)
              .Infer(InferFusedMatMul)
              .Body(FusedMatMulBody)
              .Try(Sample().In({2, 3, 4}).In({2, 5, 4}).Attr("transB", 1).Attr("alpha", 0.5f))
              .Try(Sample().In({3, 2, 4}).In({2, 4, 5}).Attr("transBatchA", 1))
              .Try(Sample().In({4, 3}).In({4, 5}).Attr("transA", 1))
              .Try(Sample().In({4, 3}).In({4, 5}).Refused("A's last axis")));
  ops.Add(
      OpDef("FusedGemm", 1, kMicrosoft)
          .Input("A", "T")
          .Input("B", "T")
          .Input("C", "T", Arity::kOptional)
          .Output("Y", "T")
          .Types("T", kFloats)
          .Attr("alpha", 1.f)
          .Attr("beta", 1.f)
          .Attr("transA", 0)
          .Attr("transB", 0)
          .Attr("activation", "")
          .Attr("activation_alpha", Attr::Kind::kFloat)
          .Attr("activation_beta", Attr::Kind::kFloat)
          .Attr("activation_gamma", Attr::Kind::kFloat)
          .Infer(InferGemm)
          .Body([](BodyContext& b) {
            Expr y = b.Op("Gemm", b.xs(),
                          b.AttrsExcept({"activation", "activation_alpha", "activation_beta",
                                         "activation_gamma"}));
            std::vector<float> params;
            if (b.has_attr("activation_alpha")) params.push_back(b.Float("activation_alpha"));
            if (b.has_attr("activation_beta")) params.push_back(b.Float("activation_beta"));
            b.Return(Activated(b, y, b.String("activation"), params));
          })
          .Try(Sample().In({2, 3}).In({4, 3}).In({4}).Attr("transB", 1).Attr("activation", "Tanh"))
          .Try(Sample()
                   .In({2, 3})
                   .In({3, 4})
                   .Attr("activation", "LeakyRelu")
                   .Attr("activation_alpha", 0.2f)));
  ops.Add(OpDef("GemmFastGelu", 1, kMicrosoft)
              .Input("X", "T")
              .Input("W", "T")
              .Input("bias", "T", Arity::kOptional)
              .Output("Y", "T")
              .Types("T", kFloats)
              .Infer(InferFusedMatMul)
              .Body([](BodyContext& b) {
                Expr y = MatMul(b.x(0), b.x(1));
                if (b.has_input(2)) y = y + b.x(2);
                b.Return(b.Op("Gelu", {y}, {{"approximate", "tanh"}}));
              })
              .Try(Sample().In({2, 3, 4}).In({4, 5}).In({5}))
              .Try(Sample().In({2, 4}).In({4, 5}))
              .Try(Sample().In({2, 3}).In({4, 5}).Refused("A's last axis")));
  ops.Add(WithWindow(OpDef("FusedConv", 1, kMicrosoft)
                         .Input("X", "T")
                         .Input("W", "T")
                         .Input("B", "T", Arity::kOptional)
                         .Input("Z", "T", Arity::kOptional)
                         .Output("Y", "T")
                         .Types("T", kFloats)
                         .Attr("group", 1)
                         .Attr("activation", "")
                         .Attr("activation_params", Attr::Kind::kFloats))
              .Infer(InferConv)
              .Body([](BodyContext& b) {
                Expr y = b.Op("Conv", {b.x(0), b.x(1), b.x(2)},
                              b.AttrsExcept({"activation", "activation_params"}));
                if (b.has_input(3)) y = y + b.x(3);
                b.Return(Activated(b, y, b.String("activation"), b.Floats("activation_params")));
              })
              .Try(Sample()
                       .In({1, 2, 5, 5})
                       .In({3, 2, 3, 3})
                       .In({3})
                       .In({1, 3, 3, 3})
                       .Attr("activation", "Sigmoid"))
              .Try(Sample()
                       .In({1, 2, 5})
                       .In({2, 2, 3})
                       .Attr("activation", "LeakyRelu")
                       .Attr("activation_params", std::vector<float>{0.3f})));
  for (const bool fused : {false, true}) {
    OpDef conv(fused ? "NhwcFusedConv" : "NhwcConv", 1, kMicrosoft);
    conv.Input("X", "T").Input("W", "T").Input("B", "T", Arity::kOptional);
    if (fused) conv.Input("Z", "T", Arity::kOptional);
    conv.Output("Y", "T").Types("T", kFloats).Attr("group", 1);
    if (fused) conv.Attr("activation", "").Attr("activation_params", Attr::Kind::kFloats);
    conv = WithWindow(std::move(conv)).Infer(InferNhwcConv).Body(NhwcConvBody);
    conv.Try(Sample()
                 .In({1, 5, 4, 2})
                 .In({3, 2, 3, 3})
                 .In({3})
                 .Attr("pads", std::vector<int64_t>{1, 1, 0, 0}))
        .Try(Sample().In({2, 4, 4, 4}).In({4, 2, 2, 2}).Attr("group", 2));
    if (fused) {
      conv.Try(Sample()
                   .In({1, 5, 5, 2})
                   .In({3, 2, 3, 3})
                   .In({3})
                   .In({1, 3, 3, 3})
                   .Attr("activation", "Sigmoid"));
    }
    ops.Add(std::move(conv));
  }
  ops.Add(WithPoolWindow(OpDef("NhwcMaxPool", 1, kMicrosoft)
                             .Input("x", "T")
                             .Output("y", "T")
                             .Types("T", kFloats | DTypeSet{DType::kInt8, DType::kUInt8}))
              .Infer(InferNhwc)
              .Body([](BodyContext& b) {
                Expr y;
                ChannelsLast(b, "MaxPool", {}, b.node().attrs(), &y);
                if (y.is_defined()) b.Return(y);
              })
              .Try(Sample().In({1, 4, 4, 3}).Attr("kernel_shape", std::vector<int64_t>{2, 2})));
}

}  // namespace graphrun
