#include "absl/hash/hash.h"
#include "runtime/passes/pass.h"

namespace graphrun {
namespace {

constexpr int64_t kSmallInitializer = 64;  // bytes

size_t HashNode(const Node& node) {
  size_t h = absl::HashOf(node.op_type(), node.domain(), node.opset(), node.num_outputs());
  for (const Value* in : node.inputs()) h = absl::HashOf(h, in);
  for (const auto& [name, attr] : node.attrs()) h = absl::HashOf(h, name);
  return h;
}

bool Equal(const Node& a, const Node& b) {
  if (a.op_type() != b.op_type() || a.domain() != b.domain() || a.opset() != b.opset() ||
      a.inputs() != b.inputs() || a.num_captures() != b.num_captures() ||
      a.num_outputs() != b.num_outputs()) {
    return false;
  }
  for (int o = 0; o < a.num_outputs(); ++o) {
    if (a.has_output(o) != b.has_output(o)) return false;
  }
  return a.attrs() == b.attrs();
}

void MergeInitializers(Graph& graph, bool* changed) {
  absl::flat_hash_map<size_t, std::vector<Value*>> seen;
  for (Value* v : graph.initializers()) {
    const Tensor& t = v->initializer();
    if (!v->is_constant() || v->is_graph_input() || t.dtype() == DType::kString ||
        t.byte_size() > kSmallInitializer || v->num_graph_outputs() > 0) {
      continue;
    }
    const absl::string_view bytes(static_cast<const char*>(t.raw()),
                                  static_cast<size_t>(t.byte_size()));
    auto& bucket = seen[absl::HashOf(static_cast<int>(t.dtype()), bytes, t.dims())];
    Value* same = nullptr;
    for (Value* other : bucket) {
      if (SameBits(other->initializer(), t)) same = other;
    }
    if (same == nullptr) {
      bucket.push_back(v);
      continue;
    }
    *changed |= !v->uses().empty();
    graph.ReplaceAllUses(v, same);
  }
}

}  // namespace

absl::StatusOr<bool> MergeEqualNodes(Graph& graph, const OpRegistry& registry) {
  GR_RETURN_IF_ERROR(graph.Sort());
  bool changed = false;
  MergeInitializers(graph, &changed);
  absl::flat_hash_map<size_t, std::vector<Node*>> seen;
  for (auto it = graph.nodes().begin(); it != graph.nodes().end();) {
    Node* node = it->get();
    ++it;
    const OpDef* def = registry.Find(*node);
    if (def == nullptr || def->is_random()) continue;
    bool has_graph = false;
    for (const auto& [name, attr] : node->attrs()) has_graph |= attr.kind() == Attr::Kind::kGraph;
    if (has_graph) continue;
    auto& bucket = seen[HashNode(*node)];
    Node* same = nullptr;
    for (Node* other : bucket) {
      if (Equal(*other, *node)) same = other;
    }
    bool is_output = false;
    for (const Value* out : node->outputs())
      is_output |= out != nullptr && out->num_graph_outputs() > 0;
    if (same == nullptr || is_output) {
      bucket.push_back(node);
      continue;
    }
    for (int o = 0; o < node->num_outputs(); ++o) {
      if (node->has_output(o)) graph.ReplaceAllUses(node->output(o), same->output(o));
    }
    graph.Erase(node);
    changed = true;
  }
  return changed;
}

}  // namespace graphrun
