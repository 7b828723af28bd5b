// Kernels that run pointwise programs on the tensors of a node, in whatever layout these lie.
#pragma once

#include <memory>
#include <vector>

#include "ops/pointwise_program.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// A kernel for `program` on groups of the node's tensors: inputs[g][i] and outputs[g][o] number the
// node's inputs and outputs. Full-sized inputs of a group are taken in the layout of the first
// whose layout is decided, and so are its outputs made; broadcast ones are asked for row-major.
// Padding is taken along where the program maps zeros to zeros. Null where element types or sizes
// are not for programs.
std::unique_ptr<Kernel> PreparePointwise(PrepareContext& c, PointwiseProgram program,
                                         const std::vector<std::vector<int>>& inputs,
                                         const std::vector<std::vector<int>>& outputs);

// The kernel of an operator that declares a PointwiseBlock: a program of one step.
KernelFactory BlockKernel();

}  // namespace graphrun
