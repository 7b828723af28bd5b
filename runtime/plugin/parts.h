// What plugins offer to recipes: losses, optimizers, regularizers, schedules, metrics, data formats
// and transforms.
#pragma once

#include <string>

#include "plugins/graphrun_plugin.h"
#include "runtime/train/train_registry.h"

namespace graphrun {

// Each adds what a table declares. `plugin`: "plugin kan". Errors: kPlugin, also for names that are
// taken; the registry is then as before.
absl::Status AddLoss(const gr_loss& loss, const std::string& plugin, TrainRegistry* parts);
absl::Status AddOptimizer(const gr_optimizer& optimizer, const std::string& plugin,
                          TrainRegistry* parts);
absl::Status AddRegularizer(const gr_regularizer& regularizer, const std::string& plugin,
                            TrainRegistry* parts);
absl::Status AddSchedule(const gr_schedule& schedule, const std::string& plugin,
                         TrainRegistry* parts);
absl::Status AddMetric(const gr_metric& metric, const std::string& plugin, TrainRegistry* parts);
absl::Status AddDataset(const gr_dataset& dataset, const std::string& plugin, TrainRegistry* parts);
absl::Status AddTransform(const gr_transform& transform, const std::string& plugin,
                          TrainRegistry* parts);

// Name, summary and numbers as a table has them. `where`: "plugin kan: optimizer".
absl::StatusOr<PartInfo> ReadPart(const char* name, const char* doc, const gr_parameter* params,
                                  size_t num_params, const std::string& plugin, const char* what);

}  // namespace graphrun
