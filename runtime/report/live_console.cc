#include "runtime/report/live_console.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "runtime/base/text.h"
#include "runtime/report/utf8.h"

namespace graphrun {
namespace {

// A number on the live line. Those of the lowest worth go first where the line is too narrow.
struct Field {
  int worth;
  std::string name, value;
  int columns() const { return TextColumns(name) + TextColumns(value) + (name.empty() ? 2 : 3); }
};

// Numbers keep their width, so that the bar does not jump while they change.
std::string Padded(std::string text, int columns) {
  const int missing = columns - TextColumns(text);
  return missing > 0 ? std::string(static_cast<size_t>(missing), ' ') + text : text;
}

constexpr int kLeastBar = 8, kWidestBar = 32;
constexpr size_t kMostLosses = 2048;

}  // namespace

std::string LiveConsole::BarLine(int columns) const {
  const double fraction =
      steps_ > 0 ? static_cast<double>(steps_done_) / static_cast<double>(steps_) : 0;
  const std::string label = EpochLabel();
  std::vector<Field> fields;
  if (steps_ > 0) {
    fields.push_back({9, "", absl::StrFormat("%3.0f%%", std::floor(fraction * 100))});
    fields.push_back({3, "",
                      Padded(absl::StrCat(steps_done_, "/", steps_),
                             2 * TextColumns(absl::StrCat(steps_)) + 1)});
    fields.push_back({7, "eta", Padded(HumanSeconds(SecondsLeft()), 5)});
  } else {
    fields.push_back({9, "step", absl::StrCat(steps_done_)});
  }
  if (steps_done_ > 0) {
    if (!std::isnan(info_.loss)) fields.push_back({8, "loss", Padded(HumanNumber(info_.loss), 6)});
    fields.push_back({5, "", absl::StrCat(Padded(HumanCount(StepsPerSecond()), 5), " it/s")});
    fields.push_back(
        {4, "", absl::StrCat(Padded(HumanCount(SamplesPerSecond()), 5), " samples/s")});
    if (!std::isnan(info_.learning_rate)) {
      fields.push_back({6, "lr", absl::StrFormat("%-7.3g", info_.learning_rate)});
    }
    if (!std::isnan(info_.gradient_norm)) {
      fields.push_back({2, "|grad|", absl::StrFormat("%.3g", info_.gradient_norm)});
    }
  }
  const auto used = [&] {
    int sum = TextColumns(label) + 2;
    for (const Field& field : fields) sum += field.columns();
    return sum;
  };
  // The last number is worth more than the bar.
  while (!fields.empty() && used() + (steps_ > 0 && fields.size() > 1 ? kLeastBar : 0) > columns) {
    fields.erase(std::min_element(fields.begin(), fields.end(), [](const Field& a, const Field& b) {
      return a.worth < b.worth;
    }));
  }
  std::string line = Painted(terminal_, Paint::kBold, Clipped(terminal_, label, columns));
  const int bar = std::min(columns - used(), kWidestBar);
  if (steps_ > 0 && bar >= kLeastBar) {
    absl::StrAppend(&line, "  ", ProgressBar(terminal_, fraction, bar));
  }
  for (const Field& field : fields) {
    absl::StrAppend(&line, "  ");
    if (!field.name.empty()) {
      absl::StrAppend(&line, Painted(terminal_, Paint::kDim, field.name), " ");
    }
    absl::StrAppend(&line, field.value);
  }
  return line;
}

std::string LiveConsole::EraseSequence() const {
  if (lines_drawn_ == 0) return "";
  // Up to the first line of the block, then erase everything below.
  return absl::StrCat("\r", lines_drawn_ > 1 ? absl::StrFormat("\x1b[%dA", lines_drawn_ - 1) : "",
                      "\x1b[J");
}

void LiveConsole::Draw() {
  const std::vector<std::string> block = Block(terminal_.Columns() - 1);
  terminal_.Write(absl::StrCat(EraseSequence(), absl::StrJoin(block, "\n")));
  lines_drawn_ = static_cast<int>(block.size());
}

void LiveConsole::Clear() {
  terminal_.Write(EraseSequence());
  lines_drawn_ = 0;
}

void LiveConsole::Print(absl::string_view text) {
  terminal_.Write(absl::StrCat(EraseSequence(), text));
  lines_drawn_ = 0;
  if (live_) Draw();
}

void LiveConsole::BeginEpoch(int64_t epoch, int64_t epochs, int64_t steps, int64_t done) {
  StartCounting(epoch, epochs, steps, done);
  live_ = true;
  Draw();
}

void LiveConsole::Show(const StepInfo& info) {
  Shown();
  info_ = info;
  if (live_) Draw();
}

void LiveConsole::EndEpoch(absl::Span<const NamedNumber> values) {
  live_ = false;
  PlainConsole::EndEpoch(values);
}

void LiveConsole::Finish(absl::Span<const NamedText> rows) {
  live_ = false;
  PlainConsole::Finish(rows);
}

void TuiConsole::Show(const StepInfo& info) {
  if (shows_++ % stride_ == 0) losses_.push_back(info.loss);
  if (losses_.size() >= kMostLosses) {
    for (size_t i = 0; i < losses_.size() / 2; ++i) losses_[i] = losses_[2 * i];
    losses_.resize(losses_.size() / 2);
    stride_ *= 2;
  }
  LiveConsole::Show(info);
}

void TuiConsole::Validation(absl::Span<const NamedNumber> values, absl::string_view monitored,
                            bool best) {
  for (const NamedNumber& value : values) {
    if (value.first != monitored) continue;
    monitored_ = value.first;
    validations_.push_back(value.second);
    if (best) best_ = value.second;
  }
  LiveConsole::Validation(values, monitored, best);
}

std::string TuiConsole::CourseLine(absl::string_view name, const std::vector<double>& values,
                                   absl::string_view remark, int columns) const {
  const std::string label = Clipped(terminal_, name, 14);
  const auto pad = static_cast<size_t>(15 - TextColumns(label));
  const int room = columns - 16 - TextColumns(remark) - 2;
  return absl::StrCat(Painted(terminal_, Paint::kDim, label), std::string(pad, ' '),
                      Painted(terminal_, Paint::kBlue, Sparkline(terminal_, values, room)), "  ",
                      remark);
}

std::vector<std::string> TuiConsole::Block(int columns) const {
  std::vector<std::string> lines;
  const double elapsed = Now() - start_;
  if (epochs_ > 0) {
    const double part =
        steps_ > 0 ? static_cast<double>(steps_done_) / static_cast<double>(steps_) : 0;
    const double fraction = (static_cast<double>(epoch_ - 1) + part) / static_cast<double>(epochs_);
    const std::string times = absl::StrCat(
        absl::StrFormat("%3.0f%%  ", std::floor(fraction * 100)), HumanSeconds(elapsed), "  ",
        fraction > 0.001 ? absl::StrCat("eta ", HumanSeconds(elapsed * (1 - fraction) / fraction))
                         : "");
    const std::string label = EpochLabel();
    const int bar = std::min(columns - TextColumns(label) - TextColumns(times) - 4, kWidestBar);
    const auto pad = static_cast<size_t>(TextColumns(label) - 3);
    if (bar >= kLeastBar) {
      lines.push_back(absl::StrCat(Painted(terminal_, Paint::kBold, "run"), std::string(pad, ' '),
                                   "  ", ProgressBar(terminal_, fraction, bar), "  ", times));
    }
  }
  lines.push_back(BarLine(columns));
  if (!losses_.empty() && columns >= 40) {
    lines.push_back(CourseLine("loss", losses_, HumanNumber(losses_.back()), columns));
  }
  if (!validations_.empty() && columns >= 40) {
    lines.push_back(CourseLine(
        absl::StrCat("val ", monitored_), validations_,
        absl::StrCat(HumanNumber(validations_.back()), ", best ", HumanNumber(best_)), columns));
  }
  return lines;
}

}  // namespace graphrun
