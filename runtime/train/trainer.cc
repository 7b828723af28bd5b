#include "runtime/train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "absl/types/optional.h"
#include "runtime/base/file.h"
#include "runtime/base/text.h"
#include "runtime/base/threads_scope.h"
#include "runtime/report/metrics_log.h"
#include "runtime/train/checkpoint.h"
#include "runtime/train/chrome_trace.h"
#include "runtime/train/diagnosis.h"
#include "runtime/train/monitor.h"
#include "runtime/train/run_end.h"
#include "runtime/train/run_folder.h"
#include "runtime/train/run_setup.h"
#include "runtime/train/save_policy.h"

namespace graphrun {
namespace {

using Clock = std::chrono::steady_clock;

class Trainer {
 public:
  Trainer(RunSetup& setup, RunFolder& folder, const TrainEnvironment& environment, SavePolicy save)
      : s_(setup), folder_(folder), env_(environment), save_(save) {}

  absl::StatusOr<TrainResult> Run() {
    for (const std::string& name : s_.metrics) {
      GR_ASSIGN_OR_RETURN(std::unique_ptr<Metric> metric,
                          s_.parts.NewMetric(name, s_.metric_options()));
      metrics_.push_back(std::move(metric));
    }
    GR_ASSIGN_OR_RETURN(monitor_,
                        Monitor::Choose(s_.recipe, metrics_, s_.validation_loader != nullptr));
    profile_.max_events = kMostEvents;
    if (env_.resume) GR_RETURN_IF_ERROR(Resume());
    start_ = Clock::now();
    seconds_before_ = at_.seconds;
    // The end of an epoch that was interrupted is made up for first.
    if (at_.batch < s_.batches_per_epoch) CheckLimits();
    const bool ended = !status_.empty() && at_.ended;
    if (!ended && at_.ended) GR_RETURN_IF_ERROR(GoOn());
    GR_RETURN_IF_ERROR(OpenLog());
    if (ended) TakeEnd();
    if (!status_.empty() && !ended && at_.batch > 0) GR_RETURN_IF_ERROR(EndWithinEpoch());
    while (status_.empty()) GR_RETURN_IF_ERROR(Epoch());
    return Finish();
  }

 private:
  absl::Status Resume() {
    const std::string path = NewestCheckpoint(folder_.checkpoints());
    if (path.empty()) {
      GR_ASSIGN_OR_RETURN(const std::vector<std::string> files, ListFolder(folder_.checkpoints()));
      if (!files.empty())
        return CheckpointError(folder_.checkpoints(),
                               ": holds no checkpoint that can be read. Start anew with --force");
      if (env_.console != nullptr) env_.console->Note("no checkpoint yet: from the beginning");
      return absl::OkStatus();
    }
    GR_ASSIGN_OR_RETURN(at_, LoadCheckpoint(path, s_.states().get()));
    watch_.Restore(at_);
    if (env_.console != nullptr) env_.console->Note(absl::StrCat("resumed from ", path));
    return absl::OkStatus();
  }

  // A run that had ended within an epoch goes on: what was measured there never was.
  absl::Status GoOn() {
    at_.ended = false;
    forget_ = true;
    return folder_.RestoreBest();
  }

  // A run that had ended within an epoch ends there again.
  void TakeEnd() {
    at_.results = at_.end_results;
    if (!at_.end_is_best) return;
    at_.best = at_.end_value;
    at_.best_epoch = at_.epoch;
    at_.best_step = at_.updates;
  }

  absl::Status OpenLog() {
    std::vector<std::string> names = {"loss", "lr"};
    if (s_.validation_loader != nullptr) {
      names.push_back("val_loss");
      for (const auto& m : metrics_) names.push_back(absl::StrCat("val_", m->name()));
    }
    names.push_back("gradient_norm");
    for (const auto& [layer, norm] : watch_.ByLayer())
      names.push_back(absl::StrCat("gradient_norm/", layer));
    MetricsLogOptions options;
    const auto& logs = s_.recipe.output().log();
    const auto asked = [&](const char* kind) {
      return logs.empty() || std::find(logs.begin(), logs.end(), kind) != logs.end();
    };
    options.csv = asked("csv");
    options.jsonl = asked("jsonl");
    options.tensorboard = asked("tensorboard");
    if (env_.resume) options.resume_step = forget_ ? at_.updates - 1 : at_.updates;
    GR_ASSIGN_OR_RETURN(log_, MetricsLog::Open(folder_.path(), names, options));
    return absl::OkStatus();
  }

