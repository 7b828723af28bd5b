// Charts of a trained model: its weights, and what it decides between two inputs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/recipe.pb.h"
#include "runtime/ir/graph.h"
#include "runtime/op/op_registry.h"
#include "runtime/report/run_report.h"
#include "runtime/train/train_registry.h"

namespace graphrun::cli {

// A histogram for each float initializer of two or more axes, at most 64.
std::vector<RunReport::Chart> WeightCharts(const Graph& model);

// A histogram of the gradient of each parameter of two or more axes, at most 64, for the first
// batch of the training data: where the run stands by its train.onnx. Errors: those of setting up
// the recipe's run, and kCheckpoint where train.onnx is of another one.
absl::StatusOr<std::vector<RunReport::Chart>> GradientCharts(const std::string& run,
                                                             const OpRegistry& registry,
                                                             const recipe::Recipe& recipe,
                                                             const TrainRegistry& parts);

// The classes that a model of two numbers decides for, over the range of the recipe's data, with
// the data's points. Errors: kUsage where a sample is not two numbers or the target no class; those
// of reading the data and of running the model.
absl::StatusOr<RunReport::Chart> BoundaryChart(const Graph& model, const OpRegistry& registry,
                                               const recipe::Recipe& recipe);

}  // namespace graphrun::cli
