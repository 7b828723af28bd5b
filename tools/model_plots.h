// Charts of a trained model: its weights, and what it decides between two inputs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/recipe.pb.h"
#include "runtime/ir/graph.h"
#include "runtime/op/op_registry.h"
#include "runtime/report/run_report.h"

namespace graphrun::cli {

// A histogram for each float initializer of two or more axes, at most 64.
std::vector<RunReport::Chart> WeightCharts(const Graph& model);

// The classes that a model of two numbers decides for, over the range of the recipe's data, with
// the data's points. Errors: kUsage where a sample is not two numbers or the target no class; those
// of reading the data and of running the model.
absl::StatusOr<RunReport::Chart> BoundaryChart(const Graph& model, const OpRegistry& registry,
                                               const recipe::Recipe& recipe);

}  // namespace graphrun::cli
