// Fewer and shorter steps for a pointwise program.
#pragma once

#include "ops/pointwise_code.h"

namespace graphrun {

// Joins a Mul whose result only one Add or Sub reads with that step, and lets the usual arithmetic
// read a number where an input has one element. Each operation is still rounded: results are the
// same bits. Values are renumbered. REQUIRES: `program` has the steps of `code`.
void SimplifyProgram(const PointwiseCode& code, PointwiseProgram* program);

}  // namespace graphrun
