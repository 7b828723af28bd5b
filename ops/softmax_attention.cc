// ai.graphrun.SoftmaxAttention: softmax(scale Q K^T + mask) V over any leading axes, and its
// gradient: what attention becomes before gradients are appended ("pattern-attention"). Plans run
// both over views of the tensors around them (ops/attention_gradients.cc), or by their bodies.
#include "ops/panel_product.h"
#include "ops/post_op.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr int kMask = 3, kDy = 4;

bool Is(const Node* node, absl::string_view op, absl::string_view domain = "") {
  return node != nullptr && node->op_type() == op && node->domain() == domain;
}

// ---- the operators

// Q [..., L, D], K [..., S, D], V [..., S, Dv] with equal leading axes.
absl::Status CheckInputs(InferContext& c) {
  const Shape &q = c.input_shape(0), &k = c.input_shape(1), &v = c.input_shape(2);
  if (!q.has_rank() || !k.has_rank() || !v.has_rank()) return absl::OkStatus();
  const int rank = q.rank();
  const auto differ = [](const Dim& a, const Dim& b) {
    return a.is_number() && b.is_number() && a.value() != b.value();
  };
  bool fits = rank >= 2 && k.rank() == rank && v.rank() == rank;
  for (int a = 0; fits && a < rank - 2; ++a) fits = !differ(q[a], k[a]) && !differ(q[a], v[a]);
  fits = fits && !differ(q[rank - 1], k[rank - 1]) && !differ(k[rank - 2], v[rank - 2]);
  if (fits) return absl::OkStatus();
  return c.Error("Q is ", q.ToString(), ", K ", k.ToString(), " and V ", v.ToString(),
                 " but they must be [..., L, D], [..., S, D] and [..., S, Dv]");
}

absl::Status InferForward(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckInputs(c));
  Shape y = c.input_shape(0);
  const Shape& v = c.input_shape(2);
  if (y.has_rank()) y[y.rank() - 1] = v.has_rank() ? v[v.rank() - 1] : Dim();
  c.set_output(0, c.input_dtype(0), std::move(y));
  return absl::OkStatus();
}

absl::Status InferBackward(InferContext& c) {
  GR_RETURN_IF_ERROR(CheckInputs(c));
  for (int o = 0; o < 3; ++o) c.set_output(o, c.input_dtype(o), c.input_shape(o));
  return absl::OkStatus();
}

Expr Turned(Expr x) {
  std::vector<int64_t> perm;
  const int rank = x.shape().rank();
  for (int a = 0; a < rank - 2; ++a) perm.push_back(a);
  perm.push_back(rank - 1);
  perm.push_back(rank - 2);
  return Transpose(x, std::move(perm));
}

Expr Weights(Expr q, Expr k, Expr mask, double scale) {
  Expr scores = MatMul(q, Turned(k)) * scale;
  if (mask.is_defined()) scores = scores + mask;
  return q.builder()->Op("Softmax", {scores}, {{"axis", -1}});
}

bool RanksAreKnown(BodyContext& b) {
  for (int i = 0; i < 3; ++i) {
    if (b.x(i).shape().has_rank()) continue;
    b.Refuse(b.Error("the rank of an input is unknown"));
    return false;
  }
  return true;
}

void ForwardBody(BodyContext& b) {
  if (!RanksAreKnown(b)) return;
  b.Return(MatMul(Weights(b.x(0), b.x(1), b.x(kMask), b.Float("scale", 1)), b.x(2)));
}

// The gradient of the scores by way of the weights p.
Expr ScoresGradient(Expr p, Expr dy, Expr v) {
  Expr dp = MatMul(dy, Turned(v));
  return p * (dp - ReduceSum(p * dp, {-1}, true));
}

void BackwardBody(BodyContext& b) {
  if (!RanksAreKnown(b)) return;
  const double scale = b.Float("scale", 1);
  Expr p = Weights(b.x(0), b.x(1), b.x(kMask), scale);
  Expr ds = ScoresGradient(p, b.x(kDy), b.x(2)) * scale;
  b.Return({MatMul(ds, b.x(1)), MatMul(Turned(ds), b.x(0)), MatMul(Turned(p), b.x(kDy))});
}

