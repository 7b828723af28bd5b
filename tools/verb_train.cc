#include <unistd.h>

#include <atomic>
#include <csignal>
#include <string>

#include "absl/strings/str_join.h"
#include "runtime/base/status.h"
#include "runtime/report/console.h"
#include "runtime/train/recipe.h"
#include "runtime/train/trainer.h"
#include "tools/output.h"
#include "tools/recipe_flags.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

// Signal handlers reach nothing but globals.
std::atomic<int> g_signal{0};
std::atomic<bool> g_save{false};

void OnStop(int signal) {
  if (g_signal.exchange(signal) != 0) _exit(128 + signal);
}
void OnSave(int) { g_save = true; }

void CatchSignals() {
  struct sigaction stop = {};
  stop.sa_handler = OnStop;
  sigaction(SIGINT, &stop, nullptr);
  sigaction(SIGTERM, &stop, nullptr);
  struct sigaction save = {};
  save.sa_handler = OnSave;
  save.sa_flags = SA_RESTART;
  sigaction(SIGHUP, &save, nullptr);
}

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const recipe::Recipe recipe, ReadRecipe(flags));
  if (flags.On("print-recipe")) {
    PrintText(PrintRecipe(recipe));
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const ProgressMode mode, ProgressModeFromName(recipe.output().progress()));
  GR_ASSIGN_OR_RETURN(const Registries registries,
                      MakeRegistries(flags, {recipe.plugin().begin(), recipe.plugin().end()}));
  const std::unique_ptr<Console> console = Console::Make(mode, Terminal::Detect(STDOUT_FILENO));
  TrainEnvironment environment;
  environment.command_line = flags.command_line();
  environment.console = console.get();
  environment.signal = &g_signal;
  environment.save_request = &g_save;
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
      "graphrun train recipe.txtpb --resume",
      RecipeFlags(),
      1,
      -1,
      Run};
  verb.flags.push_back({"force", "", "overwrite a run that is already in the folder"});
  verb.flags.push_back({"resume", "", "go on from the newest checkpoint"});
  verb.flags.push_back({"dry-run", "", "build and plan everything, train nothing"});
  verb.flags.push_back({"print-recipe", "", "print the recipe that these words make, and stop"});
  return verb;
}

}  // namespace graphrun::cli
