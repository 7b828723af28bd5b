#include "runtime/report/run_report.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/report/confusion.h"
#include "runtime/report/curves.h"
#include "runtime/report/html_page.h"
#include "runtime/report/plot.h"
#include "runtime/report/svg_image.h"
#include "runtime/report/terminal.h"

namespace graphrun {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

constexpr size_t kMostRowsShown = 60;  // of the table of epochs

// The file's text, or "" where there is none.
absl::StatusOr<std::string> ReadIfThere(const std::string& path) {
  return FileExists(path) ? ReadFile(path) : std::string();
}

// The cells of a line of metrics.csv; a quote within quotes is doubled.
std::vector<std::string> Cells(absl::string_view line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') {
      const bool doubled = quoted && i + 1 < line.size() && line[i + 1] == '"';
      if (doubled) {
        cells.back() += line[i++];
      } else {
        quoted = !quoted;
      }
    } else if (line[i] == ',' && !quoted) {
      cells.emplace_back();
    } else {
      cells.back() += line[i];
    }
  }
  return cells;
}

// The lines of metrics.csv as those of metrics.jsonl.
std::string LinesOfCsv(absl::string_view csv) {
  std::string lines;
  std::vector<std::string> names;
  for (const absl::string_view line : absl::StrSplit(csv, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> cells = Cells(line);
    if (names.empty()) {
      names = cells;
      continue;
    }
    JsonWriter json;
    json.BeginObject();
    for (size_t i = 0; i < std::min(cells.size(), names.size()); ++i) {
      double value = 0;
      int64_t whole = 0;
      if (absl::SimpleAtoi(cells[i], &whole)) {
        json.Key(names[i]).Int(whole);
      } else if (absl::SimpleAtod(cells[i], &value)) {
        json.Field(names[i], value);
      }
    }
    absl::StrAppend(&lines, json.EndObject().Finish(), "\n");
  }
  return lines;
}

std::string ValueText(const JsonValue& value) {
  switch (value.kind()) {
    case JsonValue::Kind::kString:
      return value.AsString();
    case JsonValue::Kind::kNumber:
      return value.is_int() ? absl::StrCat(value.AsInt()) : ShortestNumber(value.AsNumber());
    case JsonValue::Kind::kBool:
      return value.AsBool() ? "yes" : "no";
    case JsonValue::Kind::kNull:
      return "";
    case JsonValue::Kind::kArray: {
      std::vector<std::string> items;
      for (const JsonValue& item : value.items()) items.push_back(ValueText(item));
      return absl::StrJoin(items, ", ");
    }
    case JsonValue::Kind::kObject: {
      std::vector<std::string> items;
      for (const auto& member : value.members()) {
        items.push_back(absl::StrCat(member.first, ": ", ValueText(member.second)));
      }
      return absl::StrJoin(items, ", ");
    }
  }
  return "";
}

ConfusionMatrix MatrixOf(const RunSummary& summary) {
  ConfusionMatrix matrix;
  const auto n = static_cast<int64_t>(summary.confusion.size());
  if (!matrix.Grow(n).ok()) return matrix;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      matrix.AddCount(i, j, summary.confusion[static_cast<size_t>(i)][static_cast<size_t>(j)]);
    }
  }
  return matrix;
}

std::string ClassName(const RunSummary& summary, size_t i) {
  return i < summary.class_names.size() ? summary.class_names[i] : absl::StrCat(i);
}

BarChart ClassChart(const RunSummary& summary, const ConfusionMatrix& matrix) {
  BarChart chart;
  chart.frame = {"Precision and recall per class", "", "", "", kChartWidth, kChartHeight};
  chart.series = {{"precision", {}}, {"recall", {}}};
  for (int64_t c = 0; c < matrix.classes(); ++c) {
    chart.labels.push_back(ClassName(summary, static_cast<size_t>(c)));
    chart.series[0].values.push_back(matrix.Precision(c));
    chart.series[1].values.push_back(matrix.Recall(c));
  }
  return chart;
}

void AddMetricsTable(const RunReport& report, HtmlPage* page) {
  const std::vector<std::string> keys = MetricKeys(report.metrics);
  if (keys.empty()) return;
  std::vector<std::string> header = {"step", "epoch"};
  for (const std::string& key : keys) header.push_back(Spaced(key));
  std::vector<std::vector<std::string>> rows;
  const size_t n = report.metrics.size(), begin = n > kMostRowsShown ? n - kMostRowsShown : 0;
  for (size_t i = begin; i < n; ++i) {
    std::vector<std::string> cells;
    for (const char* key : {"step", "epoch"}) {
      const JsonValue* value = report.metrics[i].Find(key);
      cells.push_back(value == nullptr ? "" : ValueText(*value));
    }
    for (const std::string& key : keys) {
      const JsonValue* value = report.metrics[i].Find(key);
      cells.push_back(value == nullptr ? "" : HumanNumber(value->AsNumber()));
    }
    rows.push_back(std::move(cells));
  }
  page->Section(begin == 0
                    ? "Metrics"
                    : absl::StrCat("Metrics, the last ", kMostRowsShown, " of ", n, " rows"));
  page->Table(header, rows);
}

}  // namespace

std::string RunReport::Chart::FileName(absl::string_view ending) const {
  std::string file = name;
  for (char& c : file) {
    if (c == '/' || c == '\0') c = '-';
  }
  return absl::StrCat(file, ending);
}

