#include "runtime/passes/mixed_precision.h"

#include <algorithm>

#include "runtime/op/expr.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

constexpr char kCopyOf[] = "graphrun.copy_of:";  // + a state's name, in the graph's metadata

bool IsF32(const Value* v) {
  return v != nullptr && v->type().is_tensor() && v->dtype() == DType::kFloat32;
}

bool IsConcrete(const Value* v) { return v->type().is_tensor() && v->shape().is_concrete(); }

// Which nodes compute in bf16.
class Decision {
 public:
  Decision(const Graph& graph, const OpRegistry& registry, const MixedPolicy& policy)
      : policy_(policy) {
    for (const auto& node : graph.nodes()) {
      const OpDef* def = registry.Find(*node);
      if (def != nullptr && Wanted(*node, *def)) Take(*node, *def);
    }
    for (auto it = graph.nodes().rbegin(); it != graph.nodes().rend(); ++it) {
      const Node* node = it->get();
      const auto at = nodes_.find(node);
      if (at == nodes_.end() || policy_.Of(*at->second) != MixedPrecision::kFollow) continue;
      if (!AnybodyGains(*node)) Drop(*node);
    }
  }

  bool Has(const Node* node) const { return nodes_.contains(node); }
  bool empty() const { return nodes_.empty(); }

 private:
  bool Wanted(const Node& node, const OpDef& def) const {
    const MixedPrecision how = policy_.Of(def);
    if (how == MixedPrecision::kFull || node.num_captures() > 0) return false;
    if (!policy_.Serves(node, def)) return false;
    bool arrives = false;
    for (int i = 0; i < node.num_inputs(); ++i) {
      const Value* in = node.input(i);
      if (in == nullptr) continue;
      if (!IsConcrete(in)) return false;
      if (!IsFloat(in->dtype()) || !policy_.Shrinks(def, i)) continue;
      if (!IsF32(in)) return false;
      arrives |= smaller_.contains(in);
    }
    for (const Value* out : node.outputs()) {
      if (out != nullptr && !IsConcrete(out)) return false;
    }
    return how == MixedPrecision::kCompute ? IsF32(node.input(0)) : arrives;
  }

  // Outputs of the type variables that the smaller inputs have.
  void Take(const Node& node, const OpDef& def) {
    nodes_.emplace(&node, &def);
    for (int o = 0; o < node.num_outputs(); ++o) {
      if (!IsF32(node.output(o))) continue;
      const OpDef::Argument* out = def.OutputArgument(o);
      for (int i = 0; i < node.num_inputs(); ++i) {
        const OpDef::Argument* in = def.InputArgument(i);
        if (IsF32(node.input(i)) && policy_.Shrinks(def, i) && in->type == out->type) {
          smaller_.insert(node.output(o));
          break;
        }
      }
    }
  }

  void Drop(const Node& node) {
    nodes_.erase(&node);
    for (const Value* out : node.outputs()) smaller_.erase(out);
  }

  // True where some node takes a result as it is; where no result gets smaller, reading does gain.
  bool AnybodyGains(const Node& node) const {
    bool any = false;
    for (const Value* out : node.outputs()) {
      if (out == nullptr || !smaller_.contains(out)) continue;
      any = true;
      for (const Use& use : out->uses()) {
        const auto at = nodes_.find(use.node);
        if (at != nodes_.end() && policy_.Shrinks(*at->second, use.index)) return true;
      }
    }
    if (any) return false;
    return std::any_of(node.inputs().begin(), node.inputs().end(),
                       [&](const Value* in) { return smaller_.contains(in); });
  }

  const MixedPolicy& policy_;
  absl::flat_hash_map<const Node*, const OpDef*> nodes_;
  absl::flat_hash_set<const Value*> smaller_;
};

class Conversion {
 public:
  Conversion(Graph* graph, const OpRegistry* registry, const MixedPolicy* policy)
      : graph_(*graph), registry_(*registry), policy_(*policy) {}

  // `v` in bf16, for nodes from `before` on.
  absl::StatusOr<Value*> Small(Value* v, Node* before) {
    Value*& small = small_[v];
    if (small != nullptr) return small;
    const bool state = v->is_state() && !v->is_graph_input();
    if (v->is_constant() || state) {
      GR_ASSIGN_OR_RETURN(Tensor rounded, Rounded(v->initializer()));
      small = graph_.AddInitializer(absl::StrCat(v->name(), "/bf16"), std::move(rounded));
      if (state) copied_.push_back(v);
      return small;
    }
    GR_ASSIGN_OR_RETURN(small, AddCast(v, DType::kBFloat16, before));
    return small;
  }

