// Mixed precision: what it does with each operator, and the rewrites around the pass: biases stay
// f32, and products write f32 results themselves instead of having them cast.
#include "runtime/passes/mixed_precision.h"
#include "ops/pair_panel.h"
#include "ops/post_op.h"
#include "ops/recurrent.h"
#include "runtime/op/infer.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// Recurrent cells whose passes have products of bf16 pairs; others would only be converted.
void AddCells(MixedPolicy* policy, const std::string& own) {
  if (!HasPairPanels()) return;
  const auto add = [&](const char* op, Cell cell, const std::string& domain, int needed_input) {
    policy->Set(op, MixedPrecision::kCompute, {}, domain)
        .Where(
            op,
            [=](const Node& node, const OpDef& def) {
              return (needed_input < 0 || node.has_input(needed_input)) &&
                     IsUsualCell(node, def, cell);
            },
            domain);
  };
  constexpr int kGates = 12;  // of a gradient operator: else it runs the forward pass again
  add("LSTM", Cell::kLstm, "", -1);
  add("GRU", Cell::kGru, "", -1);
  add("LSTMTraining", Cell::kLstm, own, -1);
  add("GRUTraining", Cell::kGru, own, -1);
  add("LSTMGrad", Cell::kLstm, own, kGates);
  add("GRUGrad", Cell::kGru, own, kGates);
}

MixedPolicy Policy() {
  const std::string own = kGraphrunDomain;
  MixedPolicy policy;
  for (const char* op : {"Gemm", "MatMul", "Conv", "ConvTranspose"})
    policy.Set(op, MixedPrecision::kCompute);
  for (const char* op : {"FusedLinear", "FusedMatMul", "FusedConv", "ConvMaxPool"})
    policy.Set(op, MixedPrecision::kCompute, {2}, own);  // biases
  for (const char* op : {"ConvGradInput", "ConvGradWeight"})
    policy.Set(op, MixedPrecision::kCompute, {}, own).SizesOnly(op, 2, own);
  policy.Set("ViewAttention", MixedPrecision::kCompute, {3}, own);  // the mask
  for (const char* op : {"MaxPool", "AveragePool", "Softmax", "Transpose", "Concat", "Split",
                         "Slice", "Gather", "Expand", "Tile", "Identity", "Dropout", "Reshape",
                         "Flatten", "Squeeze", "Unsqueeze", "DepthToSpace", "SpaceToDepth"}) {
    policy.Set(op, MixedPrecision::kFollow);
  }
  for (const char* op : {"MaxPoolGrad", "AveragePoolGrad", "SoftmaxGrad", "SliceGrad", "Dropout"})
    policy.Set(op, MixedPrecision::kFollow, {}, own);
  policy.Set("BatchNormalization", MixedPrecision::kFollow, {1, 2, 3, 4})
      .Set("BatchNormTraining", MixedPrecision::kFollow, {1, 2, 3, 4}, own)
      .Set("BatchNormGrad", MixedPrecision::kFollow, {2, 3, 4, 5}, own)
      .Set("NormReluMaxPool", MixedPrecision::kFollow, {1, 2, 3, 4}, own)
      .Set("NormReluMaxPoolGrad", MixedPrecision::kFollow, {2, 3, 4}, own)
      .Set("MaxPoolPlaces", MixedPrecision::kFollow, {}, own)
      .Set("MaxPoolScatter", MixedPrecision::kFollow, {}, own)
      .Set("LayerNormalization", MixedPrecision::kFollow, {1, 2})
      .Set("LayerNormGrad", MixedPrecision::kFollow, {2}, own)
      .Set("GlobalAveragePool", MixedPrecision::kReduce)
      .Set("GlobalMaxPool", MixedPrecision::kReduce)
      .Set("ReduceSum", MixedPrecision::kReduce)
      .Set("SumTo", MixedPrecision::kReduce, {}, own)
      .SizesOnly("SumTo", 1, own);
  AddCells(&policy, own);
  return policy;
}

bool Is(const Node* node, absl::string_view op, absl::string_view domain = "") {
  return node != nullptr && node->op_type() == op && node->domain() == domain;
}

template <typename Predicate>
std::vector<Node*> NodesWhere(const Graph& graph, Predicate wanted) {
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes())
    if (wanted(*node)) nodes.push_back(node.get());
  return nodes;
}

// The fused operator of the same meaning; "" where there is none.
absl::string_view FusedForm(const Node& node) {
  if (Is(&node, "Gemm")) {
    const bool plain =
        !node.has_input(2) ||
        (NumberAttr(node, "alpha", 1) == 1 && NumberAttr(node, "beta", 1) == 1 &&
         node.input(2)->shape().is_concrete() && node.output(0)->shape().is_concrete() &&
         node.input(2)->shape() == Shape({node.output(0)->shape()[1]}));
    return plain ? "FusedLinear" : "";
  }
  if (Is(&node, "MatMul")) {
    const bool matrices = node.input(0)->shape().has_rank() && node.input(0)->shape().rank() > 1 &&
                          node.input(1)->shape().has_rank() && node.input(1)->shape().rank() > 1;
    return matrices ? "FusedLinear" : "";
  }
  if (Is(&node, "FusedMatMul", kGraphrunDomain)) return "FusedLinear";
  if (Is(&node, "Conv")) return "FusedConv";
  return "";
}