absl::Status RunReport::Chart::Write(const std::string& folder) const {
  GR_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, FileName(".svg")), svg));
  GR_ASSIGN_OR_RETURN(const std::string png, SvgToPng(svg));
  return WriteFileAtomic(JoinPath(folder, FileName(".png")), png);
}

absl::StatusOr<RunReport> RunReport::Read(const std::string& folder) {
  if (!IsFolder(folder)) return IoError(folder, ": there is no such folder");
  RunReport report;
  std::string metrics = JoinPath(folder, "metrics.jsonl");
  const bool csv = !FileExists(metrics);
  if (csv) metrics = JoinPath(folder, "metrics.csv");
  GR_ASSIGN_OR_RETURN(std::string text, ReadIfThere(metrics));
  // A run that is being written, or was killed, may end in a part of a line.
  text.resize(text.find_last_of('\n') == std::string::npos ? 0 : text.find_last_of('\n') + 1);
  if (csv) text = LinesOfCsv(text);
  auto rows = JsonValue::ParseLines(text);
  if (!rows.ok()) return Annotate(rows.status(), metrics);
  report.metrics = *std::move(rows);

  const std::string summary = JoinPath(folder, "summary.json");
  if (FileExists(summary)) {
    GR_ASSIGN_OR_RETURN(text, ReadFile(summary));
    auto parsed = RunSummary::FromJson(text);
    if (!parsed.ok()) return Annotate(parsed.status(), summary);
    report.summary = *std::move(parsed);
  }
  if (report.summary.name.empty()) report.summary.name = BaseName(folder);

  const std::string environment = JoinPath(folder, "env.json");
  if (FileExists(environment)) {
    GR_ASSIGN_OR_RETURN(text, ReadFile(environment));
    const auto parsed = JsonValue::Parse(text);
    if (!parsed.ok()) return Annotate(parsed.status(), environment);
    for (const auto& member : parsed->members()) {
      report.environment.emplace_back(Spaced(member.first), ValueText(member.second));
    }
  }
  GR_ASSIGN_OR_RETURN(report.recipe, ReadIfThere(JoinPath(folder, "recipe.txtpb")));
  return report;
}

std::vector<RunReport::Chart> RunReport::Charts() const {
  const Curves curves = CollectCurves(metrics, IsPerEpoch(metrics));
  std::vector<Chart> charts;
  for (const std::string& metric : curves.order) {
    if (IsLayer(metric)) continue;
    charts.push_back(CurveChart(metric, curves.of_metric.at(metric), curves.per_epoch, summary));
  }
  if (absl::optional<Chart> layers = LayersChart(curves)) charts.push_back(*std::move(layers));
  charts.insert(charts.end(), more_charts.begin(), more_charts.end());
  if (!summary.confusion.empty()) {
    const ConfusionMatrix matrix = MatrixOf(summary);
    HeatMap confusion = HeatMap::Confusion(matrix, summary.class_names);
    confusion.frame.width = kChartWidth;
    charts.push_back({"confusion", confusion.ToSvg()});
    if (matrix.classes() <= 40) {
      charts.push_back({"classes", ClassChart(summary, matrix).ToSvg()});
    }
  }
  return charts;
}

std::string RunReport::ToHtml() const {
  HtmlPage page(summary.name, summary.status.empty()
                                  ? "graphrun training run"
                                  : absl::StrCat("graphrun training run, ", summary.status));
  Pairs tiles;
  if (!summary.monitored.empty() && std::isfinite(summary.best_value)) {
    tiles.emplace_back(absl::StrCat("best ", Spaced(summary.monitored)),
                       HumanNumber(summary.best_value));
    tiles.emplace_back("at", absl::StrCat("epoch ", summary.best_epoch));
  }
  for (const auto& result : summary.results) {
    tiles.emplace_back(Spaced(result.first), HumanNumber(result.second));
  }
  if (summary.epochs > 0) tiles.emplace_back("epochs", absl::StrCat(summary.epochs));
  if (summary.steps > 0) tiles.emplace_back("steps", absl::StrCat(summary.steps));
  if (summary.seconds > 0) tiles.emplace_back("time", HumanSeconds(summary.seconds));
  if (!summary.best_model.empty()) tiles.emplace_back("best model", summary.best_model);
  page.Tiles(tiles);
  if (!summary.warnings.empty()) page.Section("Warnings");
  for (const auto& warning : summary.warnings) page.Warning(warning.first, warning.second);
  std::vector<std::string> svgs;
  for (Chart& chart : Charts()) svgs.push_back(std::move(chart.svg));
  if (!svgs.empty()) page.Section("Charts");
  page.Charts(svgs);
  if (!summary.facts.empty()) page.Section("Configuration");
  page.Pairs(summary.facts);
  if (!recipe.empty()) page.Folded("Recipe", recipe);
  AddMetricsTable(*this, &page);
  if (!environment.empty()) page.Section("Environment");
  page.Pairs(environment);
  return page.Finish();
}

absl::Status RunReport::Write(const std::string& folder, bool plots) const {
  GR_RETURN_IF_ERROR(WriteFileAtomic(JoinPath(folder, "report.html"), ToHtml()));
  if (!plots) return absl::OkStatus();
  const std::string plot_folder = JoinPath(folder, "plots");
  GR_RETURN_IF_ERROR(CreateDirs(plot_folder));
  for (const Chart& chart : Charts()) GR_RETURN_IF_ERROR(chart.Write(plot_folder));
  return absl::OkStatus();
}

}  // namespace graphrun
