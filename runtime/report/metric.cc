#include "runtime/report/metric.h"

#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/report/classification.h"
#include "runtime/report/regression.h"

namespace graphrun {
namespace {

using Options = const MetricOptions&;
using Average = ConfusionMatrix::Average;
using Maker = std::unique_ptr<Metric> (*)(Options);

std::unique_ptr<Metric> Confusion(std::string name, Options options,
                                  ConfusionMetric::Measure measure) {
  return std::make_unique<ConfusionMetric>(std::move(name), options, std::move(measure));
}

struct Row {
  const char* name;
  Maker make;
};

template <ErrorMetric::Kind kKind>
std::unique_ptr<Metric> MakeErrorMetric(Options) {
  return std::make_unique<ErrorMetric>(kKind);
}
template <MultiLabel::Kind kKind>
std::unique_ptr<Metric> MakeMultiLabel(Options o) {
  return std::make_unique<MultiLabel>(kKind, o);
}

struct AverageRow {
  const char* suffix;
  Average average;
};
constexpr AverageRow kAverages[] = {
    {"", Average::kMacro}, {"_micro", Average::kMicro}, {"_weighted", Average::kWeighted}};

struct MeasureRow {
  const char* name;
  double (ConfusionMatrix::*average)(Average) const;
  double (ConfusionMatrix::*of_class)(int64_t) const;
};
constexpr MeasureRow kMeasures[] = {
    {"precision", &ConfusionMatrix::Precision, &ConfusionMatrix::Precision},
    {"recall", &ConfusionMatrix::Recall, &ConfusionMatrix::Recall},
    {"f1", &ConfusionMatrix::F1, &ConfusionMatrix::F1},
};

constexpr Row kRows[] = {
    {"accuracy",
     [](Options o) -> std::unique_ptr<Metric> { return std::make_unique<Accuracy>(o); }},
    {"top5", [](Options o) -> std::unique_ptr<Metric> { return std::make_unique<TopK>(5, o); }},
    {"balanced_accuracy",
     [](Options o) {
       return Confusion("balanced_accuracy", o,
                        [](const ConfusionMatrix& m) { return m.BalancedAccuracy(); });
     }},
    {"mcc",
     [](Options o) {
       return Confusion("mcc", o, [](const ConfusionMatrix& m) { return m.Matthews(); });
     }},
    {"roc_auc",
     [](Options o) -> std::unique_ptr<Metric> { return std::make_unique<RocAucMetric>(o); }},
    {"log_loss", [](Options o) -> std::unique_ptr<Metric> { return std::make_unique<LogLoss>(o); }},
    {"mse", MakeErrorMetric<ErrorMetric::Kind::kMse>},
    {"rmse", MakeErrorMetric<ErrorMetric::Kind::kRmse>},
    {"mae", MakeErrorMetric<ErrorMetric::Kind::kMae>},
    {"max_error", MakeErrorMetric<ErrorMetric::Kind::kMax>},
    {"r2", [](Options) -> std::unique_ptr<Metric> { return std::make_unique<R2>(); }},
    {"subset_accuracy", MakeMultiLabel<MultiLabel::Kind::kSubsetAccuracy>},
    {"hamming_loss", MakeMultiLabel<MultiLabel::Kind::kHammingLoss>},
    {"multilabel_f1", MakeMultiLabel<MultiLabel::Kind::kMicroF1>},
};

// "precision", "recall_micro", "f1[3]", ...; nullptr where `name` is none of these.
std::unique_ptr<Metric> MakeMeasure(absl::string_view name, Options options) {
  for (const MeasureRow& row : kMeasures) {
    for (const AverageRow& average : kAverages) {
      if (name != absl::StrCat(row.name, average.suffix)) continue;
      const auto measure = row.average;
      const Average kind = average.average;
      return Confusion(std::string(name), options,
                       [measure, kind](const ConfusionMatrix& m) { return (m.*measure)(kind); });
    }
    absl::string_view rest = name;
    int64_t c = 0;
    if (!absl::ConsumePrefix(&rest, absl::StrCat(row.name, "[")) ||
        !absl::ConsumeSuffix(&rest, "]") || !absl::SimpleAtoi(rest, &c) || c < 0) {
      continue;
    }
    const auto measure = row.of_class;
    return Confusion(std::string(name), options, [measure, c](const ConfusionMatrix& m) {
      if (m.total() == 0) return std::numeric_limits<double>::quiet_NaN();
      return c < m.classes() ? (m.*measure)(c) : 0.0;
    });
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Metric>> MakeMetric(absl::string_view name,
                                                   const MetricOptions& options) {
  for (const Row& row : kRows) {
    if (name == row.name) return row.make(options);
  }
  if (auto metric = MakeMeasure(name, options)) return metric;
  absl::string_view rest = name;
  int64_t k = 0;
  if (absl::ConsumePrefix(&rest, "top") && absl::SimpleAtoi(rest, &k) && k >= 1) {
    return std::unique_ptr<Metric>(std::make_unique<TopK>(k, options));
  }
  const std::vector<std::string> names = MetricNames();
  return UsageError("there is no metric \"", name, "\"; there are ", absl::StrJoin(names, ", "),
                    ".", DidYouMean(name, names));
}

std::vector<std::string> MetricNames() {
  std::vector<std::string> names;
  for (const Row& row : kRows) {
    if (names.size() == 2) {
      for (const MeasureRow& measure : kMeasures) {
        for (const AverageRow& average : kAverages) {
          names.push_back(absl::StrCat(measure.name, average.suffix));
        }
      }
    }
    names.emplace_back(row.name);
  }
  return names;
}

}  // namespace graphrun
