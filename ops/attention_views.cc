// ai.graphrun.ViewAttention (ops/view_attention.h), and the rewrite of attention as exporters write
// it: MatMul(Q, K^T), a scale, a mask that is added, Softmax, MatMul(., V), with the Split,
// Squeeze, Reshape and Transpose around it taken into the operator's views.
#include "ops/post_op.h"
#include "ops/value_trace.h"
#include "ops/view_attention.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// ---- the operator

absl::Status InferViewAttention(InferContext& c) {
  for (int i = 0; i < 3; ++i) {
    if (!c.input_shape(i).is_concrete()) {
      c.set_output(0, c.input_dtype(0), Shape());
      return absl::OkStatus();
    }
  }
  const auto a = ViewAttentionCase::Of(c);
  if (!a) return c.Error("its sizes and views do not lie in its inputs");
  const int64_t b = a->batch, h = a->heads, l = a->queries, d = a->value_width;
  const bool flat = c.Int("merged") == 2 && h == 1;
  c.set_output(0, c.input_dtype(0),
               Shape::Of(flat        ? Dims{b, l, d}
                         : a->merged ? Dims{b, l, h, d}
                                     : Dims{b, h, l, d}));
  return absl::OkStatus();
}

// The view as a tensor of 4 axes.
Expr Viewed(Expr base, const ViewAttentionCase& a, const ViewAttentionCase::View& view,
            int64_t rows, int64_t columns) {
  Builder& b = *base.builder();
  const std::pair<int64_t, int64_t> axes[] = {
      {a.batch, view.batch}, {a.heads, view.head}, {rows, view.row}, {columns, 1}};
  Expr place = b.Ints({view.offset});
  for (int axis = 0; axis < 4; ++axis) {
    std::vector<int64_t> steps(static_cast<size_t>(axes[axis].first)), shape(4, 1);
    for (size_t i = 0; i < steps.size(); ++i)
      steps[i] = static_cast<int64_t>(i) * axes[axis].second;
    shape[static_cast<size_t>(axis)] = axes[axis].first;
    place = place + Reshape(b.Ints(std::move(steps)), std::move(shape));
  }
  return Gather(Reshape(base, {-1}), place, 0);
}

void ViewAttentionBody(BodyContext& b) {
  const auto a = ViewAttentionCase::Of(b);
  if (!a) return b.Refuse(b.Error("its sizes and views do not lie in its inputs"));
  Expr q = Viewed(b.x(0), *a, a->q, a->queries, a->width);
  Expr k = Viewed(b.x(1), *a, a->k, a->keys, a->width);
  Expr v = Viewed(b.x(2), *a, a->v, a->keys, a->value_width);
  Expr scores = MatMul(q, Transpose(k, {0, 1, 3, 2})) * double{a->scale};
  if (b.has_input(3)) {
    scores = scores + Cast(Viewed(b.x(3), *a, a->mask, a->queries, a->keys), b.x(0).dtype());
  }
  Expr y = MatMul(b.builder().Op("Softmax", {scores}, {{"axis", -1}}), v);
  const bool flat = b.Int("merged") == 2 && a->heads == 1;
  b.Return(flat        ? Reshape(y, {a->batch, a->queries, a->value_width})
           : a->merged ? Transpose(y, {0, 2, 1, 3})
                       : y);
}

double ViewAttentionMultiplyAdds(const NodeContext& c) {
  const auto a = ViewAttentionCase::Of(c);
  if (!a) return 0;
  return static_cast<double>(a->batch * a->heads) * static_cast<double>(a->queries * a->keys) *
         static_cast<double>(a->width + a->value_width);
}

// ---- the rewrite

bool Is(const Node* node, absl::string_view op) {
  return node != nullptr && node->op_type() == op && node->domain().empty();
}

bool IsFloat32(const Value* v) { return v->dtype() == DType::kFloat32 && v->shape().is_concrete(); }

// The only constant element of v, or nothing.
absl::optional<double> Constant(const Value* v) {
  if (v == nullptr || !v->is_constant() || v->initializer().num_elements() != 1 ||
      !IsFloat(v->dtype())) {
    return absl::nullopt;
  }
  return v->initializer().AsDouble(0);
}

// Scores behind Q K^T: scaled and masked, each read by the next only.
struct Scores {
  Node* product = nullptr;
  double scale = 1;
  Value* mask = nullptr;
};

