// Kernels of plugins.
#pragma once

#include <string>

#include "plugins/graphrun_plugin.h"
#include "runtime/op/op_def.h"

namespace graphrun {

// A kernel of a plugin's table. `where`: "plugin kan: operator kan.Spline". With `guard` every run
// works on copies with guard bytes around outputs and scratch memory, and inputs are compared with
// what they were: a kernel that writes where it may not is found out (slow; for debugging).
// Errors: kPlugin.
absl::StatusOr<OpDef::NamedKernel> ReadKernel(const gr_kernel& kernel, const std::string& where,
                                              bool guard);

}  // namespace graphrun
