#include "runtime/report/plain_console.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/text.h"
#include "runtime/report/utf8.h"

namespace graphrun {

void PlainConsole::Header(absl::string_view title, absl::Span<const NamedText> rows) {
  Print(absl::StrCat(Painted(terminal_, Paint::kBold, title), "\n", PairTable(terminal_, rows)));
}

std::string PlainConsole::EpochLabel() const {
  if (epochs_ <= 0) return absl::StrCat("epoch ", epoch_);
  const std::string all = absl::StrCat(epochs_);
  return absl::StrFormat("epoch %*d/%s", static_cast<int>(all.size()), epoch_, all);
}

void PlainConsole::BeginEpoch(int64_t epoch, int64_t epochs, int64_t steps, int64_t done) {
  StartCounting(epoch, epochs, steps, done);
}

void PlainConsole::Show(const StepInfo& info) {
  Shown();
  std::string line = absl::StrCat(EpochLabel(), "  step ", steps_done_);
  if (steps_ > 0) absl::StrAppend(&line, "/", steps_);
  if (!std::isnan(info.loss)) absl::StrAppend(&line, "  loss ", HumanNumber(info.loss));
  if (!std::isnan(info.learning_rate)) {
    absl::StrAppend(&line, absl::StrFormat("  lr %.3g", info.learning_rate));
  }
  absl::StrAppend(&line, "  ", HumanCount(SamplesPerSecond()), " samples/s");
  if (steps_ > 0) absl::StrAppend(&line, "  eta ", HumanSeconds(SecondsLeft()));
  Print(line + "\n");
}

void PlainConsole::EndEpoch(absl::Span<const NamedNumber> values) {
  const double seconds = EpochSeconds();
  std::string line = Painted(terminal_, Paint::kBold, EpochLabel());
  for (const NamedNumber& value : values) {
    absl::StrAppend(
        &line, "  ", Painted(terminal_, Paint::kDim, value.first), " ",
        value.first == "lr" ? absl::StrFormat("%.3g", value.second) : HumanNumber(value.second));
  }
  absl::StrAppend(&line, "  ", HumanSeconds(seconds));
  if (seconds > 0 && samples_done_ > 0) {
    absl::StrAppend(&line, "  ", HumanCount(static_cast<double>(samples_done_) / seconds),
                    " samples/s");
  }
  Print(line + "\n");
}

void PlainConsole::Validation(absl::Span<const NamedNumber> values, absl::string_view monitored,
                              bool best) {
  const auto indent = static_cast<size_t>(TextColumns(EpochLabel()) - 3);
  std::string line =
      absl::StrCat(std::string(indent, ' '), Painted(terminal_, Paint::kBlue, "val"));
  for (const NamedNumber& value : values) {
    const std::string number = HumanNumber(value.second);
    absl::StrAppend(
        &line, "  ", Painted(terminal_, Paint::kDim, value.first), " ",
        best && value.first == monitored ? Painted(terminal_, Paint::kGreen, number) : number);
  }
  if (best) {
    absl::StrAppend(&line, "  ",
                    Painted(terminal_, Paint::kYellow, terminal_.utf8 ? "★ best" : "* best"));
  }
  Print(line + "\n");
}

void PlainConsole::Warning(absl::string_view name, absl::string_view text) {
  Print(absl::StrCat(Painted(terminal_, Paint::kYellow, absl::StrCat("warning: ", name)), ": ",
                     text, "\n"));
}

void PlainConsole::Note(absl::string_view text) { Print(absl::StrCat(text, "\n")); }

void PlainConsole::Finish(absl::Span<const NamedText> rows) { Print(PairTable(terminal_, rows)); }

}  // namespace graphrun
