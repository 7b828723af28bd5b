#include "runtime/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "absl/strings/numbers.h"
#include "runtime/base/file.h"
#include "runtime/base/text.h"
#include "runtime/report/metrics_log.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/run_folder.h"
#include "runtime/train/run_setup.h"

namespace graphrun {
namespace {

using Clock = std::chrono::steady_clock;

// What a recipe's output.save asks for.
struct SavePolicy {
  bool last = true, best = true;
  int64_t every = 0;  // updates between checkpoints beside those at the ends of epochs; 0: none

  static absl::StatusOr<SavePolicy> Parse(const recipe::Output& output) {
    SavePolicy policy;
    if (output.save().empty()) return policy;
    policy.last = policy.best = false;
    for (const std::string& item : output.save()) {
      if (item == "last") {
        policy.last = true;
      } else if (item == "best") {
        policy.best = true;
      } else if (item.rfind("every=", 0) == 0 && absl::SimpleAtoi(item.substr(6), &policy.every) &&
                 policy.every > 0) {
        continue;
      } else {
        return UsageError("output.save: \"", item, "\" is not one of last, best, every=N",
                          DidYouMean(item, std::vector<std::string>{"last", "best", "every=100"}));
      }
    }
    return policy;
  }
};

class Trainer {
 public:
  Trainer(RunSetup& setup, RunFolder& folder, const TrainEnvironment& environment, SavePolicy save)
      : s_(setup), folder_(folder), env_(environment), save_(save) {}

  absl::StatusOr<TrainResult> Run() {
    for (const std::string& name : s_.metrics) {
      MetricOptions options;
      options.from_logits = s_.graphs.logits && !EndsInLink();
      GR_ASSIGN_OR_RETURN(std::unique_ptr<Metric> metric, MakeMetric(name, options));
      metrics_.push_back(std::move(metric));
    }
    GR_RETURN_IF_ERROR(ChooseMonitor());
    if (env_.resume) GR_RETURN_IF_ERROR(Resume());
    GR_RETURN_IF_ERROR(OpenLog());
    start_ = Clock::now();
    seconds_before_ = at_.seconds;
    const int64_t epochs = s_.recipe.loop().epochs();
    while (!at_.finished && at_.epoch < epochs && status_.empty())
      GR_RETURN_IF_ERROR(Epoch(epochs));
    if (status_.empty()) status_ = "finished";
    if (status_ == "finished" || status_ == "stopped early") at_.finished = true;
    return Finish();
  }

 private:
  // Whether the exported model itself ends in the activation that the loss was attached in front
  // of.
  bool EndsInLink() const {
    const Value* y = s_.graphs.evaluate->outputs()[1];
    const OpDef* def = y->producer() == nullptr ? nullptr : s_.registry->Find(*y->producer());
    return def != nullptr && def->link() != OutputLink::kNone;
  }

  absl::Status ChooseMonitor() {
    monitor_ = s_.recipe.loop().monitor();
    const bool validates = s_.validation_loader != nullptr;
    if (monitor_ == "auto") monitor_ = validates ? "val_loss" : "loss";
    std::vector<std::string> names = {"loss"};
    if (validates) names.push_back("val_loss");
    for (const auto& m : metrics_) {
      if (validates) names.push_back(absl::StrCat("val_", m->name()));
      if (monitor_ == names.back() || monitor_ == m->name()) higher_ = m->higher_is_better();
      if (monitor_ == m->name()) monitor_ = names.back();
    }
    if (std::find(names.begin(), names.end(), monitor_) == names.end()) {
      return UsageError("loop.monitor is \"", monitor_, "\", which this run does not measure",
                        DidYouMean(monitor_, names));
    }
    return absl::OkStatus();
  }

  absl::Status Resume() {
    const std::string path = NewestCheckpoint(folder_.checkpoints());
    if (path.empty())
      return CheckpointError(folder_.path(),
                             ": has no checkpoint that can be read. Start without --resume");
    GR_ASSIGN_OR_RETURN(at_, LoadCheckpoint(path, s_.states().get()));
    if (env_.console != nullptr) env_.console->Note(absl::StrCat("resumed from ", path));
    return absl::OkStatus();
  }

