// A model by the words of `graphrun new`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/ir/graph.h"
#include "runtime/op/op_registry.h"
#include "tools/flags.h"

namespace graphrun::cli {

// Names of the kinds: mlp, cnn, resnet, transformer, lstm.
std::vector<std::string> NewKinds();

// The model that the words ask for, weights drawn, types inferred. Errors: kUsage, kLimit.
absl::StatusOr<std::unique_ptr<Graph>> MakeNewModel(const Flags& flags, const OpRegistry& registry);

}  // namespace graphrun::cli