void EmitGradient(GradContext& g) {
  Expr mask = g.has_input(kMask) ? g.x(kMask) : Expr();
  const std::vector<Expr> d =
      g.builder().Ops("SoftmaxAttentionGrad", {g.x(0), g.x(1), g.x(2), mask, g.dy()}, 3,
                      {{"scale", g.Float("scale", 1)}}, kGraphrunDomain);
  for (int i = 0; i < 3; ++i) g.dx(i, d[static_cast<size_t>(i)]);
  if (mask.is_defined() && g.needs(kMask)) {
    Expr p = Weights(g.x(0), g.x(1), mask, g.Float("scale", 1));
    g.dx(kMask, ScoresGradient(p, g.dy(), g.x(2)));
  }
}

// Declared so that the bodies wait for the rewrite over views: an operator with nothing but a body
// is replaced before rewrites run.
absl::StatusOr<std::unique_ptr<Kernel>> NoKernel(PrepareContext&) { return nullptr; }

double MultiplyAdds(const NodeContext& c, int q, int products_with_d, int products_with_dv) {
  const Dims x = c.node().input(q)->shape().ToDims(), v = c.node().input(q + 2)->shape().ToDims();
  if (x.empty() || v.size() < 2) return 0;
  const double scores = static_cast<double>(Product(x)) /
                        static_cast<double>(std::max<int64_t>(x.back(), 1)) *
                        static_cast<double>(v[v.size() - 2]);
  return scores * static_cast<double>(products_with_d * x.back() + products_with_dv * v.back());
}

// ---- the pattern

// The only constant element of v, or nothing.
absl::optional<double> Number(const Value* v) {
  if (v == nullptr || !v->is_constant() || v->initializer().num_elements() != 1 ||
      v->initializer().rank() > 2 || !IsFloat(v->dtype())) {
    return absl::nullopt;
  }
  return v->initializer().AsDouble(0);
}

struct Found {
  Value *q = nullptr, *k = nullptr, *v = nullptr, *mask = nullptr;  // k: transposed
  double scale = 1;
  Node* last = nullptr;  // the product with V
};

bool IsMask(const Value* mask, const Shape& scores) {
  const Shape& own = mask->shape();
  if (mask->dtype() != DType::kFloat32 || !own.has_rank() || own.rank() < 1 ||
      own.rank() > scores.rank()) {
    return false;
  }
  for (int a = 1; a <= own.rank(); ++a) {
    const Dim &d = own[own.rank() - a], &whole = scores[scores.rank() - a];
    const bool one = d.is_number() && d.value() == 1;
    if (!d.SurelyEquals(whole) && (!one || a == 1)) return false;
  }
  return true;
}

absl::optional<Found> FindAttention(const Graph& graph, Node* softmax) {
  Found f;
  const Value* weights = softmax->output(0);
  const Shape& shape = weights->shape();
  f.last = SoleUser(graph, weights);
  if (weights->dtype() != DType::kFloat32 || !shape.has_rank() ||
      (shape.rank() != 3 && shape.rank() != 4) || !Is(f.last, "MatMul") ||
      f.last->input(0) != weights) {
    return absl::nullopt;
  }
  const auto axis = static_cast<int>(NumberAttr(*softmax, "axis", -1));
  if (axis != -1 && axis != shape.rank() - 1) return absl::nullopt;
  f.v = f.last->input(1);
  Value* v = softmax->input(0);
  for (int step = 0; step < 4 && f.q == nullptr; ++step) {
    const Node* node = v->producer();
    if (node == nullptr || SoleUser(graph, v) == nullptr) return absl::nullopt;
    if (Is(node, "MatMul")) {
      f.q = node->input(0), f.k = node->input(1);
    } else if (Is(node, "Mul") || Is(node, "Div")) {
      const bool first = Is(node, "Mul") && Number(node->input(0));
      const auto factor = Number(node->input(first ? 0 : 1));
      if (!factor || *factor == 0) return absl::nullopt;
      f.scale *= Is(node, "Mul") ? *factor : 1 / *factor;
      v = node->input(first ? 1 : 0);
    } else if (Is(node, "Add") && f.mask == nullptr && f.scale == 1) {
      const auto made = [&](int i) {
        const Node* p = node->input(i)->producer();
        return Is(p, "MatMul") || Is(p, "Mul") || Is(p, "Div");
      };
      const int i = made(0) && IsMask(node->input(1), shape) ? 0 : 1;
      if (!made(i) || !IsMask(node->input(1 - i), shape)) return absl::nullopt;
      f.mask = node->input(1 - i);
      v = node->input(i);
    } else {
      return absl::nullopt;
    }
  }
  if (f.q == nullptr) return absl::nullopt;
  const int rank = shape.rank();
  for (const Value* x : {f.q, f.k, f.v}) {
    if (x->dtype() != DType::kFloat32 || !x->shape().has_rank() || x->shape().rank() != rank)
      return absl::nullopt;
    for (int a = 0; a < rank - 2; ++a) {
      if (!x->shape()[a].SurelyEquals(shape[a])) return absl::nullopt;
    }
  }
  return f;
}

