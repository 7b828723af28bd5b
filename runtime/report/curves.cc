#include "runtime/report/curves.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "runtime/report/plot.h"
#include "runtime/report/terminal.h"

namespace graphrun {
namespace {

constexpr size_t kNoisy = 200;  // points from which smoothing helps the eye
constexpr size_t kMostLayers = 12;
constexpr char kLayerPrefix[] = "gradient_norm/";

// "val_loss" is split into part "val" and metric "loss"; "loss" has part "train".
std::pair<std::string, std::string> SplitName(absl::string_view name) {
  for (const char* part : {"train", "val", "test"}) {
    const std::string prefix = absl::StrCat(part, "_");
    if (absl::StartsWith(name, prefix) && name.size() > prefix.size()) {
      return {part, std::string(name.substr(prefix.size()))};
    }
  }
  return {"train", std::string(name)};
}

std::string PartName(const std::string& part) { return part == "val" ? "validation" : part; }

// The mean of the neighbours on both sides, whose weight halves every 60th part of the series.
std::vector<double> Smoothed(const std::vector<double>& y) {
  const size_t n = y.size();
  const double keep = std::pow(0.5, 60.0 / static_cast<double>(n));
  std::vector<double> sums(n), weights(n);
  const auto sweep = [&](bool backwards) {
    double sum = 0, weight = 0;
    for (size_t k = 0; k < n; ++k) {
      const size_t i = backwards ? n - 1 - k : k;
      // The value itself counts on the way forwards only.
      if (backwards) {
        sums[i] += sum;
        weights[i] += weight;
      }
      if (std::isfinite(y[i])) {
        sum += y[i];
        weight += 1;
      }
      if (!backwards) {
        sums[i] = sum;
        weights[i] = weight;
      }
      sum *= keep;
      weight *= keep;
    }
  };
  sweep(false);
  sweep(true);
  std::vector<double> smooth(n);
  for (size_t i = 0; i < n; ++i) smooth[i] = weights[i] > 0 ? sums[i] / weights[i] : y[i];
  return smooth;
}

std::string ChartTitle(const std::string& metric) {
  if (metric == "lr") return "Learning rate";
  std::string title = Spaced(metric);
  if (!title.empty() && title[0] >= 'a' && title[0] <= 'z') title[0] -= 'a' - 'A';
  return title;
}

}  // namespace

bool IsLayer(absl::string_view metric) { return absl::StartsWith(metric, kLayerPrefix); }

std::string Spaced(absl::string_view name) { return absl::StrReplaceAll(name, {{"_", " "}}); }

bool IsPerEpoch(const std::vector<JsonValue>& rows) {
  int64_t last = -1;
  for (const JsonValue& row : rows) {
    const JsonValue* epoch = row.Find("epoch");
    if (epoch == nullptr || !epoch->is_int() || epoch->AsInt() <= last) return false;
    last = epoch->AsInt();
  }
  return true;
}

std::vector<std::string> MetricKeys(const std::vector<JsonValue>& rows) {
  std::vector<std::string> keys;
  std::map<std::string, bool> seen;
  for (const JsonValue& row : rows) {
    for (const auto& member : row.members()) {
      if (member.first == "step" || member.first == "epoch") continue;
      if (!member.second.is_number() && !member.second.is_null()) continue;
      if (!std::exchange(seen[member.first], true)) keys.push_back(member.first);
    }
  }
  return keys;
}

Curves CollectCurves(const std::vector<JsonValue>& rows, bool per_epoch) {
  Curves curves;
  curves.per_epoch = per_epoch;
  for (const std::string& key : MetricKeys(rows)) {
    const auto name = SplitName(key);
    Curve curve{key, name.first, {}, {}};
    for (const JsonValue& row : rows) {
      const JsonValue* x = row.Find(per_epoch ? "epoch" : "step");
      const JsonValue* y = row.Find(key);
      if (x == nullptr || y == nullptr) continue;
      curve.x.push_back(x->AsNumber());
      curve.y.push_back(y->AsNumber());
    }
    std::vector<Curve>& of_metric = curves.of_metric[name.second];
    if (of_metric.empty()) curves.order.push_back(name.second);
    of_metric.push_back(std::move(curve));
  }
  return curves;
}

RunReport::Chart CurveChart(const std::string& metric, const std::vector<Curve>& curves,
                            bool per_epoch, const RunSummary& summary) {
  LineChart chart;
  chart.frame = {ChartTitle(metric), per_epoch ? "epoch" : "step", "", "", kChartWidth,
                 kChartHeight};
  chart.whole_x = true;
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (const Curve& curve : curves) {
    LineChart::Series series;
    series.name = PartName(curve.part);
    series.x = curve.x;
    series.y = curve.y;
    for (const double y : curve.y) {
      if (!std::isfinite(y)) continue;
      low = std::min(low, y);
      high = std::max(high, y);
    }
    if (curve.y.size() >= kNoisy && metric != "lr") {
      LineChart::Series raw = series;
      raw.faint = true;
      chart.series.push_back(std::move(raw));
      series.y = Smoothed(curve.y);
    }
    const double best_x = static_cast<double>(per_epoch ? summary.best_epoch : summary.best_step);
    if (curve.key == summary.monitored && std::isfinite(summary.best_value)) {
      series.mark = LineChart::Mark{best_x, summary.best_value,
                                    absl::StrCat("best ", HumanNumber(summary.best_value))};
    }
    chart.series.push_back(std::move(series));
  }
  if (curves.size() == 1) {
    chart.frame.y_label = metric == "lr" ? "learning rate" : Spaced(metric);
    chart.series.back().name = chart.frame.y_label;
  }
  // Losses that fall by more than a factor of 30 are read off a logarithmic axis.
  chart.log_y = low > 0 && high / low > 30 && absl::StrContains(metric, "loss");
  return {metric, chart.ToSvg()};
}

absl::optional<RunReport::Chart> LayersChart(const Curves& curves) {
  std::vector<const Curve*> layers;
  for (const std::string& metric : curves.order) {
    if (IsLayer(metric)) layers.push_back(&curves.of_metric.at(metric).front());
  }
  if (layers.empty()) return absl::nullopt;
  LineChart chart;
  chart.frame = {"Gradient norm by layer",
                 curves.per_epoch ? "epoch" : "step",
                 "norm of the gradient",
                 "",
                 kChartWidth,
                 kChartHeight};
  chart.whole_x = chart.log_y = true;
  const size_t shown = std::min(layers.size(), kMostLayers);
  if (shown < layers.size())
    chart.frame.note = absl::StrCat(shown, " of ", layers.size(), " layers");
  for (size_t i = 0; i < shown; ++i) {
    // The first, the last, and some between.
    const Curve& layer = *layers[shown < 2 ? 0 : i * (layers.size() - 1) / (shown - 1)];
    LineChart::Series& series = chart.series.emplace_back();
    series.name = layer.key.substr(std::strlen(kLayerPrefix));
    series.x = layer.x;
    series.y = layer.y;
  }
  return RunReport::Chart{"gradient_norm_by_layer", chart.ToSvg()};
}

std::vector<RunReport::Chart> CompareRuns(absl::Span<const RunReport> runs) {
  bool per_epoch = true;
  for (const RunReport& run : runs) per_epoch = per_epoch && IsPerEpoch(run.metrics);
  std::vector<std::string> order;
  std::map<std::string, LineChart> charts;
  for (const RunReport& run : runs) {
    const Curves curves = CollectCurves(run.metrics, per_epoch);
    for (const std::string& metric : curves.order) {
      const std::vector<Curve>& parts = curves.of_metric.at(metric);
      const Curve* shown = &parts.front();
      for (const Curve& part : parts) {
        if (part.part == "val") shown = &part;
      }
      LineChart& chart = charts[metric];
      if (chart.series.empty()) order.push_back(metric);
      LineChart::Series& series = chart.series.emplace_back();
      series.name = run.summary.name;
      series.x = shown->x;
      series.y = shown->part == "val" || shown->y.size() < kNoisy || metric == "lr"
                     ? shown->y
                     : Smoothed(shown->y);
    }
  }
  std::vector<RunReport::Chart> drawn;
  for (const std::string& metric : order) {
    LineChart& chart = charts[metric];
    chart.frame = {ChartTitle(metric), per_epoch ? "epoch" : "step", "", "", kChartWidth,
                   kChartHeight};
    chart.whole_x = true;
    // Gradients of different networks differ by orders of magnitude.
    chart.log_y = IsLayer(metric);
    drawn.push_back({metric, chart.ToSvg()});
  }
  return drawn;
}

}  // namespace graphrun
