// ChooseKernel: the kernel that a node gets in a plan.
#pragma once

#include "runtime/exec/kernel_tuner.h"
#include "runtime/exec/measure_kernels.h"

namespace graphrun {

struct ChosenKernel {
  KernelCandidate candidate;      // kernel null: none takes the node
  std::vector<KernelTime> times;  // where it was chosen by measuring
};

// The index of the least seconds; the first keeps its place unless another takes 3 %, and 100 ns,
// less. Negative: not measured, and not taken. REQUIRES: seconds is not empty.
size_t FastestKernel(const std::vector<double>& seconds);

// Without a tuner the first kernel in the order of declaration that takes the node; with one, and
// where several take it, the one that was fastest when they were measured, now or earlier.
// `prepare` makes what a factory sees. Errors: those of factories.
absl::StatusOr<ChosenKernel> ChooseKernel(
    const Node& node, const OpDef& def, const OpRegistry& registry, KernelTuner* tuner, int threads,
    absl::FunctionRef<std::unique_ptr<PrepareContext>()> prepare, LayoutsAtHand at_hand);

}  // namespace graphrun
