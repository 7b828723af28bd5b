// The gradients of Conv and of its two gradients, and what these are in the standard's operators.
#pragma once

#include "runtime/op/op_registry.h"

namespace graphrun {

void ConvGradient(GradContext& g);
void ConvGradInputGradient(GradContext& g);
void ConvGradWeightGradient(GradContext& g);

// They refuse where sizes are not known.
void ConvGradInputBody(BodyContext& b);
void ConvGradWeightBody(BodyContext& b);

}  // namespace graphrun
