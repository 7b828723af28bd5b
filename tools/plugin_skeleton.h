// The files of a new plugin: source, CMake, test, README.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graphrun::cli {

// What a skeleton may offer: "op", "optimizer", ...
std::vector<std::string> SkeletonKinds();

enum class Language { kC, kCxx };

// Names and texts of the files. `kind`: of SkeletonKinds(). Errors: kUsage where `name` is no word
// of small letters, digits and _.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> PluginSkeleton(
    absl::string_view name, absl::string_view kind, Language language);

// The source of a kind in C, with @name@ and @Name@ where the plugin's name goes.
std::string SkeletonInC(absl::string_view kind);

}  // namespace graphrun::cli
