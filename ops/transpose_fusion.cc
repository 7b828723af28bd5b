// The rewrite of products with transposed matrices: Gemm and ai.graphrun.FusedMatMul read and make
// a matrix transposed by themselves. Exporters write a linear layer over more than two axes as
// MatMul(x, Transpose(w)); its gradient then transposes w's gradient back.
#include "ops/post_op.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

bool Is(const Node* node, absl::string_view op, absl::string_view domain = "") {
  return node != nullptr && node->op_type() == op && node->domain() == domain;
}

bool IsMatrix(const Value* v) { return v->shape().has_rank() && v->shape().rank() == 2; }

// A node that exchanges the axes of a matrix.
bool Exchanges(const Node* node) {
  if (!Is(node, "Transpose") || !IsMatrix(node->input(0))) return false;
  const Attr* perm = node->attr("perm");
  if (perm == nullptr) return true;
  const auto* axes = perm->get<std::vector<int64_t>>();
  return axes != nullptr && *axes == std::vector<int64_t>{1, 0};
}

// A product whose node may say that an operand is transposed.
bool TakesFlags(const Node& node) {
  return (Is(&node, "Gemm") && node.opset() >= 7) || Is(&node, "FusedMatMul", kGraphrunDomain);
}

bool Flag(const Node& node, int operand) {
  return NumberAttr(node, operand == 0 ? "transA" : "transB", 0) != 0;
}

void SetFlag(Node* node, int operand, bool on) {
  node->set_attr(operand == 0 ? "transA" : "transB", int64_t{on});
}

// FusedMatMul in the place of a MatMul.
absl::StatusOr<Node*> WithFlags(Graph& graph, const OpRegistry& registry, Node* product) {
  Graph::NodeSpec spec;
  spec.op_type = "FusedMatMul";
  spec.domain = kGraphrunDomain;
  spec.opset = registry.Find(kGraphrunDomain, "FusedMatMul", 0)->since();
  spec.inputs = product->inputs();
  spec.outputs = {""};
  spec.name = product->name();
  Node* made = graph.AddNode(std::move(spec), product);
  GR_RETURN_IF_ERROR(InferNode(*made, registry, nullptr));
  Value *old = product->output(0), *now = made->output(0);
  const std::string name = old->name();
  graph.ReplaceAllUses(old, now);
  graph.Rename(old, absl::StrCat(name, "/old"));
  graph.Rename(now, name);
  graph.Erase(product);
  return made;
}

// Gives the product's result transposed, where a node that transposes it is all that reads it.
absl::StatusOr<bool> TakeResult(Graph& graph, const OpRegistry& registry, Node* product) {
  Value* y = product->output(0);
  Node* transpose = SoleUser(graph, y);
  if (!TakesFlags(*product) || product->has_input(2) || !Exchanges(transpose) ||
      !IsMatrix(product->input(0)) || !IsMatrix(product->input(1))) {
    return false;
  }
  Value *a = product->input(0), *b = product->input(1), *turned = transpose->output(0);
  const bool a_flag = Flag(*product, 0), b_flag = Flag(*product, 1);
  graph.SetInput(product, 0, b);
  graph.SetInput(product, 1, a);
  SetFlag(product, 0, !b_flag);
  SetFlag(product, 1, !a_flag);
  y->set_type(turned->type());
  const std::string name = turned->name();
  graph.ReplaceAllUses(turned, y);
  graph.Rename(turned, absl::StrCat(name, "/old"));
  graph.Rename(y, name);
  graph.Erase(transpose);
  return true;
}

absl::StatusOr<bool> AbsorbTransposes(Graph& graph, const OpRegistry& registry) {
  std::vector<Node*> products;
  for (const auto& node : graph.nodes()) {
    const bool floats =
        node->num_inputs() > 1 && node->has_input(0) && node->has_input(1) &&
        (node->input(0)->dtype() == DType::kFloat32 || node->input(0)->dtype() == DType::kBFloat16);
    if (floats && (Is(node.get(), "MatMul") || TakesFlags(*node))) products.push_back(node.get());
  }
  bool changed = false;
  for (Node* product : products) {
    for (const int operand : {0, 1}) {
      const Node* transpose = product->input(operand)->producer();
      const Value* other = product->input(1 - operand);
      if (!Exchanges(transpose) || !other->shape().has_rank() || other->shape().rank() < 2)
        continue;
      if (Is(product, "MatMul")) {
        GR_ASSIGN_OR_RETURN(product, WithFlags(graph, registry, product));
      }
      graph.SetInput(product, operand, transpose->input(0));
      SetFlag(product, operand, !Flag(*product, operand));
      changed = true;
    }
    GR_ASSIGN_OR_RETURN(const bool taken, TakeResult(graph, registry, product));
    changed |= taken;
  }
  return changed;
}

}  // namespace

void RegisterTransposeFusionOps(OpRegistry& ops) {
  ops.AddRewrite({"absorb-transposes", Rewrite::Phase::kCanonical, AbsorbTransposes});
}

}  // namespace graphrun
