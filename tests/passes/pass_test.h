// Text in, pass, text out.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "ops/ops.h"
#include "runtime/ir/text.h"
#include "runtime/op/infer.h"
#include "runtime/passes/pass.h"

namespace graphrun {

class PassTest : public testing::Test {
 protected:
  PassTest() { RegisterOps(registry_); }

  using PassFn = absl::StatusOr<bool> (*)(Graph&, const OpRegistry&);

  // The graph after the pass: names of values as they are, no header, no types of inner values.
  // Fails where the pass does not say truly whether it changed the graph.
  std::string After(PassFn pass, absl::string_view text) {
    auto graph = ParseGraph(text);
    if (!graph.ok()) return graph.status().ToString();
    // Calls of functions have no types before they are inlined.
    const absl::Status inferred =
        (*graph)->functions.empty() ? InferTypes(**graph, registry_) : absl::OkStatus();
    if (!inferred.ok()) return inferred.ToString();
    const std::string before = Text(**graph);
    const absl::StatusOr<bool> changed = pass(**graph, registry_);
    if (!changed.ok()) return std::string(changed.status().message());
    const absl::Status sound = (*graph)->Sort();
    EXPECT_TRUE(sound.ok()) << sound.message();
    EXPECT_EQ(*changed, Text(**graph) != before) << "what the pass says of itself";
    return Text(**graph);
  }
  // The same graph, never passed: what After is compared with.
  std::string Same(absl::string_view text) {
    auto graph = ParseGraph(text);
    if (!graph.ok()) return graph.status().ToString();
    const absl::Status inferred = InferTypes(**graph, registry_);
    return inferred.ok() ? Text(**graph) : inferred.ToString();
  }

  static std::string Text(const Graph& graph) {
    PrintOptions options;
    options.header = false;
    options.types = false;
    return PrintGraph(graph, options);
  }

  OpRegistry registry_;
};

}  // namespace graphrun
