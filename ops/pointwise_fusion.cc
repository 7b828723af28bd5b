#include "ops/pointwise_fusion.h"

#include <algorithm>
#include <map>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "ops/pointwise_code.h"

namespace graphrun {
namespace {

constexpr size_t kMaxSteps = 48;   // of one program
constexpr size_t kMaxInputs = 64;  // of one program, constants included
constexpr int kMaxArguments = 16;  // of one operator
// Gradients that may wait for one update of all parameters; beyond that there are several updates,
// each of at least so many bytes.
constexpr int64_t kMaxHeldBytes = int64_t{16} << 20, kPartBytes = int64_t{4} << 20;

bool IsConcrete(const Value* v) { return v->type().is_tensor() && v->shape().is_concrete(); }

// An elementwise operator that a program can hold, with sizes that are known.
bool Fits(const Node& node, const OpRegistry& registry) {
  if (node.num_outputs() != 1 || !node.has_output(0) || node.num_captures() > 0) return false;
  if (node.num_inputs() == 0 || node.num_inputs() > kMaxArguments) return false;
  const OpDef* def = registry.Find(node);
  if (def == nullptr || def->pointwise().block == nullptr || def->is_random()) return false;
  // The body of a program names operators without versions: it means the newest.
  if (registry.Find(node.domain(), node.op_type(), 0) != def) return false;
  for (const Value* in : node.inputs()) {
    if (in != nullptr && !(IsConcrete(in) && IsPointwiseDType(in->dtype()))) return false;
  }
  return IsConcrete(node.output(0)) && IsPointwiseDType(node.output(0)->dtype()) &&
         Product(node.output(0)->shape().ToDims()) > 0;
}

// The plan of one fusion: which nodes go together.
//
// Every node has a level that never falls along an edge, and that rises along every edge but those
// between elementwise operators with results of one size. Connected operators of one level may
// become one node: a way out of them and back would have to rise and fall. Afterwards a group whose
// results only one other group reads joins that group: nothing else lies between the two.
//
// In a training step, what only the gradient reads and what can be made of values that it reads
// anyway (a Relu's mask, of the Relu's result) takes its reader's level, so that it is made there
// instead of being kept.
class Grouping {
 public:
  Grouping(const Graph& graph, const OpRegistry& registry) {
    std::map<Dims, int> size_classes;
    for (const auto& owned : graph.nodes()) {
      Node* node = owned.get();
      const int i = static_cast<int>(nodes_.size());
      index_[node] = i;
      nodes_.push_back(node);
      int size_class = -1;
      if (Fits(*node, registry)) {
        const Dims dims = node->output(0)->shape().ToDims();
        size_class =
            size_classes.emplace(dims, static_cast<int>(size_classes.size())).first->second;
      }
      class_.push_back(size_class);
      int level = 0;
      for (const Value* in : node->inputs()) {
        const int p = Producer(in);
        if (p >= 0) level = std::max(level, level_[At(p)] + (SameClass(p, i) ? 0 : 1));
      }
      level_.push_back(level);
    }
    if (!graph.states().empty() && !graph.outputs().empty()) Defer(*graph.outputs()[0], registry);
    Connect();
    SinkIntoReaders();
  }

  // Groups of at least two nodes, in the order of their last ones; nodes in order.
  std::vector<std::vector<Node*>> Groups() const {
    std::map<int, std::vector<Node*>> by_last;
    for (size_t g = 0; g < members_.size(); ++g) {
      if (members_[g].size() < 2) continue;
      std::vector<int> sorted = members_[g];
      std::sort(sorted.begin(), sorted.end());
      for (const int i : sorted) by_last[sorted.back()].push_back(nodes_[At(i)]);
    }
    std::vector<std::vector<Node*>> groups;
    for (auto& [last, group] : by_last) groups.push_back(std::move(group));
    return groups;
  }

 private:
  static size_t At(int i) { return static_cast<size_t>(i); }
  int Producer(const Value* v) const {
    if (v == nullptr || v->producer() == nullptr) return -1;
    const auto it = index_.find(v->producer());
    return it == index_.end() ? -1 : it->second;
  }
  bool SameClass(int a, int b) const {
    return class_[At(a)] >= 0 && class_[At(a)] == class_[At(b)];
  }

