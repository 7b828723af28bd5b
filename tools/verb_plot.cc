#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/onnx/import.h"
#include "runtime/report/run_report.h"
#include "runtime/train/recipe.h"
#include "tools/model_plots.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/run_path.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

void PrintPaths(const std::string& folder, const RunReport::Chart& chart) {
  for (const char* ending : {".svg", ".png"}) Print(JoinPath(folder, chart.FileName(ending)), "\n");
}

absl::Status WriteCharts(const std::vector<RunReport::Chart>& charts, const std::string& folder) {
  GR_RETURN_IF_ERROR(CreateDirs(folder));
  for (const RunReport::Chart& chart : charts) {
    GR_RETURN_IF_ERROR(chart.Write(folder));
    PrintPaths(folder, chart);
  }
  return absl::OkStatus();
}

// Charts of the model that a run has made.
absl::StatusOr<std::vector<RunReport::Chart>> ModelCharts(const std::string& run,
                                                          const Flags& flags) {
  std::vector<RunReport::Chart> charts;
  if (!flags.On("weights") && !flags.On("boundary") && !flags.On("gradients")) return charts;
  GR_ASSIGN_OR_RETURN(const recipe::Recipe recipe, LoadRecipe(JoinPath(run, "recipe.txtpb")));
  GR_ASSIGN_OR_RETURN(const Registries registries,
                      MakeRegistries(flags, {recipe.plugin().begin(), recipe.plugin().end()}));
  if (flags.On("gradients")) {
    GR_ASSIGN_OR_RETURN(charts, GradientCharts(run, *registries.ops, recipe, registries.parts));
  }
  if (!flags.On("weights") && !flags.On("boundary")) return charts;
  GR_ASSIGN_OR_RETURN(const std::string path, ModelOf(run));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> model, ImportOnnx(path));
  if (flags.On("weights")) {
    for (RunReport::Chart& chart : WeightCharts(*model)) charts.push_back(std::move(chart));
  }
  if (flags.On("boundary")) {
    auto chart = BoundaryChart(*model, *registries.ops, recipe);
    if (!chart.ok()) return Annotate(chart.status(), path);
    charts.push_back(*std::move(chart));
  }
  return charts;
}

absl::Status Run(const Flags& flags) {
  std::vector<RunReport> runs;
  for (const std::string& folder : flags.arguments()) {
    GR_ASSIGN_OR_RETURN(RunReport run, RunReport::Read(folder));
    if (run.metrics.empty()) {
      return CheckpointError(
          folder,
          ": has neither metrics.jsonl nor metrics.csv with a line in it: no run wrote here");
    }
    runs.push_back(std::move(run));
  }
  if (runs.size() > 1) {
    return WriteCharts(CompareRuns(runs), flags.Get("output", "plots"));
  }
  const std::string& folder = flags.argument(0);
  GR_ASSIGN_OR_RETURN(const std::vector<RunReport::Chart> more, ModelCharts(folder, flags));
  if (!more.empty()) {
    return WriteCharts(more, flags.Get("output", JoinPath(folder, "plots")));
  }
  if (flags.Has("output")) return WriteCharts(runs[0].Charts(), flags.Get("output"));
  GR_RETURN_IF_ERROR(runs[0].Write(folder, true));
  Print(JoinPath(folder, "report.html"), "\n");
  for (const RunReport::Chart& chart : runs[0].Charts())
    PrintPaths(JoinPath(folder, "plots"), chart);
  return absl::OkStatus();
}

}  // namespace

Verb PlotVerb() {
  return {"plot",
          "RUN...",
          "draws the curves of a run, or of several in one picture",
          "Of one run: report.html and plots/ in its folder are written anew. --weights, "
          "--gradients and\n--boundary draw its model instead. Each chart is written as svg and as "
          "png.",
          "graphrun plot runs/digits\n"
          "graphrun plot runs/rings --boundary --weights --gradients\n"
          "graphrun plot runs/adam runs/sgd -o comparison",
          {{"output", "FOLDER", "where to write the charts (several runs: plots)", false, 'o'},
           {"weights", "", "of one run: a histogram of each weight"},
           {"gradients", "", "of one run: a histogram of each weight's gradient in a batch"},
           {"boundary", "", "of one run whose samples are two numbers: which class is where"}},
          1,
          -1,
          Run};
}

}  // namespace graphrun::cli
