#include "runtime/ir/graph.h"

#include <algorithm>

#include "runtime/base/status.h"

namespace graphrun {

const Attr* Node::attr(absl::string_view name) const {
  const auto it = attrs_.find(std::string(name));
  return it == attrs_.end() ? nullptr : &it->second;
}

std::string Node::Describe() const {
  std::string shown = name_;
  for (const Value* output : outputs_) {
    if (shown.empty() && output != nullptr) shown = output->name();
  }
  return absl::StrCat("node \"", shown, "\" (", domain_.empty() ? "" : domain_ + ".", op_type_,
                      ")");
}

std::string Graph::UniqueName(absl::string_view stem) const {
  std::string base = stem.empty() ? "v" : std::string(stem);
  if (!by_name_.contains(base)) return base;
  int& counter = name_counter_[base];
  std::string name;
  do {
    name = absl::StrCat(base, "_", ++counter);
  } while (by_name_.contains(name));
  return name;
}

Value* Graph::NewValue(absl::string_view name, Type type) {
  auto value = std::make_unique<Value>();
  Value* v = value.get();
  v->name_ = UniqueName(name);
  v->type_ = std::move(type);
  by_name_[v->name_] = v;
  v->self_ = values_.insert(values_.end(), std::move(value));
  return v;
}

void Graph::EraseValue(Value* value) {
  GR_CHECK(value->uses_.empty() && value->graph_outputs_ == 0);
  by_name_.erase(value->name_);
  values_.erase(value->self_);
}

Value* Graph::AddInput(absl::string_view name, Type type) {
  Value* v = NewValue(name, std::move(type));
  v->is_input_ = true;
  inputs_.push_back(v);
  return v;
}

Value* Graph::AddInitializer(absl::string_view name, Tensor tensor) {
  Value* v = NewValue(name, Type::Tensor(tensor.dtype(), Shape::Of(tensor.dims())));
  v->initializer_ = std::move(tensor);
  return v;
}

void Graph::SetInitializer(Value* value, Tensor tensor) {
  GR_CHECK(value->producer_ == nullptr);
  value->type_ = Type::Tensor(tensor.dtype(), Shape::Of(tensor.dims()));
  value->initializer_ = std::move(tensor);
}

void Graph::ClearInitializer(Value* value) {
  value->initializer_ = Tensor();
  if (!value->is_input_) {
    value->is_input_ = true;
    inputs_.push_back(value);
  }
}

void Graph::AddOutput(Value* value) {
  ++value->graph_outputs_;
  outputs_.push_back(value);
}

void Graph::SetOutput(int i, Value* value) {
  --outputs_[static_cast<size_t>(i)]->graph_outputs_;
  ++value->graph_outputs_;
  outputs_[static_cast<size_t>(i)] = value;
}

void Graph::RemoveOutput(int i) {
  --outputs_[static_cast<size_t>(i)]->graph_outputs_;
  outputs_.erase(outputs_.begin() + i);
}

void Graph::RemoveInput(Value* value) {
  inputs_.erase(std::find(inputs_.begin(), inputs_.end(), value));
  value->is_input_ = false;
  if (!value->is_initializer()) EraseValue(value);
}

void Graph::HideInput(Value* value) {
  if (!value->is_input_) return;
  inputs_.erase(std::find(inputs_.begin(), inputs_.end(), value));
  value->is_input_ = false;
}

Value* Graph::FindValue(absl::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

void Graph::Rename(Value* value, absl::string_view name) {
  if (value->name_ == name) return;
  by_name_.erase(value->name_);
  value->name_ = UniqueName(name);
  by_name_[value->name_] = value;
}

std::vector<Value*> Graph::initializers() const {
  std::vector<Value*> found;
  for (const auto& v : values_) {
    if (v->is_initializer()) found.push_back(v.get());
  }
  return found;
}

void Graph::AddState(Value* initializer, Value* next) {
  GR_CHECK(initializer->is_initializer() && !initializer->is_state_);
  initializer->is_state_ = true;
  states_.push_back({initializer, next});
}

void Graph::SetNext(Value* state, Value* next) {
  for (StateUpdate& s : states_) {
    if (s.state == state) s.next = next;
  }
}

void Graph::ClearState(Value* state) {
  state->is_state_ = false;
  states_.erase(std::remove_if(states_.begin(), states_.end(),
                               [&](const StateUpdate& s) { return s.state == state; }),
                states_.end());
}

Node* Graph::AddNode(NodeSpec spec, Node* before) {
  auto owned = std::make_unique<Node>();
  Node* node = owned.get();
  node->graph_ = this;
  node->name_ = std::move(spec.name);
  node->domain_ = std::move(spec.domain);
  node->op_type_ = std::move(spec.op_type);
  node->opset_ = spec.opset;
  node->attrs_ = std::move(spec.attrs);
  node->self_ = nodes_.insert(before == nullptr ? nodes_.end() : before->self_, std::move(owned));
  node->inputs_ = std::move(spec.inputs);
  node->inputs_.insert(node->inputs_.end(), spec.captures.begin(), spec.captures.end());
  node->captures_ = static_cast<int>(spec.captures.size());
  for (size_t i = 0; i < node->inputs_.size(); ++i) {
    if (node->inputs_[i] != nullptr) node->inputs_[i]->uses_.push_back({node, static_cast<int>(i)});
  }
  for (size_t i = 0; i < spec.outputs.size(); ++i) {
    const int index = static_cast<int>(i);
    if (std::find(spec.omitted_outputs.begin(), spec.omitted_outputs.end(), index) !=
        spec.omitted_outputs.end()) {
      node->outputs_.push_back(nullptr);
      continue;
    }
    Value* v = NewValue(spec.outputs[i].empty() ? node->op_type_ : spec.outputs[i], Type());
    v->producer_ = node;
    v->producer_index_ = index;
    node->outputs_.push_back(v);
  }
  return node;
}

void Graph::RemoveUse(Value* value, Node* node, int index) {
  auto& uses = value->uses_;
  uses.erase(std::find(uses.begin(), uses.end(), Use{node, index}));
}

void Graph::SetInput(Node* node, int index, Value* value) {
  Value*& slot = node->inputs_[static_cast<size_t>(index)];
  if (slot != nullptr) RemoveUse(slot, node, index);
  slot = value;
  if (value != nullptr) value->uses_.push_back({node, index});
}

void Graph::AppendInput(Node* node, Value* value) {
  GR_CHECK(node->captures_ == 0);
  node->inputs_.push_back(nullptr);
  SetInput(node, static_cast<int>(node->inputs_.size()) - 1, value);
}

void Graph::RemoveTrailingOmittedInputs(Node* node) {
  while (node->captures_ == 0 && !node->inputs_.empty() && node->inputs_.back() == nullptr)
    node->inputs_.pop_back();
}

void Graph::OmitOutput(Node* node, int index) {
  Value*& slot = node->outputs_[static_cast<size_t>(index)];
  if (slot == nullptr) return;
  GR_CHECK(IsUnused(slot));
  EraseValue(slot);
  slot = nullptr;
}

void Graph::ReplaceAllUses(Value* from, Value* to) {
  if (from == to) return;
  for (const Use& use : from->uses_) {
    use.node->inputs_[static_cast<size_t>(use.index)] = to;
    to->uses_.push_back(use);
  }
  from->uses_.clear();
  for (Value*& output : outputs_) {
    if (output != from) continue;
    output = to;
    --from->graph_outputs_;
    ++to->graph_outputs_;
  }
  for (StateUpdate& s : states_) {
    if (s.next == from) s.next = to;
  }
}

bool Graph::IsUnused(const Value* value) const {
  if (!value->uses_.empty() || value->graph_outputs_ > 0 || value->is_state_) return false;
  return std::none_of(states_.begin(), states_.end(),
                      [&](const StateUpdate& s) { return s.next == value; });
}

void Graph::Erase(Node* node) {
  for (size_t i = 0; i < node->inputs_.size(); ++i) {
    if (node->inputs_[i] != nullptr) RemoveUse(node->inputs_[i], node, static_cast<int>(i));
  }
  for (Value* output : node->outputs_) {
    if (output != nullptr) EraseValue(output);
  }
  nodes_.erase(node->self_);
}

void Graph::EraseInitializer(Value* value) {
  GR_CHECK(value->is_initializer() && IsUnused(value));
  if (value->is_input_) inputs_.erase(std::find(inputs_.begin(), inputs_.end(), value));
  EraseValue(value);
}

absl::Status Graph::Sort() {
  absl::flat_hash_map<const Node*, int> missing;
  std::vector<Node*> ready;
  for (const auto& node : nodes_) {
    int count = 0;
    for (const Value* in : node->inputs_) count += in != nullptr && in->producer_ != nullptr;
    missing[node.get()] = count;
  }
  // Already in order is the usual case: leave the list as it is then.
  absl::flat_hash_set<const Node*> seen;
  bool in_order = true;
  for (const auto& node : nodes_) {
    for (const Value* in : node->inputs_) {
      in_order &= in == nullptr || in->producer_ == nullptr || seen.contains(in->producer_);
    }
    seen.insert(node.get());
  }
  if (in_order) return absl::OkStatus();
  // Depth first from each node in list order, so that the order changes as little as it can.
  absl::flat_hash_map<const Node*, int> state;  // 1 open, 2 done
  std::list<std::unique_ptr<Node>> sorted;
  std::vector<std::list<std::unique_ptr<Node>>::iterator> order;
  for (const auto& root : nodes_) {
    std::vector<std::pair<Node*, size_t>> stack = {{root.get(), 0}};
    if (state[root.get()] == 2) continue;
    state[root.get()] = 1;
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next == node->inputs_.size()) {
        state[node] = 2;
        order.push_back(node->self_);
        stack.pop_back();
        continue;
      }
      const Value* in = node->inputs_[next++];
      if (in == nullptr || in->producer_ == nullptr || state[in->producer_] == 2) continue;
      if (state[in->producer_] == 1) {
        return ModelError("the graph has a cycle through ", in->producer_->Describe(), " and ",
                          node->Describe());
      }
      state[in->producer_] = 1;
      stack.push_back({in->producer_, 0});
    }
  }
  for (const auto& it : order) sorted.splice(sorted.end(), nodes_, it);
  nodes_.swap(sorted);
  return absl::OkStatus();
}

