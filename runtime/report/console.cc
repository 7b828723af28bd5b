#include "runtime/report/console.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>

#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/report/json_console.h"
#include "runtime/report/live_console.h"
#include "runtime/report/plain_console.h"

namespace graphrun {
namespace {

struct ModeRow {
  const char* name;
  ProgressMode mode;
};
constexpr std::array<ModeRow, 6> kModes = {{{"auto", ProgressMode::kAuto},
                                            {"tui", ProgressMode::kTui},
                                            {"bar", ProgressMode::kBar},
                                            {"plain", ProgressMode::kPlain},
                                            {"json", ProgressMode::kJson},
                                            {"none", ProgressMode::kNone}}};

class NoConsole : public Console {
 public:
  explicit NoConsole(const Terminal& terminal)
      : Console(
            terminal, [] { return 0.0; }, 0) {}
  void Header(absl::string_view, absl::Span<const NamedText>) override {}
  void BeginEpoch(int64_t, int64_t, int64_t, int64_t) override {}
  void Show(const StepInfo&) override {}
  void EndEpoch(absl::Span<const NamedNumber>) override {}
  void Validation(absl::Span<const NamedNumber>, absl::string_view, bool) override {}
  void Warning(absl::string_view, absl::string_view) override {}
  void Note(absl::string_view) override {}
  void Finish(absl::Span<const NamedText>) override {}
};

// Counts for both, and hands on what each is due.
class TeeConsole : public Console {
 public:
  TeeConsole(std::shared_ptr<Console> first, std::shared_ptr<Console> second,
             std::function<double()> clock)
      : Console(Terminal(), std::move(clock), Sooner(IntervalOf(*first), IntervalOf(*second))),
        first_(std::move(first)),
        second_(std::move(second)) {}
  void Header(absl::string_view title, absl::Span<const NamedText> rows) override {
    first_->Header(title, rows);
    second_->Header(title, rows);
  }
  void BeginEpoch(int64_t epoch, int64_t epochs, int64_t steps, int64_t done) override {
    StartCounting(epoch, epochs, steps, done);
    first_->BeginEpoch(epoch, epochs, steps, done);
    second_->BeginEpoch(epoch, epochs, steps, done);
  }
  void Show(const StepInfo& info) override {
    Shown();
    if (CountInto(first_.get())) first_->Show(info);
    if (CountInto(second_.get())) second_->Show(info);
  }
  void EndEpoch(absl::Span<const NamedNumber> values) override {
    CountInto(first_.get());
    CountInto(second_.get());
    first_->EndEpoch(values);
    second_->EndEpoch(values);
  }
  void Validation(absl::Span<const NamedNumber> values, absl::string_view monitored,
                  bool best) override {
    first_->Validation(values, monitored, best);
    second_->Validation(values, monitored, best);
  }
  void Warning(absl::string_view name, absl::string_view text) override {
    first_->Warning(name, text);
    second_->Warning(name, text);
  }
  void Note(absl::string_view text) override {
    first_->Note(text);
    second_->Note(text);
  }
  void Finish(absl::Span<const NamedText> rows) override {
    first_->Finish(rows);
    second_->Finish(rows);
  }

 private:
  static double Sooner(double a, double b) {
    return a > 0 && b > 0 ? std::min(a, b) : std::max(a, b);
  }
  std::shared_ptr<Console> first_, second_;
};

double SteadySeconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

absl::StatusOr<ProgressMode> ProgressModeFromName(absl::string_view name) {
  std::vector<std::string> names;
  for (const ModeRow& row : kModes) {
    if (name == row.name) return row.mode;
    names.emplace_back(row.name);
  }
  return UsageError("there is no progress display \"", name,
                    "\": it is one of auto, tui, bar, plain, json, none.", DidYouMean(name, names));
}

std::unique_ptr<Console> Console::Make(ProgressMode mode, const Terminal& terminal,
                                       std::function<double()> clock) {
  if (clock == nullptr) clock = SteadySeconds;
  if (mode == ProgressMode::kAuto) {
    mode = terminal.interactive ? ProgressMode::kBar : ProgressMode::kPlain;
  }
  switch (mode) {
    case ProgressMode::kTui:
      return std::make_unique<TuiConsole>(terminal, std::move(clock));
    case ProgressMode::kBar:
      return std::make_unique<BarConsole>(terminal, std::move(clock));
    case ProgressMode::kJson:
      return std::make_unique<JsonConsole>(terminal, std::move(clock));
    case ProgressMode::kNone:
      return std::make_unique<NoConsole>(terminal);
    default:
      return std::make_unique<PlainConsole>(terminal, std::move(clock));
  }
}

std::unique_ptr<Console> Console::Tee(std::shared_ptr<Console> first,
                                      std::shared_ptr<Console> second) {
  std::function<double()> clock = IntervalOf(*first) > 0 ? first->clock_ : second->clock_;
  return std::make_unique<TeeConsole>(std::move(first), std::move(second), std::move(clock));
}

void Console::StartCounting(int64_t epoch, int64_t epochs, int64_t steps, int64_t done) {
  epoch_ = epoch;
  epochs_ = epochs;
  steps_ = steps;
  steps_done_ = steps_before_ = steps_shown_ = done;
  samples_done_ = 0;
  steps_per_second_ = 0;
  epoch_start_ = last_show_ = Now();
  next_show_ = epoch_start_ + interval_;
}

void Console::Shown() {
  constexpr double kMemorySeconds = 3;  // of the rate: e-fold
  const double now = Now(), passed = now - last_show_;
  if (passed > 0) {
    const double rate = static_cast<double>(steps_done_ - steps_shown_) / passed;
    const double weight =
        steps_shown_ == steps_before_ ? 1 : 1 - std::exp(-passed / kMemorySeconds);
    steps_per_second_ += weight * (rate - steps_per_second_);
  }
  last_show_ = now;
  steps_shown_ = steps_done_;
  next_show_ = now + interval_;
}

bool Console::CountInto(Console* other) const {
  other->steps_done_ = steps_done_;
  other->samples_done_ = samples_done_;
  return other->interval_ > 0 && other->clock_() >= other->next_show_;
}

double Console::SamplesPerSecond() const {
  const int64_t steps = steps_done_ - steps_before_;
  if (steps == 0) return 0;
  return steps_per_second_ * static_cast<double>(samples_done_) / static_cast<double>(steps);
}

double Console::SecondsLeft() const {
  if (steps_ <= 0 || steps_per_second_ <= 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(std::max<int64_t>(steps_ - steps_done_, 0)) / steps_per_second_;
}

}  // namespace graphrun
