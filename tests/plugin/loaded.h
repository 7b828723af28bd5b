// What the tests of plugins share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "ops/ops.h"
#include "runtime/exec/session.h"
#include "runtime/ir/text.h"
#include "runtime/plugin/plugin.h"

namespace graphrun {

// Registries with the built-in parts, and plugins on top.
struct Loaded {
  explicit Loaded(PluginOptions options = {}) : plugins(&ops, &parts, options) { RegisterOps(ops); }
  // A library of tests/plugin: "sound/sound".
  absl::Status Load(const std::string& name) {
    return plugins.Load(absl::StrCat(GRAPHRUN_TEST_PLUGINS, "/", name, ".so"));
  }
  // The first output of a graph on inputs, or what went wrong on the way.
  absl::StatusOr<Tensor> Run(absl::string_view text, std::vector<Tensor> inputs) {
    auto graph = ParseGraph(text);
    if (!graph.ok()) return graph.status();
    auto session = Session::Create(std::shared_ptr<Graph>(std::move(graph).value()), &ops);
    if (!session.ok()) return session.status();
    const absl::Status ran = (*session)->Run(absl::MakeConstSpan(inputs));
    if (!ran.ok()) return ran;
    return (*session)->output(0).tensor.Clone();
  }

  OpRegistry ops;
  TrainRegistry parts;
  Plugins plugins;
};

}  // namespace graphrun
