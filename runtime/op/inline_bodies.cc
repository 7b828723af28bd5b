#include "runtime/op/inline_bodies.h"

#include <iterator>

#include "runtime/base/limits.h"
#include "runtime/base/status.h"

namespace graphrun {

absl::Status BodyInliner::Inline(Graph& graph, Node* node, const OpRegistry& registry,
                                 KnownValues* known) {
  const auto found = depths_.find(node);
  const int depth = found == depths_.end() ? 0 : found->second;
  if (depth >= kMaxInlineDepth) {
    return LimitError(node->Describe(), ": bodies of operators are nested more than ",
                      kMaxInlineDepth, " deep. Does its body use the operator itself?");
  }
  if (found != depths_.end()) depths_.erase(found);
  const auto at = graph.Position(node);
  const bool first = at == graph.nodes().begin();
  const auto before = first ? at : std::prev(at);
  const auto after = std::next(at);
  GR_RETURN_IF_ERROR(InlineBody(graph, node, registry, known));
  for (auto it = first ? graph.nodes().begin() : std::next(before); it != after; ++it)
    depths_[it->get()] = depth + 1;
  return absl::OkStatus();
}

}  // namespace graphrun
