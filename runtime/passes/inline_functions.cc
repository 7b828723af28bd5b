#include "runtime/base/limits.h"
#include "runtime/passes/pass.h"

namespace graphrun {
namespace {

const Function* FindFunction(const Graph& graph, const Node& node) {
  const Attr* overload = node.attr("overload");
  for (const Function& f : graph.functions) {
    if (f.domain == node.domain() && f.name == node.op_type() &&
        (overload == nullptr || overload->get<std::string>() == nullptr ||
         *overload->get<std::string>() == f.overload)) {
      return &f;
    }
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<bool> InlineFunctions(Graph& graph, const OpRegistry& registry) {
  if (graph.functions.empty()) return false;
  bool changed = false;
  for (int depth = 0;; ++depth) {
    std::vector<Node*> calls;
    for (const auto& node : graph.nodes()) {
      if (FindFunction(graph, *node) != nullptr) calls.push_back(node.get());
    }
    if (calls.empty()) break;
    if (depth == kMaxInlineDepth) {
      return LimitError(calls[0]->Describe(), ": functions call each other more than ",
                        kMaxInlineDepth, " levels deep. Is there a recursion?");
    }
    if (static_cast<int64_t>(graph.num_nodes()) > kMaxNodes) {
      return LimitError("inlining functions makes more than ", kMaxNodes, " nodes");
    }
    for (Node* node : calls) {
      const Function& function = *FindFunction(graph, *node);
      AttrMap attrs = function.defaults;
      for (const auto& [name, value] : node->attrs()) attrs.insert_or_assign(name, value);
      const std::string prefix =
          absl::StrCat(node->name().empty() ? node->op_type() : node->name(), "/");
      const std::vector<Value*> arguments(node->inputs().begin(),
                                          node->inputs().begin() + node->num_inputs());
      const std::vector<Value*> results =
          graph.Inline(*function.body, arguments, attrs, node, prefix);
      for (int o = 0; o < node->num_outputs(); ++o) {
        if (!node->has_output(o)) continue;
        if (static_cast<size_t>(o) >= results.size() ||
            results[static_cast<size_t>(o)] == nullptr) {
          return ModelError(node->Describe(), ": function ", function.name, " gives no output ", o);
        }
        Value* result = results[static_cast<size_t>(o)];
        Value* old = node->output(o);
        const std::string name = old->name();
        graph.ReplaceAllUses(old, result);
        if (result->producer() != nullptr) {
          graph.Rename(old, absl::StrCat(name, "/old"));
          graph.Rename(result, name);
        }
      }
      graph.Erase(node);
      changed = true;
    }
  }
  GR_RETURN_IF_ERROR(graph.Sort());
  return changed;
}

}  // namespace graphrun
