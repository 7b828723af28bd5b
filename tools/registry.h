// The operators of this process: the built-in ones and those of the plugins that were named.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "runtime/op/op_registry.h"
#include "tools/flags.h"

namespace graphrun::cli {

// Errors: kPlugin.
absl::StatusOr<std::unique_ptr<OpRegistry>> MakeRegistry(const Flags& flags);

}  // namespace graphrun::cli
