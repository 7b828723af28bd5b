#include "runtime/onnx/convert_opset.h"

#include <utility>
#include <vector>

#include "runtime/base/status.h"
#include "runtime/onnx/standard.h"

namespace graphrun {
namespace {

constexpr int kNewest = 28;  // whose operators are known here

absl::Status SetVersion(Graph* graph, const OpRegistry& registry, int version) {
  for (const auto& node : graph->nodes()) {
    const AttrMap attrs = node->attrs();
    for (const auto& [name, attr] : attrs) {
      std::vector<Attr::GraphPtr> nested;
      if (const auto* g = attr.get<Attr::GraphPtr>()) nested.push_back(*g);
      if (const auto* list = attr.get<std::vector<Attr::GraphPtr>>()) nested = *list;
      if (nested.empty()) continue;
      for (Attr::GraphPtr& g : nested) {
        std::shared_ptr<Graph> copy = g->Clone();
        GR_RETURN_IF_ERROR(SetVersion(copy.get(), registry, version));
        g = std::move(copy);
      }
      node->set_attr(name, attr.kind() == Attr::Kind::kGraph ? Attr(nested[0]) : Attr(nested));
    }
    if (!node->domain().empty()) continue;
    const OpDef* now = registry.Find(*node);
    const OpDef* then = registry.Find("", node->op_type(), version);
    if (now == nullptr || now != then) {
      return ModelError(
          node->Describe(), ": version ", node->opset(),
          then == nullptr ? " has no counterpart at version " : " means something else at version ",
          version, " of the operator set");
    }
    node->set_opset(version);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Graph>> ConvertOpset(const Graph& graph, const OpRegistry& registry,
                                                    int version) {
  if (version < 1 || version > kNewest)
    return UsageError("there is no version ", version, " of the operator set; 1 to ", kNewest,
                      " are known");
  std::unique_ptr<Graph> copy = graph.Clone();
  const auto it = copy->opset_imports.find("");
  if (it == copy->opset_imports.end() || it->second < version) {
    copy->opset_imports[""] = version;
    GR_ASSIGN_OR_RETURN(copy, ToStandard(*copy, registry));
  }
  GR_RETURN_IF_ERROR(SetVersion(copy.get(), registry, version));
  copy->opset_imports[""] = version;
  return copy;
}

}  // namespace graphrun
