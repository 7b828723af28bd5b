// The rewrite of normalisations as exporters write them (ReduceMean, Sub, Pow, ReduceMean, Add,
// Sqrt, Div, Mul, Add) into LayerNormalization, or RMSNormalization where no mean is taken off. It
// also runs before gradients are appended.
#include "ops/post_op.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

bool Is(const Node* node, absl::string_view op) {
  return node != nullptr && node->op_type() == op && node->domain().empty();
}

// The only element of a constant of floats.
absl::optional<double> Number(const Node& node, int input) {
  if (!node.has_input(input) || !node.input(input)->is_constant()) return absl::nullopt;
  const Tensor& t = node.input(input)->initializer();
  if (!IsFloat(t.dtype()) || t.num_elements() != 1) return absl::nullopt;
  return t.AsDouble(0);
}

// How many of the last axes the node takes the mean of, which stay with size 1; 0: it takes no such
// mean.
int MeanAxes(const Node* node) {
  if (!Is(node, "ReduceMean") || NumberAttr(*node, "keepdims", 1) != 1 ||
      !node->input(0)->shape().has_rank()) {
    return 0;
  }
  std::vector<int64_t> axes;
  if (const Attr* attr = node->attr("axes")) {
    if (const auto* given = attr->get<std::vector<int64_t>>()) axes = *given;
  } else if (node->has_input(1) && node->input(1)->is_constant() &&
             node->input(1)->dtype() == DType::kInt64) {
    const auto given = node->input(1)->initializer().span<int64_t>();
    axes.assign(given.begin(), given.end());
  }
  const int rank = node->input(0)->shape().rank();
  std::vector<bool> reduced(static_cast<size_t>(rank), false);
  for (int64_t axis : axes) {
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank || reduced[static_cast<size_t>(axis)]) return 0;
    reduced[static_cast<size_t>(axis)] = true;
  }
  const int count = static_cast<int>(axes.size());
  for (int a = 0; a < count; ++a) {
    if (!reduced[static_cast<size_t>(rank - 1 - a)]) return 0;
  }
  return count;
}

// What the node squares: Pow(d, 2) or Mul(d, d).
Value* Squared(const Node* node) {
  if (Is(node, "Mul") && node->input(0) == node->input(1)) return node->input(0);
  return Is(node, "Pow") && Number(*node, 1) == 2.0 ? node->input(0) : nullptr;
}

// The same value, or another difference of the same two.
bool SameDifference(const Value* a, const Value* b) {
  if (a == b) return true;
  const Node *p = a->producer(), *q = b->producer();
  return Is(p, "Sub") && Is(q, "Sub") && p->input(0) == q->input(0) &&
         (p->input(1) == q->input(1) ||
          (MeanAxes(p->input(1)->producer()) > 0 &&
           MeanAxes(p->input(1)->producer()) == MeanAxes(q->input(1)->producer()) &&
           p->input(1)->producer()->input(0) == q->input(1)->producer()->input(0)));
}

// The other operand of a commutative node that `one` is an operand of.
Value* Other(const Node* node, absl::string_view op, const Value* one) {
  if (!Is(node, op)) return nullptr;
  return node->input(0) == one ? node->input(1) : node->input(1) == one ? node->input(0) : nullptr;
}

// Whether v is a parameter (not computed) that spreads over the last `axes` axes of `like`, and
// fills them.
bool Fills(const Value* v, const Value* like, int axes) {
  if (v == nullptr || !v->is_initializer() || v->dtype() != like->dtype()) return false;
  const Shape &own = v->shape(), &whole = like->shape();
  if (own.rank() != axes) return false;
  for (int a = 1; a <= axes; ++a) {
    if (!own[own.rank() - a].SurelyEquals(whole[whole.rank() - a])) return false;
  }
  return true;
}

struct Found {
  Value *x = nullptr, *scale = nullptr, *bias = nullptr, *result = nullptr;
  double epsilon = 0;
  int axes = 0;
  bool center = false;
};

