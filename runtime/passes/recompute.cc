#include "runtime/passes/recompute.h"

#include <algorithm>

#include "runtime/base/status.h"
#include "runtime/passes/pass.h"

namespace graphrun {
namespace {

bool IsConcrete(const Value* v) { return v->type().is_tensor() && v->shape().is_concrete(); }

int64_t Bytes(const Value* v) {
  if (!IsConcrete(v)) return 0;
  return Product(v->shape().ToDims()) * static_cast<int64_t>(DTypeSize(v->dtype()));
}

// The value whose memory `v` shows.
const Value* Shown(const Value* v, const OpRegistry& registry) {
  while (v->producer() != nullptr && v->producer_index() == 0) {
    const OpDef* def = registry.Find(*v->producer());
    if (def == nullptr || !def->is_view() || v->producer()->input(0) == nullptr) break;
    v = v->producer()->input(0);
  }
  return v;
}

// True where a second run of the node in the same step gives the same results at no other effect.
bool IsRepeatable(const Node& node, const OpDef& def, Recompute what) {
  if (node.num_captures() > 0 || (def.is_random() && node.attr("seed") == nullptr)) return false;
  for (const auto& [name, attr] : node.attrs())
    if (attr.get<Attr::GraphPtr>() != nullptr) return false;
  for (const Value* in : node.inputs())
    if (in != nullptr && !IsConcrete(in)) return false;
  for (const Value* out : node.outputs())
    if (out != nullptr && !IsConcrete(out)) return false;
  return what == Recompute::kAll || def.multiply_adds(node) == 0;
}

// One choice of what to compute again: chains of at most `longest` nodes.
class Checkpoints {
 public:
  Checkpoints(Graph& graph, const OpRegistry& registry, Recompute what, int longest)
      : graph_(graph), registry_(registry) {
    for (const auto& node : graph.nodes()) {
      place_[node.get()] = static_cast<int>(nodes_.size());
      nodes_.push_back(node.get());
    }
    const Node* loss = graph.outputs()[0]->producer();
    end_ = loss == nullptr ? -1 : place_.at(loss);
    chain_.assign(nodes_.size(), 0);
    for (int n = 0; n <= end_; ++n) chain_[At(n)] = ChainOf(n, what, longest);
  }

  // Adds the second producers; false where there is nothing to compute again.
  bool Apply() {
    Place();
    bool changed = false;
    for (int n = 0; n <= end_; ++n) {
      if (before_[At(n)] < 0) continue;
      Repeat(n);
      changed = true;
    }
    return changed;
  }

 private:
  static size_t At(int n) { return static_cast<size_t>(n); }

  bool ReadLater(const Value* v) const {
    for (const Use& use : v->uses()) {
      if (place_.at(use.node) > end_) return true;
    }
    return false;
  }

  // The number of nodes that must run again for node n's results; 0: they are kept.
  int ChainOf(int n, Recompute what, int longest) const {
    const Node& node = *nodes_[At(n)];
    const OpDef* def = registry_.Find(node);
    if (def == nullptr || !IsRepeatable(node, *def, what)) return 0;
    int64_t made = 0;
    for (const Value* out : node.outputs()) made += out == nullptr ? 0 : Bytes(out);
    int length = 1;
    int64_t held = 0;
    for (const Value* in : node.inputs()) {
      if (in == nullptr || in->producer() == nullptr) continue;
      const int before = chain_[At(place_.at(in->producer()))];
      length = std::max(length, before + 1);
      // An input that nobody needed later would have to be held for this.
      if (before == 0 && !ReadLater(in) && !ReadLater(Shown(in, registry_))) held += Bytes(in);
    }
    return length > longest || held > made / 8 ? 0 : length;
  }

  // Where each second producer goes: before its first reader.
  void Place() {
    before_.assign(nodes_.size(), -1);
    for (int n = end_; n >= 0; --n) {
      if (chain_[At(n)] == 0) continue;
      int first = -1;
      const auto read = [&](int at) {
        if (at >= 0) first = first < 0 ? at : std::min(first, at);
      };
      for (const Value* out : nodes_[At(n)]->outputs()) {
        if (out == nullptr) continue;
        for (const Use& use : out->uses()) {
          const int at = place_.at(use.node);
          read(at > end_ ? at : before_[At(at)]);
        }
      }
      before_[At(n)] = first;
    }
  }

