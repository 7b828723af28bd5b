// MeasureKernels: what each of several kernels takes for the same node.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// A kernel that takes a node as its inputs lie now.
struct KernelCandidate {
  std::string name;
  std::unique_ptr<PrepareContext> prepare;
  std::unique_ptr<Kernel> kernel;
};

// The layouts in which a value is there already; none: it will be there in the layout that its
// reader wants (constants, and states that nobody has read yet).
using LayoutsAtHand = absl::FunctionRef<std::vector<Layout>(const Value*)>;

// True for a node that can be run by itself on memory made for the purpose: sizes known, no
// sequences, strings or subgraphs, nothing random.
bool IsMeasurable(const Node& node, const OpDef& def);

// True for the plain kernel of a node with so many multiply-adds that it may take seconds.
bool IsTooSlowToMeasure(const Node& node, const OpDef& def, const std::string& kernel);

// For each candidate the least seconds of some runs in turn on warm memory with made-up elements,
// negative where it returns an error. Reorders count: of inputs to the layout that a kernel wants,
// and of outputs to the layout in which the first candidate makes them. One that is clearly slower
// than another is not run often.
// REQUIRES: IsMeasurable; at least one candidate.
std::vector<double> MeasureKernels(const Node& node, const OpDef& def, const OpRegistry& registry,
                                   const std::vector<KernelCandidate>& candidates,
                                   LayoutsAtHand at_hand);

}  // namespace graphrun
