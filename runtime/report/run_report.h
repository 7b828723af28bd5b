// RunReport: the charts and the page of one training run, from what the run left in its folder.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/report/json.h"
#include "runtime/report/run_summary.h"

namespace graphrun {

struct RunReport {
  struct Chart {
    std::string name;  // "loss", "weights/fc1.weight"
    std::string svg;
    // The name as one file: "weights-fc1.weight.svg".
    std::string FileName(absl::string_view ending) const;
    absl::Status Write(const std::string& folder) const;  // NAME.svg and NAME.png
  };
  RunSummary summary;
  std::vector<JsonValue> metrics;                                // rows of metrics.jsonl
  std::vector<std::pair<std::string, std::string>> environment;  // from env.json
  std::string recipe;                                            // text of recipe.txtpb
  std::vector<Chart> more_charts;                                // placed after the curves

  // Reads metrics.jsonl (else metrics.csv), summary.json, env.json and recipe.txtpb; each may be
  // missing. Errors: kIo where `folder` is none; kData, naming file and place, where one is broken.
  static absl::StatusOr<RunReport> Read(const std::string& folder);

  // A chart for each metric, where "val_x" and "test_x" join "x", with a star on the best of the
  // monitored one; then the confusion matrix and the measures per class.
  std::vector<Chart> Charts() const;
  std::string ToHtml() const;
  // Writes report.html and, where `plots`, plots/NAME.svg and NAME.png for every chart.
  absl::Status Write(const std::string& folder, bool plots) const;
};

// A chart for each metric that at least one of the runs logged, with a line for each run (its
// validation values where it has them).
std::vector<RunReport::Chart> CompareRuns(absl::Span<const RunReport> runs);

}  // namespace graphrun
