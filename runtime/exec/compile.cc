// Graph to ExecutionPlan: specialisation, passes, kernel choice with layouts, in-place and memory
// planning.
#include <algorithm>
#include <cstring>

#include "absl/strings/str_join.h"
#include "runtime/autodiff/gradient_nodes.h"
#include "runtime/base/limits.h"
#include "runtime/base/parallel.h"
#include "runtime/exec/assign_memory.h"
#include "runtime/exec/choose_kernel.h"
#include "runtime/exec/forget_states.h"
#include "runtime/exec/plan.h"
#include "runtime/exec/state_store.h"
#include "runtime/exec/subgraph.h"
#include "runtime/op/infer.h"
#include "runtime/op/inline_bodies.h"
#include "runtime/passes/mixed_precision.h"
#include "runtime/passes/pass.h"

namespace graphrun {

using Home = ExecutionPlan::Home;
using Slot = ExecutionPlan::Slot;
using Step = ExecutionPlan::Step;

class PlanCompiler {
 public:
  // `inputs`: the graph's inputs in the caller's order, null for one that takes its default.
  PlanCompiler(ExecutionPlan* plan, const OpRegistry& registry, const CompileOptions& options,
               std::vector<Value*> inputs)
      : plan_(*plan),
        graph_(*plan->graph_),
        registry_(registry),
        options_(options),
        inputs_(std::move(inputs)),
        copies_of_states_(CopiedStates(*plan->graph_)) {}

  absl::Status Run() {
    AddSources();
    BodyInliner inliner;
    Node* previous = nullptr;
    auto next = [&] {
      return previous == nullptr ? graph_.nodes().begin() : std::next(graph_.Position(previous));
    };
    for (auto it = next(); it != graph_.nodes().end(); it = next()) {
      Node* node = it->get();
      GR_ASSIGN_OR_RETURN(const bool done, AddNode(node));
      if (done) {
        previous = node;
        continue;
      }
      // No kernel takes it: its body does, in its place.
      GR_RETURN_IF_ERROR(inliner.Inline(graph_, node, registry_));
      const auto first = next();
      Node* before = nullptr;
      for (auto n = first; n != graph_.nodes().end(); ++n) {
        if (n->get()->output(0) != nullptr && !IsFresh(n->get())) {
          before = n->get();
          break;
        }
      }
      GR_RETURN_IF_ERROR(SpecializeBetween(graph_, registry_, previous, before));
    }
    GR_RETURN_IF_ERROR(AddSinks());
    AssignMemory(&plan_, in_place_, shape_only_);
    return absl::OkStatus();
  }

 private:
  class Prepare;

  // ---- sources

  void AddSources() {
    for (const auto& node : graph_.nodes()) original_.insert(node.get());
    for (size_t i = 0; i < inputs_.size(); ++i) {
      int slot = -1;
      if (inputs_[i] != nullptr) {
        slot = NewSlot(inputs_[i], inputs_[i]->type(), Layout(), Home::kInput, static_cast<int>(i));
        native_[inputs_[i]] = slot;
      }
      plan_.input_slots_.push_back(slot);
    }
    for (const StateUpdate& s : graph_.states()) {
      ExecutionPlan::State state{s.state->name(), s.state->initializer(), Layout::Undecided(), -1,
                                 ""};
      const auto fixed = options_.state_layouts.find(state.name);
      if (fixed != options_.state_layouts.end()) state.layout = fixed->second;
      const auto copy = copies_of_states_.find(state.name);
      if (copy != copies_of_states_.end()) state.copy_of = copy->second;
      state.slot = NewSlot(s.state, s.state->type(), state.layout, Home::kState,
                           static_cast<int>(plan_.states_.size()));
      native_[s.state] = state.slot;
      state_of_[s.state] = static_cast<int>(plan_.states_.size());
      plan_.states_.push_back(std::move(state));
    }
  }

  // True for a node that was made since compilation began.
  bool IsFresh(const Node* node) const { return !original_.contains(node); }

