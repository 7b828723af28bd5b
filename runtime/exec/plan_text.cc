#include "absl/strings/str_format.h"
#include "runtime/exec/plan.h"

namespace graphrun {
namespace {

std::string SlotText(const ExecutionPlan& plan, int index) {
  if (index < 0) return "-";
  const auto& slot = plan.slots()[static_cast<size_t>(index)];
  if (!slot.type.is_tensor()) return slot.type.ToString();
  const auto& tensor = slot.type.tensor;
  const std::string layout = tensor.shape.has_rank() && !slot.layout.is_row_major()
                                 ? absl::StrCat("/", slot.layout.ToString(tensor.shape.rank()))
                                 : "";
  return absl::StrCat(tensor.ToString(), layout);
}

// "measured: onednn 1.2 ms, winograd 0.8 ms"
std::string TimesText(const ExecutionPlan::Step& step) {
  std::string text;
  for (const KernelTime& t : step.times) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", t.kernel,
                    absl::StrFormat(" %.4g ms", t.seconds * 1e3));
  }
  return text;
}

// What measuring changed.
std::string MeasuredText(const std::vector<ExecutionPlan::Step>& steps) {
  int measured = 0, others = 0;
  double first = 0, chosen = 0;
  for (const auto& step : steps) {
    if (step.times.empty()) continue;
    ++measured;
    others += step.kernel != step.times.front().kernel ? 1 : 0;
    first += step.times.front().seconds;
    for (const KernelTime& t : step.times)
      if (t.kernel == step.kernel) chosen += t.seconds;
  }
  if (measured == 0) return "";
  return absl::StrFormat(
      "kernels chosen by measuring: %d steps, of which %d take another than the first; together "
      "%.4g ms instead of %.4g ms\n",
      measured, others, chosen * 1e3, first * 1e3);
}

std::string Padded(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}

}  // namespace

std::string ExecutionPlan::ToString() const {
  std::string out =
      absl::StrCat("plan: ", steps_.size(), " steps, ", threads_, " threads, arena ", arena_bytes_,
                   " bytes, constants ", constant_bytes(), " bytes, states ", states_.size(), "\n");
  for (size_t s = 0; s < steps_.size(); ++s) {
    const Step& step = steps_[s];
    absl::StrAppend(&out, Padded(absl::StrCat(s), 5), Padded(step.op, 28), " ",
                    Padded(step.kernel, 8), " ", Padded(step.label, 28), " (");
    for (size_t i = 0; i < step.inputs.size(); ++i)
      absl::StrAppend(&out, i ? ", " : "", SlotText(*this, step.inputs[i]));
    absl::StrAppend(&out, ") -> ");
    for (size_t i = 0; i < step.outputs.size(); ++i) {
      absl::StrAppend(&out, i ? ", " : "", SlotText(*this, step.outputs[i]));
    }
    if (!step.info.empty()) absl::StrAppend(&out, "  [", step.info, "]");
    if (!step.times.empty()) absl::StrAppend(&out, "  measured: ", TimesText(step));
    if (!step.why.empty()) absl::StrAppend(&out, "  because ", step.why);
    out += "\n";
  }
  out += MeasuredText(steps_);
  for (const State& state : states_) {
    absl::StrAppend(&out, "state ", state.name, " ", state.initial.type().ToString());
    if (!state.layout.is_row_major())
      absl::StrAppend(&out, "/", state.layout.ToString(state.initial.rank()));
    out += "\n";
  }
  for (const StateCopy& copy : state_copies_) {
    absl::StrAppend(&out, "copied after the run: state ",
                    states_[static_cast<size_t>(copy.state)].name, "\n");
  }
  return out;
}

}  // namespace graphrun