  absl::Status OpenLog() {
    std::vector<std::string> names = {"loss", "lr"};
    if (s_.validation_loader != nullptr) {
      names.push_back("val_loss");
      for (const auto& m : metrics_) names.push_back(absl::StrCat("val_", m->name()));
    }
    MetricsLogOptions options;
    const auto& logs = s_.recipe.output().log();
    const auto asked = [&](const char* kind) {
      return logs.empty() || std::find(logs.begin(), logs.end(), kind) != logs.end();
    };
    options.csv = asked("csv");
    options.jsonl = asked("jsonl");
    options.tensorboard = asked("tensorboard");
    if (env_.resume) options.resume_step = at_.updates;
    GR_ASSIGN_OR_RETURN(log_, MetricsLog::Open(folder_.path(), names, options));
    return absl::OkStatus();
  }

  absl::Status Epoch(int64_t epochs) {
    GR_RETURN_IF_ERROR(s_.train_loader->Seek(at_.epoch, at_.batch));
    if (env_.console != nullptr)
      env_.console->BeginEpoch(at_.epoch + 1, epochs, s_.batches_per_epoch, at_.batch);
    const int64_t accumulate = s_.recipe.optimizer().accumulate();
    while (at_.batch < s_.batches_per_epoch) {
      GR_ASSIGN_OR_RETURN(const Batch* batch, s_.train_loader->Next());
      const bool update = (at_.batch + 1) % accumulate == 0 || batch->last;
      GR_RETURN_IF_ERROR(Step(*batch, update));
      if (at_.batch >= s_.batches_per_epoch) break;
      GR_RETURN_IF_ERROR(AfterStep());
      if (!status_.empty()) return absl::OkStatus();
    }
    return EndOfEpoch();
  }

  absl::Status Step(const Batch& batch, bool update) {
    ArrangeBatch(s_.data, batch, &arguments_);
    Session& session = update ? *s_.step : *s_.accumulate;
    session.set_step(static_cast<uint64_t>(at_.batches));
    GR_RETURN_IF_ERROR(session.Run(absl::Span<const Tensor>(arguments_)));
    const double loss = session.output(0).tensor.AsDouble(0);
    if (!std::isfinite(loss)) return Diverged(loss);
    if (update) {
      lr_ = session.output(1).tensor.AsDouble(0);
      ++at_.updates;
    }
    at_.epoch_loss += loss * static_cast<double>(batch.size);
    at_.epoch_samples += batch.size;
    ++at_.batch;
    ++at_.batches;
    if (env_.console != nullptr && env_.console->Tick(batch.size)) {
      env_.console->Show({loss, lr_, std::numeric_limits<double>::quiet_NaN()});
    }
    return absl::OkStatus();
  }

  absl::Status Diverged(double loss) {
    if (env_.console != nullptr) {
      env_.console->Warning("nan-loss", "the loss is not finite any more");
    }
    return NumericError(
        "the loss became ", loss, " in epoch ", at_.epoch + 1, ", batch ", at_.batch + 1, ", lr ",
        lr_, ". Try a smaller --lr, --clip-norm 1 or --normalize zscore; the checkpoints in ",
        folder_.checkpoints(), " are from before");
  }

  // Between two batches: signals, limits, checkpoints asked for.
  absl::Status AfterStep() {
    if (env_.signal != nullptr && *env_.signal != 0) {
      signal_ = *env_.signal;
      status_ = "interrupted";
      return Checkpoint();
    }
    const auto& loop = s_.recipe.loop();
    if (loop.max_steps() > 0 && at_.updates >= loop.max_steps()) status_ = "finished";
    if (loop.max_time() > 0 && Elapsed() >= loop.max_time()) status_ = "finished";
    if (!status_.empty()) return LimitReached();
    const bool asked = env_.save_request != nullptr && env_.save_request->exchange(false);
    const bool due = save_.every > 0 && at_.updates > 0 && at_.updates % save_.every == 0 &&
                     at_.updates != saved_at_;
    if (asked || due) return Checkpoint();
    return absl::OkStatus();
  }

