// ExecutionPlan: a graph specialised to concrete input sizes, with kernels, layouts and memory
// chosen. Immutable once made; shared by any number of Sessions in any number of threads.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/exec/kernel_tuner.h"
#include "runtime/exec/memory_plan.h"
#include "runtime/op/op_registry.h"
#include "runtime/passes/recompute.h"

namespace graphrun {

struct CompileOptions {
  bool optimize = true;  // rewrites and fusions; off: the graph as it is, for comparison
  int threads = 0;       // 0: as many as OpenMP offers
  // kBFloat16: f32 models in mixed precision (passes/mixed_precision.h).
  DType precision = DType::kFloat32;
  Recompute recompute = Recompute::kOff;  // activations made again for the gradient
  // Chooses among kernels by measuring; null: the first that takes a node.
  std::shared_ptr<KernelTuner> tuner;
  // Layouts of states that already exist; the others are chosen here.
  std::map<std::string, Layout> state_layouts;
};

class ExecutionPlan {
 public:
  // Where the memory of a buffer comes from.
  enum class Home { kArena, kInput, kConstant, kState, kOutput, kDynamic };
  struct Buffer {
    Home home = Home::kArena;
    int index = 0;       // which graph input, constant, state or graph output
    int64_t offset = 0;  // in the arena
    int64_t bytes = 0;
  };
  // A value in one layout.
  struct Slot {
    std::string name;
    Type type;  // concrete unless the buffer is dynamic
    Layout layout;
    int buffer = -1;
  };
  struct Step {
    std::string label;   // the node's name
    std::string op;      // "Conv", "ai.graphrun.Reorder"
    std::string kernel;  // "onednn", "native", "late"
    std::string info;
    std::string why;                        // of a reorder: who wants what
    std::unique_ptr<graphrun::Kernel> run;  // null: prepared when run (sizes known only then)
    const Node* node = nullptr;             // in graph(); null for reorders and copies
    std::vector<int> inputs, outputs;       // slots; -1: left out
    int64_t scratch_offset = 0, scratch_bytes = 0;
    double multiply_adds = 0;       // OpDef::MultiplyAdds
    std::vector<KernelTime> times;  // where the kernel was chosen by measuring
  };
  struct State {
    std::string name;
    Tensor initial;  // row-major
    Layout layout;
    int slot = -1;
    std::string copy_of;  // the f32 state that it is a rounded copy of; "": of its own
  };
  // After a run: copies from a slot to a state, where the step could not write there itself.
  struct StateCopy {
    int slot;
    int state;
  };

  // `inputs`: the types of the graph's inputs (concrete tensors, or containers), in the graph's
  // order; an unknown type for an input that takes its default. Errors: kModel for what inference
  // finds, kLimit.
  static absl::StatusOr<std::shared_ptr<const ExecutionPlan>> Compile(
      const Graph& graph, const OpRegistry& registry, const std::vector<Type>& inputs,
      const CompileOptions& options);

  const Graph& graph() const { return *graph_; }
  const OpRegistry& registry() const { return *registry_; }
  const std::vector<Slot>& slots() const { return slots_; }
  const std::vector<Buffer>& buffers() const { return buffers_; }
  const std::vector<Step>& steps() const { return steps_; }
  const std::vector<Tensor>& constants() const { return constants_; }
  const std::vector<State>& states() const { return states_; }
  const std::vector<StateCopy>& state_copies() const { return state_copies_; }
  const std::vector<int>& input_slots() const { return input_slots_; }  // -1: not read
  const std::vector<int>& output_slots() const { return output_slots_; }
  int64_t arena_bytes() const { return arena_bytes_; }
  int64_t constant_bytes() const;
  int threads() const { return threads_; }
  // A table of steps, kernels, layouts and memory, for people.
  std::string ToString() const;

 private:
  friend class PlanCompiler;
  friend class MemoryAssigner;
  ExecutionPlan() = default;

  std::unique_ptr<Graph> graph_;
  const OpRegistry* registry_ = nullptr;
  std::vector<Slot> slots_;
  std::vector<Buffer> buffers_;
  std::vector<Step> steps_;
  std::vector<Tensor> constants_;  // packed ones are uint8
  std::vector<State> states_;
  std::vector<StateCopy> state_copies_;
  std::vector<int> input_slots_, output_slots_;
  int64_t arena_bytes_ = 0;
  int threads_ = 1;
};

}  // namespace graphrun
