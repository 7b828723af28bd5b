// TrainRegistry: what recipes can name besides operators. An object that is passed and copied; it
// begins with the built-in parts, and plugins add theirs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "runtime/data/open.h"
#include "runtime/data/transform.h"
#include "runtime/report/metric.h"
#include "runtime/train/loss.h"
#include "runtime/train/optimizer.h"
#include "runtime/train/part_table.h"
#include "runtime/train/regularizer.h"
#include "runtime/train/schedule.h"

namespace graphrun {

class TrainRegistry {
 public:
  // Knows the built-in optimizers, regularizers, losses and schedules. Built-in metrics, data
  // formats and transforms are known to their rooms; a registry holds what comes on top of them.
  TrainRegistry();

  PartTable<Optimizer> optimizers{"optimizer"};
  PartTable<Regularizer> regularizers{"regularizer"};
  PartTable<Loss> losses{"loss"};
  PartTable<Schedule> schedules{"schedule"};

  // Errors: kPlugin for names that are taken.
  absl::Status AddMetric(PartInfo info, PartTable<Metric, const MetricOptions&>::Factory make);
  absl::Status AddFormat(DataFormat format);
  absl::Status AddTransform(TransformKind kind);

  // A built-in metric, or an added one. Errors: kUsage with the nearest name.
  absl::StatusOr<std::unique_ptr<Metric>> NewMetric(absl::string_view name,
                                                    const MetricOptions& options) const;

  const PartTable<Metric, const MetricOptions&>& metrics() const { return metrics_; }
  const std::vector<DataFormat>& formats() const { return formats_; }
  const std::vector<TransformKind>& transforms() const { return transforms_; }

 private:
  PartTable<Metric, const MetricOptions&> metrics_{"metric"};
  std::vector<DataFormat> formats_;
  std::vector<TransformKind> transforms_;
};

}  // namespace graphrun