  absl::Status LimitReached() {
    GR_RETURN_IF_ERROR(Measure());
    return Checkpoint();
  }

  double Elapsed() const {
    return seconds_before_ + std::chrono::duration<double>(Clock::now() - start_).count();
  }

  // Validates and logs; decides on best, plateau and early stopping.
  absl::Status Measure() {
    std::vector<std::pair<std::string, double>> row;
    const double loss =
        at_.epoch_loss / static_cast<double>(std::max<int64_t>(at_.epoch_samples, 1));
    row.emplace_back("loss", loss);
    row.emplace_back("lr", lr_);
    const int64_t every = std::max<int64_t>(s_.recipe.loop().val_every(), 1);
    const bool validates = s_.validation_loader != nullptr &&
                           ((at_.epoch + 1) % every == 0 ||
                            at_.epoch + 1 == s_.recipe.loop().epochs() || !status_.empty());
    if (validates) {
      GR_ASSIGN_OR_RETURN(const auto values, Evaluate(s_, *s_.validation_loader, metrics_));
      for (const auto& [name, value] : values) row.emplace_back(absl::StrCat("val_", name), value);
    }
    bool best = false;
    double monitored = std::numeric_limits<double>::quiet_NaN();
    for (const auto& [name, value] : row) {
      if (name == monitor_) monitored = value;
    }
    if (!std::isnan(monitored)) {
      best = Better(monitored, at_.best, at_.best_epoch >= 0, s_.recipe.loop().min_delta());
      if (best) {
        at_.best = monitored;
        at_.best_epoch = at_.epoch;
        at_.best_step = at_.updates;
        at_.since_best = 0;
        if (save_.best) GR_RETURN_IF_ERROR(ExportTrained(s_, folder_.best_model()));
      } else {
        ++at_.since_best;
      }
      GR_RETURN_IF_ERROR(LowerOnPlateau(monitored));
    }
    GR_RETURN_IF_ERROR(log_->Write(at_.updates, at_.epoch + 1, row));
    results_ = row;
    if (env_.console != nullptr) {
      std::vector<NamedNumber> shown;
      for (const auto& [name, value] : row) {
        if (name.rfind("val_", 0) == 0) shown.emplace_back(name, value);
      }
      env_.console->EndEpoch(std::vector<NamedNumber>{{"loss", loss}, {"lr", lr_}});
      if (!shown.empty()) env_.console->Validation(shown, monitor_, best);
    }
    const int64_t patience = s_.recipe.loop().patience();
    if (patience > 0 && at_.since_best >= patience && status_.empty()) status_ = "stopped early";
    return absl::OkStatus();
  }

  bool Better(double value, double best, bool has_best, double min_delta) const {
    if (!has_best) return true;
    return higher_ ? value > best + min_delta : value < best - min_delta;
  }

  absl::Status LowerOnPlateau(double monitored) {
    if (!s_.recipe.schedule().has_plateau()) return absl::OkStatus();
    const recipe::Plateau& plateau = s_.recipe.schedule().plateau();
    if (Better(monitored, at_.plateau_best, at_.plateau_started, plateau.min_delta())) {
      at_.plateau_best = monitored;
      at_.plateau_started = true;
      at_.since_lower_lr = 0;
      return absl::OkStatus();
    }
    if (++at_.since_lower_lr <= plateau.patience()) return absl::OkStatus();
    at_.since_lower_lr = 0;
    GR_ASSIGN_OR_RETURN(const Tensor scale, s_.states()->Read(kScaleState));
    return s_.states()->Write(kScaleState, Tensor::Scalar(scale.AsDouble(0) * plateau.factor()));
  }

