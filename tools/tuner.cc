#include "tools/tuner.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/onnx/export.h"
#include "runtime/report/json.h"
#include "runtime/train/recipe.h"
#include "runtime/train/trainer.h"
#include "tools/new_spec.h"
#include "tools/output.h"
#include "tools/recipe_flags.h"
#include "tools/signals.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> Words(const std::string& text) {
  return absl::StrSplit(text, ' ', absl::SkipEmpty());
}

bool IsFlagOfNew(const std::string& name) {
  if (name == "depth" || name == "neurons") return true;
  const Verb verb = NewVerb();
  return name != "output" && std::any_of(verb.flags.begin(), verb.flags.end(),
                                         [&](const FlagSpec& f) { return name == f.name; });
}

}  // namespace

Tuner::Tuner(recipe::Recipe recipe, const Registries& registries, TuneOptions options)
    : recipe_(std::move(recipe)),
      registry_(*registries.ops),
      parts_(registries.parts),
      options_(std::move(options)) {
  const std::vector<std::string> words = Words(recipe_.model().path());
  const std::vector<std::string> kinds = NewKinds();
  is_new_ = !words.empty() && !FileExists(recipe_.model().path()) &&
            std::find(kinds.begin(), kinds.end(), words[0]) != kinds.end();
  for (const Dimension& d : options_.space) of_model_.push_back(is_new_ && IsFlagOfNew(d.name));
  recipe_.mutable_output()->set_plots(false);
}

absl::Status Tuner::Draw() {
  std::vector<Point> points;
  if (options_.search == TuneOptions::Search::kGrid) {
    GR_ASSIGN_OR_RETURN(points, GridPoints(options_.space));
  } else {
    points = DrawPoints(options_.space, options_.trials, options_.seed);
  }
  for (size_t i = 0; i < points.size(); ++i) {
    Trial trial;
    trial.number = static_cast<int64_t>(i) + 1;
    trial.point = std::move(points[i]);
    trial.score = kNone;
    trial.folder = Folder(absl::StrFormat("trial-%03d", trial.number));
    trials_.push_back(std::move(trial));
  }
  // Whatever is wrong with a name or a value is found before anything is trained.
  for (const Trial& trial : trials_) GR_RETURN_IF_ERROR(RecipeOf(trial).status());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Tuner::NewWords(const Trial& trial) const {
  std::vector<std::string> words = Words(recipe_.model().path());
  std::string neurons = "64";
  int64_t depth = -1;
  for (size_t i = 0; i < options_.space.size(); ++i) {
    if (!of_model_[i]) continue;
    const std::string &name = options_.space[i].name, &value = trial.point[i];
    if (name == "neurons") {
      neurons = value;
      if (depth < 0) depth = 1;
    } else if (name == "depth") {
      if (!absl::SimpleAtoi(value, &depth) || depth < 0 || depth > 1000)
        return UsageError("depth takes the number of hidden layers, not \"", value, "\"");
    } else if (value == "true" || value == "false") {
      words.push_back(absl::StrCat("--", name, "=", value));
    } else {
      words.insert(words.end(), {absl::StrCat("--", name), value});
    }
  }
  if (depth > 0) {
    words.insert(
        words.end(),
        {"--layers",
         absl::StrJoin(std::vector<std::string>(static_cast<size_t>(depth), neurons), ",")});
  }
  return words;
}

absl::StatusOr<recipe::Recipe> Tuner::RecipeOf(const Trial& trial) const {
  recipe::Recipe recipe = recipe_;
  for (size_t i = 0; i < options_.space.size(); ++i) {
    if (of_model_[i]) continue;
    const std::string &name = options_.space[i].name, &value = trial.point[i];
    GR_RETURN_IF_ERROR(Annotate(SetByName(name, value, &recipe), absl::StrCat(name, "=", value)));
  }
  if (is_new_) {
    GR_ASSIGN_OR_RETURN(std::vector<std::string> words, NewWords(trial));
    const Verb verb = NewVerb();
    GR_ASSIGN_OR_RETURN(const Flags flags, Flags::Parse(verb, {words.begin(), words.end()}));
    GR_RETURN_IF_ERROR(MakeNewModel(flags, registry_).status());
    recipe.mutable_model()->set_path(trial.folder + "/model.onnx");
  }
  recipe.mutable_output()->clear_dir();
  return recipe;
}

absl::Status Tuner::WriteModelOf(const Trial& trial) const {
  GR_ASSIGN_OR_RETURN(const std::vector<std::string> words, NewWords(trial));
  const Verb verb = NewVerb();
  GR_ASSIGN_OR_RETURN(const Flags flags, Flags::Parse(verb, words));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, MakeNewModel(flags, registry_));
  ExportOptions options;
  options.registry = &registry_;
  return ExportOnnx(*graph, trial.folder + "/model.onnx", options);
}