  // `loss` divides the nodes into those before the gradient and the gradient.
  void Defer(const Value& loss, const OpRegistry& registry) {
    const int end = Producer(&loss);
    // What the gradient reads in nodes that no program can hold.
    absl::flat_hash_set<const Value*> kept;
    for (size_t n = At(end + 1); n < nodes_.size(); ++n) {
      const OpDef* def = registry.Find(*nodes_[n]);
      if (class_[n] >= 0 || def == nullptr) continue;
      for (size_t i = 0; i < nodes_[n]->inputs().size(); ++i)
        if (!def->is_shape_only(static_cast<int>(i))) kept.insert(nodes_[n]->inputs()[i]);
    }
    std::vector<bool> from_kept(nodes_.size(), false);
    for (size_t n = 0; n < nodes_.size(); ++n) {
      const auto& inputs = nodes_[n]->inputs();
      from_kept[n] =
          class_[n] >= 0 && std::all_of(inputs.begin(), inputs.end(), [&](const Value* in) {
            const int p = Producer(in);
            return p < 0 || from_kept[At(p)] || (p <= end && kept.contains(in));
          });
    }
    for (int n = static_cast<int>(nodes_.size()) - 1; n >= 0; --n) {
      if (!from_kept[At(n)]) continue;
      const Value* out = nodes_[At(n)]->output(0);
      if (out->num_graph_outputs() > 0 || out->uses().empty()) continue;
      int level = -1;
      for (const Use& use : out->uses()) {
        const auto it = index_.find(use.node);
        const int reader = it == index_.end() ? -1 : it->second;
        const int at = reader < 0 || !SameClass(n, reader) ? -1 : level_[At(reader)];
        level = &use == &out->uses().front() ? at : std::min(level, at);
      }
      level_[At(n)] = std::max(level, level_[At(n)]);
    }
  }

  int Root(int i) {
    while (parent_[At(i)] != i) i = parent_[At(i)] = parent_[At(parent_[At(i)])];
    return i;
  }

  void Connect() {
    parent_.resize(nodes_.size());
    for (size_t i = 0; i < nodes_.size(); ++i) parent_[i] = static_cast<int>(i);
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (class_[i] < 0) continue;
      for (const Value* in : nodes_[i]->inputs()) {
        const int p = Producer(in), n = static_cast<int>(i);
        if (p >= 0 && SameClass(p, n) && level_[At(p)] == level_[i]) parent_[At(Root(p))] = Root(n);
      }
    }
    // Programs have a largest size: a larger component is cut in topological order, which makes no
    // cycle.
    group_.assign(nodes_.size(), -1);
    absl::flat_hash_map<int, int> open;  // component -> the group that takes its next node
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (class_[i] < 0) continue;
      const int root = Root(static_cast<int>(i));
      const size_t arguments = nodes_[i]->inputs().size();
      auto [it, fresh] = open.emplace(root, 0);
      if (fresh || members_[At(it->second)].size() >= kMaxSteps ||
          inputs_[At(it->second)] + arguments > kMaxInputs) {
        it->second = static_cast<int>(members_.size());
        members_.emplace_back();
        inputs_.push_back(0);
      }
      group_[i] = it->second;
      members_[At(it->second)].push_back(static_cast<int>(i));
      for (const Value* in : nodes_[i]->inputs()) {
        const int p = Producer(in);
        if (in != nullptr && (p < 0 || group_[At(p)] != it->second)) ++inputs_[At(it->second)];
      }
    }
  }

  // The one group that reads all results of group g; -1: none or several, or something else reads
  // them.
  int OnlyReader(int g) const {
    int reader = -1;
    for (const int i : members_[At(g)]) {
      for (const Use& use : nodes_[At(i)]->output(0)->uses()) {
        const auto it = index_.find(use.node);
        const int other = it == index_.end() ? -1 : group_[At(it->second)];
        if (other == g) continue;
        if (other < 0 || (reader >= 0 && other != reader)) return -1;
        reader = other;
      }
    }
    return reader;
  }