  absl::Status EndOfEpoch() {
    if (env_.signal != nullptr && *env_.signal != 0) {
      signal_ = *env_.signal;
    }
    GR_RETURN_IF_ERROR(Measure());
    ++at_.epoch;
    at_.batch = 0;
    at_.epoch_loss = 0;
    at_.epoch_samples = 0;
    const auto& loop = s_.recipe.loop();
    const bool limit = (loop.max_steps() > 0 && at_.updates >= loop.max_steps()) ||
                       (loop.max_time() > 0 && Elapsed() >= loop.max_time());
    if (status_.empty() && limit) status_ = "finished";
    if (status_.empty() && signal_ != 0 && at_.epoch < loop.epochs()) status_ = "interrupted";
    if (status_ == "stopped early" || (status_.empty() && at_.epoch >= loop.epochs()))
      at_.finished = true;
    return Checkpoint();
  }

  absl::Status Checkpoint() {
    at_.seconds = Elapsed();
    saved_at_ = at_.updates;
    GR_RETURN_IF_ERROR(log_->Sync());
    return folder_.SaveCheckpoint(s_, at_);
  }

  absl::StatusOr<TrainResult> Finish() {
    TrainResult result;
    result.folder = folder_.path();
    result.signal = status_ == "interrupted" ? signal_ : 0;
    if (save_.last) {
      const bool restore = s_.recipe.loop().restore_best() && save_.best && at_.best_epoch >= 0;
      GR_RETURN_IF_ERROR(restore ? folder_.CopyBestToLast()
                                 : ExportTrained(s_, folder_.last_model()));
      result.last_model = folder_.last_model();
    }
    if (save_.best && at_.best_epoch >= 0) result.best_model = folder_.best_model();
    GR_RETURN_IF_ERROR(folder_.WriteTrainingModel(s_, at_));
    RunSummary& summary = result.summary;
    summary.name = folder_.name();
    summary.status = status_;
    summary.monitored = monitor_;
    summary.higher_is_better = higher_;
    summary.best_value = at_.best_epoch >= 0 ? at_.best : std::numeric_limits<double>::quiet_NaN();
    summary.best_step = at_.best_step;
    summary.best_epoch = at_.best_epoch + 1;
    summary.best_model = "best.onnx";
    summary.steps = at_.updates;
    summary.epochs = at_.epoch;
    summary.seconds = Elapsed();
    summary.results = results_;
    summary.class_names = s_.data.class_names;
    summary.facts = RunFacts(s_);
    GR_RETURN_IF_ERROR(folder_.WriteSummary(summary, s_.recipe.output().plots()));
    return result;
  }

  RunSetup& s_;
  RunFolder& folder_;
  const TrainEnvironment& env_;
  SavePolicy save_;
  RunPosition at_;
  std::vector<std::unique_ptr<Metric>> metrics_;
  std::unique_ptr<MetricsLog> log_;
  std::vector<Tensor> arguments_;
  std::vector<std::pair<std::string, double>> results_;
  std::string monitor_, status_;
  bool higher_ = false;
  int signal_ = 0;
  double lr_ = 0;
  int64_t saved_at_ = -1;
  Clock::time_point start_;
  double seconds_before_ = 0;
};

}  // namespace

absl::StatusOr<TrainResult> Train(const recipe::Recipe& recipe, const OpRegistry& registry,
                                  const TrainEnvironment& environment) {
  GR_ASSIGN_OR_RETURN(const SavePolicy save, SavePolicy::Parse(recipe.output()));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<RunSetup> setup, SetUpRun(recipe, registry));
  if (environment.console != nullptr)
    environment.console->Header("graphrun train", RunFacts(*setup));
  if (environment.dry_run) return TrainResult();
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<RunFolder> folder,
                      RunFolder::Open(setup->recipe, environment.force, environment.resume));
  GR_RETURN_IF_ERROR(folder->WriteEnvironment(*setup, environment.command_line));
  auto result = Trainer(*setup, *folder, environment, save).Run();
  if (result.ok() && environment.console != nullptr) {
    std::vector<std::pair<std::string, std::string>> rows = {{"status", result->summary.status}};
    if (!result->best_model.empty()) rows.emplace_back("best model", result->best_model);
    if (!result->last_model.empty()) rows.emplace_back("last model", result->last_model);
    rows.emplace_back("report", absl::StrCat(result->folder, "/report.html"));
    environment.console->Finish(rows);
  }
  return result;
}

}  // namespace graphrun
