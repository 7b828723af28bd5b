// The rewrite of training batch normalisation: the forward node keeps the batch's statistics for
// its gradient, and takes a Relu that follows; the gradient takes the Relu's mask.
#include <algorithm>

#include "ops/post_op.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

bool Is(const Node* node, absl::string_view op, absl::string_view domain = "") {
  return node != nullptr && node->op_type() == op && node->domain() == domain;
}

bool IsZero(const Value* v) {
  return v != nullptr && v->is_constant() && v->initializer().num_elements() == 1 &&
         IsFloat(v->dtype()) && v->initializer().AsDouble(0) == 0;
}

bool IsOutput(const Graph& graph, const Value* v) {
  return std::find(graph.outputs().begin(), graph.outputs().end(), v) != graph.outputs().end();
}

// The gradients of that normalisation which compute the statistics again.
std::vector<Node*> GradientsOf(const Node& norm) {
  std::vector<Node*> gradients;
  for (const Use& use : norm.input(0)->uses()) {
    Node* g = use.node;
    if (use.index == 1 && Is(g, "BatchNormGrad", kGraphrunDomain) && g->num_inputs() == 3 &&
        g->input(2) == norm.input(1) &&
        NumberAttr(*g, "epsilon", 1e-5f) == NumberAttr(norm, "epsilon", 1e-5f)) {
      gradients.push_back(g);
    }
  }
  return gradients;
}

// True where `node` compares `v` with a constant number by that operator.
bool Compares(const Node* node, absl::string_view op, const Value* v, double number) {
  if (!Is(node, op) || node->input(0) != v) return false;
  const Value* bound = node->input(1);
  return bound->is_constant() && bound->initializer().num_elements() == 1 &&
         IsFloat(bound->dtype()) && bound->initializer().AsDouble(0) == number;
}

// dy = Where(mask, d, 0), read by the gradient only, where the mask is that of the activation
// z -> y: y > 0 (Relu), z >= low and z <= high (Clip). The node, whose input 1 is d; null where dy
// is something else.
Node* MaskBefore(const Graph& graph, const Node& gradient, const PostOp& activation, const Value* z,
                 const Value* y) {
  Node* where = gradient.input(0)->producer();
  if (!Is(where, "Where") || SoleUser(graph, where->output(0)) != &gradient ||
      !IsZero(where->input(2)) || !(where->input(1)->type() == y->type())) {
    return nullptr;
  }
  const Node* mask = where->input(0)->producer();
  if (activation.name == "Relu") return Compares(mask, "Greater", y, 0) ? where : nullptr;
  if (!Is(mask, "And")) return nullptr;
  const Node *low = mask->input(0)->producer(), *high = mask->input(1)->producer();
  return Compares(low, "GreaterOrEqual", z, activation.alpha) &&
                 Compares(high, "LessOrEqual", z, activation.beta)
             ? where
             : nullptr;
}

// The Relu or Clip that is the only reader of the normalised `z`, but for comparisons with Clip's
// bounds in the gradient's mask; null where there is none.
Node* ActivationOf(const Graph& graph, Value* z, const std::vector<Node*>& gradients,
                   absl::optional<PostOp>* activation) {
  Node* found = nullptr;
  for (const Use& use : z->uses()) {
    const auto post_op = PostOp::Match(*use.node);
    if (!post_op || (post_op->name != "Relu" && post_op->name != "Clip")) continue;
    if (use.index != 0 || found != nullptr) return nullptr;
    found = use.node;
    *activation = post_op;
  }
  if (found == nullptr || IsOutput(graph, z)) return nullptr;
  if (z->uses().size() == 1) return found;
  // The other readers: one mask's comparisons, which go away with it.
  if (gradients.size() != 1 || z->uses().size() != 3 || (*activation)->name != "Clip")
    return nullptr;
  const Node* where = MaskBefore(graph, *gradients[0], **activation, z, found->output(0));
  if (where == nullptr) return nullptr;
  const Node* both = where->input(0)->producer();
  if (SoleUser(graph, both->output(0)) != where) return nullptr;
  for (int i = 0; i < 2; ++i) {
    if (SoleUser(graph, both->input(i)) != both) return nullptr;
  }
  return found;
}

