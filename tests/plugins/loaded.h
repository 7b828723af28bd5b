// The plugins of this build, loaded once for a test binary.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "ops/ops.h"
#include "runtime/op/op_registry.h"
#include "runtime/plugin/plugin.h"
#include "runtime/train/train_registry.h"

namespace graphrun {

// The path of a plugin of this build.
inline std::string PluginPath(const std::string& name) {
  return std::string(GRAPHRUN_PLUGIN_FOLDER) + "/" + name + ".so";
}

// Registries with the named plugins.
struct Loaded {
  explicit Loaded(const std::vector<std::string>& names) : plugins(&ops, &parts, {true}) {
    RegisterOps(ops);
    for (const std::string& name : names) {
      const absl::Status status = plugins.Load(PluginPath(name));
      EXPECT_TRUE(status.ok()) << status.message();
    }
  }
  OpRegistry ops;
  TrainRegistry parts;
  Plugins plugins;
};

}  // namespace graphrun
