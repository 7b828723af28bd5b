#include "tools/registry.h"

#include <cstdlib>

#include "ops/ops.h"
#include "runtime/base/status.h"
#include "runtime/plugin/find.h"

namespace graphrun::cli {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

absl::StatusOr<Registries> MakeRegistries(const Flags& flags,
                                          const std::vector<std::string>& more) {
  Registries registries;
  registries.ops = std::make_unique<OpRegistry>();
  RegisterOps(*registries.ops);
  PluginOptions options;
  const std::string guard = Environment("GRAPHRUN_PLUGIN_GUARD");
  options.guard = !guard.empty() && guard != "0";
  std::vector<std::string> paths = SplitPluginPaths(Environment("GRAPHRUN_PLUGINS"));
  for (const std::string& path : flags.All("plugin")) paths.push_back(path);
  paths.insert(paths.end(), more.begin(), more.end());
  Plugins plugins(registries.ops.get(), &registries.parts, options);
  const std::vector<std::string> folders = PluginFolders();
  for (const std::string& named : paths) {
    GR_ASSIGN_OR_RETURN(const std::string path, FindPlugin(named, folders));
    GR_RETURN_IF_ERROR(plugins.Load(path));
  }
  registries.plugins = plugins.loaded();
  return registries;
}

absl::StatusOr<std::unique_ptr<OpRegistry>> MakeRegistry(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(Registries registries, MakeRegistries(flags));
  return std::move(registries.ops);
}

}  // namespace graphrun::cli
