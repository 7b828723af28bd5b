// Graph, Node, Value: a computation graph in memory.
//
// A Graph owns its nodes and values; pointers to them stay valid until they are erased. Not
// thread-safe while edited.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/base/shape.h"
#include "runtime/base/tensor.h"
#include "runtime/ir/attr.h"

namespace graphrun {

class Graph;
class Node;
class Value;

inline constexpr char kGraphrunDomain[] = "ai.graphrun";  // our own operators; "" is ai.onnx

struct Use {
  Node* node;
  int index;  // which input of the node
  bool operator==(const Use& o) const { return node == o.node && index == o.index; }
};

// What flows along the edges: a graph input, an initializer, or one output of a node.
class Value {
 public:
  const std::string& name() const { return name_; }
  const Type& type() const { return type_; }
  void set_type(Type type) { type_ = std::move(type); }
  // Shorthands for tensors; undefined dtype and unknown rank for anything else.
  DType dtype() const { return type_.tensor.dtype; }
  const Shape& shape() const { return type_.tensor.shape; }

  Node* producer() const { return producer_; }  // null for graph inputs and initializers
  int producer_index() const { return producer_index_; }
  const std::vector<Use>& uses() const { return uses_; }
  bool is_graph_input() const { return is_input_; }
  int num_graph_outputs() const { return graph_outputs_; }  // times it is an output of the graph
  bool is_initializer() const { return initializer_.is_defined(); }
  // The tensor of an initializer: a constant, or the first value of a state (see Graph::states).
  const Tensor& initializer() const { return initializer_; }
  // A state is an initializer that a training step replaces; passes must not fold it.
  bool is_state() const { return is_state_; }
  // A value that is the same in every run: an initializer that is neither a state nor the default
  // of a graph input.
  bool is_constant() const { return is_initializer() && !is_state_ && !is_input_; }

 private:
  friend class Graph;
  std::string name_;
  Type type_;
  Node* producer_ = nullptr;
  int producer_index_ = 0;
  std::vector<Use> uses_;
  bool is_input_ = false;
  bool is_state_ = false;
  int graph_outputs_ = 0;
  Tensor initializer_;
  std::list<std::unique_ptr<Value>>::iterator self_;
};

using AttrMap = std::map<std::string, Attr>;

class Node {
 public:
  const std::string& name() const { return name_; }  // may be empty; not necessarily unique
  const std::string& domain() const { return domain_; }
  const std::string& op_type() const { return op_type_; }
  // Which of several functions of one name is called; empty for operators.
  const std::string& overload() const { return overload_; }
  void set_overload(std::string overload) { overload_ = std::move(overload); }
  // What tools noted about the node (metadata_props).
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  void set_metadata(std::map<std::string, std::string> m) { metadata_ = std::move(m); }
  // The version of the domain's operator set that gives the node its meaning.
  int opset() const { return opset_; }
  void set_opset(int opset) { opset_ = opset; }
  const std::string& doc() const { return doc_; }
  void set_doc(std::string doc) { doc_ = std::move(doc); }
  void set_name(std::string name) { name_ = std::move(name); }

  // Inputs; null where an optional one is left out. The last num_captures() are values of this
  // graph that the node's subgraphs read from the outer scope: each subgraph has, after its own
  // inputs, one input for each of them.
  const std::vector<Value*>& inputs() const { return inputs_; }
  Value* input(int i) const { return inputs_[static_cast<size_t>(i)]; }
  int num_inputs() const {
    return static_cast<int>(inputs_.size()) - captures_;
  }  // without captures
  int num_captures() const { return captures_; }
  // Outputs; null where an optional one is left out.
  const std::vector<Value*>& outputs() const { return outputs_; }
  Value* output(int i) const { return outputs_[static_cast<size_t>(i)]; }
  int num_outputs() const { return static_cast<int>(outputs_.size()); }
  // True where i is in range and not left out.
  bool has_input(int i) const {
    return i < num_inputs() && inputs_[static_cast<size_t>(i)] != nullptr;
  }
  bool has_output(int i) const {
    return i < num_outputs() && outputs_[static_cast<size_t>(i)] != nullptr;
  }

  const AttrMap& attrs() const { return attrs_; }
  const Attr* attr(absl::string_view name) const;  // null where it is not set
  void set_attr(absl::string_view name, Attr value) {
    attrs_.insert_or_assign(std::string(name), std::move(value));
  }
  void erase_attr(absl::string_view name) { attrs_.erase(std::string(name)); }

  Graph* graph() const { return graph_; }
  // "node \"fc1\" (Gemm)", with the first output's name where the node has none.
  std::string Describe() const;