absl::Status Tuner::ReadDone() {
  const std::string path = Folder("trials.jsonl");
  if (!FileExists(path)) return absl::OkStatus();
  if (!options_.resume && !options_.force) {
    return UsageError(options_.folder,
                      ": holds a search already. Continue it with --resume, replace it with "
                      "--force, or choose another --out");
  }
  if (!options_.resume) return RemoveFile(path);
  GR_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  auto rows = JsonValue::ParseLines(text);
  if (!rows.ok()) return CheckpointError(path, ": ", rows.status().message());
  for (const JsonValue& row : *rows) {
    const auto field = [&](const char* name) {
      const JsonValue* value = row.Find(name);
      return value == nullptr ? JsonValue() : *value;
    };
    const int64_t number = field("trial").AsInt(0);
    if (number < 1 || number > static_cast<int64_t>(trials_.size()) ||
        field("values").AsString() !=
            PointText(options_.space, trials_[static_cast<size_t>(number) - 1].point)) {
      return CheckpointError(path, ": is of another search (trial ", number, " has ",
                             field("values").AsString(),
                             "). Give the same words, or start anew with --force");
    }
    Trial& trial = trials_[static_cast<size_t>(number) - 1];
    trial.status = field("status").AsString();
    trial.score = field("score").AsNumber(kNone);
    trial.epochs = field("epochs").AsInt();
    trial.best_epoch = field("best_epoch").AsInt();
    trial.seconds = field("seconds").AsNumber();
    monitored_ = field("monitored").AsString();
    higher_ = field("higher_is_better").AsBool();
  }
  return absl::OkStatus();
}

absl::Status Tuner::WriteDone(const Trial& trial) const {
  JsonWriter json;
  json.BeginObject().Field("trial", trial.number);
  json.Field("values", PointText(options_.space, trial.point)).Field("status", trial.status);
  json.Field("score", trial.score).Field("epochs", trial.epochs);
  json.Field("best_epoch", trial.best_epoch).Field("seconds", trial.seconds);
  json.Field("monitored", monitored_).Field("higher_is_better", higher_).EndObject();
  const std::string path = Folder("trials.jsonl");
  std::string text;
  if (FileExists(path)) {
    GR_ASSIGN_OR_RETURN(text, ReadFile(path));
  }
  return WriteFileAtomic(path, absl::StrCat(text, json.Finish(), "\n"));
}

bool Tuner::Better(const Trial& a, const Trial& b) const {
  if (a.measured() != b.measured()) return a.measured();
  if (!a.measured() || a.score == b.score) return a.number < b.number;
  return higher_ ? a.score > b.score : a.score < b.score;
}

std::vector<const Trial*> Tuner::Ranked() const {
  std::vector<const Trial*> ranked;
  for (const Trial& trial : trials_) ranked.push_back(&trial);
  std::sort(ranked.begin(), ranked.end(),
            [&](const Trial* a, const Trial* b) { return Better(*a, *b); });
  return ranked;
}

