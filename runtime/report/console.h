// Console: how a training run shows itself while it runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "runtime/report/terminal.h"

namespace graphrun {

using NamedNumber = std::pair<std::string, double>;
using NamedText = std::pair<std::string, std::string>;

enum class ProgressMode {
  kAuto,   // kBar on a terminal, kPlain elsewhere
  kTui,    // several live lines: both bars, the course of the loss and of the monitored value
  kBar,    // one live line an epoch
  kPlain,  // lines only, one more every 10 s in long epochs
  kJson,   // one JSON object a line: {"event": "epoch", ...}
  kNone,   // nothing
};

// The mode of that name ("auto", "tui", ...). Errors: kUsage with a suggestion.
absl::StatusOr<ProgressMode> ProgressModeFromName(absl::string_view name);

// What the live line shows beside its position; NaN is not shown.
struct StepInfo {
  double loss = 0;
  double learning_rate = 0;
  double gradient_norm = 0;
};

// One thread at a time. The order of calls: Header, then per epoch BeginEpoch, Tick and Show,
// EndEpoch, Validation, then Finish. Warning and Note fit in anywhere.
class Console {
 public:
  // `clock` gives seconds from any start; nothing means the steady clock.
  static std::unique_ptr<Console> Make(ProgressMode mode, const Terminal& terminal,
                                       std::function<double()> clock = nullptr);
  // Two displays as one: a terminal and train.log, say.
  static std::unique_ptr<Console> Tee(std::shared_ptr<Console> first,
                                      std::shared_ptr<Console> second);
  virtual ~Console() = default;

  // The names and values of the run: model, data, loss, optimizer, ...
  virtual void Header(absl::string_view title, absl::Span<const NamedText> rows) = 0;
  // epoch counts from 1; epochs and steps are 0 where nobody knows them. `done` of the steps were
  // made before, by the run that this one resumes.
  virtual void BeginEpoch(int64_t epoch, int64_t epochs, int64_t steps, int64_t done = 0) = 0;
  // Counts a step of `samples` samples; true where Show is due (at most about 10 times a second,
  // and 0.1 times for kPlain). All that it costs is a look at the clock.
  bool Tick(int64_t samples) {
    ++steps_done_;
    samples_done_ += samples;
    return interval_ > 0 && clock_() >= next_show_;
  }
  virtual void Show(const StepInfo& info) = 0;
  // The epoch's training values, in the order to be shown.
  virtual void EndEpoch(absl::Span<const NamedNumber> values) = 0;
  // `best`: better than all before, marked by a star. `monitored` is the value that decides.
  virtual void Validation(absl::Span<const NamedNumber> values, absl::string_view monitored,
                          bool best) = 0;
  // A named warning: "dead-relu", "layer conv1: 71 % of its units never fire".
  virtual void Warning(absl::string_view name, absl::string_view text) = 0;
  virtual void Note(absl::string_view text) = 0;
  // The last table: time, best values, path of the best model, ...
  virtual void Finish(absl::Span<const NamedText> rows) = 0;

 protected:
  Console(const Terminal& terminal, std::function<double()> clock, double interval)
      : terminal_(terminal), clock_(std::move(clock)), interval_(interval) {}
  double Now() const { return clock_(); }
  // Starts the counts and the clock of an epoch.
  void StartCounting(int64_t epoch, int64_t epochs, int64_t steps, int64_t done);
  // Brings the counts of another display to those of this one; true where its Show is due.
  bool CountInto(Console* other) const;
  static double IntervalOf(const Console& console) { return console.interval_; }
  // Sets when Show is due next and brings the rates up to date.
  void Shown();
  double EpochSeconds() const { return Now() - epoch_start_; }
  double StepsPerSecond() const { return steps_per_second_; }
  double SamplesPerSecond() const;
  // Seconds to the end of the epoch; NaN where unknown.
  double SecondsLeft() const;

  Terminal terminal_;
  std::function<double()> clock_;
  double interval_;  // seconds between two Shows; 0: never
  double next_show_ = 0;
  int64_t epoch_ = 0, epochs_ = 0, steps_ = 0;
  int64_t steps_done_ = 0, samples_done_ = 0;

 private:
  double epoch_start_ = 0, last_show_ = 0;
  int64_t steps_before_ = 0, steps_shown_ = 0;
  double steps_per_second_ = 0;
};

}  // namespace graphrun