namespace {

// A copy of an attribute with references replaced by `values`; nothing where the reference has no
// value.
const Attr* Resolve(const Attr& attr, const AttrMap& values) {
  const auto* ref = attr.get<Attr::Ref>();
  if (ref == nullptr) return &attr;
  const auto it = values.find(ref->name);
  return it == values.end() ? nullptr : &it->second;
}

// Subgraphs inside a function body may hold references as well.
Attr ResolveInside(const Attr& attr, const AttrMap& values);

std::shared_ptr<const Graph> ResolveGraph(const Attr::GraphPtr& graph, const AttrMap& values) {
  if (values.empty()) return graph;
  std::shared_ptr<Graph> copy = graph->Clone();
  for (const auto& node : copy->nodes()) {
    const AttrMap attrs = node->attrs();
    for (const auto& [name, value] : attrs) {
      const Attr* resolved = Resolve(value, values);
      if (resolved == nullptr) {
        node->erase_attr(name);
      } else {
        node->set_attr(name, ResolveInside(*resolved, values));
      }
    }
  }
  return copy;
}

Attr ResolveInside(const Attr& attr, const AttrMap& values) {
  if (const auto* g = attr.get<Attr::GraphPtr>()) return ResolveGraph(*g, values);
  if (const auto* gs = attr.get<std::vector<Attr::GraphPtr>>()) {
    std::vector<Attr::GraphPtr> graphs;
    for (const auto& g : *gs) graphs.push_back(ResolveGraph(g, values));
    return graphs;
  }
  return attr;
}

}  // namespace