 private:
  friend class Graph;
  std::string name_, domain_, op_type_, overload_, doc_;
  std::map<std::string, std::string> metadata_;
  int opset_ = 0;
  std::vector<Value*> inputs_, outputs_;
  int captures_ = 0;
  AttrMap attrs_;
  Graph* graph_ = nullptr;
  std::list<std::unique_ptr<Node>>::iterator self_;
};

// A function that a model brings along (FunctionProto): its body as a graph whose attributes may be
// Attr::Ref.
struct Function {
  std::string domain, name, overload;
  std::vector<std::string> attributes;  // without default
  AttrMap defaults;                     // attributes with a default
  std::shared_ptr<const Graph> body;
};

// A state's successor: after a run, `state` holds what `next` held (TrainingInfoProto's
// update_binding).
struct StateUpdate {
  Value* state;  // an initializer
  Value* next;   // same type and shape
};

class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  std::string name;
  std::string doc;
  // Versions of the operator sets that the model imports; domain "" is ai.onnx.
  std::map<std::string, int> opset_imports;
  std::map<std::string, std::string> metadata;  // the model's metadata_props
  std::string producer_name, producer_version;
  std::string model_domain;  // the model's name space
  int64_t model_version = 0;
  int64_t ir_version = 0;
  std::vector<Function> functions;

  // ---- values
  // Names are unique; an empty or taken name is made unique ("add", "add_1", ...).
  Value* AddInput(absl::string_view name, Type type);
  Value* AddInitializer(absl::string_view name, Tensor tensor);
  // Gives a graph input a default, which a run may replace.
  void SetInitializer(Value* input, Tensor tensor);
  // Makes an initializer a plain graph input again (drops its tensor).
  void ClearInitializer(Value* value);
  void AddOutput(Value* value);
  void SetOutput(int i, Value* value);
  void RemoveOutput(int i);
  void RemoveInput(Value* value);  // REQUIRES: unused
  // An initializer that is listed as an input as well is not any more.
  void HideInput(Value* initializer);
  Value* FindValue(absl::string_view name) const;  // null where there is none
  void Rename(Value* value, absl::string_view name);
  const std::vector<Value*>& inputs() const { return inputs_; }
  const std::vector<Value*>& outputs() const { return outputs_; }
  // In order of creation.
  std::vector<Value*> initializers() const;
  const std::list<std::unique_ptr<Value>>& values() const { return values_; }

  // ---- states
  // Marks an initializer as a state whose next value is `next` (null: a state that the host sets
  // between runs).
  void AddState(Value* initializer, Value* next);
  const std::vector<StateUpdate>& states() const { return states_; }
  // Gives a state another successor.
  void SetNext(Value* state, Value* next);
  // Makes a state a plain initializer again.
  void ClearState(Value* state);

  // ---- nodes
  struct NodeSpec {
    std::string op_type;
    std::string domain;
    std::vector<Value*> inputs;        // null: left out
    std::vector<std::string> outputs;  // names; "" makes one up; see omitted_outputs
    AttrMap attrs;
    std::string name;
    int opset = 0;
    std::vector<Value*> captures;
    std::vector<int> omitted_outputs;  // indices of outputs that are left out
  };
  // Appends a node, or inserts it in front of `before`.
  Node* AddNode(NodeSpec spec, Node* before = nullptr);
  // Nodes in a list order that passes may rely on being topological after Sort().
  const std::list<std::unique_ptr<Node>>& nodes() const { return nodes_; }
  size_t num_nodes() const { return nodes_.size(); }
  // Where a node stands in nodes().
  std::list<std::unique_ptr<Node>>::const_iterator Position(const Node* node) const {
    return node->self_;
  }
  void SetInput(Node* node, int index, Value* value);
  void AppendInput(Node* node, Value* value);
  void RemoveTrailingOmittedInputs(Node* node);
  void OmitOutput(Node* node, int index);  // REQUIRES: unused
  // All uses of `from`, graph outputs and state updates included, become uses of `to`.
  void ReplaceAllUses(Value* from, Value* to);
  // Erases a node and its outputs. REQUIRES: outputs unused.
  void Erase(Node* node);
  // Erases an initializer without use.
  void EraseInitializer(Value* value);
  // Puts the list in topological order, stable. An error of kind kModel names the nodes of a cycle.
  absl::Status Sort();

  // True where nothing reads `value`: no node, graph output or state.
  bool IsUnused(const Value* value) const;
  // A name of that stem which no value has yet.
  std::string UniqueName(absl::string_view stem) const;

  // A deep copy (tensors shared). `map`, if given, receives old value -> new value.
  std::unique_ptr<Graph> Clone(absl::flat_hash_map<const Value*, Value*>* map = nullptr) const;
  // Copies the nodes of `body` into this graph in front of `before` (null: at the end), its inputs
  // replaced by `arguments` (null: left out) and attribute references by `attrs`. Returns what its
  // outputs became.
  std::vector<Value*> Inline(const Graph& body, absl::Span<Value* const> arguments,
                             const AttrMap& attrs, Node* before, absl::string_view prefix);

 private:
  Value* NewValue(absl::string_view name, Type type);
  void EraseValue(Value* value);
  void RemoveUse(Value* value, Node* node, int index);

  std::list<std::unique_ptr<Value>> values_;
  std::list<std::unique_ptr<Node>> nodes_;
  std::vector<Value*> inputs_, outputs_;
  std::vector<StateUpdate> states_;
  absl::flat_hash_map<std::string, Value*> by_name_;
  mutable absl::flat_hash_map<std::string, int> name_counter_;
};

}  // namespace graphrun
