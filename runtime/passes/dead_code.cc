#include "runtime/passes/pass.h"

namespace graphrun {

absl::StatusOr<bool> RemoveDeadCode(Graph& graph, const OpRegistry& registry) {
  GR_RETURN_IF_ERROR(graph.Sort());
  absl::flat_hash_set<const Value*> next_states;
  for (const StateUpdate& s : graph.states()) next_states.insert(s.next);
  const auto unused = [&](const Value* v) {
    return v->uses().empty() && v->num_graph_outputs() == 0 && !v->is_state() &&
           !next_states.contains(v);
  };
  bool changed = false;
  for (auto it = graph.nodes().rbegin(); it != graph.nodes().rend();) {
    Node* node = it->get();
    ++it;
    bool dead = true;
    for (const Value* out : node->outputs()) dead &= out == nullptr || unused(out);
    if (!dead) {
      // Optional outputs that nobody reads need not be computed.
      const OpDef* def = registry.Find(*node);
      for (int o = 1; def != nullptr && o < node->num_outputs(); ++o) {
        const OpDef::Argument* argument = def->OutputArgument(o);
        if (node->has_output(o) && unused(node->output(o)) && argument != nullptr &&
            argument->arity == Arity::kOptional) {
          graph.OmitOutput(node, o);
          changed = true;
        }
      }
      continue;
    }
    // Erasing invalidates the base of the reverse iterator: find it again from what follows.
    const auto next = it == graph.nodes().rend() ? nullptr : it->get();
    graph.Erase(node);
    changed = true;
    it = graph.nodes().rbegin();
    if (next == nullptr) {
      it = graph.nodes().rend();
    } else {
      it = std::make_reverse_iterator(std::next(graph.Position(next)));
    }
  }
  for (Value* v : graph.initializers()) {
    if (!unused(v) || v->is_graph_input()) continue;
    graph.EraseInitializer(v);
    changed = true;
  }
  return changed;
}

}  // namespace graphrun
