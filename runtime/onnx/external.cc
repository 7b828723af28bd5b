#include "runtime/onnx/external.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

absl::StatusOr<std::string> RealPath(const std::string& path) {
  std::unique_ptr<char, void (*)(void*)> real(::realpath(path.c_str(), nullptr), &std::free);
  if (real == nullptr) return IoError(path, ": ", std::strerror(errno));
  return std::string(real.get());
}

}  // namespace

absl::StatusOr<std::shared_ptr<const MemoryMap>> ExternalFiles::Open(absl::string_view location) {
  const auto it = files_.find(std::string(location));
  if (it != files_.end()) return it->second;
  if (folder_.empty()) {
    return ModelError(
        "external data \"", location,
        "\": a model that is not a file has no folder to look in; load it from a file");
  }
  const auto refused = [&](absl::string_view why) {
    return ModelError("external data \"", location, "\": ", why,
                      "; only files in the model's own folder are read: put the file there and "
                      "name it relative to the model");
  };
  if (location.empty()) return refused("the location is empty");
  if (location.find('\0') != absl::string_view::npos)
    return refused("the location has a zero byte");
  if (location.front() == '/') return refused("the location is an absolute path");
  for (const absl::string_view part : absl::StrSplit(location, '/')) {
    if (part == "..") return refused("the location leads out of the folder by \"..\"");
  }
  GR_ASSIGN_OR_RETURN(const std::string folder, RealPath(folder_));
  auto real = RealPath(JoinPath(folder, location));
  if (!real.ok()) return Annotate(real.status(), "external data");
  if (!absl::StartsWith(*real, folder == "/" ? folder : folder + "/")) {
    return refused("a symbolic link leads out of the folder");
  }
  struct stat info;
  if (::stat(real->c_str(), &info) != 0) return IoError(*real, ": ", std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return refused("it is not a regular file");
  GR_ASSIGN_OR_RETURN(auto map, MemoryMap::Open(*real));
  files_[std::string(location)] = map;
  return map;
}

}  // namespace graphrun
