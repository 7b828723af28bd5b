// ai.graphrun.ViewAttentionGrad (ops/view_attention_grad.h), and the rewrite of SoftmaxAttention
// and its gradient into operators over views: the Split, Squeeze, Reshape, Transpose and Concat
// around them do not run.
#include <algorithm>

#include "ops/panel_product.h"
#include "ops/post_op.h"
#include "ops/value_trace.h"
#include "ops/view_attention_grad.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

constexpr int kMask = 3, kDy = ViewAttentionGradCase::kDy;

bool Is(const Node* node, absl::string_view op, absl::string_view domain = "") {
  return node != nullptr && node->op_type() == op && node->domain() == domain;
}

// ---- the rewrite

struct Viewed {
  ViewAttentionCase a;
  std::vector<Value*> inputs;  // the bases of q, k, v; the mask or null
};

bool IsReady(const Value* v, int rank) {
  return v->dtype() == DType::kFloat32 && v->shape().is_concrete() && v->shape().rank() == rank &&
         Product(v->shape().ToDims()) > 0;
}

// A trace whose rows lie in memory; v itself where they do not.
Trace RowsOf(Value* v, ViewAttentionCase::View* view) {
  Trace t = TraceOf(v);
  auto found = ViewOf(t, false);
  if (!found) {
    t = Whole(v);
    found = ViewOf(t, false);
  }
  if (found) *view = *found;
  return t;
}

absl::optional<Viewed> ViewsOf(const Node& node) {
  const int rank = node.input(0)->shape().has_rank() ? node.input(0)->shape().rank() : 0;
  if (rank != 3 && rank != 4) return absl::nullopt;
  for (int i = 0; i < 3; ++i) {
    if (!IsReady(node.input(i), rank)) return absl::nullopt;
  }
  Viewed v;
  ViewAttentionCase& a = v.a;
  const Dims q = node.input(0)->shape().ToDims(), values = node.input(2)->shape().ToDims();
  const size_t last = q.size() - 1;
  a.batch = q[0], a.heads = rank == 4 ? q[1] : 1, a.queries = q[last - 1], a.width = q[last];
  a.keys = values[last - 1], a.value_width = values[last];
  a.scale = static_cast<float>(NumberAttr(node, "scale", 1));
  ViewAttentionCase::View* views[] = {&a.q, &a.k, &a.v};
  for (int i = 0; i < 3; ++i) v.inputs.push_back(RowsOf(node.input(i), views[i]).base);
  v.inputs.push_back(nullptr);
  if (node.has_input(kMask)) {
    Value* mask = node.input(kMask);
    if (mask->dtype() != DType::kFloat32 || !mask->shape().is_concrete()) return absl::nullopt;
    Dims scores = q;
    scores[last] = a.keys;
    const Dims own = mask->shape().ToDims(), steps = RowMajorStrides(own);
    if (own.empty() || own.size() > scores.size() || own.back() != a.keys) return absl::nullopt;
    std::vector<int64_t> step(scores.size(), 0);
    for (size_t i = 0; i < own.size(); ++i) {
      const size_t axis = scores.size() - own.size() + i;
      if (own[i] != scores[axis] && own[i] != 1) return absl::nullopt;
      step[axis] = own[i] == 1 ? 0 : steps[i];
    }
    a.mask.batch = step[0], a.mask.head = rank == 4 ? step[1] : 0, a.mask.row = step[last - 1];
    v.inputs[kMask] = mask;
  }
  return v;
}

