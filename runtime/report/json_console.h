// JsonConsole: progress for programs, one JSON object a line.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "runtime/report/console.h"

namespace graphrun {

// Events, each with "event" first: "begin" {title, rows}, "progress" {epoch, step, steps, loss, lr,
// gradient_norm, samples_per_second, seconds_left} at most once a second, "epoch" {epoch, seconds,
// samples, values}, "validation" {epoch, values, best}, "warning" {name, text}, "note" {text},
// "end" {rows}. Unknown numbers are null.
class JsonConsole : public Console {
 public:
  JsonConsole(const Terminal& terminal, std::function<double()> clock)
      : Console(terminal, std::move(clock), /*interval=*/1) {}
  void Header(absl::string_view title, absl::Span<const NamedText> rows) override;
  void BeginEpoch(int64_t epoch, int64_t epochs, int64_t steps, int64_t done) override;
  void Show(const StepInfo& info) override;
  void EndEpoch(absl::Span<const NamedNumber> values) override;
  void Validation(absl::Span<const NamedNumber> values, absl::string_view monitored,
                  bool best) override;
  void Warning(absl::string_view name, absl::string_view text) override;
  void Note(absl::string_view text) override;
  void Finish(absl::Span<const NamedText> rows) override;
};

}  // namespace graphrun
