#include "runtime/plugin/find.h"

#include <climits>
#include <cstdlib>

#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"

namespace graphrun {

absl::StatusOr<std::string> FindPlugin(const std::string& plugin,
                                       const std::vector<std::string>& folders) {
  if (plugin.find_first_of("/.") != std::string::npos) return plugin;
  for (const std::string& folder : folders) {
    std::string path = JoinPath(folder, plugin + ".so");
    if (FileExists(path)) return path;
  }
  if (FileExists(plugin) && !IsFolder(plugin)) return plugin;
  return PluginError("there is no plugin \"", plugin, "\"",
                     folders.empty() ? "" : absl::StrCat(" in ", absl::StrJoin(folders, ", ")),
                     ". --plugin takes the name of one that is there, or the path of a shared ",
                     "library.", DidYouMean(plugin, PluginNames(folders)));
}

std::vector<std::string> PluginNames(const std::vector<std::string>& folders) {
  std::vector<std::string> names;
  for (const std::string& folder : folders) {
    const auto files = ListFolder(folder);
    if (!files.ok()) continue;
    for (absl::string_view name : *files) {
      if (absl::ConsumeSuffix(&name, ".so")) names.emplace_back(name);
    }
  }
  return names;
}

std::vector<std::string> PluginFolders() {
  char buffer[PATH_MAX];
  if (realpath("/proc/self/exe", buffer) == nullptr) return {};
  const std::string own = FolderOf(buffer);
  std::vector<std::string> folders;
  for (const char* relative : {"../plugins", GRAPHRUN_PLUGINS_FROM_BIN}) {
    if (realpath(JoinPath(own, relative).c_str(), buffer) != nullptr && IsFolder(buffer))
      folders.emplace_back(buffer);
  }
  return folders;
}

}  // namespace graphrun