  // A value that this pass made bf16, in f32.
  absl::StatusOr<Value*> Full(Value* v, Node* before) {
    Value*& full = full_[v];
    if (full == nullptr) {
      GR_ASSIGN_OR_RETURN(full, AddCast(v, DType::kFloat32, before));
    }
    return full;
  }

  absl::Status Convert(Node* node, bool smaller) {
    const OpDef* def = registry_.Find(*node);
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      Value* in = node->inputs()[i];
      if (in == nullptr) continue;
      const int index = static_cast<int>(i);
      if (def != nullptr && policy_.IsSizesOnly(*def, index)) continue;
      const bool want = smaller && index < node->num_inputs() && policy_.Shrinks(*def, index);
      Value* now = in;
      if (want && IsF32(in)) {
        GR_ASSIGN_OR_RETURN(now, Small(in, node));
      } else if (!want && became_.contains(in)) {
        GR_ASSIGN_OR_RETURN(now, Full(in, node));
      }
      if (now == in) continue;
      graph_.SetInput(node, index, now);
    }
    if (!smaller) return absl::OkStatus();
    std::vector<DType> before;
    for (Value* out : node->outputs())
      before.push_back(out == nullptr ? DType::kUndefined : out->dtype());
    for (Value* out : node->outputs()) {
      if (out != nullptr) out->set_type(Type());
    }
    GR_RETURN_IF_ERROR(InferNode(*node, registry_, nullptr));
    for (size_t o = 0; o < before.size(); ++o) {
      Value* out = node->outputs()[o];
      if (out != nullptr && before[o] != out->dtype()) became_.insert(out);
    }
    return absl::OkStatus();
  }

  // Makes states of the rounded copies, each with its state's successor rounded.
  absl::Status AddCopies() {
    for (Value* state : copied_) {
      Value *copy = small_.at(state), *next = nullptr;
      for (const StateUpdate& s : graph_.states()) {
        if (s.state == state && s.next != state) next = s.next;
      }
      if (next != nullptr) {
        GR_ASSIGN_OR_RETURN(next, AddCast(next, DType::kBFloat16, nullptr));
      }
      graph_.AddState(copy, next);
      graph_.metadata[absl::StrCat(kCopyOf, copy->name())] = state->name();
    }
    return absl::OkStatus();
  }

  // What leaves the graph is f32 as before.
  absl::Status RestoreSinks() {
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      Value* v = graph_.outputs()[i];
      if (!became_.contains(v)) continue;
      const std::string name = v->name();
      graph_.Rename(v, absl::StrCat(name, "/bf16"));
      GR_ASSIGN_OR_RETURN(Value * full, Full(v, nullptr));
      graph_.Rename(full, name);
      graph_.SetOutput(static_cast<int>(i), full);
    }
    for (const StateUpdate& s : graph_.states()) {
      if (s.next == nullptr || !became_.contains(s.next)) continue;
      GR_ASSIGN_OR_RETURN(Value * full, Full(s.next, nullptr));
      graph_.SetNext(s.state, full);
    }
    return absl::OkStatus();
  }

 private:
  static absl::StatusOr<Tensor> Rounded(const Tensor& from) {
    GR_ASSIGN_OR_RETURN(Tensor to, Tensor::Allocate(DType::kBFloat16, from.dims()));
    const float* x = from.data<float>();
    std::transform(x, x + from.num_elements(), to.mutable_data<BFloat16>(),
                   [](float f) { return BFloat16(f); });
    return to;
  }

  absl::StatusOr<Value*> AddCast(Value* v, DType to, Node* before) {
    Builder builder(&graph_, &registry_, before);
    builder.Name(absl::StrCat(v->name(), to == DType::kFloat32 ? "/f32" : "/bf16"));
    Value* made = Cast(builder.Use(v), to).value();
    GR_RETURN_IF_ERROR(builder.status());
    return made;
  }

  Graph& graph_;
  const OpRegistry& registry_;
  const MixedPolicy& policy_;
  absl::flat_hash_map<const Value*, Value*> small_, full_;
  absl::flat_hash_set<const Value*> became_;
  std::vector<Value*> copied_;  // states with a rounded copy
};

}  // namespace

