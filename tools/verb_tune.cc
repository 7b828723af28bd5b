#include "runtime/base/status.h"
#include "runtime/train/run_folder.h"
#include "tools/output.h"
#include "tools/recipe_flags.h"
#include "tools/registry.h"
#include "tools/signals.h"
#include "tools/tune_report.h"
#include "tools/tuner.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

constexpr size_t kMostRows = 30;

absl::StatusOr<TuneOptions> ReadOptions(const Flags& flags, const recipe::Recipe& recipe) {
  TuneOptions o;
  for (const std::string& text : flags.All("vary")) {
    GR_ASSIGN_OR_RETURN(Dimension d, Dimension::Parse(text));
    o.space.push_back(std::move(d));
  }
  if (o.space.empty()) {
    return UsageError(
        "--vary says what to search, such as --vary lr=1e-4..1e-1:log or --vary "
        "optimizer=sgd,adam");
  }
  GR_ASSIGN_OR_RETURN(const std::string search,
                      flags.Choice("search", "random", {"random", "grid", "halving"}));
  o.search = search == "grid"      ? TuneOptions::Search::kGrid
             : search == "halving" ? TuneOptions::Search::kHalving
                                   : TuneOptions::Search::kRandom;
  GR_ASSIGN_OR_RETURN(o.trials, flags.Int("trials", 20, 1, 10000));
  GR_ASSIGN_OR_RETURN(o.eta, flags.Int("eta", 3, 2, 100));
  o.seed = recipe.loop().seed();
  o.folder = recipe.output().dir().empty() ? "runs/tune" : recipe.output().dir();
  o.force = flags.On("force");
  o.resume = flags.On("resume");
  o.quiet = flags.On("json") || recipe.output().progress() == "none";
  return o;
}

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const recipe::Recipe recipe, ReadRecipe(flags));
  GR_ASSIGN_OR_RETURN(TuneOptions options, ReadOptions(flags, recipe));
  GR_ASSIGN_OR_RETURN(const Registries registries,
                      MakeRegistries(flags, {recipe.plugin().begin(), recipe.plugin().end()}));
  CatchSignals();
  Tuner tuner(recipe, registries, std::move(options));
  GR_ASSIGN_OR_RETURN(const int signal, tuner.Run());
  GR_RETURN_IF_ERROR(WriteTuneReport(tuner));
  const std::string& folder = tuner.options().folder;
  if (flags.On("json")) {
    PrintText(TuneJson(tuner));
  } else {
    Print("\n", TuneTable(tuner, kMostRows), "\n");
    const Trial* best = tuner.Ranked().empty() ? nullptr : tuner.Ranked().front();
    if (best != nullptr && best->measured()) {
      Print("best: trial ", best->number, ", ", PointText(tuner.options().space, best->point),
            "\nits model: ", folder, "/best.onnx   its recipe, to train it again: ", folder,
            "/best.txtpb\n");
    }
    Print("report: ", folder, "/report.html\n");
  }
  if (signal != 0) return StoppedBySignal(signal);
  return absl::OkStatus();
}

}  // namespace

Verb TuneVerb() {
  Verb verb{
      "tune",
      "MODEL.onnx|\"KIND ...\"|RECIPE.txtpb [FIELD=VALUE...]",
      "searches for good settings: trains at many points and ranks them",
      "--vary NAME=VALUES is given once for each thing that varies. NAME: a flag of graphrun train "
      "(lr, batch,\noptimizer, l2, ...), a recipe's field by its path (optimizer.adam.beta1), and "
      "where the model is given\nas the words of graphrun new, its flags (layers, activation, "
      "dropout, batchnorm, hidden, ...), depth\n(hidden layers) and neurons (of each). VALUES: "
      "A,B,C; A|B,B|C where values have commas; LOW..HIGH;\nLOW..HIGH:log; LOW..HIGH:log:5 (5 "
      "points in a grid); whole numbers where both ends are (0..1.0: not).\n\nrandom draws "
      "--trials points. grid takes every combination. halving "
      "draws --trials points, trains all\nfor a short time and the best one of --eta for so many "
      "times longer, up to --epochs. The monitored value\ndecides (--monitor). What is done is "
      "kept: --resume goes on.",
      "graphrun tune model.onnx --data d.csv --target y --val-split 0.2 --vary lr=1e-4..1e-1:log "
      "--vary optimizer=sgd,adam\n"
      "graphrun tune \"mlp --in 64 --out 10\" --data d.csv --target y --val-split 0.2 --search "
      "halving --vary depth=1..3 --vary neurons=16,32,64 --vary activation=relu,tanh\n"
      "graphrun tune recipe.txtpb --search grid --vary batch=16,64 --vary l2=0,1e-4 --out "
      "runs/grid\n"
      "graphrun tune recipe.txtpb --search grid --vary batch=16,64 --vary l2=0,1e-4 --out "
      "runs/grid "
      "--resume",
      {{"vary", "NAME=VALUES", "what varies", true},
       {"search", "KIND", "random, grid, halving (random)"},
       {"trials", "N", "of random and halving (20)"},
       {"eta", "N", "of halving (3)"}},
      1,
      -1,
      Run};
  for (const FlagSpec& f : RecipeFlags()) verb.flags.push_back(f);
  verb.flags.push_back({"force", "", "replace a search that is already in the folder"});
  verb.flags.push_back({"resume", "", "go on with the search of the folder"});
  verb.flags.push_back({"json", "", "print the trials as JSON"});
  return verb;
}

}  // namespace graphrun::cli