  // The rest of an epoch, up to its end or to what stops the run.
  absl::Status Epoch() {
    if (env_.console != nullptr) {
      env_.console->BeginEpoch(at_.epoch + 1, s_.recipe.loop().epochs(), s_.batches_per_epoch,
                               at_.batch);
    }
    const int64_t accumulate = s_.recipe.optimizer().accumulate();
    if (at_.batch < s_.batches_per_epoch)
      GR_RETURN_IF_ERROR(s_.train_loader->Seek(at_.epoch, at_.batch));
    while (at_.batch < s_.batches_per_epoch) {
      GR_ASSIGN_OR_RETURN(const Batch* batch, s_.train_loader->Next());
      ArrangeBatch(s_.data, *batch, &arguments_);
      if (at_.batch == 0) GR_RETURN_IF_ERROR(Watch(*batch));
      const bool update = (at_.batch + 1) % accumulate == 0 || batch->last;
      GR_RETURN_IF_ERROR(Step(*batch, update));
      GR_RETURN_IF_ERROR(AfterStep());
      if (!status_.empty()) return absl::OkStatus();
    }
    return EndOfEpoch();
  }

  // Looks at the first batch of an epoch before the model is trained on it.
  absl::Status Watch(const Batch& batch) {
    if (at_.batches == 0) Warn(DiagnoseStart(s_, arguments_));
    GR_RETURN_IF_ERROR(watch_.Probe(arguments_, batch.size, static_cast<uint64_t>(at_.batches)));
    at_.gradients = {{"gradient_norm", watch_.norm()}};
    for (const auto& [layer, norm] : watch_.ByLayer())
      at_.gradients.emplace_back(absl::StrCat("gradient_norm/", layer), norm);
    Warn(watch_.Warnings());
    return absl::OkStatus();
  }

  // Each warning once, named after the first thing that it was about.
  void Warn(const std::vector<NamedWarning>& warnings) {
    for (const NamedWarning& w : warnings) {
      const bool known = std::any_of(at_.warnings.begin(), at_.warnings.end(),
                                     [&](const NamedWarning& o) { return o.first == w.first; });
      if (known) continue;
      at_.warnings.push_back(w);
      if (env_.console != nullptr) env_.console->Warning(w.first, w.second);
    }
  }

  absl::Status Step(const Batch& batch, bool update) {
    Session& session = update ? *s_.step : *s_.accumulate;
    // A last smaller batch has a plan of its own.
    if (s_.recipe.output().profile() && update)
      session.set_profile(batch.size == s_.batch_size ? &profile_ : nullptr);
    session.set_step(static_cast<uint64_t>(at_.batches));
    GR_RETURN_IF_ERROR(session.Run(absl::Span<const Tensor>(arguments_)));
    const double loss = session.output(0).tensor.AsDouble(0);
    if (update) at_.lr = session.output(1).tensor.AsDouble(0);
    if (!std::isfinite(loss)) return Diverged(loss);
    at_.updates += update ? 1 : 0;
    at_.epoch_loss += loss * static_cast<double>(batch.size);
    at_.epoch_samples += batch.size;
    ++at_.batch;
    ++at_.batches;
    if (env_.console != nullptr && env_.console->Tick(batch.size))
      env_.console->Show({loss, at_.lr, watch_.norm()});
    return absl::OkStatus();
  }

  absl::Status Diverged(double loss) {
    Warn({{"nan-loss", absl::StrCat("the loss is ", loss, " in epoch ", at_.epoch + 1)}});
    return NumericError(
        "the loss became ", loss, " in epoch ", at_.epoch + 1, ", batch ", at_.batch + 1, ", lr ",
        at_.lr, ". Try a smaller --lr, --clip-norm 1 or --normalize zscore; the checkpoints in ",
        folder_.checkpoints(), " are from before");
  }

  bool Stopped() {
    if (env_.signal == nullptr || *env_.signal == 0) return false;
    signal_ = *env_.signal;
    status_ = "interrupted";
    return true;
  }

  // After each batch: signals, limits, checkpoints asked for.
  absl::Status AfterStep() {
    if (Stopped()) return Checkpoint();
    const bool asked = env_.save_request != nullptr && env_.save_request->exchange(false);
    // What ends with the epoch ends there.
    if (at_.batch == s_.batches_per_epoch) return asked ? Checkpoint() : absl::OkStatus();
    const auto& loop = s_.recipe.loop();
    if ((loop.max_steps() > 0 && at_.updates >= loop.max_steps()) ||
        (loop.max_time() > 0 && Elapsed() >= loop.max_time())) {
      status_ = "finished";
      return EndWithinEpoch();
    }
    const bool due = save_.every > 0 && at_.updates > 0 && at_.updates % save_.every == 0 &&
                     at_.updates != saved_at_;
    if (asked || due) return Checkpoint();
    return absl::OkStatus();
  }