  int NewSlot(const Value* v, const Type& type, Layout layout, Home home, int index) {
    ExecutionPlan::Buffer buffer;
    buffer.home = home;
    buffer.index = index;
    Slot slot{v->name(), type, std::move(layout), static_cast<int>(plan_.buffers_.size())};
    plan_.buffers_.push_back(buffer);
    plan_.slots_.push_back(std::move(slot));
    return static_cast<int>(plan_.slots_.size()) - 1;
  }

  Layout LayoutOf(const Value* v) const {
    if (v->is_constant()) return Layout::Undecided();
    return plan_.slots_[static_cast<size_t>(native_.at(v))].layout;
  }

  // The slot that holds `v` in `layout`; adds a reorder where there is none yet.
  absl::StatusOr<int> SlotIn(const Value* v, Layout layout, absl::string_view who) {
    if (layout.is_undecided()) layout = Layout();
    for (const auto& [have, slot] : copies_[v]) {
      if (have == layout) return slot;
    }
    if (v->is_constant()) {
      Tensor packed = v->initializer();
      const Dims dims = packed.dims();
      if (!layout.is_row_major()) {
        GR_ASSIGN_OR_RETURN(
            Tensor memory,
            Tensor::Allocate(DType::kUInt8, {layout.ByteSize(packed.dtype(), dims)}));
        GR_RETURN_IF_ERROR(CopyLayout(registry_, packed.dtype(), dims, packed.raw(), Layout(),
                                      memory.mutable_raw(), layout));
        packed = Tensor::View(packed.dtype(), dims, memory.mutable_raw(), memory.owner());
      }
      const int slot =
          NewSlot(v, v->type(), layout, Home::kConstant, static_cast<int>(plan_.constants_.size()));
      plan_.constants_.push_back(std::move(packed));
      copies_[v].emplace_back(layout, slot);
      return slot;
    }
    const auto native = native_.find(v);
    if (native == native_.end())
      return InternalError("\"", v->name(), "\", which ", who, " reads, is made by no step");
    const int have = native->second;
    Slot& source = plan_.slots_[static_cast<size_t>(have)];
    if (source.layout.is_undecided()) {
      source.layout = layout;
      plan_.states_[static_cast<size_t>(state_of_.at(v))].layout = layout;
    }
    if (source.layout == layout || !v->type().is_tensor() || IsDynamic(have)) return have;
    const Dims dims = v->shape().ToDims();
    Step step;
    const int rank = static_cast<int>(dims.size());
    step.label = v->name();
    step.op = "reorder";
    step.kernel = "reorder";
    step.why = absl::StrCat(who, " wants ", layout.ToString(rank), ", \"", v->name(), "\" is ",
                            source.layout.ToString(rank));
    if (!registry_.reorder())
      return InternalError("no reorder between layouts is registered: ", step.why);
    auto kernel = registry_.reorder()(v->dtype(), dims, source.layout, layout);
    if (!kernel.ok()) return Annotate(kernel.status(), step.why);
    step.run = *std::move(kernel);
    step.inputs = {have};
    const int slot = NewSlot(v, v->type(), layout, Home::kArena, 0);
    step.outputs = {slot};
    AddStep(std::move(step), {});
    copies_[v].emplace_back(layout, slot);
    return slot;
  }

  // The layouts in which `v` is there without another reorder; none where its reader may choose.
  std::vector<Layout> LayoutsAtHand(const Value* v) const {
    const Layout own = LayoutOf(v);
    if (own.is_undecided()) return {};
    std::vector<Layout> layouts = {own};
    const auto copies = copies_.find(v);
    if (copies == copies_.end()) return layouts;
    for (const auto& [layout, slot] : copies->second) layouts.push_back(layout);
    return layouts;
  }

  bool IsDynamic(int slot) const {
    return plan_.buffers_[static_cast<size_t>(plan_.slots_[static_cast<size_t>(slot)].buffer)]
               .home == Home::kDynamic;
  }

  void AddStep(Step step, std::vector<std::pair<int, int>> in_place) {
    plan_.steps_.push_back(std::move(step));
    in_place_.push_back(std::move(in_place));
    shape_only_.emplace_back();
  }

  // ---- one node

  // False: no kernel takes the node and it has a body.
  absl::StatusOr<bool> AddNode(Node* node);
  absl::StatusOr<bool> AddView(Node* node, bool* added);
  void AddOutputs(Node* node, const PrepareContext* prepared, Step* step);