std::unique_ptr<Graph> Graph::Clone(absl::flat_hash_map<const Value*, Value*>* map) const {
  auto copy = std::make_unique<Graph>();
  copy->name = name;
  copy->doc = doc;
  copy->opset_imports = opset_imports;
  copy->metadata = metadata;
  copy->producer_name = producer_name;
  copy->producer_version = producer_version;
  copy->model_domain = model_domain;
  copy->model_version = model_version;
  copy->ir_version = ir_version;
  copy->functions = functions;
  absl::flat_hash_map<const Value*, Value*> local;
  if (map == nullptr) map = &local;
  const auto mapped = [&](Value* v) { return v == nullptr ? nullptr : map->at(v); };
  for (const auto& v : values_) {
    Value* c = copy->NewValue(v->name_, v->type_);
    c->initializer_ = v->initializer_;
    c->is_input_ = v->is_input_;
    c->is_state_ = v->is_state_;
    (*map)[v.get()] = c;
  }
  for (Value* v : inputs_) copy->inputs_.push_back(mapped(v));
  for (const auto& n : nodes_) {
    auto owned = std::make_unique<Node>(*n);
    Node* c = owned.get();
    c->graph_ = copy.get();
    c->self_ = copy->nodes_.insert(copy->nodes_.end(), std::move(owned));
    for (Value*& v : c->inputs_) v = mapped(v);
    for (Value*& v : c->outputs_) v = mapped(v);
    for (size_t i = 0; i < c->outputs_.size(); ++i) {
      if (c->outputs_[i] == nullptr) continue;
      c->outputs_[i]->producer_ = c;
      c->outputs_[i]->producer_index_ = static_cast<int>(i);
    }
    for (size_t i = 0; i < c->inputs_.size(); ++i) {
      if (c->inputs_[i] != nullptr) c->inputs_[i]->uses_.push_back({c, static_cast<int>(i)});
    }
  }
  for (Value* v : outputs_) copy->AddOutput(mapped(v));
  for (const StateUpdate& s : states_) copy->states_.push_back({mapped(s.state), mapped(s.next)});
  return copy;
}

