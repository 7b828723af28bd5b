// Where a plugin's library is that was named and not given by its path. Plugins::Load takes what
// FindPlugin gives.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace graphrun {

// `plugin` itself where it is a path: where it has a slash or a dot in it. Else a name, "kan": the
// first of the files FOLDER/kan.so that there is. Errors: kPlugin with the nearest name, where
// there is none and no file of that name either.
absl::StatusOr<std::string> FindPlugin(const std::string& plugin,
                                       const std::vector<std::string>& folders);

// Names of the plugins in the folders.
std::vector<std::string> PluginNames(const std::vector<std::string>& folders);

// The folders of this program's plugins: those that were built with it, and those that were
// installed with it. Those that are not there are left out.
std::vector<std::string> PluginFolders();

}  // namespace graphrun