  // A limit within an epoch. What is measured there may be the best model, but early stopping, the
  // schedule and what goes on later know nothing of it.
  absl::Status EndWithinEpoch() {
    RunPosition position = at_;
    within_epoch_ = true;
    GR_RETURN_IF_ERROR(Measure());
    const bool measured = status_ != "interrupted";
    if (measured) {
      position.ended = true;
      position.end_is_best = at_.best_step == at_.updates && at_.best_epoch == at_.epoch;
      position.end_value = at_.best;
      position.end_results = at_.results;
    }
    std::swap(at_, position);
    GR_RETURN_IF_ERROR(Checkpoint());
    if (measured) TakeEnd();
    return absl::OkStatus();
  }

  // Between epochs: whether the run is at its end.
  void CheckLimits() {
    const auto& loop = s_.recipe.loop();
    if (!status_.empty()) return;
    if (at_.epoch >= loop.epochs() || (loop.max_steps() > 0 && at_.updates >= loop.max_steps()) ||
        (loop.max_time() > 0 && Elapsed() >= loop.max_time())) {
      status_ = "finished";
    } else if (loop.patience() > 0 && at_.since_best >= loop.patience()) {
      status_ = "stopped early";
    } else if (env_.pause_epoch > 0 && at_.epoch >= env_.pause_epoch) {
      status_ = "paused";
    }
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
    row.emplace_back("lr", at_.lr);
    const int64_t every = std::max<int64_t>(s_.recipe.loop().val_every(), 1);
    const bool validates = s_.validation_loader != nullptr &&
                           ((at_.epoch + 1) % every == 0 ||
                            at_.epoch + 1 == s_.recipe.loop().epochs() || !status_.empty());
    if (validates) {
      GR_ASSIGN_OR_RETURN(const auto values,
                          Evaluate(s_, *s_.validation_loader, metrics_, env_.signal));
      if (values.empty() && Stopped()) return absl::OkStatus();
      for (const auto& [name, value] : values) row.emplace_back(absl::StrCat("val_", name), value);
    }
    bool best = false;
    absl::optional<double> monitored;
    for (const auto& [name, value] : row) {
      if (name == monitor_.name()) monitored = value;
    }
    if (monitored.has_value()) {
      best = monitor_.Improves(*monitored, &at_);
      if (best) {
        if (within_epoch_) GR_RETURN_IF_ERROR(folder_.SetBestAside());
        if (save_.best) GR_RETURN_IF_ERROR(ExportTrained(s_, folder_.best_model()));
      }
      if (!within_epoch_) {
        GR_RETURN_IF_ERROR(KeepTop(*monitored));
        if (monitor_.HasPlateau(*monitored, &at_)) GR_RETURN_IF_ERROR(LowerRate());
      }
    }
    at_.results = row;
    row.insert(row.end(), at_.gradients.begin(), at_.gradients.end());
    GR_RETURN_IF_ERROR(log_->Write(at_.updates, at_.epoch + 1, row));
    if (env_.console != nullptr) {
      std::vector<NamedNumber> shown;
      for (const auto& [name, value] : row) {
        if (name.rfind("val_", 0) == 0) shown.emplace_back(name, value);
      }
      env_.console->EndEpoch(std::vector<NamedNumber>{{"loss", loss}, {"lr", at_.lr}});
      if (!shown.empty()) env_.console->Validation(shown, monitor_.name(), best);
    }
    return absl::OkStatus();
  }

  // The K best models so far, each in its file.
  absl::Status KeepTop(double monitored) {
    if (save_.top == 0 || std::isnan(monitored)) return absl::OkStatus();
    const auto place = std::find_if(at_.top.begin(), at_.top.end(), [&](const auto& t) {
      return monitor_.Better(monitored, t.first);
    });
    if (place == at_.top.end() && at_.top.size() >= static_cast<size_t>(save_.top))
      return absl::OkStatus();
    at_.top.insert(place, {monitored, at_.epoch + 1});
    GR_RETURN_IF_ERROR(CreateDirs(folder_.path() + "/top"));
    GR_RETURN_IF_ERROR(ExportTrained(s_, folder_.top_model(at_.epoch + 1)));
    while (at_.top.size() > static_cast<size_t>(save_.top)) {
      const std::string path = folder_.top_model(at_.top.back().second);
      at_.top.pop_back();
      if (FileExists(path)) GR_RETURN_IF_ERROR(RemoveFile(path));
    }
    return absl::OkStatus();
  }

  absl::Status LowerRate() {
    GR_ASSIGN_OR_RETURN(const Tensor scale, s_.states()->Read(kScaleState));
    return s_.states()->Write(
        kScaleState, Tensor::Scalar(scale.AsDouble(0) * s_.recipe.schedule().plateau().factor()));
  }

