// The rewrite of matrix products with what follows them into ai.graphrun.FusedLinear.
#include "absl/container/flat_hash_set.h"
#include "ops/post_op.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

bool Is(const Node* node, absl::string_view op, absl::string_view domain = "") {
  return node != nullptr && node->op_type() == op && node->domain() == domain;
}

// Product -> Add (bias) -> Add (tensor of the same sizes) -> activation, each where only the next
// reads it. A sum that is a state's successor (a momentum) stays with the update, which makes it in
// the one pass over the parameters that it needs anyway, and in f32.
absl::StatusOr<bool> FuseLinear(Graph& graph, const OpRegistry& registry) {
  const OpDef* def = registry.Find(kGraphrunDomain, "FusedLinear", 0);
  bool changed = false;
  absl::flat_hash_set<const Value*> successors;
  for (const StateUpdate& state : graph.states()) successors.insert(state.next);
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) {
    const Node* n = node.get();
    if (Is(n, "Gemm") || Is(n, "MatMul") || Is(n, "FusedMatMul", kGraphrunDomain))
      nodes.push_back(node.get());
  }
  for (Node* product : nodes) {
    const bool gemm = Is(product, "Gemm");
    const Value* y = product->output(0);
    if ((y->dtype() != DType::kFloat32 && y->dtype() != DType::kBFloat16) ||
        !y->shape().is_concrete() || y->shape().rank() < 2 ||
        product->input(0)->shape().rank() < 2 || product->input(1)->shape().rank() < 2) {
      continue;
    }
    const Shape row({y->shape()[y->shape().rank() - 1]});
    AttrMap attrs = product->attrs();
    Value *bias = nullptr, *added = nullptr;
    if (gemm && product->has_input(2)) {
      if (NumberAttr(*product, "beta", 1) != 1 || NumberAttr(*product, "alpha", 1) != 1 ||
          !(product->input(2)->shape() == row)) {
        continue;
      }
      bias = product->input(2);
    }
    attrs.erase("beta");
    std::vector<Node*> taken = {product};
    Node* next = SoleUser(graph, y);
    const auto take = [&] {
      taken.push_back(next);
      next = SoleUser(graph, next->output(0));
    };
    const auto other = [&]() -> Value* {
      Value* v = OtherAddend(next, taken.back()->output(0));
      return v != nullptr && v->dtype() == y->dtype() ? v : nullptr;
    };
    if (bias == nullptr && other() != nullptr && other()->shape() == row &&
        NumberAttr(*product, "alpha", 1) == 1) {
      bias = other();
      take();
    }
    if (other() != nullptr && other()->shape() == y->shape() && !other()->is_initializer() &&
        !successors.contains(next->output(0))) {
      added = other();
      take();
    }
    if (next != nullptr && next->input(0) == taken.back()->output(0)) {
      if (const auto post_op = PostOp::Match(*next)) {
        post_op->SetOn(&attrs);
        take();
      }
    }
    if (taken.size() == 1) continue;
    Graph::NodeSpec spec;
    spec.op_type = "FusedLinear";
    spec.domain = kGraphrunDomain;
    spec.opset = def->since();
    spec.inputs = {product->input(0), product->input(1), bias, added};
    while (spec.inputs.back() == nullptr) spec.inputs.pop_back();
    spec.outputs = {""};
    spec.attrs = std::move(attrs);
    spec.name = product->name();
    Node* last = taken.back();
    Node* fused = graph.AddNode(std::move(spec), last);
    GR_RETURN_IF_ERROR(InferNode(*fused, registry, nullptr));
    graph.ReplaceAllUses(last->output(0), fused->output(0));
    for (size_t i = taken.size(); i-- > 0;) graph.Erase(taken[i]);
    changed = true;
  }
  return changed;
}

}  // namespace

void RegisterMatmulFusionOps(OpRegistry& ops) {
  ops.AddRewrite({"fuse-linear", Rewrite::Phase::kFuse, FuseLinear});
}

}  // namespace graphrun