absl::Status ToViews(Graph& graph, const OpRegistry& registry, Node* node) {
  absl::optional<Viewed> v = ViewsOf(*node);
  if (!v) return absl::OkStatus();
  const bool flat = node->input(0)->shape().rank() == 3;
  Value* y = node->output(0);
  Node* move = flat ? nullptr : SoleUser(graph, y);
  if (Is(move, "Transpose")) {
    const Attr* perm = move->attr("perm");
    v->a.merged = perm != nullptr && perm->get<std::vector<int64_t>>() != nullptr &&
                  *perm->get<std::vector<int64_t>>() == std::vector<int64_t>{0, 2, 1, 3};
    if (v->a.merged) y = move->output(0);
  }
  Graph::NodeSpec spec;
  spec.op_type = "ViewAttention";
  spec.domain = kGraphrunDomain;
  spec.opset = registry.Find(kGraphrunDomain, "ViewAttention", 0)->since();
  spec.inputs = v->inputs;
  if (spec.inputs.back() == nullptr) spec.inputs.pop_back();
  spec.outputs = {""};
  spec.name = node->name();
  v->a.SetOn(&spec.attrs);
  if (flat) spec.attrs.insert_or_assign("merged", 2);
  Node* made = graph.AddNode(std::move(spec), node);
  GR_RETURN_IF_ERROR(InferNode(*made, registry, nullptr));
  graph.ReplaceAllUses(y, made->output(0));
  return absl::OkStatus();
}

// The value that dQ, dK and dV together fill once they are moved on, and where each lies in it;
// null: there is none.
Value* Joined(const Graph& graph, const Node& node, ViewAttentionGradCase* g) {
  std::vector<Trace> ways[3];
  int64_t elements = 0;
  for (int o = 0; o < 3; ++o) {
    if (!node.has_output(o)) return nullptr;
    elements += Product(node.output(o)->shape().ToDims());
    ways[o] = Destinations(graph, node.output(o));
  }
  for (size_t i = ways[0].size(); i-- > 0;) {
    Value* common = ways[0][i].base;
    if (Product(common->shape().ToDims()) != elements) continue;
    ViewAttentionCase::View* views[] = {&g->dq, &g->dk, &g->dv};
    bool all = true;
    for (int o = 0; o < 3; ++o) {
      const auto at = std::find_if(ways[o].begin(), ways[o].end(),
                                   [&](const Trace& t) { return t.base == common; });
      const auto view = at == ways[o].end() ? absl::nullopt : ViewOf(*at, false);
      all = all && view;
      if (view) *views[o] = *view;
    }
    if (all) return common;
  }
  return nullptr;
}

