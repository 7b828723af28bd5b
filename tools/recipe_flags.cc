#include "tools/recipe_flags.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/onnx/import.h"
#include "runtime/train/recipe.h"

namespace graphrun::cli {
namespace {

// How the text of a flag becomes values of its field.
enum class Form {
  kPlain,
  kList,         // split at commas, one element each
  kBatch,        // "full" is 0
  kTime,         // 90, 90s, 5m, 2h
  kStrength,     // a regularizer: "0.01", or "0.01:REGEX" for parameters of these names
  kRegularizer,  // its name in front: "orthogonal:0.01", "orthogonal:0.01:REGEX"
};

struct RecipeFlag {
  FlagSpec flag;
  const char* path;
  Form form = Form::kPlain;
};

std::vector<RecipeFlag> DataTable() {
  return {
      {{"data", "PATH", "training data: csv, npy, npz, idx, CIFAR, or a folder of images"},
       "data.path"},
      {{"val", "PATH", "validation data"}, "data.val"},
      {{"val-split", "SHARE", "hold out this share of the training data instead"},
       "data.val_split"},
      {{"format", "NAME", "auto, csv, npy, npz, idx, cifar10, cifar100, images, or a plugin's"},
       "data.format"},
      {{"target", "COLUMN", "the label or target: names or indices with commas"}, "data.target"},
      {{"features", "COLUMNS", "the columns that the model reads; all but the target"},
       "data.features"},
      {{"input", "NAME=COLUMNS", "columns of one of several inputs", true}, "data.input"},
      {{"image-size", "HxW", "images of a folder are resized to it"}, "data.option.image_size"},
      {{"image-channels", "1,3", "images of a folder are converted to grey or RGB"},
       "data.option.image_channels"},
      {{"normalize", "KIND",
        "none, zscore, minmax, scale255: fitted on the training data, baked into the model"},
       "data.normalize"},
      {{"augment", "LIST", "such as hflip:0.5,rotate:10,crop:28:4,shift:2,cutout:8"},
       "data.augment"},
      {{"batch", "N", "samples a step (32); full: all"}, "data.batch", Form::kBatch},
      {{"shuffle", "", "a new order every epoch (--no-shuffle: the file's)"}, "data.shuffle"},
      {{"sampler", "KIND", "plain, balanced"}, "data.sampler"},
      {{"workers", "N", "threads that load data"}, "data.workers"},
      {{"fraction", "SHARE", "of the training data that is used"}, "data.fraction"},
  };
}

std::vector<RecipeFlag> Table() {
  std::vector<RecipeFlag> table = DataTable();
  const std::vector<RecipeFlag> rest = {
      {{"loss", "NAME", "auto, ce, bce, mse, mae, huber, nll, quadratic, or a plugin's"},
       "loss.name"},
      {{"from-logits", "auto,yes,no", "whether the model's output is before softmax or sigmoid"},
       "loss.from_logits"},
      {{"label-smoothing", "X", "in [0, 1)"}, "loss.label_smoothing"},
      {{"class-weights", "auto,W,W", "weights of the classes; auto: inverse frequency"},
       "loss.class_weights"},
      {{"freeze", "REGEX", "parameters that are not trained", true}, "model.freeze"},
      {{"train", "REGEX", "only these parameters are trained", true}, "model.train"},
      {{"freeze-bn", "", "batch normalisation keeps its statistics"}, "model.freeze_bn"},
      {{"head", "replace:N", "a new last linear layer of N outputs"}, "model.head"},
      {{"dropout", "RATIO", "of every Dropout of the model"}, "model.dropout"},
      {{"init", "KIND", "keep, he, glorot, normal: new weights first"}, "model.init"},
      {{"optimizer", "NAME",
        "sgd, momentum, nesterov, adagrad, adadelta, rmsprop, adam, adamw, nadam, or a plugin's"},
       "optimizer"},
      {{"lr", "X", "learning rate"}, "optimizer.lr"},
      {{"beta", "X", "of momentum and nesterov"}, "optimizer.*.beta"},
      {{"momentum-form", "textbook,torch", "whether lr is inside the velocity"},
       "optimizer.*.form"},
      {{"beta1", "X", "of the adam family"}, "optimizer.*.beta1"},
      {{"beta2", "X", "of the adam family"}, "optimizer.*.beta2"},
      {{"rho", "X", "of rmsprop and adadelta"}, "optimizer.*.rho"},
      {{"epsilon", "X", "of adaptive optimizers"}, "optimizer.*.epsilon"},
      {{"l1", "X[:REGEX]", "penalty x |w|", true}, "regularizer.l1", Form::kStrength},
      {{"l2", "X[:REGEX]", "penalty x/2 |w|^2", true}, "regularizer.l2", Form::kStrength},
      {{"weight-decay", "X[:REGEX]", "decoupled: w - lr x w", true},
       "regularizer.weight_decay",
       Form::kStrength},
      {{"max-norm", "X[:REGEX]", "bound on the norm of a unit's weights", true},
       "regularizer.max_norm",
       Form::kStrength},
      {{"regularizer", "NAME:X[:REGEX]", "any by its name, a plugin's for instance", true},
       "regularizer",
       Form::kRegularizer},
      {{"clip-norm", "X", "of all gradients together"}, "optimizer.clip_norm"},
      {{"clip-value", "X", "of every element of a gradient"}, "optimizer.clip_value"},
      {{"accumulate", "N", "batches an update"}, "optimizer.accumulate"},
      {{"ema", "DECAY", "average the weights; exported as best"}, "optimizer.ema"},
      {{"schedule", "NAME",
        "constant, step, multistep, exponential, cosine, poly, plateau, onecycle, or a plugin's"},
       "schedule"},
      {{"step-epochs", "N", "of schedule step"}, "schedule.step.epochs"},
      {{"milestones", "N,N", "epochs of schedule multistep"},
       "schedule.multistep.epochs",
       Form::kList},
      {{"gamma", "X", "of schedules step, multistep, exponential"}, "schedule.*.gamma"},
      {{"min-lr", "X", "of schedules cosine, poly, plateau"}, "schedule.*.min_lr"},
      {{"power", "X", "of schedule poly"}, "schedule.*.power"},
      {{"warmup", "STEPS", "lr rises from 0 first"}, "schedule.warmup"},
      {{"schedule-steps", "N", "updates over which cosine, poly, onecycle run (all epochs)"},
       "schedule.steps"},
      {{"epochs", "N", "(10)"}, "loop.epochs"},
      {{"max-steps", "N", "stop after N updates; the schedule does not change (--schedule-steps)"},
       "loop.max_steps"},
      {{"max-time", "TIME", "90, 5m, 2h"}, "loop.max_time", Form::kTime},
      {{"patience", "N", "stop after so many validations without improvement"}, "loop.patience"},
      {{"min-delta", "X", "what counts as an improvement"}, "loop.min_delta"},
      {{"monitor", "METRIC", "what decides (val_loss)"}, "loop.monitor"},
      {{"metric", "NAME,NAME", "what is measured besides the loss"}, "loop.metric", Form::kList},
      {{"restore-best", "", "end with the best weights"}, "loop.restore_best"},
      {{"val-every", "EPOCHS", "(1)"}, "loop.val_every"},
      {{"seed", "N", "(1)"}, "loop.seed"},
      {{"threads", "N", "0: all"}, "loop.threads"},
      {{"precision", "f32,bf16", "bf16: products in bf16, weights kept in f32"}, "loop.precision"},
      {{"recompute", "WHAT", "less memory: the gradient makes activations again (off, cheap, all)"},
       "loop.recompute"},
      {{"tune-kernels", "FILE",
        "take each step's fastest kernel: measured where FILE does not say it, kept there"},
       "loop.tune_kernels"},
      {{"overfit", "N", "train on the first N samples only"}, "loop.overfit"},
      {{"out", "FOLDER", "the run's folder (runs/MODEL)"}, "output.dir"},
      {{"save", "LIST", "last, best, every=N, top=K"}, "output.save", Form::kList},
      {{"log", "LIST", "csv, jsonl, tensorboard"}, "output.log", Form::kList},
      {{"plots", "", "--no-plots: none"}, "output.plots"},
      {{"profile", "", "write profile.json"}, "output.profile"},
      {{"progress", "KIND", "auto, tui, bar, plain, json, none"}, "output.progress"},
  };
  table.insert(table.end(), rest.begin(), rest.end());
  return table;
}

absl::StatusOr<std::string> Seconds(const std::string& text) {
  double factor = 1;
  std::string number = text;
  if (!text.empty() && absl::StrContains("smh", text.substr(text.size() - 1))) {
    factor = text.back() == 's' ? 1 : text.back() == 'm' ? 60 : 3600;
    number.pop_back();
  }
  double value;
  if (!absl::SimpleAtod(number, &value) || value < 0) {
    return UsageError("takes a time such as 90, 90s, 5m or 2h, not \"", text, "\"");
  }
  return absl::StrCat(value * factor);
}

absl::Status ApplyStrength(const std::string& path, const std::string& text,
                           recipe::Recipe* recipe) {
  const size_t colon = text.find(':');
  GR_RETURN_IF_ERROR(SetRecipeField(recipe, path, text.substr(0, colon)));
  if (colon != std::string::npos) {
    recipe->mutable_regularizer(recipe->regularizer_size() - 1)
        ->set_parameters(text.substr(colon + 1));
  }
  return absl::OkStatus();
}

absl::Status Apply(const RecipeFlag& row, const std::string& text, recipe::Recipe* recipe) {
  // A number of the optimizer that stands where none is named.
  if (absl::StartsWith(row.path, "optimizer.*.") && !recipe->optimizer().kind_case())
    recipe->mutable_optimizer()->mutable_adam();
  switch (row.form) {
    case Form::kPlain:
      return SetRecipeField(recipe, row.path, text);
    case Form::kList:
      for (absl::string_view part : absl::StrSplit(text, ',', absl::SkipEmpty())) {
        GR_RETURN_IF_ERROR(SetRecipeField(recipe, row.path, part));
      }
      return absl::OkStatus();
    case Form::kBatch:
      return SetRecipeField(recipe, row.path, text == "full" ? "0" : text);
    case Form::kTime: {
      GR_ASSIGN_OR_RETURN(const std::string seconds, Seconds(text));
      return SetRecipeField(recipe, row.path, seconds);
    }
    case Form::kStrength:
      return ApplyStrength(row.path, text, recipe);
    case Form::kRegularizer: {
      const std::pair<std::string, std::string> words =
          absl::StrSplit(text, absl::MaxSplits(':', 1));
      if (words.second.empty()) {
        return UsageError("takes a name and its strength, NAME:X, not \"", text, "\"");
      }
      return ApplyStrength(absl::StrCat(row.path, ".", words.first), words.second, recipe);
    }
  }
  return absl::OkStatus();
}

// A flag replaces what the recipe file has, so that lists do not grow on top of it.
void ClearList(absl::string_view flag, recipe::Recipe* recipe) {
  if (flag == "save") recipe->mutable_output()->clear_save();
  if (flag == "log") recipe->mutable_output()->clear_log();
  if (flag == "metric") recipe->mutable_loop()->clear_metric();
  if (flag == "features") recipe->mutable_data()->clear_features();
  if (flag == "input") recipe->mutable_data()->clear_input();
  if (flag == "freeze") recipe->mutable_model()->clear_freeze();
  if (flag == "train") recipe->mutable_model()->clear_train();
  if (flag == "milestones") recipe->mutable_schedule()->mutable_multistep()->clear_epochs();
}

// Removes the regularizers for all weights of the kind that `made` is of.
void RemoveKind(const recipe::Regularizer& made, recipe::Recipe* recipe) {
  auto& all = *recipe->mutable_regularizer();
  for (int i = all.size() - 1; i >= 0; --i) {
    if (all[i].kind_case() == made.kind_case() && all[i].parameters().empty())
      all.DeleteSubrange(i, 1);
  }
}

void FindBeside(const std::string& folder, std::string* path) {
  if (path->empty() || FileExists(*path)) return;
  const std::string beside = JoinPath(folder, *path);
  if (FileExists(beside)) *path = beside;
}

// What a model brings along, its metadata "graphrun.recipe.FIELD", beneath the recipe. A model may
// say how it wants to be trained, not which files are read and written.
absl::Status PutOverMetadata(recipe::Recipe* recipe) {
  constexpr absl::string_view kPrefix = "graphrun.recipe.";
  constexpr absl::string_view kAllowed[] = {
      "loss.",          "optimizer",    "regularizer", "schedule",      "loop.",
      "data.normalize", "data.augment", "data.batch",  "data.target",   "data.shuffle",
      "data.sampler",   "model.freeze", "model.train", "model.dropout", "model.init"};
  const std::string& path = recipe->model().path();
  if (path.empty() || !FileExists(path) || IsFolder(path)) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(const NamedModel model, ReadOnnx(path));
  recipe::Recipe all;
  for (const auto& [key, value] : model.metadata) {
    if (!absl::StartsWith(key, kPrefix)) continue;
    const std::string field = key.substr(kPrefix.size());
    const bool allowed =
        field != "loop.tune_kernels" &&
        std::any_of(std::begin(kAllowed), std::end(kAllowed),
                    [&](absl::string_view start) { return absl::StartsWith(field, start); });
    absl::Status status =
        allowed ? SetRecipeField(&all, field, value)
                : ModelError("a model cannot set ", field, "; say it in a recipe or by a flag");
    if (!status.ok()) {
      return ModelError(path, ": metadata ", key, " = \"", value, "\": ", status.message());
    }
  }
  if (recipe->regularizer_size() > 0) all.clear_regularizer();
  if (recipe->loop().metric_size() > 0) all.mutable_loop()->clear_metric();
  all.MergeFrom(*recipe);
  *recipe = std::move(all);
  return absl::OkStatus();
}

std::vector<FlagSpec> Specs(const std::vector<RecipeFlag>& table) {
  std::vector<FlagSpec> specs;
  for (const RecipeFlag& row : table) specs.push_back(row.flag);
  return specs;
}

}  // namespace

std::vector<FlagSpec> RecipeFlags() { return Specs(Table()); }
std::vector<FlagSpec> DataFlags() { return Specs(DataTable()); }

absl::Status ApplyRecipeFlags(const Flags& flags, recipe::Recipe* recipe) {
  for (const RecipeFlag& row : Table()) {
    if (flags.Has(row.flag.name)) ClearList(row.flag.name, recipe);
    for (const std::string& text : flags.All(row.flag.name)) {
      GR_RETURN_IF_ERROR(Annotate(Apply(row, text, recipe), absl::StrCat("--", row.flag.name)));
    }
  }
  return absl::OkStatus();
}

absl::Status SetByName(const std::string& name, const std::string& value, recipe::Recipe* recipe) {
  std::vector<std::string> names;
  for (const RecipeFlag& row : Table()) {
    names.emplace_back(row.flag.name);
    if (name != row.flag.name) continue;
    ClearList(name, recipe);
    if (row.form == Form::kStrength && value.find(':') == std::string::npos) {
      recipe::Recipe made;
      GR_RETURN_IF_ERROR(Apply(row, value, &made));
      RemoveKind(made.regularizer(0), recipe);
      double strength;
      if (absl::SimpleAtod(value, &strength) && strength == 0) return absl::OkStatus();
    }
    return Apply(row, value, recipe);
  }
  if (name.find('.') == std::string::npos) {
    const std::string nearest = DidYouMean(name, names);
    if (!nearest.empty())
      return UsageError("there is neither a flag nor a field \"", name, "\".", nearest);
  }
  return SetRecipeField(recipe, name, value);
}

absl::StatusOr<recipe::Recipe> ReadRecipe(const Flags& flags) {
  recipe::Recipe recipe;
  std::vector<std::string> assignments, models, recipes;
  for (const std::string& word : flags.arguments()) {
    if (absl::EndsWith(word, ".txtpb") || absl::EndsWith(word, ".json")) {
      recipes.push_back(word);
    } else if (absl::StrContains(word, "=") && !FileExists(word)) {
      assignments.push_back(word);
    } else {
      models.push_back(word);
    }
  }
  if (recipes.size() > 1 || models.size() > 1) {
    return UsageError("\"", recipes.size() > 1 ? recipes[1] : models[1],
                      "\" is one too many; give one model and at most one recipe");
  }
  if (!recipes.empty()) {
    GR_ASSIGN_OR_RETURN(recipe, LoadRecipe(recipes[0]));
    const std::string folder = FolderOf(recipes[0]);
    if (recipe.has_model()) FindBeside(folder, recipe.mutable_model()->mutable_path());
    if (recipe.has_data()) FindBeside(folder, recipe.mutable_data()->mutable_path());
    if (recipe.data().has_val()) FindBeside(folder, recipe.mutable_data()->mutable_val());
  }
  if (!models.empty()) recipe.mutable_model()->set_path(models[0]);
  for (const std::string& a : assignments) {
    if (absl::StartsWith(a, "model.path=")) GR_RETURN_IF_ERROR(ApplyAssignment(&recipe, a));
  }
  GR_RETURN_IF_ERROR(PutOverMetadata(&recipe));
  for (const std::string& plugin : flags.All("plugin")) recipe.add_plugin(plugin);
  GR_RETURN_IF_ERROR(ApplyRecipeFlags(flags, &recipe));
  for (const std::string& a : assignments) GR_RETURN_IF_ERROR(ApplyAssignment(&recipe, a));
  return recipe;
}

}  // namespace graphrun::cli