  // ---- sinks

  absl::Status AddSinks() {
    for (size_t i = 0; i < graph_.outputs().size(); ++i) {
      const Value* v = graph_.outputs()[i];
      GR_ASSIGN_OR_RETURN(const int slot, SlotIn(v, Layout(), "the graph's output"));
      plan_.output_slots_.push_back(slot);
      auto& buffer = BufferOf(slot);
      if (buffer.home == Home::kArena) {
        buffer.home = Home::kOutput;
        buffer.index = static_cast<int>(i);
      }
    }
    for (size_t k = 0; k < graph_.states().size(); ++k) {
      const StateUpdate& update = graph_.states()[k];
      ExecutionPlan::State& state = plan_.states_[k];
      Slot& own = plan_.slots_[static_cast<size_t>(state.slot)];
      if (state.layout.is_undecided()) {
        state.layout = Layout();
        own.layout = Layout();
      }
      if (update.next == nullptr || update.next == update.state) continue;
      GR_ASSIGN_OR_RETURN(int slot, SlotIn(update.next, state.layout, "the state"));
      if (BufferOf(slot).home == Home::kState) slot = AddCopy(update.next, slot);
      plan_.state_copies_.push_back({slot, static_cast<int>(k)});
    }
    return absl::OkStatus();
  }

  // A step that copies a state's old value, which another state takes, before the state changes.
  int AddCopy(const Value* v, int source) {
    const Slot from = plan_.slots_[static_cast<size_t>(source)];
    const auto bytes = static_cast<size_t>(SlotBytes(from));
    const int slot = NewSlot(v, from.type, from.layout, Home::kArena, 0);
    Step step;
    step.label = v->name();
    step.op = "copy";
    step.kernel = "copy";
    step.inputs = {source};
    step.outputs = {slot};
    step.run = MakeKernel([bytes](RunContext& r) {
      if (bytes > 0) std::memcpy(r.output(0).mutable_raw(), r.input(0).raw(), bytes);
      return absl::OkStatus();
    });
    AddStep(std::move(step), {});
    return slot;
  }

  // ---- memory

  ExecutionPlan::Buffer& BufferOf(int slot) {
    return plan_.buffers_[static_cast<size_t>(plan_.slots_[static_cast<size_t>(slot)].buffer)];
  }

  ExecutionPlan& plan_;
  Graph& graph_;
  const OpRegistry& registry_;
  const CompileOptions& options_;
  std::vector<Value*> inputs_;
  std::map<std::string, std::string> copies_of_states_;
  absl::flat_hash_map<const Value*, int> native_;  // the slot in the layout that its producer makes
  absl::flat_hash_map<const Value*, std::vector<std::pair<Layout, int>>> copies_;
  absl::flat_hash_map<const Value*, int> state_of_;
  absl::flat_hash_set<const Node*> original_;
  std::vector<std::vector<std::pair<int, int>>> in_place_;  // by step
  std::vector<std::vector<int>> shape_only_;                // by step
};

class PlanCompiler::Prepare : public PrepareContext {
 public:
  Prepare(const PlanCompiler& compiler, const Node& node, const OpDef& def)
      : PrepareContext(node, def), compiler_(compiler) {}
  const Tensor* constant(int i) const override {
    if (!has_input(i) || !node().input(i)->is_constant()) return nullptr;
    return &node().input(i)->initializer();
  }
  Layout input_layout(int i) const override { return compiler_.LayoutOf(node().input(i)); }
  int threads() const override { return compiler_.plan_.threads_; }
  absl::StatusOr<std::unique_ptr<SubgraphRunner>> Subgraph(absl::string_view name) override {
    const Attr::GraphPtr graph = GraphAttr(name);
    if (graph == nullptr) return Error("attribute ", name, " must be a graph");
    constexpr size_t kTunedSizes = 4;  // a value that grows in a loop has others in each pass
    SessionOptions options;
    options.optimize = compiler_.options_.optimize;
    options.threads = compiler_.plan_.threads_;
    options.tuner = compiler_.options_.tuner;
    options.max_tuned_plans = kTunedSizes;
    return MakeSubgraphRunner(graph, &compiler_.registry_, options);
  }

