// Library: a plugin's shared library, opened with care and never closed.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "plugins/graphrun_plugin.h"

namespace graphrun {

// Opens the library and finds its entry, whose version is this program's. Looks at the file before
// the system's loader does: that one dies of files that end too early. Errors: kPlugin (what is
// wrong with the file, the version, the symbol); kIo where it cannot be read.
absl::StatusOr<const gr_entry*> OpenLibrary(const std::string& path);

// The same check on bytes alone. `size`: of the file. Errors: kPlugin.
absl::Status CheckElf(const std::string& path);

}  // namespace graphrun