// The normalisation whose mean of squares `squares` takes.
absl::optional<Found> FindNorm(const Graph& graph, Node* squares) {
  Found f;
  f.axes = MeanAxes(squares);
  Value* d = f.axes == 0 ? nullptr : Squared(squares->input(0)->producer());
  if (d == nullptr || !IsFloat(d->dtype())) return absl::nullopt;
  const Node* next = SoleUser(graph, squares->output(0));
  if (!Is(next, "Add")) return absl::nullopt;
  const int constant = next->input(0) == squares->output(0) ? 1 : 0;
  const auto epsilon = Number(*next, constant);
  if (!epsilon || *epsilon < 0) return absl::nullopt;
  f.epsilon = *epsilon;
  const Value* v = next->output(0);
  next = SoleUser(graph, v);
  bool inverse = Is(next, "Pow") && Number(*next, 1) == -0.5;
  if (!inverse && !Is(next, "Sqrt") && !(Is(next, "Pow") && Number(*next, 1) == 0.5))
    return absl::nullopt;
  v = next->output(0);
  next = SoleUser(graph, v);
  if (!inverse && (Is(next, "Reciprocal") ||
                   (Is(next, "Div") && next->input(1) == v && Number(*next, 0) == 1.0))) {
    inverse = true;
    v = next->output(0);
    next = SoleUser(graph, v);
  }
  const Value* divided = inverse                                  ? Other(next, "Mul", v)
                         : Is(next, "Div") && next->input(1) == v ? next->input(0)
                                                                  : nullptr;
  if (divided == nullptr || !SameDifference(divided, d)) return absl::nullopt;
  const Node* sub = d->producer();
  const Node* mean = Is(sub, "Sub") ? sub->input(1)->producer() : nullptr;
  f.center = MeanAxes(mean) == f.axes && mean->input(0) == sub->input(0);
  f.x = f.center ? sub->input(0) : d;
  f.result = next->output(0);
  if (f.x->dtype() != f.result->dtype() || !f.x->shape().has_rank()) return absl::nullopt;
  const Node* scaled = SoleUser(graph, f.result);
  Value* scale = Other(scaled, "Mul", f.result);
  if (!Fills(scale, f.x, f.axes)) return absl::nullopt;
  f.scale = scale;
  f.result = scaled->output(0);
  const Node* shifted = f.center ? SoleUser(graph, f.result) : nullptr;
  Value* bias = Other(shifted, "Add", f.result);
  if (Fills(bias, f.x, f.axes)) {
    f.bias = bias;
    f.result = shifted->output(0);
  }
  return f;
}

absl::StatusOr<bool> FuseNorm(Graph& graph, const OpRegistry& registry) {
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) {
    if (Is(node.get(), "ReduceMean")) nodes.push_back(node.get());
  }
  bool changed = false;
  for (Node* node : nodes) {
    const absl::optional<Found> f = FindNorm(graph, node);
    if (!f) continue;
    Graph::NodeSpec spec;
    spec.op_type = f->center ? "LayerNormalization" : "RMSNormalization";
    spec.opset = registry.Find("", spec.op_type, 0)->since();
    spec.inputs = {f->x, f->scale};
    if (f->bias != nullptr) spec.inputs.push_back(f->bias);
    spec.outputs = {""};
    spec.attrs.insert_or_assign("axis", int64_t{-f->axes});
    spec.attrs.insert_or_assign("epsilon", static_cast<float>(f->epsilon));
    spec.name = f->result->producer()->name();
    Node* norm = graph.AddNode(std::move(spec), f->result->producer());
    GR_RETURN_IF_ERROR(InferNode(*norm, registry, nullptr));
    graph.ReplaceAllUses(f->result, norm->output(0));
    changed = true;
  }
  return changed;
}

}  // namespace

void RegisterNormFusionOps(OpRegistry& ops) {
  ops.AddRewrite({.name = "pattern-normalization",
                  .phase = Rewrite::Phase::kCanonical,
                  .run = FuseNorm,
                  .recognizes_operator = true});
}

}  // namespace graphrun
