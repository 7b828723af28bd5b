// RunSetup: a recipe made concrete: data, model, loss, optimizer, graphs and sessions.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "proto/recipe.pb.h"
#include "runtime/exec/session.h"
#include "runtime/report/metric.h"
#include "runtime/train/train_data.h"
#include "runtime/train/train_registry.h"
#include "runtime/train/training_graph.h"

namespace graphrun {

struct RunSetup {
  recipe::Recipe recipe;  // resolved: what was automatic is filled in
  const OpRegistry* registry = nullptr;
  TrainRegistry parts;
  std::shared_ptr<Graph> model;  // as imported, with normalisation baked in
  TrainData data;
  std::unique_ptr<DataLoader> train_loader, validation_loader;  // the latter may be null
  std::unique_ptr<Loss> loss;
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<Schedule> schedule;
  std::vector<std::unique_ptr<Regularizer>> regularizers;
  TrainingOptions options;
  TrainingGraph graphs;
  // They share their states. accumulate and probe may be null.
  std::unique_ptr<Session> step, accumulate, evaluate, probe;
  std::vector<std::string> metrics;  // names
  int64_t outputs = 0;               // of the model for a sample; 0: unknown
  int64_t batches_per_epoch = 0, updates_per_epoch = 0;
  int64_t batch_size = 0;                          // of all batches but an epoch's last
  std::shared_ptr<const ExecutionPlan> step_plan;  // of `step`, for such a batch

  std::shared_ptr<StateStore> states() const { return step->shared_states(); }
  // Whether the run learns classes, not numbers (whole numbers may be either).
  bool classification() const;
  // How the outputs of the evaluation and of the exported models are to be read.
  MetricOptions metric_options() const;
};

// Opens data and model, checks that they fit, builds the graphs and compiles the plans (so that
// everything that can fail does so before the first step). `schedule`: takes the place of the
// recipe's. `parts`: what the recipe may name.
absl::StatusOr<std::unique_ptr<RunSetup>> SetUpRun(const recipe::Recipe& recipe,
                                                   const OpRegistry& registry,
                                                   std::unique_ptr<Schedule> schedule = nullptr,
                                                   const TrainRegistry& parts = TrainRegistry());

// The loss that "auto" stands for: by the data's target (`classes`: how many, 0 for other numbers)
// and the model's last operator.
std::string ResolveLoss(const Graph& model, const OpRegistry& registry, int64_t classes);

// The model for inference with the states' present values (averaged ones where the run keeps an
// average). In the place of a plugin's operators stand their bodies, where they have one.
absl::Status ExportTrained(const RunSetup& setup, const std::string& path);

// One pass over a loader: the mean loss and the metrics, by name. Empty where `stop` became nonzero
// meanwhile.
absl::StatusOr<std::vector<std::pair<std::string, double>>> Evaluate(
    const RunSetup& setup, DataLoader& loader, std::vector<std::unique_ptr<Metric>>& metrics,
    const std::atomic<int>* stop = nullptr);

}  // namespace graphrun
