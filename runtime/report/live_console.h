// BarConsole and TuiConsole: lines at the bottom of a terminal that are drawn over and over.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/report/plain_console.h"

namespace graphrun {

// The permanent lines of PlainConsole, and below them a block that Show and Print redraw.
class LiveConsole : public PlainConsole {
 public:
  ~LiveConsole() override { Clear(); }
  void BeginEpoch(int64_t epoch, int64_t epochs, int64_t steps, int64_t done) override;
  void Show(const StepInfo& info) override;
  void EndEpoch(absl::Span<const NamedNumber> values) override;
  void Finish(absl::Span<const NamedText> rows) override;

 protected:
  LiveConsole(const Terminal& terminal, std::function<double()> clock)
      : PlainConsole(terminal, std::move(clock), /*interval=*/0.1) {}
  void Print(absl::string_view text) override;
  // The lines of the block, each at most `columns` characters wide.
  virtual std::vector<std::string> Block(int columns) const = 0;
  // Position, bar and as many of the numbers as fit into `columns`.
  std::string BarLine(int columns) const;
  // Removes the block from the screen.
  void Clear();

  StepInfo info_;

 private:
  std::string EraseSequence() const;
  void Draw();

  bool live_ = false;    // between BeginEpoch and EndEpoch
  int lines_drawn_ = 0;  // of the block on the screen; the cursor stands at the end of the last
};

// One line an epoch.
class BarConsole : public LiveConsole {
 public:
  BarConsole(const Terminal& terminal, std::function<double()> clock)
      : LiveConsole(terminal, std::move(clock)) {}

 protected:
  std::vector<std::string> Block(int columns) const override { return {BarLine(columns)}; }
};

// The whole run's bar, the epoch's bar, and the course of the loss and of the monitored value.
class TuiConsole : public LiveConsole {
 public:
  TuiConsole(const Terminal& terminal, std::function<double()> clock)
      : LiveConsole(terminal, std::move(clock)), start_(Now()) {}
  void Show(const StepInfo& info) override;
  void Validation(absl::Span<const NamedNumber> values, absl::string_view monitored,
                  bool best) override;

 protected:
  std::vector<std::string> Block(int columns) const override;

 private:
  std::string CourseLine(absl::string_view name, const std::vector<double>& values,
                         absl::string_view remark, int columns) const;

  double start_;
  std::vector<double> losses_;  // thinned by half whenever it is full
  int64_t stride_ = 1, shows_ = 0;
  std::string monitored_;
  std::vector<double> validations_;
  double best_ = 0;
};

}  // namespace graphrun