// Erases a node and those that only it read, as long as they belong to a mask.
void EraseMask(Graph& graph, Node* where) {
  std::vector<Node*> left = {where};
  while (!left.empty()) {
    Node* node = left.back();
    left.pop_back();
    std::vector<Node*> behind;
    const int inputs = Is(node, "Where") ? 1 : Is(node, "And") ? 2 : 0;
    for (int i = 0; i < inputs; ++i) behind.push_back(node->input(i)->producer());
    graph.Erase(node);
    for (Node* b : behind) {
      if (b->output(0)->uses().empty() && !IsOutput(graph, b->output(0))) left.push_back(b);
    }
  }
}

absl::StatusOr<bool> FuseBatchNorm(Graph& graph, const OpRegistry& registry) {
  const OpDef* def = registry.Find(kGraphrunDomain, "BatchNormTraining", 0);
  std::vector<Node*> norms;
  for (const auto& node : graph.nodes()) {
    if (Is(node.get(), "BatchNormalization") && node->opset() >= 14 &&
        NumberAttr(*node, "training_mode", 0) != 0) {
      norms.push_back(node.get());
    }
  }
  bool changed = false;
  for (Node* norm : norms) {
    std::vector<Node*> masked;
    const std::vector<Node*> gradients = GradientsOf(*norm);
    absl::optional<PostOp> activation;
    Value* z = norm->output(0);
    Node* applied = ActivationOf(graph, z, gradients, &activation);
    if (gradients.empty() && applied == nullptr) continue;
    if (applied != nullptr) {
      for (Node* g : gradients) {
        Node* where = MaskBefore(graph, *g, *activation, z, applied->output(0));
        if (where == nullptr) continue;
        graph.SetInput(g, 0, where->input(1));
        EraseMask(graph, where);
        masked.push_back(g);
      }
    }
    Graph::NodeSpec spec;
    spec.op_type = "BatchNormTraining";
    spec.domain = kGraphrunDomain;
    spec.opset = def->since();
    for (int i = 0; i < 5; ++i) spec.inputs.push_back(norm->input(i));
    spec.outputs.assign(gradients.empty() ? 3 : 5, "");
    for (int o = 1; o < 3; ++o) {
      if (!norm->has_output(o)) spec.omitted_outputs.push_back(o);
    }
    spec.attrs = norm->attrs();
    spec.attrs.erase("training_mode");
    if (applied != nullptr) activation->SetOn(&spec.attrs);
    spec.name = norm->name();
    Node* fused = graph.AddNode(std::move(spec), norm);
    GR_RETURN_IF_ERROR(InferNode(*fused, registry, nullptr));
    Node* last = applied != nullptr ? applied : norm;
    graph.ReplaceAllUses(last->output(0), fused->output(0));
    for (int o = 1; o < 3; ++o) {
      if (norm->has_output(o)) graph.ReplaceAllUses(norm->output(o), fused->output(o));
    }
    Value* bias = norm->input(2);
    if (applied != nullptr) graph.Erase(applied);
    graph.Erase(norm);
    for (Node* g : gradients) {
      graph.AppendInput(g, fused->output(3));
      graph.AppendInput(g, fused->output(4));
      if (std::find(masked.begin(), masked.end(), g) == masked.end()) continue;
      graph.AppendInput(g, bias);
      g->set_attr("activation", Attr(activation->name));
      g->set_attr("activation_alpha", Attr(activation->alpha));
      g->set_attr("activation_beta", Attr(activation->beta));
    }
    changed = true;
  }
  return changed;
}

}  // namespace

void RegisterBatchNormFusionOps(OpRegistry& ops) {
  ops.AddRewrite({"fuse-batch-normalization", Rewrite::Phase::kFuse, FuseBatchNorm});
}

}  // namespace graphrun
