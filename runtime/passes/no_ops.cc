#include "runtime/passes/pass.h"

namespace graphrun {

absl::StatusOr<bool> RemoveNoOps(Graph& graph, const OpRegistry& registry) {
  bool changed = false;
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = it->get();
    ++it;
    const OpDef* def = registry.Find(*node);
    if (def == nullptr || !def->no_op() || !node->has_output(0)) continue;
    bool only_first = true;
    for (int o = 1; o < node->num_outputs(); ++o) {
      only_first &= !node->has_output(o) || graph.IsUnused(node->output(o));
    }
    const int same = only_first ? def->no_op()(NodeContext(*node, *def)) : -1;
    if (same < 0) continue;
    Value* out = node->output(0);
    Value* in = node->input(same);
    // A graph output keeps its name; a state's successor that is another state must stay a copy.
    bool next_of_state = false;
    for (const StateUpdate& s : graph.states()) next_of_state |= s.next == out;
    if (next_of_state && (in->is_initializer() || in->is_graph_input())) continue;
    if (out->num_graph_outputs() > 0) {
      if (in->producer() == nullptr || in->num_graph_outputs() > 0) continue;
      const std::string name = out->name();
      graph.ReplaceAllUses(out, in);
      graph.Rename(out, absl::StrCat(name, "/old"));
      graph.Rename(in, name);
    } else {
      graph.ReplaceAllUses(out, in);
    }
    graph.Erase(node);
    changed = true;
  }
  return changed;
}

}  // namespace graphrun
