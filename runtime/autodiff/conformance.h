// Conformance of one operator declaration on one of its samples; plugins' operators take the same
// checks.
#pragma once

#include <set>
#include <string>

#include "runtime/op/op_registry.h"

namespace graphrun {

// Each returns an error that says what differs. `sample` is one of def.samples().

// Names, kernels or a body, a gradient or a reason for none, at least one sample.
absl::Status CheckSchema(const OpDef& def, const OpRegistry& registry);
// Inference gives the types that are produced, with fixed sizes and with symbols; refusals fail
// with their words.
absl::Status CheckInference(const OpDef& def, const Sample& sample, const OpRegistry& registry);
// Every kernel against the f64 oracle, expected values, in-place bits.
absl::Status CheckKernels(const OpDef& def, const Sample& sample, const OpRegistry& registry);
// The kernels that CheckKernels runs on the sample, by name.
std::set<std::string> KernelsReached(const OpDef& def, const Sample& sample,
                                     const OpRegistry& registry);
// The function body against the kernel.
absl::Status CheckBody(const OpDef& def, const Sample& sample, const OpRegistry& registry);
// The gradient against central differences in f64, by a random projection, relative 1e-6.
absl::Status CheckGradient(const OpDef& def, const Sample& sample, const OpRegistry& registry);

}  // namespace graphrun