// Only where gradients may follow: in a graph with parameters. Other plans recognise attention when
// all sizes are known (ops/attention_views.cc).
absl::StatusOr<bool> FindAttentions(Graph& graph, const OpRegistry& registry) {
  if (!HasPanelProducts() || graph.states().empty()) return false;
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) {
    if (Is(node.get(), "Softmax") && node->opset() >= 13) nodes.push_back(node.get());
  }
  bool changed = false;
  for (Node* softmax : nodes) {
    const absl::optional<Found> f = FindAttention(graph, softmax);
    if (!f) continue;
    Builder b(&graph, &registry, f->last, absl::StrCat(f->last->name(), "/"));
    std::vector<Expr> inputs = {b.Use(f->q), Turned(b.Use(f->k)), b.Use(f->v)};
    if (f->mask != nullptr) inputs.push_back(b.Use(f->mask));
    Expr y = b.Op("SoftmaxAttention", std::move(inputs), {{"scale", static_cast<float>(f->scale)}},
                  kGraphrunDomain);
    GR_RETURN_IF_ERROR(b.status());
    graph.ReplaceAllUses(f->last->output(0), y.value());
    changed = true;
  }
  return changed;
}

}  // namespace

void RegisterSoftmaxAttentionOps(OpRegistry& ops) {
  ops.Add(OpDef("SoftmaxAttention", 1, kGraphrunDomain)
              .Input("Q", "T")
              .Input("K", "T")
              .Input("V", "T")
              .Input("mask", "T", Arity::kOptional)
              .Output("Y", "T")
              .Types("T", kFloats)
              .Attr("scale", 1.f)
              .Infer(InferForward)
              .MultiplyAdds([](const NodeContext& c) { return MultiplyAdds(c, 0, 1, 1); })
              .Kernel("views", NoKernel)
              .Body(ForwardBody)
              // See SoftmaxAttentionGrad; reads all inputs
              .Gradient(EmitGradient)
              .Try(Sample().In({2, 3, 5, 4}).In({2, 3, 6, 4}).In({2, 3, 6, 2}).Attr("scale", 0.5f))
              .Try(Sample().In({2, 5, 4}).In({2, 6, 4}).In({2, 6, 2}).In({5, 6}))
              .Try(Sample().In({2, 5, 4}).In({2, 6, 3}).In({2, 6, 2}).Refused("must be")));
  ops.Add(OpDef("SoftmaxAttentionGrad", 1, kGraphrunDomain)
              .Input("Q", "T")
              .Input("K", "T")
              .Input("V", "T")
              .Input("mask", "T", Arity::kOptional)
              .Input("dY", "T")
              .Output("dQ", "T")
              .Output("dK", "T")
              .Output("dV", "T")
              .Types("T", kFloats)
              .Attr("scale", 1.f)
              .Infer(InferBackward)
              .MultiplyAdds([](const NodeContext& c) { return MultiplyAdds(c, 0, 3, 2); })
              .Kernel("views", NoKernel)
              .Body(BackwardBody)
              .Try(Sample()
                       .In({2, 3, 5, 4})
                       .In({2, 3, 6, 4})
                       .In({2, 3, 6, 2})
                       .None()
                       .In({2, 3, 5, 2})
                       .Outputs(3)
                       .Attr("scale", 0.5f)));
  ops.AddRewrite({.name = "pattern-attention",
                  .phase = Rewrite::Phase::kCanonical,
                  .run = FindAttentions,
                  .recognizes_operator = true});
}

}  // namespace graphrun