absl::optional<Scores> ScoresOf(const Graph& graph, Value* v) {
  Scores s;
  for (int step = 0; step < 4; ++step) {
    Node* node = v->producer();
    if (node == nullptr || SoleUser(graph, v) == nullptr) return absl::nullopt;
    if (Is(node, "MatMul")) {
      s.product = node;
      return s;
    }
    if (Is(node, "Mul") || Is(node, "Div")) {
      const bool first = Is(node, "Mul") && Constant(node->input(0));
      const auto factor = Constant(node->input(first ? 0 : 1));
      if (!factor || *factor == 0 || !(node->input(first ? 1 : 0)->shape() == v->shape()))
        return absl::nullopt;
      s.scale *= Is(node, "Mul") ? *factor : 1 / *factor;
      v = node->input(first ? 1 : 0);
    } else if (Is(node, "Add") && s.mask == nullptr && s.scale == 1) {
      // The scores are the side that a product or a scale makes.
      const auto made = [&](int i) {
        const Value* x = node->input(i);
        const Node* p = x->producer();
        return x->shape() == v->shape() && (Is(p, "MatMul") || Is(p, "Mul") || Is(p, "Div"));
      };
      const int i = made(0) ? 0 : 1;
      if (!made(i)) return absl::nullopt;
      s.mask = node->input(1 - i);
      v = node->input(i);
    } else {
      return absl::nullopt;
    }
  }
  return absl::nullopt;
}

// Steps of a mask that broadcasts to [B, H, L, S].
absl::optional<ViewAttentionCase::View> MaskView(const Value* mask, const Dims& scores) {
  if (!IsFloat32(mask)) return absl::nullopt;
  const Dims dims = mask->shape().ToDims(), own = RowMajorStrides(dims);
  if (dims.empty() || dims.size() > scores.size() || dims.back() != scores.back())
    return absl::nullopt;
  std::vector<int64_t> steps(scores.size(), 0);
  for (size_t i = 0; i < dims.size(); ++i) {
    const size_t axis = scores.size() - dims.size() + i;
    if (dims[i] != scores[axis] && dims[i] != 1) return absl::nullopt;
    steps[axis] = dims[i] == 1 ? 0 : own[i];
  }
  ViewAttentionCase::View view;
  view.batch = steps[0];
  view.head = scores.size() == 4 ? steps[1] : 0;
  view.row = steps[scores.size() - 2];
  return view;
}

absl::Status FuseOne(Graph& graph, const OpRegistry& registry, Node* softmax, bool* changed) {
  const Value* weights = softmax->output(0);
  Node* last = SoleUser(graph, weights);
  const int rank = weights->shape().is_concrete() ? weights->shape().rank() : 0;
  const auto axis = static_cast<int>(NumberAttr(*softmax, "axis", -1));
  if (!Is(last, "MatMul") || last->input(0) != weights || (rank != 3 && rank != 4) ||
      (axis != -1 && axis != rank - 1) || !IsFloat32(weights)) {
    return absl::OkStatus();
  }
  const auto scores = ScoresOf(graph, softmax->input(0));
  if (!scores) return absl::OkStatus();
  Value *q = scores->product->input(0), *k = scores->product->input(1), *v = last->input(1);
  for (const Value* x : {q, k, v}) {
    if (!IsFloat32(x) || x->shape().rank() != rank) return absl::OkStatus();
  }
  const Dims sizes = weights->shape().ToDims(), qs = q->shape().ToDims(), vs = v->shape().ToDims();
  if (Product(sizes) == 0 || qs.back() == 0 || vs.back() == 0) return absl::OkStatus();
  for (int i = 0; i + 2 < rank; ++i) {
    const auto a = static_cast<size_t>(i);
    if (qs[a] != sizes[a] || vs[a] != sizes[a] || k->shape().ToDims()[a] != sizes[a])
      return absl::OkStatus();
  }
  const auto at = [&](int i) { return sizes[static_cast<size_t>(i)]; };
  ViewAttentionCase a;
  a.batch = at(0), a.heads = rank == 4 ? at(1) : 1, a.queries = at(rank - 2), a.keys = at(rank - 1);
  a.width = qs.back(), a.value_width = vs.back(), a.scale = static_cast<float>(scores->scale);
  // A view whose columns do not lie side by side is read where the last operator leaves it; K must
  // have been transposed somewhere.
  Trace traces[] = {TraceOf(q), TraceOf(k), TraceOf(v)};
  auto q_view = ViewOf(traces[0], false), k_view = ViewOf(traces[1], true),
       v_view = ViewOf(traces[2], false);
  if (!q_view) traces[0] = Whole(q), q_view = ViewOf(traces[0], false);
  if (!v_view) traces[2] = Whole(v), v_view = ViewOf(traces[2], false);
  if (!q_view || !k_view || !v_view) return absl::OkStatus();
  a.q = *q_view, a.k = *k_view, a.v = *v_view;
  Graph::NodeSpec spec;
  for (const Trace& t : traces) spec.inputs.push_back(t.base);
  if (scores->mask != nullptr) {
    const auto mask = MaskView(scores->mask, sizes);
    if (!mask) return absl::OkStatus();
    a.mask = *mask;
    spec.inputs.push_back(scores->mask);
  }
  Node* move = rank == 4 ? SoleUser(graph, last->output(0)) : nullptr;
  if (Is(move, "Transpose")) {
    const Attr* perm = move->attr("perm");
    a.merged = perm != nullptr && perm->get<std::vector<int64_t>>() != nullptr &&
               *perm->get<std::vector<int64_t>>() == std::vector<int64_t>{0, 2, 1, 3};
  }
  spec.op_type = "ViewAttention";
  spec.domain = kGraphrunDomain;
  spec.opset = registry.Find(kGraphrunDomain, "ViewAttention", 0)->since();
  spec.outputs = {""};
  spec.name = last->name();
  a.SetOn(&spec.attrs);
  if (rank == 3) spec.attrs.insert_or_assign("merged", 2);
  Value* replaced = (a.merged ? move : last)->output(0);
  Node* fused = graph.AddNode(std::move(spec), last);
  GR_RETURN_IF_ERROR(InferNode(*fused, registry, nullptr));
  graph.ReplaceAllUses(replaced, fused->output(0));
  *changed = true;
  return absl::OkStatus();
}

