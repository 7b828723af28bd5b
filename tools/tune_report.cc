#include "tools/tune_report.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/report/html_page.h"
#include "runtime/report/json.h"
#include "runtime/report/plot.h"
#include "runtime/report/run_report.h"
#include "runtime/train/recipe.h"

namespace graphrun::cli {
namespace {

std::vector<std::string> Header(const Tuner& tuner) {
  std::vector<std::string> header = {"rank", "trial"};
  for (const Dimension& d : tuner.options().space) header.push_back(d.name);
  const std::string score = tuner.monitored().empty() ? "score" : tuner.monitored();
  header.insert(header.end(), {score, "epoch", "epochs", "time", "status"});
  return header;
}

std::vector<std::vector<std::string>> Rows(const Tuner& tuner) {
  std::vector<std::vector<std::string>> rows;
  for (const Trial* trial : tuner.Ranked()) {
    std::vector<std::string> row = {absl::StrCat(rows.size() + 1), absl::StrCat(trial->number)};
    row.insert(row.end(), trial->point.begin(), trial->point.end());
    row.push_back(trial->measured() ? absl::StrFormat("%.5g", trial->score) : "");
    row.push_back(trial->measured() ? absl::StrCat(trial->best_epoch) : "");
    row.push_back(absl::StrCat(trial->epochs));
    row.push_back(HumanSeconds(trial->seconds));
    row.push_back(trial->status);
    rows.push_back(std::move(row));
  }
  return rows;
}

// The best score among trials up to each one, beside the scores.
LineChart Progress(const Tuner& tuner) {
  LineChart chart;
  chart.frame = {"Best so far", "trial", tuner.monitored(), "", 640, 400};
  LineChart::Series scores, best;
  scores.name = "trial";
  scores.faint = true;
  best.name = "best so far";
  double value = NAN;
  for (const Trial& trial : tuner.trials()) {
    if (!trial.measured()) continue;
    const bool better = tuner.higher_is_better() ? trial.score > value : trial.score < value;
    if (std::isnan(value) || better) value = trial.score;
    for (auto* s : {&scores, &best}) s->x.push_back(static_cast<double>(trial.number));
    scores.y.push_back(trial.score);
    best.y.push_back(value);
  }
  chart.series = {scores, best};
  return chart;
}

// Scores over a dimension: points of a range, or the best and the mean of each choice.
std::string DimensionSvg(const Tuner& tuner, size_t index) {
  const Dimension& d = tuner.options().space[index];
  const PlotFrame frame = {
      absl::StrCat(tuner.monitored(), " by ", d.name), d.name, tuner.monitored(), "", 640, 400};
  if (d.is_range()) {
    ScatterChart chart;
    chart.frame = frame;
    if (d.log) chart.frame.x_label = absl::StrCat("log10 of ", d.name);
    ScatterChart::Group group;
    group.name = "trial";
    for (const Trial& trial : tuner.trials()) {
      double x;
      if (!trial.measured() || !absl::SimpleAtod(trial.point[index], &x)) continue;
      group.x.push_back(d.log ? std::log10(x) : x);
      group.y.push_back(trial.score);
    }
    chart.groups.push_back(std::move(group));
    return chart.ToSvg();
  }
  BarChart chart;
  chart.frame = frame;
  chart.series = {{"best", {}}, {"mean", {}}};
  for (const std::string& choice : d.choices) {
    double best = NAN, sum = 0;
    int64_t count = 0;
    for (const Trial& trial : tuner.trials()) {
      if (!trial.measured() || trial.point[index] != choice) continue;
      const bool better = tuner.higher_is_better() ? trial.score > best : trial.score < best;
      if (std::isnan(best) || better) best = trial.score;
      sum += trial.score;
      ++count;
    }
    chart.labels.push_back(choice);
    chart.series[0].values.push_back(best);
    chart.series[1].values.push_back(count > 0 ? sum / static_cast<double>(count) : NAN);
  }
  return chart.ToSvg();
}

std::string FileName(const std::string& name) {
  return absl::StrReplaceAll(name, {{"/", "_"}, {"*", "_"}, {".", "_"}});
}

std::string Csv(const Tuner& tuner) {
  std::string text = absl::StrJoin(Header(tuner), ",") + "\n";
  for (std::vector<std::string> row : Rows(tuner)) {
    for (std::string& cell : row)
      if (cell.find(',') != std::string::npos) cell = absl::StrCat("\"", cell, "\"");
    absl::StrAppend(&text, absl::StrJoin(row, ","), "\n");
  }
  return text;
}

absl::Status WriteChart(const std::string& name, const std::string& svg,
                        const std::string& folder) {
  return RunReport::Chart{name, svg}.Write(folder + "/plots");
}

absl::Status WriteBest(const Tuner& tuner, const Trial& best) {
  const std::string& folder = tuner.options().folder;
  GR_ASSIGN_OR_RETURN(recipe::Recipe recipe, tuner.RecipeOf(best));
  recipe.mutable_output()->clear_plots();
  GR_RETURN_IF_ERROR(WriteFileAtomic(folder + "/best.txtpb", PrintRecipe(recipe)));
  if (!FileExists(best.folder + "/best.onnx")) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(const std::string model, ReadFile(best.folder + "/best.onnx"));
  return WriteFileAtomic(folder + "/best.onnx", model);
}

}  // namespace

std::string TuneTable(const Tuner& tuner, size_t most) {
  std::vector<std::vector<std::string>> rows = Rows(tuner);
  const size_t left_out = rows.size() > most ? rows.size() - most : 0;
  rows.resize(rows.size() - left_out);
  rows.insert(rows.begin(), Header(tuner));
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  std::string text;
  for (const auto& row : rows) {
    for (size_t c = 0; c < row.size(); ++c) {
      std::string cell = row[c];
      if (c + 1 < row.size()) cell.resize(widths[c] + 2, ' ');
      text += cell;
    }
    text += "\n";
  }
  if (left_out > 0) absl::StrAppend(&text, "and ", left_out, " more in tune.csv\n");
  return text;
}

std::string TuneJson(const Tuner& tuner) {
  JsonWriter json(2);
  json.BeginObject().Field("folder", tuner.options().folder);
  json.Field("monitored", tuner.monitored()).Field("higher_is_better", tuner.higher_is_better());
  json.Key("trials").BeginArray();
  for (const Trial* trial : tuner.Ranked()) {
    json.BeginObject().Field("trial", trial->number).Key("values").BeginObject();
    for (size_t i = 0; i < trial->point.size(); ++i)
      json.Field(tuner.options().space[i].name, trial->point[i]);
    json.EndObject().Field("score", trial->score).Field("best_epoch", trial->best_epoch);
    json.Field("epochs", trial->epochs).Field("seconds", trial->seconds);
    json.Field("status", trial->status).Field("folder", trial->folder).EndObject();
  }
  return json.EndArray().EndObject().Finish() + "\n";
}

absl::Status WriteTuneReport(const Tuner& tuner) {
  const std::string& folder = tuner.options().folder;
  GR_RETURN_IF_ERROR(CreateDirs(folder + "/plots"));
  std::vector<std::string> charts = {Progress(tuner).ToSvg()};
  GR_RETURN_IF_ERROR(WriteChart("best_so_far", charts[0], folder));
  for (size_t i = 0; i < tuner.options().space.size(); ++i) {
    charts.push_back(DimensionSvg(tuner, i));
    const std::string name = FileName(tuner.options().space[i].name);
    GR_RETURN_IF_ERROR(WriteChart(absl::StrCat("by_", name), charts.back(), folder));
  }
  const std::vector<const Trial*> ranked = tuner.Ranked();
  HtmlPage page(absl::StrCat("Search: ", folder), absl::StrCat(tuner.trials().size(), " trials"));
  if (!ranked.empty() && ranked[0]->measured()) {
    const Trial& best = *ranked[0];
    GR_RETURN_IF_ERROR(WriteBest(tuner, best));
    std::vector<std::pair<std::string, std::string>> tiles = {
        {absl::StrCat("best ", tuner.monitored()), absl::StrFormat("%.5g", best.score)},
        {"trial", absl::StrCat(best.number)}};
    for (size_t i = 0; i < best.point.size(); ++i)
      tiles.emplace_back(tuner.options().space[i].name, best.point[i]);
    page.Tiles(tiles);
  }
  page.Charts(charts);
  page.Section("Trials");
  page.Table(Header(tuner), Rows(tuner));
  GR_RETURN_IF_ERROR(WriteFileAtomic(folder + "/report.html", page.Finish()));
  GR_RETURN_IF_ERROR(WriteFileAtomic(folder + "/tune.csv", Csv(tuner)));
  return WriteFileAtomic(folder + "/tune.json", TuneJson(tuner));
}

}  // namespace graphrun::cli