  absl::Status EndOfEpoch() {
    GR_RETURN_IF_ERROR(Measure());
    if (status_ == "interrupted") return Checkpoint();  // the validation is made up for on resuming
    ++at_.epoch;
    at_.batch = 0;
    at_.epoch_loss = 0;
    at_.epoch_samples = 0;
    CheckLimits();
    if (status_.empty()) Stopped();
    return Checkpoint();
  }

  absl::Status Checkpoint() {
    at_.seconds = Elapsed();
    watch_.Store(&at_);
    saved_at_ = at_.updates;
    GR_RETURN_IF_ERROR(log_->Sync());
    return folder_.SaveCheckpoint(s_, at_, save_.every);
  }

  absl::StatusOr<TrainResult> Finish() {
    RunEnd end;
    end.status = status_;
    end.signal = status_ == "interrupted" ? signal_ : 0;
    end.seconds = Elapsed();
    end.monitor = &monitor_;
    if (s_.recipe.output().profile()) {
      GR_RETURN_IF_ERROR(WriteFileAtomic(folder_.path() + "/profile.json",
                                         ChromeTrace(profile_, s_.recipe.model().path())));
    }
    return EndRun(s_, folder_, save_, at_, end);
  }

  static constexpr size_t kMostEvents = 100000;  // of profile.json: viewers become slow beyond

  RunSetup& s_;
  RunFolder& folder_;
  const TrainEnvironment& env_;
  SavePolicy save_;
  RunPosition at_;
  GradientWatch watch_{s_};
  std::vector<std::unique_ptr<Metric>> metrics_;
  std::unique_ptr<MetricsLog> log_;
  std::vector<Tensor> arguments_;
  Monitor monitor_;
  std::string status_;
  int signal_ = 0;
  bool within_epoch_ = false;  // the measurement at hand is made where a limit ends the run
  bool forget_ = false;        // the log's row of the step that the run goes on from
  int64_t saved_at_ = -1;
  Profile profile_;
  Clock::time_point start_;
  double seconds_before_ = 0;
};

void NoteSchedule(const RunSetup& s, Console* console) {
  const int64_t most = s.recipe.loop().max_steps();
  if (console == nullptr || !s.schedule->spans_run() || s.recipe.schedule().steps() > 0 ||
      most <= 0 || most >= s.options.total_steps)
    return;
  console->Note(absl::StrCat("schedule ", s.schedule->name(), " is planned over all epochs (",
                             s.options.total_steps, " steps) though the run stops after ", most,
                             ". --schedule-steps ", most, " plans it over those"));
}

}  // namespace

absl::StatusOr<TrainResult> Train(const recipe::Recipe& recipe, const OpRegistry& registry,
                                  const TrainEnvironment& environment, const TrainRegistry& parts) {
  const ThreadsScope threads(recipe.loop().threads());
  GR_ASSIGN_OR_RETURN(const SavePolicy save, SavePolicy::Parse(recipe));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<RunSetup> setup,
                      SetUpRun(recipe, registry, nullptr, parts));
  if (environment.console != nullptr)
    environment.console->Header("graphrun train", RunFacts(*setup));
  NoteSchedule(*setup, environment.console);
  if (environment.dry_run) return TrainResult();
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<RunFolder> folder,
                      RunFolder::Open(setup->recipe, environment.force, environment.resume));
  GR_RETURN_IF_ERROR(folder->WriteEnvironment(*setup, environment.command_line));
  GR_ASSIGN_OR_RETURN(std::shared_ptr<Console> log, folder->OpenLog(environment.resume));
  log->Header("graphrun train", RunFacts(*setup));
  NoteSchedule(*setup, log.get());
  if (environment.console != nullptr) {
    log = Console::Tee(std::shared_ptr<Console>(environment.console, [](Console*) {}),
                       std::move(log));
  }
  TrainEnvironment logged = environment;
  logged.console = log.get();
  auto result = Trainer(*setup, *folder, logged, save).Run();
  if (!result.ok()) log->Note(std::string(result.status().message()));
  if (result.ok()) {
    std::vector<std::pair<std::string, std::string>> rows = {{"status", result->summary.status}};
    if (!result->best_model.empty()) rows.emplace_back("best model", result->best_model);
    if (!result->last_model.empty()) rows.emplace_back("last model", result->last_model);
    if (result->signal != 0) rows.emplace_back("to go on", "the same words and --resume");
    rows.emplace_back("report", absl::StrCat(result->folder, "/report.html"));
    log->Finish(rows);
  }
  return result;
}

}  // namespace graphrun