  void Repeat(int n) {
    const Node& node = *nodes_[At(n)];
    Graph::NodeSpec spec;
    spec.op_type = node.op_type();
    spec.domain = node.domain();
    spec.opset = node.opset();
    spec.attrs = node.attrs();
    spec.name = node.name();
    for (Value* in : node.inputs()) {
      const auto again = again_.find(in);
      spec.inputs.push_back(again == again_.end() ? in : again->second);
    }
    const OpDef* def = registry_.Find(node);
    for (int o = 0; o < node.num_outputs(); ++o) {
      spec.outputs.push_back("");
      const OpDef::Argument* argument = def->OutputArgument(o);
      const bool optional = argument != nullptr && argument->arity == Arity::kOptional;
      if (!node.has_output(o) || (o > 0 && optional && !IsWanted(node.output(o))))
        spec.omitted_outputs.push_back(o);
    }
    Node* twin = graph_.AddNode(std::move(spec), nodes_[At(before_[At(n)])]);
    for (int o = 0; o < node.num_outputs(); ++o) {
      if (!twin->has_output(o)) continue;
      Value *old = node.output(o), *now = twin->output(o);
      now->set_type(old->type());
      graph_.Rename(now, absl::StrCat(old->name(), "/again"));
      again_[old] = now;
      const std::vector<Use> uses = old->uses();
      for (const Use& use : uses) {
        const auto at = place_.find(use.node);
        if (at != place_.end() && at->second > end_) graph_.SetInput(use.node, use.index, now);
      }
    }
  }

  // Whether anything after the loss, or a second producer, reads `v`.
  bool IsWanted(const Value* v) const {
    for (const Use& use : v->uses()) {
      const auto at = place_.find(use.node);
      if (at != place_.end() && (at->second > end_ || before_[At(at->second)] >= 0)) return true;
    }
    return false;
  }

  Graph& graph_;
  const OpRegistry& registry_;
  std::vector<Node*> nodes_;
  absl::flat_hash_map<const Node*, int> place_;
  int end_ = -1;  // the node that makes the loss
  std::vector<int> chain_, before_;
  absl::flat_hash_map<const Value*, Value*> again_;
};

}  // namespace

absl::StatusOr<Recompute> RecomputeFromName(absl::string_view name) {
  if (name == "off") return Recompute::kOff;
  if (name == "cheap") return Recompute::kCheap;
  if (name == "all") return Recompute::kAll;
  return UsageError("recompute is \"", name, "\" but must be off, cheap or all");
}

int64_t PeakBytes(const Graph& graph, const OpRegistry& registry) {
  absl::flat_hash_map<const Value*, int> last;
  int n = 0;
  for (const auto& node : graph.nodes()) {
    for (const Value* in : node->inputs())
      if (in != nullptr && in->producer() != nullptr) last[Shown(in, registry)] = n;
    for (const Value* out : node->outputs())
      if (out != nullptr && Shown(out, registry) == out) last.emplace(out, n);
    ++n;
  }
  std::vector<int64_t> freed(static_cast<size_t>(n) + 1, 0);
  for (const auto& [v, at] : last) freed[static_cast<size_t>(at)] += Bytes(v);
  int64_t used = 0, most = 0;
  n = 0;
  for (const auto& node : graph.nodes()) {
    for (const Value* out : node->outputs())
      if (out != nullptr && Shown(out, registry) == out) used += Bytes(out);
    most = std::max(most, used);
    used -= freed[static_cast<size_t>(n++)];
  }
  return most;
}

absl::StatusOr<bool> RecomputeActivations(Graph& graph, const OpRegistry& registry,
                                          Recompute what) {
  if (what == Recompute::kOff || graph.states().empty() || graph.outputs().empty()) return false;
  GR_RETURN_IF_ERROR(graph.Sort());
  int best = 0;
  int64_t least = PeakBytes(graph, registry);
  for (const int longest : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}) {
    const std::unique_ptr<Graph> trial = graph.Clone();
    if (!Checkpoints(*trial, registry, what, longest).Apply()) continue;
    const int64_t bytes = PeakBytes(*trial, registry);
    if (bytes >= least) continue;
    least = bytes;
    best = longest;
  }
  return best > 0 && Checkpoints(graph, registry, what, best).Apply();
}

}  // namespace graphrun