absl::StatusOr<DType> PrecisionFromName(absl::string_view name) {
  if (name == "f32" || name == "float32") return DType::kFloat32;
  if (name == "bf16" || name == "bfloat16") return DType::kBFloat16;
  return UsageError("precision is \"", name, "\" but must be f32 or bf16");
}

std::string PrecisionName(DType precision) {
  return precision == DType::kBFloat16 ? "bf16" : "f32";
}

absl::Status CheckPrecision(DType precision, const std::vector<CpuFeature>& features) {
  if (precision == DType::kFloat32) return absl::OkStatus();
  for (const CpuFeature& f : features) {
    if (absl::string_view(f.name) == "avx512bf16" && f.present) return absl::OkStatus();
  }
  return UsageError("precision bf16 needs a processor with AVX-512 BF16 or AMX, which ", CpuName(),
                    " is not. Use f32");
}

MixedPolicy& MixedPolicy::Set(std::string op_type, MixedPrecision how, std::vector<int> full_inputs,
                              std::string domain) {
  Rule& rule = rules_[{std::move(domain), std::move(op_type)}];
  rule.how = how;
  rule.full_inputs = std::move(full_inputs);
  return *this;
}

MixedPolicy& MixedPolicy::SizesOnly(std::string op_type, int input, std::string domain) {
  rules_[{std::move(domain), std::move(op_type)}].sizes_input = input;
  return *this;
}

MixedPolicy& MixedPolicy::Where(std::string op_type,
                                std::function<bool(const Node&, const OpDef&)> serves,
                                std::string domain) {
  rules_[{std::move(domain), std::move(op_type)}].serves = std::move(serves);
  return *this;
}

bool MixedPolicy::Serves(const Node& node, const OpDef& def) const {
  const auto it = rules_.find({def.domain(), def.name()});
  return it == rules_.end() || it->second.serves == nullptr || it->second.serves(node, def);
}

bool MixedPolicy::IsSizesOnly(const OpDef& def, int input) const {
  const auto it = rules_.find({def.domain(), def.name()});
  return it != rules_.end() && it->second.sizes_input == input;
}

MixedPrecision MixedPolicy::Of(const OpDef& def) const {
  const auto it = rules_.find({def.domain(), def.name()});
  if (it != rules_.end()) return it->second.how;
  const bool follows = def.pointwise().block != nullptr || def.is_view();
  return follows ? MixedPrecision::kFollow : MixedPrecision::kFull;
}

bool MixedPolicy::Shrinks(const OpDef& def, int input) const {
  const auto it = rules_.find({def.domain(), def.name()});
  if (it != rules_.end()) {
    if (it->second.sizes_input == input) return false;
    const std::vector<int>& full = it->second.full_inputs;
    if (std::find(full.begin(), full.end(), input) != full.end()) return false;
  }
  const OpDef::Argument* argument = def.InputArgument(input);
  return argument != nullptr &&
         std::any_of(def.types().begin(), def.types().end(),
                     [&](const auto& variable) { return variable.first == argument->type; });
}

absl::StatusOr<bool> MixPrecision(Graph& graph, const OpRegistry& registry,
                                  const MixedPolicy& policy) {
  GR_RETURN_IF_ERROR(graph.Sort());
  const Decision decision(graph, registry, policy);
  if (decision.empty()) return false;
  std::vector<Node*> nodes;
  for (const auto& node : graph.nodes()) nodes.push_back(node.get());
  Conversion conversion(&graph, &registry, &policy);
  for (Node* node : nodes) GR_RETURN_IF_ERROR(conversion.Convert(node, decision.Has(node)));
  GR_RETURN_IF_ERROR(conversion.RestoreSinks());
  GR_RETURN_IF_ERROR(conversion.AddCopies());
  GR_RETURN_IF_ERROR(graph.Sort());
  return true;
}

std::map<std::string, std::string> CopiedStates(const Graph& graph) {
  std::map<std::string, std::string> copies;
  const std::string prefix = kCopyOf;
  for (const auto& [key, value] : graph.metadata) {
    if (key.compare(0, prefix.size(), prefix) == 0) copies[key.substr(prefix.size())] = value;
  }
  return copies;
}

}  // namespace graphrun