absl::Status GradientsToViews(Graph& graph, const OpRegistry& registry, Node* node) {
  const absl::optional<Viewed> v = ViewsOf(*node);
  if (!v || !IsReady(node->input(kDy), node->input(0)->shape().rank())) return absl::OkStatus();
  ViewAttentionGradCase g;
  g.forward = v->a;
  g.flat = node->input(0)->shape().rank() == 3;
  Graph::NodeSpec spec;
  spec.inputs = v->inputs;
  spec.inputs.push_back(RowsOf(node->input(kDy), &g.dy).base);
  Value* joined = Joined(graph, *node, &g);
  if (joined != nullptr) g.joined = joined->shape().ToDims();
  spec.op_type = "ViewAttentionGrad";
  spec.domain = kGraphrunDomain;
  spec.opset = registry.Find(kGraphrunDomain, "ViewAttentionGrad", 0)->since();
  spec.outputs.assign(joined != nullptr ? 1 : 3, "");
  spec.name = node->name();
  g.SetOn(&spec.attrs);
  Node* made = graph.AddNode(std::move(spec), node);
  GR_RETURN_IF_ERROR(InferNode(*made, registry, nullptr));
  if (joined != nullptr) {
    graph.ReplaceAllUses(joined, made->output(0));
    return absl::OkStatus();
  }
  for (int o = 0; o < node->num_outputs(); ++o) {
    if (node->has_output(o)) graph.ReplaceAllUses(node->output(o), made->output(o));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> UseViews(Graph& graph, const OpRegistry& registry) {
  if (!HasPanelProducts()) return false;
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) {
    if (Is(node.get(), "SoftmaxAttention", kGraphrunDomain) ||
        Is(node.get(), "SoftmaxAttentionGrad", kGraphrunDomain)) {
      nodes.push_back(node.get());
    }
  }
  for (Node* node : nodes) {
    const bool forward = node->op_type() == "SoftmaxAttention";
    GR_RETURN_IF_ERROR(forward ? ToViews(graph, registry, node)
                               : GradientsToViews(graph, registry, node));
  }
  return !nodes.empty();
}

// ---- ViewAttentionGrad

absl::Status InferViews(InferContext& c) {
  for (const int i : {0, 1, 2, kDy}) {
    if (!c.has_input(i) || !c.input_shape(i).is_concrete()) {
      for (int o = 0; o < 3; ++o) c.set_output(o, c.input_dtype(0), Shape());
      return absl::OkStatus();
    }
  }
  const auto g = ViewAttentionGradCase::Of(c);
  if (!g) return c.Error("its sizes and views do not lie in its tensors");
  if (!g->joined.empty() && (c.has_output(1) || c.has_output(2)))
    return c.Error("has several outputs, but `joined` asks for one");
  for (int o = 0; o < 3; ++o) c.set_output(o, c.input_dtype(0), Shape::Of(g->OutputDims(o)));
  return absl::OkStatus();
}

// Where the elements of a view are: [B, H, rows, columns] numbers.
Expr Places(Builder& b, const ViewAttentionCase& a, const ViewAttentionCase::View& view,
            int64_t rows, int64_t columns) {
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
  return place;
}

void ViewsBody(BodyContext& b) {
  const auto g = ViewAttentionGradCase::Of(b);
  if (!g) return b.Refuse(b.Error("its sizes and views do not lie in its tensors"));
  const ViewAttentionCase& a = g->forward;
  Builder& e = b.builder();
  const auto in = [&](int i, const ViewAttentionCase::View& view, int64_t rows, int64_t columns) {
    return Gather(Reshape(b.x(i), {-1}), Places(e, a, view, rows, columns), 0);
  };
  std::vector<Expr> inputs = {in(0, a.q, a.queries, a.width), in(1, a.k, a.keys, a.width),
                              in(2, a.v, a.keys, a.value_width), Expr(),
                              in(kDy, g->dy, a.queries, a.value_width)};
  if (b.has_input(kMask)) {
    inputs[kMask] = Cast(in(kMask, a.mask, a.queries, a.keys), b.x(0).dtype());
  }
  std::vector<Expr> d =
      e.Ops("SoftmaxAttentionGrad", inputs, 3, {{"scale", a.scale}}, kGraphrunDomain);
  if (g->joined.empty()) {
    for (int o = 0; o < 3; ++o) {
      const Dims dims = g->OutputDims(o);
      Expr& x = d[static_cast<size_t>(o)];
      x = Reshape(x, std::vector<int64_t>(dims.begin(), dims.end()));
    }
    d.resize(static_cast<size_t>(b.num_outputs()));
    return b.Return(d);
  }
  const Expr places = ConcatAll({Reshape(Places(e, a, g->dq, a.queries, a.width), {-1}),
                                 Reshape(Places(e, a, g->dk, a.keys, a.width), {-1}),
                                 Reshape(Places(e, a, g->dv, a.keys, a.value_width), {-1})},
                                0);
  const Expr numbers =
      ConcatAll({Reshape(d[0], {-1}), Reshape(d[1], {-1}), Reshape(d[2], {-1})}, 0);
  Expr filled = b.Op("ScatterElements", {ZerosLike(numbers), places, numbers}, {{"axis", 0}});
  b.Return(Reshape(filled, std::vector<int64_t>(g->joined.begin(), g->joined.end())));
}

double ViewsMultiplyAdds(const NodeContext& c) {
  const auto g = ViewAttentionGradCase::Of(c);
  if (!g) return 0;
  const ViewAttentionCase& a = g->forward;
  return static_cast<double>(a.batch * a.heads) * static_cast<double>(a.queries * a.keys) *
         static_cast<double>(3 * a.width + 2 * a.value_width);
}

Sample GradSample(std::vector<int64_t> sizes, Dims base, std::vector<std::vector<int64_t>> views,
                  Dims dy, std::vector<int64_t> dy_view) {
  return Sample()
      .In(base)
      .In(base)
      .In(base)
      .None()
      .In(std::move(dy))
      .Attr("sizes", std::move(sizes))
      .Attr("q_view", views[0])
      .Attr("k_view", views[1])
      .Attr("v_view", views[2])
      .Attr("dy_view", std::move(dy_view))
      .Attr("scale", 0.5f);
}

}  // namespace

