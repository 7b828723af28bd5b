#include "runtime/train/train_registry.h"

#include <algorithm>

#include "runtime/base/status.h"
#include "runtime/base/text.h"

namespace graphrun {
namespace {

// Whether `name` may be added to a list with these built-in names and these added ones.
template <typename Added>
absl::Status CheckName(const char* what, const std::string& name, const std::string& provider,
                       const std::vector<std::string>& built_in, const std::vector<Added>& added) {
  PartInfo info, other;
  info.name = name;
  info.provider = provider;
  bool taken = std::find(built_in.begin(), built_in.end(), name) != built_in.end();
  for (const Added& a : added) {
    if (a.name != name) continue;
    taken = true;
    other.provider = a.provider;
  }
  return CheckNewPart(what, info, taken ? &other : nullptr);
}

}  // namespace

TrainRegistry::TrainRegistry() {
  AddOptimizers(&optimizers);
  AddRegularizers(&regularizers);
  AddLosses(&losses);
  AddSchedules(&schedules);
}

absl::Status TrainRegistry::AddMetric(PartInfo info,
                                      PartTable<Metric, const MetricOptions&>::Factory make) {
  if (MakeMetric(info.name).ok()) {
    return PluginError("metric \"", info.name, "\" is there already (built in)");
  }
  return metrics_.Add(std::move(info), std::move(make));
}

absl::Status TrainRegistry::AddFormat(DataFormat format) {
  GR_RETURN_IF_ERROR(
      CheckName("data format", format.name, format.provider, DataFormatNames(), formats_));
  formats_.push_back(std::move(format));
  return absl::OkStatus();
}

absl::Status TrainRegistry::AddTransform(TransformKind kind) {
  GR_RETURN_IF_ERROR(
      CheckName("transform", kind.name, kind.provider, TransformNames(), transforms_));
  transforms_.push_back(std::move(kind));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Metric>> TrainRegistry::NewMetric(
    absl::string_view name, const MetricOptions& options) const {
  const auto* row = metrics_.Find(name);
  if (row != nullptr) return metrics_.Make({std::string(name), {}}, options);
  absl::StatusOr<std::unique_ptr<Metric>> metric = MakeMetric(name, options);
  if (metric.ok() || metrics_.rows().empty()) return metric;
  std::vector<std::string> names = MetricNames();
  for (const std::string& added : metrics_.Names()) names.push_back(added);
  return NoSuchPart("metric", name, names);
}

}  // namespace graphrun