absl::StatusOr<bool> FuseAttention(Graph& graph, const OpRegistry& registry) {
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) {
    if (Is(node.get(), "Softmax") && node->opset() >= 13) nodes.push_back(node.get());
  }
  bool changed = false;
  for (Node* node : nodes) GR_RETURN_IF_ERROR(FuseOne(graph, registry, node, &changed));
  return changed;
}

Sample ViewSample(std::vector<int64_t> sizes, Dims base, std::vector<int64_t> q,
                  std::vector<int64_t> k, std::vector<int64_t> v, int merged) {
  return Sample()
      .In(base)
      .In(base)
      .In(base)
      .Attr("sizes", std::move(sizes))
      .Attr("q_view", std::move(q))
      .Attr("k_view", std::move(k))
      .Attr("v_view", std::move(v))
      .Attr("scale", 0.5f)
      .Attr("merged", merged);
}

}  // namespace

void RegisterAttentionViewsOps(OpRegistry& ops) {
  using Kind = Attr::Kind;
  ops.Add(OpDef("ViewAttention", 1, kGraphrunDomain)
              .Input("q", "T")
              .Input("k", "T")
              .Input("v", "T")
              .Input("mask", "M", Arity::kOptional)
              .Output("y", "T")
              .Types("T", kFloats)
              .Types("M", kFloats)
              .Attr("sizes", Kind::kInts)
              .Attr("q_view", Kind::kInts)
              .Attr("k_view", Kind::kInts)
              .Attr("v_view", Kind::kInts)
              .Attr("mask_view", Kind::kInts)
              .Attr("scale", 1.f)
              .Attr("merged", 0)
              .Infer(InferViewAttention)
              .MultiplyAdds(ViewAttentionMultiplyAdds)
              .Kernel("panels", ViewAttentionKernel)
              .Body(ViewAttentionBody)
              // [B, L, 3, H, D] of one product
              .Try(ViewSample({2, 2, 3, 3, 4, 4}, {2, 3, 24}, {0, 72, 4, 24}, {8, 72, 4, 24},
                              {16, 72, 4, 24}, 1))
              .Try(ViewSample({2, 1, 3, 3, 4, 4}, {2, 3, 4}, {0, 12, 0, 4}, {0, 12, 0, 4},
                              {0, 12, 0, 4}, 2))
              .Try(ViewSample({1, 3, 5, 4, 2, 7}, {1, 3, 28, 1}, {1, 0, 10, 2}, {3, 0, 20, 3},
                              {0, 0, 28, 7}, 0))
              .Try(ViewSample({2, 1, 30, 70, 20, 66}, {2, 70, 66}, {0, 4620, 0, 66},
                              {40, 4620, 0, 66}, {0, 4620, 0, 66}, 0)
                       .In({30, 70})
                       .Attr("mask_view", std::vector<int64_t>{0, 0, 0, 70}))
              .Try(ViewSample({2, 2, 3, 3, 4, 4}, {2, 3, 20}, {0, 72, 4, 24}, {8, 72, 4, 24},
                              {16, 72, 4, 24}, 1)
                       .Refused("do not lie in its inputs")));
  ops.AddRewrite({"fuse-attention", Rewrite::Phase::kCanonical, FuseAttention});
}

}  // namespace graphrun
