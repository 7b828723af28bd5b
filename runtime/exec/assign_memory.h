// AssignMemory: which values of a plan share memory, and where the rest lies.
#pragma once

#include <utility>
#include <vector>

#include "runtime/exec/plan.h"

namespace graphrun {

// Bytes that a slot takes in its layout; 0 where its sizes are not known or it is no tensor.
int64_t SlotBytes(const ExecutionPlan::Slot& slot);

// Lets successors of states be written straight into the states, and results into the memory of
// operands, where nobody reads the old value afterwards; then places every buffer of the arena, and
// every step's scratch memory.
//   in_place[s]     pairs (input, output) of step s that may share memory
//   shape_only[s]   inputs of step s of which only the sizes are read
void AssignMemory(ExecutionPlan* plan,
                  const std::vector<std::vector<std::pair<int, int>>>& in_place,
                  const std::vector<std::vector<int>>& shape_only);

}  // namespace graphrun
