// ai.graphrun.ViewAttention (ops/view_attention.h), and the rewrite of attention as exporters write
// it: MatMul(Q, K^T), a scale, a mask that is added, Softmax, MatMul(., V), with the Split,
// Squeeze, Reshape and Transpose around it taken into the operator's views.
#include "ops/post_op.h"
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

// A value as elements of another one: element (i, j, ...) at offset + i * strides[0] + ...
struct Trace {
  Value* base = nullptr;
  int64_t offset = 0;
  Dims dims, strides;
};

Trace Whole(Value* v) {
  Trace t;
  t.base = v;
  t.dims = v->shape().ToDims();
  t.strides = RowMajorStrides(t.dims);
  return t;
}

absl::optional<std::vector<int64_t>> IntsOf(const Node& node, int input) {
  if (!node.has_input(input) || !node.input(input)->is_constant()) return absl::nullopt;
  const Tensor& t = node.input(input)->initializer();
  if (t.dtype() != DType::kInt64) return absl::nullopt;
  return std::vector<int64_t>(t.span<int64_t>().begin(), t.span<int64_t>().end());
}

// The same elements under other sizes; false where steps of equal length do not reach them.
bool Reshaped(Trace* t, const Dims& to) {
  Dims strides(to.size(), 0);
  size_t from = 0, out = 0;
  while (out < to.size() || from < t->dims.size()) {
    // The shortest runs of axes of both that hold equally many elements.
    const size_t first_from = from, first_out = out;
    int64_t left = from < t->dims.size() ? t->dims[from++] : 1;
    int64_t right = out < to.size() ? to[out++] : 1;
    while (left != right) {
      if (left < right) {
        if (from == t->dims.size()) return false;
        left *= t->dims[from++];
      } else {
        if (out == to.size()) return false;
        right *= to[out++];
      }
    }
    int64_t step = 0, reach = 0;  // of the innermost axis of the run that is longer than 1
    for (size_t i = from; i-- > first_from;) {
      if (t->dims[i] == 1) continue;
      if (reach != 0 && t->strides[i] != reach) return false;
      if (reach == 0) step = t->strides[i];
      reach = t->strides[i] * t->dims[i];
    }
    for (size_t i = out; i-- > first_out;) {
      strides[i] = step;
      step *= to[i];
    }
  }
  t->dims = to;
  t->strides = std::move(strides);
  return true;
}

// What memory v's elements have when the operators that only move them do not run.
Trace TraceOf(Value* v, int depth = 0) {
  const Node* node = v->producer();
  if (node == nullptr || depth > 16 || !node->domain().empty() || !node->has_input(0) ||
      !node->input(0)->shape().is_concrete() || !v->shape().is_concrete()) {
    return Whole(v);
  }
  const std::string& op = node->op_type();
  if (op == "Transpose") {
    Trace t = TraceOf(node->input(0), depth + 1);
    const Attr* perm = node->attr("perm");
    if (perm == nullptr || perm->get<std::vector<int64_t>>() == nullptr) return Whole(v);
    Trace out = t;
    for (size_t i = 0; i < t.dims.size(); ++i) {
      const auto from = static_cast<size_t>((*perm->get<std::vector<int64_t>>())[i]);
      out.dims[i] = t.dims[from], out.strides[i] = t.strides[from];
    }
    return out;
  }
  if (op == "Reshape" || op == "Squeeze" || op == "Unsqueeze" || op == "Flatten" ||
      op == "Identity") {
    Trace t = TraceOf(node->input(0), depth + 1);
    return Reshaped(&t, v->shape().ToDims()) ? t : Whole(v);
  }
  if (op == "Split") {
    Trace t = TraceOf(node->input(0), depth + 1);
    int64_t axis = static_cast<int64_t>(NumberAttr(*node, "axis", 0));
    if (axis < 0) axis += static_cast<int64_t>(t.dims.size());
    const auto a = static_cast<size_t>(axis);
    int64_t start = 0;
    for (int o = 0; o < node->num_outputs() && node->output(o) != v; ++o) {
      if (!node->has_output(o)) return Whole(v);
      start += node->output(o)->shape().ToDims()[a];
    }
    t.offset += start * t.strides[a];
    t.dims = v->shape().ToDims();
    return t;
  }
  if (op == "Gather" && node->has_input(1)) {
    const auto index = IntsOf(*node, 1);
    if (!index || index->size() != 1 || node->input(1)->shape().rank() != 0) return Whole(v);
    Trace t = TraceOf(node->input(0), depth + 1);
    int64_t axis = static_cast<int64_t>(NumberAttr(*node, "axis", 0));
    if (axis < 0) axis += static_cast<int64_t>(t.dims.size());
    const int64_t size = t.dims[static_cast<size_t>(axis)];
    const int64_t i = (*index)[0] < 0 ? (*index)[0] + size : (*index)[0];
    if (i < 0 || i >= size) return Whole(v);
    t.offset += i * t.strides[static_cast<size_t>(axis)];
    t.dims.erase(t.dims.begin() + axis);
    t.strides.erase(t.strides.begin() + axis);
    return t;
  }
  if (op == "Slice" && node->num_inputs() >= 3) {
    const auto starts = IntsOf(*node, 1), axes = IntsOf(*node, 3), steps = IntsOf(*node, 4);
    if (!starts || (node->has_input(3) && !axes) || (node->has_input(4) && !steps)) return Whole(v);
    Trace t = TraceOf(node->input(0), depth + 1);
    for (size_t i = 0; i < starts->size(); ++i) {
      int64_t axis = axes ? (*axes)[i] : static_cast<int64_t>(i);
      if (axis < 0) axis += static_cast<int64_t>(t.dims.size());
      if (steps && (*steps)[i] != 1) return Whole(v);
      const auto a = static_cast<size_t>(axis);
      int64_t start = (*starts)[i] < 0 ? (*starts)[i] + t.dims[a] : (*starts)[i];
      start = std::min(std::max<int64_t>(start, 0), t.dims[a]);
      t.offset += start * t.strides[a];
    }
    t.dims = v->shape().ToDims();
    return t;
  }
  return Whole(v);
}

// Axes B, H, rows, columns of a trace of 3 or 4 axes whose columns are `columns` apart by one.
absl::optional<ViewAttentionCase::View> ViewOf(const Trace& t, bool transposed) {
  if (t.dims.size() != 4 && t.dims.size() != 3) return absl::nullopt;
  const size_t last = t.dims.size() - 1, column = transposed ? last - 1 : last;
  if (t.strides[column] != 1 && t.dims[column] != 1) return absl::nullopt;
  ViewAttentionCase::View view;
  view.offset = t.offset;
  view.row = t.strides[transposed ? last : last - 1];
  view.head = t.dims.size() == 4 ? t.strides[1] : 0;
  view.batch = t.strides[0];
  return view;
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
