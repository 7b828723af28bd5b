// What this process knows: the built-in parts and those of the plugins that were named.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/op/op_registry.h"
#include "runtime/plugin/plugin.h"
#include "runtime/train/train_registry.h"
#include "tools/flags.h"

namespace graphrun::cli {

struct Registries {
  std::unique_ptr<OpRegistry> ops;
  TrainRegistry parts;
  std::vector<Plugin> plugins;
};

// Loads, in this order, what GRAPHRUN_PLUGINS names (paths separated by ":"), what --plugin names,
// and `more` (a recipe's); a library that is named twice is loaded once. GRAPHRUN_PLUGIN_GUARD=1
// watches over what plugins' kernels write. Errors: kPlugin.
absl::StatusOr<Registries> MakeRegistries(const Flags& flags,
                                          const std::vector<std::string>& more = {});

// The operators alone.
absl::StatusOr<std::unique_ptr<OpRegistry>> MakeRegistry(const Flags& flags);

}  // namespace graphrun::cli