  void SinkIntoReaders() {
    for (size_t k = nodes_.size(); k-- > 0;) {
      const int g = group_[k];
      if (g < 0 || members_[At(g)].back() != static_cast<int>(k)) continue;
      const int reader = OnlyReader(g);
      if (reader < 0 || !SameClass(members_[At(reader)][0], static_cast<int>(k))) continue;
      std::vector<int>&from = members_[At(g)], &to = members_[At(reader)];
      if (from.size() + to.size() > kMaxSteps || inputs_[At(g)] + inputs_[At(reader)] > kMaxInputs)
        continue;
      inputs_[At(reader)] += inputs_[At(g)];
      for (const int i : from) group_[At(i)] = reader;
      // The reader's last node stays last.
      to.insert(to.begin(), from.begin(), from.end());
      from.clear();
    }
  }

  std::vector<Node*> nodes_;
  absl::flat_hash_map<const Node*, int> index_;
  std::vector<int> class_;  // -1: not for programs; else one number per size of results
  std::vector<int> level_, parent_, group_;
  std::vector<std::vector<int>> members_;
  std::vector<size_t> inputs_;  // an upper bound of each group's inputs
};

bool IsFoldable(const Value* v) { return v->is_constant() && v->initializer().num_elements() == 1; }

// Replaces the nodes of a group by one; false where it has no results that anybody reads.
bool Fuse(Graph& graph, const std::vector<Node*>& members,
          const absl::flat_hash_set<const Value*>& next_states) {
  const absl::flat_hash_set<const Node*> inside(members.begin(), members.end());
  const Shape& shape = members.back()->output(0)->shape();
  const auto leaves = [&](const Value* v) {
    if (v->num_graph_outputs() > 0 || next_states.contains(v)) return true;
    for (const Use& use : v->uses()) {
      if (!inside.contains(use.node)) return true;
    }
    return false;
  };
  PointwiseCode code;
  std::vector<Value*> inputs;
  absl::flat_hash_map<const Value*, int> number;
  // Constants of one element become part of the program, unless the result owes them its rank.
  bool fold = true;
  for (const bool attempt : {true, false}) {
    fold = attempt;
    inputs.clear();
    absl::flat_hash_set<const Value*> seen;
    Shape broadcast = Shape::Scalar();
    for (const Node* node : members) {
      for (Value* in : node->inputs()) {
        if (in == nullptr || (in->producer() != nullptr && inside.contains(in->producer())))
          continue;
        if ((fold && IsFoldable(in)) || !seen.insert(in).second) continue;
        inputs.push_back(in);
        auto joined = BroadcastShapes(broadcast, in->shape());
        if (joined.ok()) broadcast = *std::move(joined);
      }
    }
    if (broadcast == shape && !inputs.empty()) break;
  }
  for (Value* in : inputs) number.emplace(in, static_cast<int>(number.size()));
  code.num_inputs = static_cast<int>(inputs.size());
  std::map<std::pair<int, float>, int> constants;
  for (const Node* node : members) {
    for (const Value* in : node->inputs()) {
      if (in == nullptr || !fold || !IsFoldable(in)) continue;
      const auto value = static_cast<float>(in->initializer().AsDouble(0));
      const auto [it, fresh] = constants.emplace(
          std::make_pair(static_cast<int>(in->dtype()), value), static_cast<int>(constants.size()));
      if (fresh) {
        code.constants.push_back(value);
        code.constant_types.push_back(in->dtype());
      }
      number[in] = code.num_inputs + it->second;
    }
  }
  std::vector<Value*> results;
  std::vector<std::string> names;
  int next = code.num_inputs + static_cast<int>(code.constants.size());
  for (const Node* node : members) {
    PointwiseCode::Step step{node->domain(), node->op_type(), {}, node->attrs()};
    for (const Value* in : node->inputs()) step.args.push_back(in == nullptr ? -1 : number.at(in));
    code.steps.push_back(std::move(step));
    Value* out = node->output(0);
    number[out] = next++;
    if (!leaves(out)) continue;
    code.outputs.push_back(number[out]);
    code.output_types.push_back(out->dtype());
    results.push_back(out);
    names.push_back(out->name());
  }
  if (results.empty()) return false;
  Graph::NodeSpec spec;
  spec.op_type = "Pointwise";
  spec.domain = kGraphrunDomain;
  spec.name = members.back()->name();
  spec.opset = 1;
  spec.inputs = inputs;
  spec.outputs.assign(results.size(), "");
  spec.attrs = code.ToAttrs();
  Node* fused = graph.AddNode(std::move(spec), members.back());
  for (size_t o = 0; o < results.size(); ++o) {
    Value* now = fused->output(static_cast<int>(o));
    now->set_type(results[o]->type());
    graph.ReplaceAllUses(results[o], now);
    graph.Rename(results[o], absl::StrCat(names[o], "/old"));
    graph.Rename(now, names[o]);
  }
  for (size_t i = members.size(); i-- > 0;) graph.Erase(members[i]);
  return true;
}

