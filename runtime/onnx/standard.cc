#include "runtime/onnx/standard.h"

#include <algorithm>
#include <vector>

#include "absl/strings/match.h"
#include "runtime/base/limits.h"
#include "runtime/base/status.h"
#include "runtime/onnx/versions.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

// Domains that the standard defines; ai.onnx is "".
bool IsStandard(const std::string& domain) {
  return domain.empty() || absl::StartsWith(domain, "ai.onnx.");
}

absl::Status NoOwnOperators(const Graph& graph) {
  for (const auto& node : graph.nodes()) {
    if (node->domain() == kGraphrunDomain) {
      return ModelError(
          node->Describe(),
          " has no form in standard operators here: export the model before it is optimized");
    }
    for (const auto& [name, attr] : node->attrs()) {
      if (const auto* g = attr.get<Attr::GraphPtr>()) GR_RETURN_IF_ERROR(NoOwnOperators(**g));
      if (const auto* gs = attr.get<std::vector<Attr::GraphPtr>>()) {
        for (const auto& nested : *gs) GR_RETURN_IF_ERROR(NoOwnOperators(*nested));
      }
    }
  }
  return absl::OkStatus();
}

// Raises the versions of domains to the newest that a node is of, or an attribute of it.
void Raise(const Graph& graph, std::map<std::string, int>* versions) {
  for (const auto& node : graph.nodes()) {
    int& version = (*versions)[node->domain()];
    version =
        std::max({version, node->opset(), VersionOfAttributes(node->domain(), node->attrs())});
  }
}

// Puts bodies in the place of nodes for which `wanted` holds, until there is none; at most
// kMaxInlineDepth bodies within bodies.
template <typename Wanted>
absl::Status InlineAll(Graph& graph, const OpRegistry& registry, Wanted&& wanted) {
  for (int round = 0; round < kMaxInlineDepth; ++round) {
    std::vector<Node*> nodes;
    for (const auto& node : graph.nodes()) {
      const OpDef* def = registry.Find(*node);
      if (def != nullptr && def->body() && wanted(*node, *def)) nodes.push_back(node.get());
    }
    if (nodes.empty()) return absl::OkStatus();
    for (Node* node : nodes) GR_RETURN_IF_ERROR(InlineBody(graph, node, registry));
  }
  return LimitError("bodies of operators are nested more than ", kMaxInlineDepth, " deep");
}

}  // namespace

std::vector<const Node*> CustomNodes(const Graph& graph, const OpRegistry& registry, bool body) {
  std::vector<const Node*> nodes;
  for (const auto& node : graph.nodes()) {
    const std::string& domain = node->domain();
    if (IsStandard(domain) || domain == kGraphrunDomain || domain == "com.microsoft") continue;
    const OpDef* def = registry.Find(*node);
    if (def != nullptr && (!body || def->body())) nodes.push_back(node.get());
  }
  return nodes;
}

absl::StatusOr<std::unique_ptr<Graph>> ToStandard(const Graph& graph, const OpRegistry& registry) {
  std::unique_ptr<Graph> copy = graph.Clone();
  GR_RETURN_IF_ERROR(InferTypes(*copy, registry));
  GR_RETURN_IF_ERROR(InlineAll(
      *copy, registry, [](const Node& node, const OpDef&) { return !IsStandard(node.domain()); }));
  GR_RETURN_IF_ERROR(NoOwnOperators(*copy));
  std::map<std::string, int> newest;
  for (const auto& [domain, version] : copy->opset_imports) {
    if (IsStandard(domain)) newest[domain] = version;
  }
  Raise(*copy, &newest);
  GR_RETURN_IF_ERROR(InlineAll(*copy, registry, [&](const Node& node, const OpDef& def) {
    const auto it = newest.find(node.domain());
    return it != newest.end() && registry.Find(node.domain(), node.op_type(), it->second) != &def;
  }));
  Raise(*copy, &newest);
  copy->opset_imports = std::move(newest);
  return copy;
}

}  // namespace graphrun