 private:
  const PlanCompiler& compiler_;
};

absl::StatusOr<bool> PlanCompiler::AddView(Node* node, bool* added) {
  *added = false;
  const Value* in = node->input(0);
  const Value* out = node->output(0);
  // Strings own their memory.
  if (in->is_constant() || !in->type().is_tensor() || in->dtype() == DType::kString ||
      !out->shape().is_concrete() || !in->shape().is_concrete()) {
    return false;
  }
  GR_ASSIGN_OR_RETURN(const int slot, SlotIn(in, Layout(), node->Describe()));
  if (IsDynamic(slot)) return false;
  Slot view{out->name(), out->type(), Layout(), plan_.slots_[static_cast<size_t>(slot)].buffer};
  plan_.slots_.push_back(std::move(view));
  native_[out] = static_cast<int>(plan_.slots_.size()) - 1;
  *added = true;
  return true;
}

void PlanCompiler::AddOutputs(Node* node, const PrepareContext* prepared, Step* step) {
  for (int o = 0; o < node->num_outputs(); ++o) {
    if (!node->has_output(o)) {
      step->outputs.push_back(-1);
      continue;
    }
    const Value* v = node->output(o);
    const bool fixed = prepared != nullptr && v->type().is_tensor() && v->shape().is_concrete();
    const int slot = NewSlot(v, v->type(), fixed ? prepared->made(o) : Layout(),
                             fixed ? Home::kArena : Home::kDynamic, 0);
    native_[v] = slot;
    step->outputs.push_back(slot);
  }
}

absl::StatusOr<bool> PlanCompiler::AddNode(Node* node) {
  GR_ASSIGN_OR_RETURN(const OpDef* def, registry_.Resolve(*node));
  bool late = false;
  for (const Value* in : node->inputs()) {
    late |= in != nullptr &&
            (!in->type().is_known() || (in->type().is_tensor() && !in->shape().is_concrete()));
  }
  if (def->is_view() && !late) {
    bool added;
    GR_RETURN_IF_ERROR(AddView(node, &added).status());
    if (added) return true;
  }
  Step step;
  step.label = node->name().empty() && node->has_output(0) ? node->output(0)->name() : node->name();
  step.op =
      node->domain().empty() ? node->op_type() : absl::StrCat(node->domain(), ".", node->op_type());
  step.node = node;
  if (late) {
    step.kernel = "late";
    for (const Value* in : node->inputs()) {
      if (in == nullptr) {
        step.inputs.push_back(-1);
        continue;
      }
      GR_ASSIGN_OR_RETURN(const int slot, SlotIn(in, Layout(), node->Describe()));
      step.inputs.push_back(slot);
    }
    AddOutputs(node, nullptr, &step);
    AddStep(std::move(step), {});
    return true;
  }
  step.multiply_adds = def->multiply_adds(*node);
  GR_ASSIGN_OR_RETURN(ChosenKernel chosen,
                      ChooseKernel(
                          *node, *def, registry_, options_.tuner.get(), plan_.threads_,
                          [&] { return std::make_unique<Prepare>(*this, *node, *def); },
                          [&](const Value* v) { return LayoutsAtHand(v); }));
  if (chosen.candidate.kernel != nullptr) {
    const PrepareContext& prepare = *chosen.candidate.prepare;
    std::vector<int> shape_only;
    for (size_t i = 0; i < node->inputs().size(); ++i) {
      const Value* in = node->inputs()[i];
      const int index = static_cast<int>(i);
      if (in == nullptr) {
        step.inputs.push_back(-1);
        continue;
      }
      if (def->is_shape_only(index)) {
        shape_only.push_back(index);
        if (!in->is_constant()) {
          step.inputs.push_back(native_.at(in));
          continue;
        }
      }
      const Layout wanted = index < node->num_inputs() ? prepare.wanted(index) : Layout();
      GR_ASSIGN_OR_RETURN(const int slot, SlotIn(in, wanted, node->Describe()));
      step.inputs.push_back(slot);
    }
    AddOutputs(node, &prepare, &step);
    step.kernel = chosen.candidate.name;
    step.info = chosen.candidate.kernel->info();
    step.times = std::move(chosen.times);
    step.run = std::move(chosen.candidate.kernel);
    step.scratch_bytes = prepare.scratch_bytes();
    AddStep(std::move(step), def->in_place(*node));
    shape_only_.back() = std::move(shape_only);
    return true;
  }
  if (def->body()) return false;
  std::vector<std::string> types;
  for (const Value* in : node->inputs())
    types.push_back(in == nullptr ? "-" : in->type().ToString());
  return ModelError(node->Describe(), ": no kernel of ", def->Describe(), " takes ",
                    absl::StrJoin(types, ", "));
}

// Nodes that ask for derivatives give way to the gradient graph, while all values still have their
// names.
static absl::Status ExpandDerivatives(Graph& graph, const OpRegistry& registry) {
  if (graph.opset_imports.count("ai.onnx.preview.training") == 0) return absl::OkStatus();
  GR_RETURN_IF_ERROR(InlineFunctions(graph, registry).status());
  GR_RETURN_IF_ERROR(graph.Sort());
  GR_RETURN_IF_ERROR(InferTypes(graph, registry));
  return ExpandGradientNodes(graph, registry).status();
}

// Whether every tensor could be allocated, so that later sums of bytes stay within 63 bits.
static absl::Status CheckSizes(const Graph& graph) {
  for (const auto& v : graph.values()) {
    if (!v->type().is_tensor() || !v->shape().is_concrete()) continue;
    const Dims dims = v->shape().ToDims();
    const auto count = NumElements(dims);
    if (!count.ok()) return Annotate(count.status(), absl::StrCat("\"", v->name(), "\""));
    if (*count > kMaxTensorBytes / std::max(DTypeSize(v->dtype()), 1)) {
      return LimitError("\"", v->name(), "\": a tensor ", v->type().ToString(),
                        " is larger than the limit of ", kMaxTensorBytes, " bytes");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const ExecutionPlan>> ExecutionPlan::Compile(
    const Graph& graph, const OpRegistry& registry, const std::vector<Type>& inputs,
    const CompileOptions& options) {
  std::shared_ptr<ExecutionPlan> plan(new ExecutionPlan());
  plan->registry_ = &registry;
  plan->threads_ = options.threads > 0 ? options.threads : NumThreads();
  plan->graph_ = graph.Clone();
  Graph& g = *plan->graph_;
  std::vector<Value*> fed = g.inputs();
  for (size_t i = 0; i < inputs.size(); ++i) {
    Value* v = fed[i];
    if (!inputs[i].is_known()) {
      if (!v->is_initializer())
        return ModelError("input \"", v->name(), "\" has no value and no default. Give one");
      g.HideInput(v);
      fed[i] = nullptr;
      continue;
    }
    if (v->is_initializer()) g.ClearInitializer(v);
    v->set_type(inputs[i]);
  }
  GR_RETURN_IF_ERROR(ExpandDerivatives(g, registry));
  SpecializeOptions specialize;
  specialize.keep_bytes = true;
  GR_RETURN_IF_ERROR(Specialize(g, registry, specialize).status());
  GR_RETURN_IF_ERROR(CheckSizes(g));
  PassPipeline pipeline = StandardPipeline(registry, options.optimize, options.precision);
  pipeline.Add({"recompute", [&](Graph& graph, const OpRegistry& ops) {
                  return RecomputeActivations(graph, ops, options.recompute);
                }});
  GR_RETURN_IF_ERROR(pipeline.Run(g, registry));
  GR_RETURN_IF_ERROR(g.Sort());
  GR_RETURN_IF_ERROR(PlanCompiler(plan.get(), registry, options, std::move(fed)).Run());
  // The session takes the first values of states from its graph.
  for (State& state : plan->states_) state.initial = Placeholder(state.initial);
  ForgetStateValues(g);
  return std::shared_ptr<const ExecutionPlan>(std::move(plan));
}

int64_t ExecutionPlan::constant_bytes() const {
  int64_t bytes = 0;
  for (const Slot& slot : slots_) {
    if (buffers_[static_cast<size_t>(slot.buffer)].home != Home::kConstant) continue;
    bytes += slot.layout.ByteSize(slot.type.tensor.dtype, slot.type.tensor.shape.ToDims());
  }
  return bytes;
}

}  // namespace graphrun