// Nodes with equal keys run the same program on tensors of the same types, whatever their sizes.
std::string Key(const Node& node) {
  std::string key;
  for (const auto& [name, value] : node.attrs())
    absl::StrAppend(&key, name, "=", value.ToString(), ";");
  const Shape& shape = node.output(0)->shape();
  for (const Value* in : node.inputs()) {
    const bool full = in->shape() == shape;
    const bool scalar = !full && Product(in->shape().ToDims()) == 1;
    absl::StrAppend(&key, static_cast<int>(in->dtype()), full ? "f" : scalar ? "s" : "b");
  }
  return key;
}

absl::Status MergeUpdates(Graph& graph, const std::vector<Node*>& nodes, Node* before) {
  GR_ASSIGN_OR_RETURN(PointwiseCode code, PointwiseCode::FromNode(*nodes[0]));
  // Scalars that all have in common (the learning rate) come first.
  std::vector<int> order;
  const auto common = [&](int i) {
    const Value* v = nodes[0]->input(i);
    return Product(v->shape().ToDims()) == 1 && !(v->shape() == nodes[0]->output(0)->shape()) &&
           std::all_of(nodes.begin(), nodes.end(), [&](const Node* n) { return n->input(i) == v; });
  };
  for (int i = 0; i < code.num_inputs; ++i) {
    if (common(i)) order.push_back(i);
  }
  code.shared = static_cast<int>(order.size());
  for (int i = 0; i < code.num_inputs; ++i) {
    if (!common(i)) order.push_back(i);
  }
  std::vector<int> place(order.size());
  for (size_t k = 0; k < order.size(); ++k)
    place[static_cast<size_t>(order[k])] = static_cast<int>(k);
  for (PointwiseCode::Step& step : code.steps) {
    for (int& a : step.args) {
      if (a >= 0 && a < code.num_inputs) a = place[static_cast<size_t>(a)];
    }
  }
  code.groups = static_cast<int>(nodes.size());
  Graph::NodeSpec spec;
  spec.op_type = "Pointwise";
  spec.domain = kGraphrunDomain;
  spec.name = nodes[0]->name();
  spec.opset = 1;
  spec.attrs = code.ToAttrs();
  for (int k = 0; k < code.shared; ++k)
    spec.inputs.push_back(nodes[0]->input(order[static_cast<size_t>(k)]));
  for (const Node* node : nodes) {
    for (size_t k = static_cast<size_t>(code.shared); k < order.size(); ++k)
      spec.inputs.push_back(node->input(order[k]));
  }
  spec.outputs.assign(static_cast<size_t>(code.num_node_outputs()), "");
  Node* merged = graph.AddNode(std::move(spec), before);
  int out = 0;
  for (Node* node : nodes) {
    for (Value* old : node->outputs()) {
      Value* now = merged->output(out++);
      const std::string name = old->name();
      now->set_type(old->type());
      graph.ReplaceAllUses(old, now);
      graph.Rename(old, absl::StrCat(name, "/old"));
      graph.Rename(now, name);
    }
    graph.Erase(node);
  }
  return absl::OkStatus();
}

// When each of some updates may run: once its inputs are made, and the states that it replaces are
// read for the last time.
class UpdateTimes {
 public:
  UpdateTimes(const Graph& graph, const std::vector<std::vector<Node*>>& families) {
    for (const auto& node : graph.nodes()) {
      place_[node.get()] = static_cast<int>(order_.size());
      order_.push_back(node.get());
    }
    for (const StateUpdate& s : graph.states())
      if (s.next != nullptr) state_of_[s.next] = s.state;
    for (const auto& family : families) updates_.insert(family.begin(), family.end());
  }

