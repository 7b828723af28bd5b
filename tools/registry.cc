#include "tools/registry.h"

#include "ops/ops.h"
#include "runtime/base/status.h"

namespace graphrun::cli {

absl::StatusOr<std::unique_ptr<OpRegistry>> MakeRegistry(const Flags& flags) {
  auto registry = std::make_unique<OpRegistry>();
  RegisterOps(*registry);
  if (flags.Has("plugin")) {
    return PluginError(flags.Get("plugin"), ": this build of graphrun does not load plugins");
  }
  return registry;
}

}  // namespace graphrun::cli
