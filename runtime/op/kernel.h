// Kernel: one way to compute an operator, prepared for concrete sizes and layouts.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "runtime/base/tensor.h"
#include "runtime/op/layout.h"
#include "runtime/op/node_context.h"

namespace graphrun {

// What a running kernel sees. Pointers are aligned to 64 bytes. Nothing here allocates but
// ResizeOutput.
class RunContext {
 public:
  RunContext(const Datum* const* inputs, int num_inputs, Datum* const* outputs, int num_outputs,
             void* scratch, uint64_t seed, uint64_t step)
      : inputs_(inputs),
        outputs_(outputs),
        num_inputs_(num_inputs),
        num_outputs_(num_outputs),
        scratch_(scratch),
        seed_(seed),
        step_(step) {}

  int num_inputs() const { return num_inputs_; }  // captures included, after the node's own inputs
  int num_outputs() const { return num_outputs_; }
  bool has_input(int i) const { return i < num_inputs_ && inputs_[i] != nullptr; }
  bool has_output(int i) const { return i < num_outputs_ && outputs_[i] != nullptr; }
  const Tensor& input(int i) const { return inputs_[i]->tensor; }
  const Datum& input_datum(int i) const { return *inputs_[i]; }
  // Output i, with memory already there; for outputs whose sizes were unknown when the kernel was
  // prepared, and for sequences and other containers, ResizeOutput or output_datum come first.
  Tensor& output(int i) { return outputs_[i]->tensor; }
  Datum& output_datum(int i) { return *outputs_[i]; }
  absl::Status ResizeOutput(int i, DType dtype, Dims dims);
  void* scratch() const { return scratch_; }
  // For random operators: the run's seed, and a counter that the host advances (the training step).
  uint64_t seed() const { return seed_; }
  uint64_t step() const { return step_; }

 private:
  const Datum* const* inputs_;
  Datum* const* outputs_;
  int num_inputs_, num_outputs_;
  void* scratch_;
  uint64_t seed_, step_;
};

// Immutable once prepared; Run may be called from several threads with different contexts.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual absl::Status Run(RunContext& context) const = 0;
  // What is worth knowing of the choice made, for `graphrun plan` ("brgemm:avx512", "winograd").
  virtual std::string info() const { return ""; }
};

// Runs a graph held in an attribute (If, Loop, Scan). Not thread-safe; one for each prepared kernel
// and session.
class SubgraphRunner {
 public:
  virtual ~SubgraphRunner() = default;
  // `inputs`: the graph's own inputs, then the node's captures. `outputs` is replaced.
  virtual absl::Status Run(absl::Span<const Datum* const> inputs, std::vector<Datum>* outputs,
                           uint64_t seed, uint64_t step) const = 0;
};

// What a kernel factory sees: everything concrete, and the layouts that the neighbours have.
class PrepareContext : public NodeContext {
 public:
  using NodeContext::NodeContext;
  virtual ~PrepareContext() = default;

  // Type of an input or output; sizes are concrete unless is_dynamic. kUndefined dtype: left out or
  // no tensor.
  DType input_dtype(int i) const {
    return has_input(i) ? node().input(i)->dtype() : DType::kUndefined;
  }
  DType output_dtype(int i) const {
    return has_output(i) ? node().output(i)->dtype() : DType::kUndefined;
  }
  const Type& input_type(int i) const { return node().input(i)->type(); }
  const Type& output_type(int i) const { return node().output(i)->type(); }
  // REQUIRES: a tensor with concrete sizes.
  Dims input_dims(int i) const { return node().input(i)->shape().ToDims(); }
  Dims output_dims(int i) const { return node().output(i)->shape().ToDims(); }
  // True where an output's sizes are known only when the kernel runs (it then calls ResizeOutput).
  bool output_is_dynamic(int i) const {
    return has_output(i) && !node().output(i)->shape().is_concrete();
  }

  // The elements of input i where they are known now, else null.
  virtual const Tensor* constant(int i) const = 0;
  // How input i lies in memory now; undecided: this kernel may choose.
  virtual Layout input_layout(int i) const = 0;
  // Threads that Run will have.
  virtual int threads() const = 0;
  // A runner for the graph in attribute `name`.
  virtual absl::StatusOr<std::unique_ptr<SubgraphRunner>> Subgraph(absl::string_view name) = 0;

  // Asks for input i in that layout (row-major where nothing is said): the plan adds a reorder if
  // it differs.
  void Want(int i, Layout layout);
  // Says in which layout Run leaves output i (row-major where nothing is said).
  void Make(int i, Layout layout);
  // Bytes of scratch memory that Run needs.
  void Scratch(int64_t bytes) { scratch_bytes_ = bytes; }
  Layout wanted(int i) const;
  Layout made(int i) const;
  int64_t scratch_bytes() const { return scratch_bytes_; }

 private:
  std::vector<std::pair<int, Layout>> wants_, makes_;
  int64_t scratch_bytes_ = 0;
};

// Prepares a kernel; null: not for these types, sizes or layouts, try the next one. An error ends
// the compilation.
using KernelFactory = std::function<absl::StatusOr<std::unique_ptr<Kernel>>(PrepareContext&)>;

// A kernel made of a callable: MakeKernel([=](RunContext& r) { ...; return absl::OkStatus(); }).
template <typename F>
std::unique_ptr<Kernel> MakeKernel(F run, std::string info = "") {
  class Callable : public Kernel {
   public:
    Callable(F run, std::string info) : run_(std::move(run)), info_(std::move(info)) {}
    absl::Status Run(RunContext& context) const override { return run_(context); }
    std::string info() const override { return info_; }

   private:
    F run_;
    std::string info_;
  };
  return std::make_unique<Callable>(std::move(run), std::move(info));
}

}  // namespace graphrun
