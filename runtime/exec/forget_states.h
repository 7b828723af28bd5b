// ForgetStateValues: lets go of the first values of states that a StateStore has taken over.
#pragma once

#include "runtime/ir/graph.h"

namespace graphrun {

// A tensor of that type and size: the same one where it is small, else zeros that are no memory.
Tensor Placeholder(const Tensor& tensor);

// Puts placeholders in the place of the graph's states' first values.
void ForgetStateValues(Graph& graph);

}  // namespace graphrun