std::vector<Value*> Graph::Inline(const Graph& body, absl::Span<Value* const> arguments,
                                  const AttrMap& attrs, Node* before, absl::string_view prefix) {
  absl::flat_hash_map<const Value*, Value*> map;
  for (size_t i = 0; i < body.inputs_.size(); ++i) {
    map[body.inputs_[i]] = i < arguments.size() ? arguments[i] : nullptr;
  }
  for (const auto& v : body.values_) {
    if (v->is_initializer() && !v->is_input_)
      map[v.get()] = AddInitializer(absl::StrCat(prefix, v->name_), v->initializer_);
  }
  const auto mapped = [&](const Value* v) -> Value* {
    if (v == nullptr) return nullptr;
    const auto it = map.find(v);
    return it == map.end() ? nullptr : it->second;
  };
  for (const auto& n : body.nodes_) {
    NodeSpec spec;
    spec.op_type = n->op_type_;
    spec.domain = n->domain_;
    spec.name = n->name_.empty() ? "" : absl::StrCat(prefix, n->name_);
    spec.opset = n->opset_;
    const size_t own = n->inputs_.size() - static_cast<size_t>(n->captures_);
    for (size_t i = 0; i < n->inputs_.size(); ++i) {
      (i < own ? spec.inputs : spec.captures).push_back(mapped(n->inputs_[i]));
    }
    for (size_t i = 0; i < n->outputs_.size(); ++i) {
      if (n->outputs_[i] == nullptr) spec.omitted_outputs.push_back(static_cast<int>(i));
      spec.outputs.push_back(
          n->outputs_[i] == nullptr ? "" : absl::StrCat(prefix, n->outputs_[i]->name_));
    }
    for (const auto& [name, value] : n->attrs_) {
      const Attr* resolved = Resolve(value, attrs);
      if (resolved != nullptr) spec.attrs.emplace(name, ResolveInside(*resolved, attrs));
    }
    Node* copy = AddNode(std::move(spec), before);
    copy->overload_ = n->overload_;
    copy->metadata_ = n->metadata_;
    for (size_t i = 0; i < n->outputs_.size(); ++i) {
      if (n->outputs_[i] == nullptr) continue;
      map[n->outputs_[i]] = copy->outputs_[i];
      copy->outputs_[i]->type_ = n->outputs_[i]->type_;
    }
  }
  std::vector<Value*> outputs;
  for (const Value* v : body.outputs_) outputs.push_back(mapped(v));
  return outputs;
}

}  // namespace graphrun