void RegisterAttentionGradientsOps(OpRegistry& ops) {
  using Kind = Attr::Kind;
  const std::vector<std::vector<int64_t>> joint = {{0, 72, 4, 24}, {8, 72, 4, 24}, {16, 72, 4, 24}};
  const auto placed = [&](Sample s) {
    return s.Attr("dq_view", joint[0])
        .Attr("dk_view", joint[1])
        .Attr("dv_view", joint[2])
        .Attr("joined", std::vector<int64_t>{6, 24});
  };
  ops.Add(
      OpDef("ViewAttentionGrad", 1, kGraphrunDomain)
          .Input("q", "T")
          .Input("k", "T")
          .Input("v", "T")
          .Input("mask", "M", Arity::kOptional)
          .Input("dy", "T")
          .Output("dq", "T")
          .Output("dk", "T", Arity::kOptional)
          .Output("dv", "T", Arity::kOptional)
          .Types("T", kFloats)
          .Types("M", kFloats)
          .Attr("sizes", Kind::kInts)
          .Attr("q_view", Kind::kInts)
          .Attr("k_view", Kind::kInts)
          .Attr("v_view", Kind::kInts)
          .Attr("mask_view", Kind::kInts)
          .Attr("dy_view", Kind::kInts)
          .Attr("dq_view", Kind::kInts)
          .Attr("dk_view", Kind::kInts)
          .Attr("dv_view", Kind::kInts)
          .Attr("joined", Kind::kInts)
          .Attr("scale", 1.f)
          .Attr("flat", 0)
          .Infer(InferViews)
          .MultiplyAdds(ViewsMultiplyAdds)
          .Kernel("panels", ViewAttentionGradKernel)
          .Body(ViewsBody)
          // [B, L, 3, H, D] of one product
          .Try(GradSample({2, 2, 3, 3, 4, 4}, {2, 3, 24}, joint, {2, 3, 8}, {0, 24, 4, 8})
                   .Outputs(3))
          .Try(placed(GradSample({2, 2, 3, 3, 4, 4}, {2, 3, 24}, joint, {2, 3, 8}, {0, 24, 4, 8})))
          .Try(GradSample({2, 1, 70, 130, 20, 66}, {2, 130, 66},
                          {{0, 8580, 0, 66}, {40, 8580, 0, 66}, {0, 8580, 0, 66}}, {2, 70, 66},
                          {0, 4620, 0, 66})
                   .Attr("flat", 1)
                   .Outputs(3))
          .Try(GradSample({1, 1, 70, 20, 66, 64}, {1, 70, 66},
                          {{0, 0, 0, 66}, {0, 0, 0, 66}, {0, 0, 0, 66}}, {1, 70, 64}, {0, 0, 0, 64})
                   .Attr("flat", 1)
                   .Outputs(3))
          .Try(Sample()
                   .In({1, 5, 3})
                   .In({1, 4, 3})
                   .In({1, 4, 2})
                   .In({5, 4})
                   .In({1, 5, 2})
                   .Attr("sizes", std::vector<int64_t>{1, 1, 5, 4, 3, 2})
                   .Attr("q_view", std::vector<int64_t>{0, 0, 0, 3})
                   .Attr("k_view", std::vector<int64_t>{0, 0, 0, 3})
                   .Attr("v_view", std::vector<int64_t>{0, 0, 0, 2})
                   .Attr("mask_view", std::vector<int64_t>{0, 0, 0, 4})
                   .Attr("dy_view", std::vector<int64_t>{0, 0, 0, 2})
                   .Outputs(3))
          // Without dK and dV the body serves.
          .Try(GradSample({2, 2, 3, 3, 4, 4}, {2, 3, 24}, joint, {2, 3, 8}, {0, 24, 4, 8}))
          .Try(placed(GradSample({2, 2, 3, 3, 4, 4}, {2, 3, 24}, joint, {2, 3, 8}, {0, 24, 4, 8}))
                   .Outputs(3)
                   .Refused("several outputs"))
          .Try(GradSample({2, 2, 3, 3, 4, 4}, {2, 3, 20}, joint, {2, 3, 8}, {0, 24, 4, 8})
                   .Outputs(3)
                   .Refused("do not lie in its tensors")));
  ops.AddRewrite({"fuse-attention-gradients", Rewrite::Phase::kCanonical, UseViews});
}

}  // namespace graphrun
