#include <unistd.h>

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/report/console.h"
#include "runtime/report/json.h"
#include "runtime/report/run_report.h"
#include "runtime/train/lr_range.h"
#include "runtime/train/recipe.h"
#include "runtime/train/run_folder.h"
#include "runtime/train/trainer.h"
#include "tools/output.h"
#include "tools/recipe_flags.h"
#include "tools/registry.h"
#include "tools/signals.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

// "1e-7,10" or "1e-7,10,200".
absl::StatusOr<LrRangeOptions> ReadRange(const std::string& text) {
  LrRangeOptions options;
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  if ((parts.size() != 2 && parts.size() != 3) || !absl::SimpleAtod(parts[0], &options.low) ||
      !absl::SimpleAtod(parts[1], &options.high) ||
      (parts.size() == 3 && !absl::SimpleAtoi(parts[2], &options.steps))) {
    return UsageError("--lr-range takes LOW,HIGH or LOW,HIGH,STEPS such as 1e-7,10,100, not \"",
                      text, "\"");
  }
  return options;
}

// The range test instead of training: two files beside where the run will be, and no run.
absl::Status FindRate(const recipe::Recipe& recipe, const Registries& registries,
                      const Flags& flags, ProgressMode mode) {
  GR_ASSIGN_OR_RETURN(LrRangeOptions options, ReadRange(flags.Get("lr-range", "1e-7,10")));
  options.signal = StopSignal();
  CatchSignals();
  GR_ASSIGN_OR_RETURN(const LrRange range,
                      FindLearningRate(recipe, *registries.ops, options, registries.parts));
  const std::string folder = RunFolderPath(recipe);
  GR_RETURN_IF_ERROR(CreateDirs(folder));
  GR_RETURN_IF_ERROR(WriteFileAtomic(folder + "/lr_range.csv", range.ToCsv()));
  const RunReport::Chart chart = {"lr_range", range.ToSvg()};
  GR_RETURN_IF_ERROR(chart.Write(folder));
  if (mode == ProgressMode::kJson) {
    JsonWriter json(2);
    json.BeginObject().Field("suggestion", range.suggestion).Field("least_at", range.least_at);
    json.Field("diverged", range.diverged).Field("lr", range.lr).Field("loss", range.loss);
    json.Field("smoothed", range.smoothed).Field("plot", folder + "/lr_range.svg").EndObject();
    PrintText(json.Finish() + "\n");
  } else {
    Print(range.lr.size(), " steps from lr ", options.low,
          range.lr.empty() ? "" : absl::StrFormat(" to %.3g", range.lr.back()),
          range.diverged ? ", where the loss diverges" : "", "\n");
    if (range.suggestion == range.suggestion) {
      Print(absl::StrFormat("the loss falls steepest at --lr %.2g, and is least at %.2g\n",
                            range.suggestion, range.least_at));
    } else {
      Print("the loss falls nowhere: look at data, loss and --init, or widen --lr-range\n");
    }
    Print("the curve is in ", folder, "/lr_range.svg and lr_range.csv\n");
  }
  if (*StopSignal() != 0) return StoppedBySignal(*StopSignal());
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(recipe::Recipe recipe, ReadRecipe(flags));
  if (flags.On("json")) recipe.mutable_output()->set_progress("json");
  if (flags.On("print-recipe")) {
    PrintText(PrintRecipe(recipe));
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const ProgressMode mode, ProgressModeFromName(recipe.output().progress()));
  GR_ASSIGN_OR_RETURN(const Registries registries,
                      MakeRegistries(flags, {recipe.plugin().begin(), recipe.plugin().end()}));
  if (flags.On("find-lr")) return FindRate(recipe, registries, flags, mode);
  const std::unique_ptr<Console> console = Console::Make(mode, Terminal::Detect(STDOUT_FILENO));
  TrainEnvironment environment;
  environment.command_line = flags.command_line();
  environment.console = console.get();
  environment.signal = StopSignal();
  environment.save_request = SaveRequest();
  environment.force = flags.On("force");
  environment.resume = flags.On("resume");
  environment.dry_run = flags.On("dry-run");
  CatchSignals();
  GR_ASSIGN_OR_RETURN(const TrainResult result,
                      Train(recipe, *registries.ops, environment, registries.parts));
  if (result.signal != 0) return StoppedBySignal(result.signal);
  return absl::OkStatus();
}

}  // namespace

Verb TrainVerb() {
  Verb verb{
      "train",
      "[RECIPE.txtpb] [MODEL.onnx] [FIELD=VALUE...]",
      "trains a model on data",
      "Everything can stand in a recipe file (protobuf's text format, or JSON); flags and "
      "assignments of fields\nby their path stand above it. Ctrl-C finishes the step, saves and "
      "exits with 130; a second one stops at once.",
      "graphrun train model.onnx --data digits.csv --target digit --val-split 0.1 --epochs 20\n"
      "graphrun train model.onnx --data images/ --optimizer adam --lr 1e-3 --schedule cosine\n"
      "graphrun train recipe.txtpb --out runs/second optimizer.adam.beta1=0.95\n"
      "graphrun train model.onnx --data x.npy --l2 1e-4 --clip-norm 1 --patience 5\n"
      "graphrun train recipe.txtpb --find-lr\n"
      "graphrun train recipe.txtpb --resume",
      RecipeFlags(),
      1,
      -1,
      Run};
  verb.flags.push_back({"json", "", "the same as --progress json"});
  verb.flags.push_back({"force", "", "overwrite a run that is already in the folder"});
  verb.flags.push_back({"resume", "", "go on from the newest checkpoint"});
  verb.flags.push_back({"dry-run", "", "build and plan everything, train nothing"});
  verb.flags.push_back(
      {"find-lr", "",
       "instead of training: raise the rate step by step, plot the loss, suggest one"});
  verb.flags.push_back({"lr-range", "LOW,HIGH,STEPS", "of --find-lr (1e-7,10,100)"});
  verb.flags.push_back({"print-recipe", "", "print the recipe that these words make, and stop"});
  return verb;
}

}  // namespace graphrun::cli