  int Ready(const Node& update) const {
    int ready = -1;
    for (const Value* in : update.inputs())
      if (in->producer() != nullptr) ready = std::max(ready, place_.at(in->producer()));
    for (const Value* out : update.outputs()) {
      const auto state = state_of_.find(out);
      if (state == state_of_.end()) continue;
      for (const Use& use : state->second->uses())
        if (use.node != &update) ready = std::max(ready, place_.at(use.node));
    }
    return ready;
  }

  // The first node behind that place which is no update; null: the end.
  Node* Behind(int place) const {
    for (auto i = static_cast<size_t>(place + 1); i < order_.size(); ++i)
      if (!updates_.contains(order_[i])) return order_[i];
    return nullptr;
  }

 private:
  std::vector<Node*> order_;
  absl::flat_hash_map<const Node*, int> place_;
  absl::flat_hash_map<const Value*, const Value*> state_of_;
  absl::flat_hash_set<const Node*> updates_;
};

// Bytes that other nodes made for this one.
int64_t GradientBytes(const Node& update) {
  int64_t bytes = 0;
  for (const Value* in : update.inputs()) {
    if (in->producer() != nullptr)
      bytes += Product(in->shape().ToDims()) * static_cast<int64_t>(DTypeSize(in->dtype()));
  }
  return bytes;
}

// Merges a family into one node, or, where its gradients are many bytes, into several, each as soon
// as enough of them are there, so that they need not all be kept to the end.
absl::Status MergeFamily(Graph& graph, const UpdateTimes& times, const std::vector<Node*>& family) {
  int64_t bytes = 0;
  for (const Node* node : family) bytes += GradientBytes(*node);
  if (bytes <= kMaxHeldBytes) return MergeUpdates(graph, family, nullptr);
  std::vector<std::pair<int, Node*>> ready;
  for (Node* node : family) ready.emplace_back(times.Ready(*node), node);
  std::stable_sort(ready.begin(), ready.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Node*> part;
  bytes = 0;
  for (size_t i = 0; i < ready.size(); ++i) {
    part.push_back(ready[i].second);
    bytes += GradientBytes(*ready[i].second);
    const bool last = i + 1 == ready.size();
    if (!last && (bytes < kPartBytes || ready[i + 1].first == ready[i].first)) continue;
    GR_RETURN_IF_ERROR(MergeUpdates(graph, part, times.Behind(ready[i].first)));
    part.clear();
    bytes = 0;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> FusePointwise(Graph& graph, const OpRegistry& registry) {
  GR_RETURN_IF_ERROR(graph.Sort());
  absl::flat_hash_set<const Value*> next_states;
  for (const StateUpdate& s : graph.states()) {
    if (s.next != nullptr) next_states.insert(s.next);
  }
  bool changed = false;
  {
    const Grouping grouping(graph, registry);
    for (const std::vector<Node*>& group : grouping.Groups())
      changed |= Fuse(graph, group, next_states);
  }
  std::vector<std::vector<Node*>> families;
  absl::flat_hash_map<std::string, size_t> family_of;
  for (const auto& node : graph.nodes()) {
    if (node->op_type() != "Pointwise" || node->domain() != kGraphrunDomain) continue;
    const Attr* groups = node->attr("groups");
    bool last =
        groups != nullptr && groups->get<int64_t>() != nullptr && *groups->get<int64_t>() == 1;
    for (const Value* out : node->outputs())
      last = last && out != nullptr && out->uses().empty() && IsConcrete(out);
    for (const Value* in : node->inputs()) last = last && in != nullptr && IsConcrete(in);
    if (!last) continue;
    const auto [it, fresh] = family_of.emplace(Key(*node), families.size());
    if (fresh) families.emplace_back();
    families[it->second].push_back(node.get());
  }
  const UpdateTimes times(graph, families);
  for (const std::vector<Node*>& nodes : families) {
    if (nodes.size() < 2) continue;
    GR_RETURN_IF_ERROR(MergeFamily(graph, times, nodes));
    changed = true;
  }
  if (changed) GR_RETURN_IF_ERROR(graph.Sort());
  return changed;
}

}  // namespace graphrun
