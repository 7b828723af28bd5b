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

absl::Status WriteCharts(const std::vector<RunReport::Chart>& charts, const std::string& folder) {
  GR_RETURN_IF_ERROR(CreateDirs(folder));
  for (const RunReport::Chart& chart : charts) {
    const std::string path = JoinPath(folder, chart.FileName());
    GR_RETURN_IF_ERROR(WriteFileAtomic(path, chart.svg));
    Print(path, "\n");
  }
  return absl::OkStatus();
}

// Charts of the model that a run has made.
absl::StatusOr<std::vector<RunReport::Chart>> ModelCharts(const std::string& run,
                                                          const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const std::string path, ModelOf(run));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> model, ImportOnnx(path));
  std::vector<RunReport::Chart> charts;
  if (flags.On("weights")) charts = WeightCharts(*model);
  if (flags.On("boundary")) {
    GR_ASSIGN_OR_RETURN(const recipe::Recipe recipe, LoadRecipe(JoinPath(run, "recipe.txtpb")));
    auto chart = BoundaryChart(*model, *registry, recipe);
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
      return CheckpointError(folder, ": has no metrics.jsonl with a line in it: no run wrote here");
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
    Print(JoinPath(folder, "plots/" + chart.FileName()), "\n");
  return absl::OkStatus();
}

}  // namespace

Verb PlotVerb() {
  return {
      "plot",
      "RUN...",
      "draws the curves of a run, or of several in one picture",
      "Of one run: report.html and plots/ in its folder are written anew. --weights and --boundary "
      "draw its\nmodel instead.",
      "graphrun plot runs/digits\n"
      "graphrun plot runs/rings --boundary --weights\n"
      "graphrun plot runs/adam runs/sgd -o comparison",
      {{"output", "FOLDER", "where to write the svg files (several runs: plots)", false, 'o'},
       {"weights", "", "of one run: a histogram of each weight"},
       {"boundary", "", "of one run whose samples are two numbers: which class is where"}},
      1,
      -1,
      Run};
}

}  // namespace graphrun::cli
