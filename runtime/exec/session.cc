#include "runtime/exec/session.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstring>

#include "absl/strings/match.h"
#include "runtime/base/threads_scope.h"
#include "runtime/exec/forget_states.h"
#include "runtime/exec/late_node.h"
#include "runtime/op/team_kernel.h"
#include "runtime/passes/mixed_precision.h"

namespace graphrun {

using Home = ExecutionPlan::Home;

// One plan with the memory to run it in.
struct Session::Instance {
  std::vector<Type> key;
  std::shared_ptr<const ExecutionPlan> plan;
  Tensor arena;
  std::vector<Tensor> outputs;    // memory of graph outputs
  std::vector<Datum> data;        // by slot
  std::vector<Datum> copied;      // graph outputs that are inputs, constants or states
  std::vector<const Datum*> out;  // by graph output
  // Arguments of all steps in one row each.
  std::vector<const Datum*> in_pointers;
  std::vector<Datum*> out_pointers;
  struct Call {
    const Kernel* kernel;
    size_t in, num_in, out, num_out;
    void* scratch;
    // The kernel if it is a team kernel; then, at the first of several such steps, how many threads
    // are worth calling for them and the step after the last of them (else 0).
    const TeamKernel* team = nullptr;
    int threads = 1;
    size_t end = 0;
  };
  std::vector<Call> calls;
  // Slots that lie in the memory of a graph input (the input itself and its views), and which.
  std::vector<std::pair<size_t, size_t>> input_views;
  // States that a run replaces, and how many of their copies it replaces with them.
  std::vector<std::pair<const StateStore::Entry*, size_t>> updated;
  // Nodes whose sizes are known only at run time, each in a graph of its own.
  std::vector<std::unique_ptr<Graph>> late;
};

Session::Session(std::shared_ptr<const Graph> graph, const OpRegistry* registry,
                 SessionOptions options, std::shared_ptr<StateStore> states)
    : graph_(std::move(graph)),
      registry_(registry),
      options_(options),
      states_(std::move(states)) {}

Session::~Session() = default;

absl::StatusOr<std::unique_ptr<Session>> Session::Create(std::shared_ptr<const Graph> graph,
                                                         const OpRegistry* registry,
                                                         SessionOptions options,
                                                         std::shared_ptr<StateStore> states) {
  GR_RETURN_IF_ERROR(CheckPrecision(options.precision));
  if (states == nullptr) states = std::make_shared<StateStore>(registry);
  return std::unique_ptr<Session>(
      new Session(std::move(graph), registry, options, std::move(states)));
}

namespace {

// Puts the plan's states that the store lacks into it, and lets go of their first values.
absl::Status AddStates(const ExecutionPlan& plan, std::shared_ptr<const Graph>* graph,
                       StateStore* states) {
  bool added = false;
  for (const auto& state : plan.states()) {
    if (states->Find(state.name) != nullptr) continue;
    if (!state.copy_of.empty()) {
      GR_RETURN_IF_ERROR(
          states->AddCopy(state.name, state.copy_of, state.initial.dtype(), state.layout));
      continue;
    }
    const Value* v = (*graph)->FindValue(state.name);
    if (v == nullptr || !v->is_initializer())
      return InternalError("state \"", state.name, "\" of the plan is none of the graph");
    GR_RETURN_IF_ERROR(states->Add(state.name, v->initializer(), state.layout));
    added = true;
  }
  if (!added) return absl::OkStatus();
  std::shared_ptr<Graph> without = (*graph)->Clone();
  ForgetStateValues(*without);
  *graph = std::move(without);
#ifdef __GLIBC__
  malloc_trim(0);
#endif
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const ExecutionPlan>> Session::Prepare(
    const std::vector<Type>& inputs) {
  GR_ASSIGN_OR_RETURN(Instance * instance, InstanceFor(inputs));
  return instance->plan;
}

absl::StatusOr<Session::Instance*> Session::InstanceFor(std::vector<Type> types) {
  for (auto it = instances_.begin(); it != instances_.end(); ++it) {
    if ((*it)->key != types) continue;
    instances_.splice(instances_.begin(), instances_, it);
    return instances_.front().get();
  }
  CompileOptions options;
  options.optimize = options_.optimize;
  options.threads = options_.threads;
  options.precision = options_.precision;
  options.recompute = options_.recompute;
  if (tuned_plans_ < options_.max_tuned_plans) options.tuner = options_.tuner;
  options.state_layouts = states_->Layouts();
  auto instance = std::make_unique<Instance>();
  GR_ASSIGN_OR_RETURN(instance->plan, ExecutionPlan::Compile(*graph_, *registry_, types, options));
  if (options.tuner != nullptr) {
    ++tuned_plans_;
    GR_RETURN_IF_ERROR(options.tuner->Save());
  }
  instance->key = std::move(types);
  const ExecutionPlan& plan = *instance->plan;
  GR_RETURN_IF_ERROR(AddStates(plan, &graph_, states_.get()));
  for (const StateUpdate& s : plan.graph().states()) {
    if (s.next == nullptr || s.next == s.state) continue;
    size_t held = 0;
    for (const auto& state : plan.states()) held += state.copy_of == s.state->name() ? 1 : 0;
    instance->updated.emplace_back(states_->Find(s.state->name()), held);
  }
  GR_ASSIGN_OR_RETURN(instance->arena, Tensor::Allocate(DType::kUInt8, {plan.arena_bytes()}));
  absl::flat_hash_map<int, Tensor> output_memory;
  char* arena = static_cast<char*>(instance->arena.mutable_raw());
  instance->data.resize(plan.slots().size());
  for (size_t s = 0; s < plan.slots().size(); ++s) {
    const auto& slot = plan.slots()[s];
    const auto& buffer = plan.buffers()[static_cast<size_t>(slot.buffer)];
    if (!slot.type.is_tensor() || !slot.type.tensor.shape.is_concrete()) continue;
    void* memory = nullptr;
    switch (buffer.home) {
      case Home::kArena:
        memory = arena + buffer.offset;
        break;
      case Home::kInput:
        break;
      case Home::kConstant:
        instance->data[s] = Datum(plan.constants()[static_cast<size_t>(buffer.index)]);
        continue;
      case Home::kState: {
        const auto* entry = states_->Find(plan.states()[static_cast<size_t>(buffer.index)].name);
        memory = const_cast<void*>(entry->memory.raw());
        break;
      }
      case Home::kOutput: {
        Tensor& own = output_memory[slot.buffer];
        if (!own.is_defined()) {
          GR_ASSIGN_OR_RETURN(own, Tensor::Allocate(DType::kUInt8, {buffer.bytes}));
          instance->outputs.push_back(own);
        }
        memory = own.mutable_raw();
        break;
      }
      case Home::kDynamic:
        continue;
    }
    if (buffer.home == Home::kInput) {
      instance->input_views.emplace_back(s, static_cast<size_t>(buffer.index));
    }
    const auto& type = slot.type.tensor;
    if (type.dtype == DType::kString && buffer.home != Home::kInput) {
      instance->data[s] =
          Datum(Tensor(type.dtype, type.shape.ToDims()));  // strings own their memory
      continue;
    }
    instance->data[s] = Datum(Tensor::View(type.dtype, type.shape.ToDims(), memory));
  }
  for (const auto& step : plan.steps()) {
    Instance::Call call{step.run.get(),
                        instance->in_pointers.size(),
                        step.inputs.size(),
                        instance->out_pointers.size(),
                        step.outputs.size(),
                        arena + step.scratch_offset,
                        dynamic_cast<const TeamKernel*>(step.run.get())};
    for (const int slot : step.inputs) {
      instance->in_pointers.push_back(slot < 0 ? nullptr
                                               : &instance->data[static_cast<size_t>(slot)]);
    }
    for (const int slot : step.outputs) {
      instance->out_pointers.push_back(slot < 0 ? nullptr
                                                : &instance->data[static_cast<size_t>(slot)]);
    }
    instance->late.push_back(step.run == nullptr ? LateGraph(*step.node) : nullptr);
    instance->calls.push_back(call);
  }
  auto& calls = instance->calls;
  for (size_t s = 0; s < calls.size();) {
    size_t end = s;
    int threads = 1;
    for (; end < calls.size() && calls[end].team != nullptr; ++end)
      threads = std::max(threads, calls[end].team->threads());
    if (end > s + 1) {
      calls[s].threads = threads;
      calls[s].end = end;
    }
    s = std::max(end, s + 1);
  }
  instance->copied.resize(plan.output_slots().size());
  for (size_t i = 0; i < plan.output_slots().size(); ++i) {
    const auto slot = static_cast<size_t>(plan.output_slots()[i]);
    const Home home = plan.buffers()[static_cast<size_t>(plan.slots()[slot].buffer)].home;
    const bool own = home == Home::kOutput || home == Home::kDynamic;
    instance->out.push_back(own ? &instance->data[slot] : &instance->copied[i]);
  }
  instances_.push_front(std::move(instance));
  while (instances_.size() > options_.max_plans) instances_.pop_back();
  return instances_.front().get();
}

absl::Status Session::RunInstance(Instance& instance, absl::Span<const Datum> inputs) {
  const ExecutionPlan& plan = *instance.plan;
  for (size_t i = 0; i < plan.input_slots().size(); ++i) {
    const int slot = plan.input_slots()[i];
    if (slot < 0 || i >= inputs.size()) continue;
    Datum& d = instance.data[static_cast<size_t>(slot)];
    if (d.is_tensor() && inputs[i].is_tensor()) {
      d.tensor.Rebase(const_cast<void*>(inputs[i].tensor.raw()));
    } else {
      d = inputs[i];
    }
  }
  for (const auto& [slot, input] : instance.input_views) {
    instance.data[slot].tensor.Rebase(const_cast<void*>(inputs[input].tensor.raw()));
  }
  const ThreadsScope threads(plan.threads());
  using Clock = std::chrono::steady_clock;
  const bool timed = profile_ != nullptr;
  const Clock::time_point begin = timed ? Clock::now() : Clock::time_point();
  Clock::time_point last = begin;
  const auto context = [&](const Instance::Call& call) {
    return RunContext(instance.in_pointers.data() + call.in, static_cast<int>(call.num_in),
                      instance.out_pointers.data() + call.out, static_cast<int>(call.num_out),
                      call.scratch, seed_, step_);
  };
  for (size_t s = 0; s < instance.calls.size(); ++s) {
    const Instance::Call& call = instance.calls[s];
    if (call.end > 0 && !timed) {
      RunTeam(call.threads, [&](Team& team) {
        for (size_t i = s; i < call.end; ++i) {
          if (i > s) team.Wait();
          RunContext own = context(instance.calls[i]);
          instance.calls[i].team->RunShare(own, team);
        }
      });
      s = call.end - 1;
      continue;
    }
    absl::Status status;
    if (call.kernel != nullptr) {
      RunContext own = context(call);
      status = call.kernel->Run(own);
    } else {
      status = RunLate(*instance.late[s], *registry_, instance.in_pointers.data() + call.in,
                       instance.out_pointers.data() + call.out, seed_, step_);
    }
    if (!status.ok()) {
      const Node* node = plan.steps()[s].node;
      // Where sizes were unknown until now, inference has named the node already.
      if (node == nullptr || absl::StartsWith(status.message(), node->Describe())) return status;
      return Annotate(status, node->Describe());
    }
    if (timed) {
      const Clock::time_point now = Clock::now();
      Profile::Row& row = profile_->rows[s];
      row.seconds += std::chrono::duration<double>(now - last).count();
      ++row.calls;
      if (profile_->events.size() < profile_->max_events) {
        if (profile_->events.empty()) {
          profile_->origin = std::chrono::duration<double>(begin.time_since_epoch()).count();
        }
        const auto since = [&](Clock::time_point t) {
          return std::chrono::duration<double>(t.time_since_epoch()).count() - profile_->origin;
        };
        profile_->events.push_back({s, since(last), since(now)});
      }
      last = now;
    }
  }
  if (timed) {
    profile_->seconds += std::chrono::duration<double>(last - begin).count();
    ++profile_->runs;
  }
  for (size_t i = 0; i < instance.out.size(); ++i) {
    const auto slot = static_cast<size_t>(plan.output_slots()[i]);
    if (instance.out[i] != &instance.copied[i]) continue;
    const Datum& source = instance.data[slot];
    Datum& copy = instance.copied[i];
    if (!source.is_tensor()) {
      copy = source;
    } else if (copy.is_tensor() && copy.tensor.dtype() == source.tensor.dtype() &&
               copy.tensor.dims() == source.tensor.dims() &&
               copy.tensor.dtype() != DType::kString) {
      const auto bytes = static_cast<size_t>(source.tensor.byte_size());
      if (bytes > 0) std::memcpy(copy.tensor.mutable_raw(), source.tensor.raw(), bytes);
    } else {
      copy = Datum(source.tensor.Clone());
    }
  }
  for (const auto& copy : plan.state_copies()) {
    const auto& state = plan.states()[static_cast<size_t>(copy.state)];
    const auto* entry = states_->Find(state.name);
    const Tensor& made = instance.data[static_cast<size_t>(copy.slot)].tensor;
    GR_RETURN_IF_ERROR(CopyLayout(*registry_, entry->dtype, entry->dims, made.raw(), state.layout,
                                  const_cast<void*>(entry->memory.raw()), state.layout));
  }
  for (const auto& [state, held] : instance.updated) {
    if (state->copies.size() > held) GR_RETURN_IF_ERROR(states_->Refresh(state->name));
  }
  return absl::OkStatus();
}

absl::Status Session::Run(absl::Span<const Datum> inputs) {
  if (inputs.size() > graph_->inputs().size()) {
    return ModelError("the graph has ", graph_->inputs().size(), " inputs but ", inputs.size(),
                      " are given");
  }
  Instance* instance = nullptr;
  // The plan used last usually fits: compare without building types.
  if (!instances_.empty()) {
    const Instance& front = *instances_.front();
    bool same = front.key.size() == inputs.size();
    for (size_t i = 0; same && i < inputs.size(); ++i) {
      const Type& type = front.key[i];
      if (!inputs[i].is_tensor()) {
        same = !type.is_known() && inputs[i].kind == Type::Kind::kUnknown;
        continue;
      }
      const Shape& shape = type.tensor.shape;
      same = type.is_tensor() && type.tensor.dtype == inputs[i].tensor.dtype() &&
             shape.rank() == inputs[i].tensor.rank();
      for (int a = 0; same && a < shape.rank(); ++a)
        same = shape[a].value() == inputs[i].tensor.dim(a);
    }
    if (same) instance = instances_.front().get();
  }
  if (instance == nullptr) {
    std::vector<Type> types;
    for (const Datum& d : inputs) types.push_back(d.type());
    types.resize(graph_->inputs().size());
    GR_ASSIGN_OR_RETURN(instance, InstanceFor(std::move(types)));
  }
  if (profile_ != nullptr && profile_->rows.empty()) {
    for (const auto& step : instance->plan->steps()) {
      profile_->rows.push_back(
          {step.label, step.op, step.kernel, step.info, 0, 0, step.multiply_adds});
    }
  }
  return RunInstance(*instance, inputs);
}

absl::Status Session::Run(absl::Span<const Tensor> inputs) {
  scratch_inputs_.assign(inputs.begin(), inputs.end());
  return Run(absl::Span<const Datum>(scratch_inputs_));
}

const Datum& Session::output(int i) const {
  return *instances_.front()->out[static_cast<size_t>(i)];
}

int Session::num_outputs() const { return static_cast<int>(graph_->outputs().size()); }

}  // namespace graphrun
