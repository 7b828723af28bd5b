// ExternalFiles: the weights that a model keeps in files beside itself.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/file.h"

namespace graphrun {

// Maps files below one folder, each once. Files outside of it cannot be reached: not by an absolute
// path, not by "..", not by symbolic links.
class ExternalFiles {
 public:
  // An empty folder: there is none, every file is refused (a model that was given as bytes).
  explicit ExternalFiles(std::string folder) : folder_(std::move(folder)) {}

  // The whole file. Errors: kModel where `location` is not allowed, kIo where it cannot be read.
  absl::StatusOr<std::shared_ptr<const MemoryMap>> Open(absl::string_view location);

 private:
  std::string folder_;
  std::map<std::string, std::shared_ptr<const MemoryMap>> files_;
};

}  // namespace graphrun
