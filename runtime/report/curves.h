// The curves in a run's metrics, and their charts.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "runtime/report/run_report.h"

namespace graphrun {

// Two of them stand side by side on the page at their own size.
inline constexpr int kChartWidth = 640, kChartHeight = 400;

// One metric's values of one part.
struct Curve {
  std::string key, part;
  std::vector<double> x, y;
};

// The metrics of a run: "val_x", "test_x" and "train_x" (or "x" alone) are parts of "x".
struct Curves {
  bool per_epoch = false;          // the rows are one an epoch and drawn over epochs, else steps
  std::vector<std::string> order;  // metrics as they appear first
  std::map<std::string, std::vector<Curve>> of_metric;
};
Curves CollectCurves(const std::vector<JsonValue>& rows, bool per_epoch);

// True where every row has an epoch above that of the row before.
bool IsPerEpoch(const std::vector<JsonValue>& rows);

// The names of the numbers in all rows but "step" and "epoch", in the order of their first
// appearance.
std::vector<std::string> MetricKeys(const std::vector<JsonValue>& rows);

// A line for each part, with a star on the best of the summary's monitored metric.
RunReport::Chart CurveChart(const std::string& metric, const std::vector<Curve>& curves,
                            bool per_epoch, const RunSummary& summary);

// The norms of the layers' gradients ("gradient_norm/fc1.weight"), on a logarithmic axis; nothing
// where there are none.
absl::optional<RunReport::Chart> LayersChart(const Curves& curves);
bool IsLayer(absl::string_view metric);

// "val_loss" as people read it: "val loss".
std::string Spaced(absl::string_view name);

}  // namespace graphrun
