// Session: runs a graph. Keeps a plan for each set of input sizes, and the memory to run it in.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "runtime/exec/plan.h"
#include "runtime/exec/profile.h"
#include "runtime/exec/state_store.h"

namespace graphrun {

struct SessionOptions {
  bool optimize = true;
  int threads = 0;                        // 0: as many as OpenMP offers
  DType precision = DType::kFloat32;      // kBFloat16: mixed, where the processor can
  Recompute recompute = Recompute::kOff;  // in training: activations made again for the gradient
  // Chooses among kernels by measuring; null: the first that takes a node. What was measured is
  // saved after each plan.
  std::shared_ptr<KernelTuner> tuner;
  size_t max_tuned_plans = SIZE_MAX;  // so many plans, for as many input sizes, are tuned
  size_t max_plans = 8;  // plans kept for different input sizes; the least recently used goes first
};

// Belongs to one caller at a time.
class Session {
 public:
  // `states` may be shared between sessions; null: the session makes its own. The graph and the
  // registry must outlive the session.
  static absl::StatusOr<std::unique_ptr<Session>> Create(
      std::shared_ptr<const Graph> graph, const OpRegistry* registry, SessionOptions options = {},
      std::shared_ptr<StateStore> states = nullptr);
  ~Session();

  // One Datum for each graph input, in order; undefined for one that has a default. Tensors are
  // read where they are. After the first run with the same sizes nothing is allocated (unless sizes
  // within the graph depend on data).
  absl::Status Run(absl::Span<const Datum> inputs);
  absl::Status Run(absl::Span<const Tensor> inputs);
  // Graph output i of the last run, row-major; the memory is the session's and is overwritten by
  // the next run.
  const Datum& output(int i) const;
  int num_outputs() const;

  // What random operators draw from: the same seed and step give the same numbers.
  void set_seed(uint64_t seed) { seed_ = seed; }
  void set_step(uint64_t step) { step_ = step; }

  StateStore& states() { return *states_; }
  std::shared_ptr<StateStore> shared_states() { return states_; }
  // Compiles for these input types now, if that was not done before.
  absl::StatusOr<std::shared_ptr<const ExecutionPlan>> Prepare(const std::vector<Type>& inputs);
  // Times every step of the following runs into `profile`; null: no more.
  void set_profile(Profile* profile) { profile_ = profile; }
  const Graph& graph() const { return *graph_; }

 private:
  struct Instance;
  Session(std::shared_ptr<const Graph> graph, const OpRegistry* registry, SessionOptions options,
          std::shared_ptr<StateStore> states);
  absl::StatusOr<Instance*> InstanceFor(std::vector<Type> types);
  absl::Status RunInstance(Instance& instance, absl::Span<const Datum> inputs);

  std::shared_ptr<const Graph> graph_;
  const OpRegistry* registry_;
  SessionOptions options_;
  std::shared_ptr<StateStore> states_;
  std::list<std::unique_ptr<Instance>> instances_;  // most recently used first
  size_t tuned_plans_ = 0;
  std::vector<Datum> scratch_inputs_;
  uint64_t seed_ = 0, step_ = 0;
  Profile* profile_ = nullptr;
};

}  // namespace graphrun