absl::Status Tuner::TrainOne(Trial* trial, int64_t epochs, int* signal) {
  GR_RETURN_IF_ERROR(CreateDirs(trial->folder));
  TrainEnvironment environment;
  // A trial that a signal stopped, or that waits for its next round, goes on.
  environment.resume = options_.resume || trial->epochs > 0;
  environment.force = !environment.resume;
  environment.signal = StopSignal();
  environment.pause_epoch = epochs;
  if (is_new_) GR_RETURN_IF_ERROR(WriteModelOf(*trial));
  GR_ASSIGN_OR_RETURN(recipe::Recipe recipe, RecipeOf(*trial));
  recipe.mutable_output()->set_dir(trial->folder);
  const auto result = Train(recipe, registry_, environment, parts_);
  if (!result.ok() && KindOf(result.status()) != ErrorKind::kNumeric)
    return Annotate(result.status(), PointText(options_.space, trial->point));
  if (!result.ok()) {
    trial->status = "diverged";
    trial->score = kNone;
    return absl::OkStatus();
  }
  *signal = result->signal;
  const RunSummary& summary = result->summary;
  trial->status = summary.status;
  trial->score = summary.best_value;
  trial->epochs = summary.epochs;
  trial->best_epoch = summary.best_epoch;
  trial->seconds = summary.seconds;
  monitored_ = summary.monitored;
  higher_ = summary.higher_is_better;
  return absl::OkStatus();
}

absl::StatusOr<int> Tuner::Round(const std::vector<Trial*>& trials, int64_t epochs) {
  for (Trial* trial : trials) {
    const bool over = trial->status != "waiting" && trial->status != "paused";
    if (over || trial->epochs >= epochs) continue;
    int signal = 0;
    GR_RETURN_IF_ERROR(TrainOne(trial, epochs, &signal));
    if (signal != 0) {
      trial->status = "paused";
      return signal;
    }
    GR_RETURN_IF_ERROR(WriteDone(*trial));
    if (options_.quiet) continue;
    Print("trial ", trial->number, " of ", trials_.size(), ": ",
          PointText(options_.space, trial->point), "  ",
          trial->measured() ? absl::StrFormat("%s %.4g", monitored_, trial->score) : trial->status,
          " after ", trial->epochs, " epochs, ", HumanSeconds(trial->seconds), "\n");
    GR_RETURN_IF_ERROR(FlushOutput());
  }
  return 0;
}

// Jamieson, Talwalkar (arXiv:1502.07943): all trials for a short time, the better ones for longer.
absl::StatusOr<int> Tuner::Halve() {
  const int64_t most = recipe_.loop().epochs();
  int64_t rounds = 0;
  for (int64_t n = static_cast<int64_t>(trials_.size()), e = most;
       n >= options_.eta && e >= options_.eta; n /= options_.eta, e /= options_.eta)
    ++rounds;
  std::vector<Trial*> alive;
  for (Trial& trial : trials_) alive.push_back(&trial);
  for (int64_t round = 0; round <= rounds; ++round) {
    const double share =
        std::pow(static_cast<double>(options_.eta), static_cast<double>(round - rounds));
    const int64_t epochs = std::max<int64_t>(1, std::llround(static_cast<double>(most) * share));
    if (!options_.quiet)
      Print("round ", round + 1, " of ", rounds + 1, ": ", alive.size(), " trials up to ", epochs,
            " epochs\n");
    GR_ASSIGN_OR_RETURN(const int signal, Round(alive, epochs));
    if (signal != 0 || round == rounds) return signal;
    std::sort(alive.begin(), alive.end(),
              [&](const Trial* a, const Trial* b) { return Better(*a, *b); });
    const size_t keep =
        (alive.size() + static_cast<size_t>(options_.eta) - 1) / static_cast<size_t>(options_.eta);
    for (size_t i = keep; i < alive.size(); ++i)
      if (alive[i]->status == "paused") alive[i]->status = "dropped";
    alive.resize(keep);
  }
  return 0;
}

absl::StatusOr<int> Tuner::Run() {
  GR_RETURN_IF_ERROR(Draw());
  GR_RETURN_IF_ERROR(CreateDirs(options_.folder));
  GR_RETURN_IF_ERROR(ReadDone());
  if (options_.search == TuneOptions::Search::kHalving) return Halve();
  std::vector<Trial*> all;
  for (Trial& trial : trials_) all.push_back(&trial);
  return Round(all, recipe_.loop().epochs());
}

}  // namespace graphrun::cli
