// PlainConsole: lines, for files and pipes, and the permanent lines of the live displays.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "runtime/report/console.h"

namespace graphrun {

class PlainConsole : public Console {
 public:
  PlainConsole(const Terminal& terminal, std::function<double()> clock)
      : PlainConsole(terminal, std::move(clock), /*interval=*/10) {}
  void Header(absl::string_view title, absl::Span<const NamedText> rows) override;
  void BeginEpoch(int64_t epoch, int64_t epochs, int64_t steps, int64_t done) override;
  void Show(const StepInfo& info) override;
  void EndEpoch(absl::Span<const NamedNumber> values) override;
  void Validation(absl::Span<const NamedNumber> values, absl::string_view monitored,
                  bool best) override;
  void Warning(absl::string_view name, absl::string_view text) override;
  void Note(absl::string_view text) override;
  void Finish(absl::Span<const NamedText> rows) override;

 protected:
  PlainConsole(const Terminal& terminal, std::function<double()> clock, double interval)
      : Console(terminal, std::move(clock), interval) {}
  // Writes lines that stay; `text` ends with a newline.
  virtual void Print(absl::string_view text) { terminal_.Write(text); }
  // "epoch  3/20"
  std::string EpochLabel() const;
};

}  // namespace graphrun
