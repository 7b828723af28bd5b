// Recompute: memory for time. Activations that only the gradient still reads are computed again
// there.
#pragma once

#include "runtime/op/op_registry.h"

namespace graphrun {

// What may be computed again in a training step's backward half.
enum class Recompute {
  kOff,
  kCheap,  // what costs no products: activations, normalisation, dropout, sums, copies
  kAll,    // products and convolutions as well
};

// "off", "cheap", "all". Errors: kUsage.
absl::StatusOr<Recompute> RecomputeFromName(absl::string_view name);

// In a graph with states whose output 0 is the loss: values that nodes up to the loss made and that
// nodes after it read get a second producer right before their first reader there, which computes
// the same bits. Values on which a chain of such producers would grow too long are kept
// (checkpoints); of some lengths of chains the pass takes the one with the least memory in use at
// one time, and changes nothing where none needs less. Random nodes are repeated only where an
// attribute `seed` makes them draw the same. REQUIRES: types inferred, sorted; MergeEqualNodes must
// not run afterwards.
absl::StatusOr<bool> RecomputeActivations(Graph& graph, const OpRegistry& registry, Recompute what);

// The most bytes of node results that are in use at one time when the nodes run in list order.
// Views count as what they show; results of unknown size do not count.
int64_t PeakBytes(const Graph& graph, const OpRegistry& registry);

}  // namespace graphrun
