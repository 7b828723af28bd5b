// Plugins: shared libraries that add operators, optimizers, regularizers, losses, schedules, data
// formats, transforms, metrics and passes. What they must be like is said in
// plugins/graphrun_plugin.h.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/op/op_registry.h"
#include "runtime/train/train_registry.h"

namespace graphrun {

// A loaded plugin and the names of what it offers.
struct Plugin {
  std::string path, name, version, doc;
  int abi_major = 0, abi_minor = 0;    // of the header that it was compiled with
  std::vector<std::string> operators;  // "kan.Spline-1"
  std::vector<std::string> kernels;    // "Relu: avx2"
  std::vector<std::string> losses, optimizers, regularizers, schedules, datasets, transforms,
      metrics, passes;

  // The lists above with what they hold: {"operators", &operators}, ...
  std::vector<std::pair<const char*, const std::vector<std::string>*>> Offers() const;
};

struct PluginOptions {
  // Kernels run on copies with guard bytes around them, and what they write where they may not is
  // an error. Slow.
  bool guard = false;
};

// Adds plugins to the registries, which must live longer. Not thread-safe.
class Plugins {
 public:
  Plugins(OpRegistry* ops, TrainRegistry* parts, PluginOptions options = {})
      : ops_(ops), parts_(parts), options_(options) {}

  // Loads the shared library at `path` (a library that is loaded already: does nothing). It adds
  // all that it offers, or, with an error, nothing. Libraries are never unloaded. Errors: kPlugin,
  // naming the file, or the plugin and what of it is wrong.
  absl::Status Load(const std::string& path);

  const std::vector<Plugin>& loaded() const { return loaded_; }

 private:
  OpRegistry* ops_;
  TrainRegistry* parts_;
  PluginOptions options_;
  std::vector<Plugin> loaded_;
  std::map<std::string, std::string> owner_;  // of operators and passes: which plugin's they are
};

// The paths in a variable such as GRAPHRUN_PLUGINS: separated by ":", empty ones left out.
std::vector<std::string> SplitPluginPaths(absl::string_view variable);

}  // namespace graphrun