// Puts that operator with the same inputs and attributes in the place of `node`.
absl::StatusOr<Node*> Replace(Graph& graph, const OpRegistry& registry, Node* node,
                              absl::string_view op) {
  Graph::NodeSpec spec;
  spec.op_type = std::string(op);
  spec.domain = kGraphrunDomain;
  spec.opset = registry.Find(kGraphrunDomain, op, 0)->since();
  spec.inputs = node->inputs();
  spec.outputs = {""};
  spec.attrs = node->attrs();
  spec.attrs.erase("beta");
  spec.name = node->name();
  Node* made = graph.AddNode(std::move(spec), node);
  GR_RETURN_IF_ERROR(InferNode(*made, registry, nullptr));
  Value* old = node->output(0);
  const std::string name = old->name();
  graph.ReplaceAllUses(old, made->output(0));
  graph.Rename(old, absl::StrCat(name, "/old"));
  graph.Rename(made->output(0), name);
  graph.Erase(node);
  return made;
}

absl::StatusOr<bool> KeepBiases(Graph& graph, const OpRegistry& registry) {
  bool changed = false;
  const auto with_bias = [](const Node& node) {
    return (Is(&node, "Gemm") || Is(&node, "Conv")) && node.has_input(2) &&
           node.output(0)->dtype() == DType::kFloat32;
  };
  for (Node* node : NodesWhere(graph, with_bias)) {
    const absl::string_view op = FusedForm(*node);
    if (op.empty()) continue;
    GR_RETURN_IF_ERROR(Replace(graph, registry, node, op).status());
    changed = true;
  }
  return changed;
}

// The only reader of a bf16 value where that is a cast to f32; else null.
Node* OnlyCast(const Graph& graph, const Value* v) {
  if (v == nullptr || v->dtype() != DType::kBFloat16) return nullptr;
  Node* cast = SoleUser(graph, v);
  return Is(cast, "Cast") && cast->output(0)->dtype() == DType::kFloat32 ? cast : nullptr;
}

// Operators that give their results in another type by the attribute output_type.
bool HasOutputType(const Node& node) {
  return node.domain() == kGraphrunDomain &&
         (node.op_type() == "ConvGradWeight" || node.op_type() == "SumTo" ||
          ((node.op_type() == "FusedLinear" || node.op_type() == "FusedConv") &&
           !node.has_input(3)));
}

absl::StatusOr<bool> WriteFullResults(Graph& graph, const OpRegistry& registry) {
  bool changed = false;
  // Casts are erased on the way, so that the list holds none.
  const auto product = [](const Node& node) {
    return !FusedForm(node).empty() || HasOutputType(node);
  };
  for (Node* node : NodesWhere(graph, product)) {
    const absl::string_view op = FusedForm(*node);
    std::vector<Node*> casts;
    bool all = true;
    for (const Value* out : node->outputs()) {
      if (out == nullptr || graph.IsUnused(out)) continue;
      casts.push_back(OnlyCast(graph, out));
      all = all && casts.back() != nullptr;
    }
    if (!all || casts.empty()) continue;
    if (!op.empty()) {
      GR_ASSIGN_OR_RETURN(node, Replace(graph, registry, node, op));
    }
    node->set_attr("output_type", static_cast<int64_t>(DType::kFloat32));
    for (Value* out : node->outputs()) {
      if (out != nullptr) out->set_type(Type());
    }
    GR_RETURN_IF_ERROR(InferNode(*node, registry, nullptr));
    for (Node* cast : casts) {
      Value *full = cast->input(0), *old = cast->output(0);
      const std::string name = old->name();
      graph.ReplaceAllUses(old, full);
      graph.Rename(old, absl::StrCat(name, "/old"));
      graph.Rename(full, name);
      graph.Erase(cast);
    }
    changed = true;
  }
  return changed;
}

}  // namespace

void RegisterMixedPrecisionOps(OpRegistry& ops) {
  using Phase = Rewrite::Phase;
  ops.AddRewrite({"mixed-biases", Phase::kPointwise, KeepBiases, true});
  ops.AddRewrite({"mixed-precision", Phase::kPointwise,
                  [policy = Policy()](Graph& graph, const OpRegistry& registry) {
                    return MixPrecision(graph, registry, policy);
                  },
                  true});
  ops.AddRewrite({"mixed-results", Phase::kPointwise, WriteFullResults, true});
}

}  // namespace graphrun
