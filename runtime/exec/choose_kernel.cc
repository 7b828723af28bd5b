#include "runtime/exec/choose_kernel.h"

#include <algorithm>

#include "absl/strings/str_replace.h"
#include "runtime/base/threads_scope.h"

namespace graphrun {
namespace {

using MakePrepare = absl::FunctionRef<std::unique_ptr<PrepareContext>()>;

// What another kernel may take at most instead of the first: its share, and less by what a clock
// can tell apart.
constexpr double kWorthIt = 0.97, kLeastGain = 100e-9;
constexpr size_t kMaxKeyBytes = 4096;  // of a line that a person can read
constexpr int64_t kMaxShownElements = 8;

// What a kernel's time depends on, beside the machine.
std::string KeyOf(const Node& node, const OpDef& def, LayoutsAtHand at_hand) {
  std::string key = def.Describe();
  for (int i = 0; i < node.num_inputs(); ++i) {
    const Value* in = node.input(i);
    absl::StrAppend(&key, i == 0 ? " " : ", ");
    if (in == nullptr) {
      key += "-";
      continue;
    }
    absl::StrAppend(&key, in->type().tensor.ToString());
    if (in->is_constant()) {
      // Kernels read sizes, axes and the like when they are prepared.
      const Tensor& value = in->initializer();
      absl::StrAppend(&key, " constant");
      if (value.num_elements() > kMaxShownElements || value.dtype() == DType::kFloat32) continue;
      for (int64_t e = 0; e < value.num_elements(); ++e)
        absl::StrAppend(&key, e == 0 ? " {" : ",", value.AsDouble(e));
      if (value.num_elements() > 0) key += "}";
      continue;
    }
    const std::vector<Layout> layouts = at_hand(in);
    if (layouts.empty()) key += " any";
    for (size_t k = 0; k < layouts.size(); ++k) {
      if (layouts.size() > 1 || !layouts[k].is_row_major())
        absl::StrAppend(&key, k == 0 ? " " : "|", layouts[k].ToString(in->shape().rank()));
    }
  }
  key += " ->";
  for (int o = 0; o < node.num_outputs(); ++o)
    absl::StrAppend(&key, o == 0 ? " " : ", ",
                    node.has_output(o) ? node.output(o)->type().tensor.ToString() : "-");
  for (const auto& [name, attr] : node.attrs())
    absl::StrAppend(&key, " ", name, "=", attr.ToString());
  return absl::StrReplaceAll(key, {{"\t", "\\t"}, {"\n", "\\n"}, {"\r", "\\r"}});
}

// Prepares one kernel; its `kernel` is null where it does not take the node.
absl::StatusOr<KernelCandidate> Prepared(const OpDef::NamedKernel& named, MakePrepare prepare) {
  KernelCandidate candidate{named.name, prepare(), nullptr};
  auto kernel = named.factory(*candidate.prepare);
  if (!kernel.ok()) return Annotate(kernel.status(), absl::StrCat("kernel ", named.name));
  candidate.kernel = *std::move(kernel);
  return candidate;
}

}  // namespace

size_t FastestKernel(const std::vector<double>& seconds) {
  size_t best = 0;
  if (seconds[0] < 0) return best;
  for (size_t c = 1; c < seconds.size(); ++c) {
    const double limit =
        best == 0 ? std::min(kWorthIt * seconds[0], seconds[0] - kLeastGain) : seconds[best];
    if (seconds[c] >= 0 && seconds[c] < limit) best = c;
  }
  return best;
}

absl::StatusOr<ChosenKernel> ChooseKernel(const Node& node, const OpDef& def,
                                          const OpRegistry& registry, KernelTuner* tuner,
                                          int threads, MakePrepare prepare, LayoutsAtHand at_hand) {
  std::string machine, key;
  if (tuner != nullptr && def.kernels().size() > 1 && IsMeasurable(node, def)) {
    key = KeyOf(node, def, at_hand);
    if (key.size() > kMaxKeyBytes) key.clear();
    machine = KernelTuner::Machine(threads);
  }
  if (!key.empty()) {
    if (absl::optional<KernelChoice> known = tuner->Find(machine, key); known.has_value()) {
      for (const OpDef::NamedKernel& named : def.kernels()) {
        if (named.name != known->kernel) continue;
        GR_ASSIGN_OR_RETURN(KernelCandidate candidate, Prepared(named, prepare));
        if (candidate.kernel != nullptr)
          return ChosenKernel{std::move(candidate), std::move(known->times)};
      }
    }
  }
  std::vector<KernelCandidate> candidates;
  for (const OpDef::NamedKernel& named : def.kernels()) {
    if (!candidates.empty() &&
        (!KernelTuner::IsPlain(named.name) || IsTooSlowToMeasure(node, def, named.name)))
      continue;
    GR_ASSIGN_OR_RETURN(KernelCandidate candidate, Prepared(named, prepare));
    if (candidate.kernel == nullptr) continue;
    candidates.push_back(std::move(candidate));
    if (key.empty() || !KernelTuner::IsPlain(named.name)) break;
  }
  if (candidates.empty()) return ChosenKernel();
  ChosenKernel chosen;
  size_t best = 0;
  if (candidates.size() > 1) {
    const ThreadsScope scope(threads);
    const std::vector<double> seconds = MeasureKernels(node, def, registry, candidates, at_hand);
    best = FastestKernel(seconds);
    for (size_t c = 0; c < candidates.size(); ++c)
      if (seconds[0] >= 0 && seconds[c] >= 0)
        chosen.times.push_back({candidates[c].name, seconds[c]});
    if (chosen.times.size() < 2) {
      chosen.times.clear();
    } else {
      tuner->Add(machine, key, {candidates[best].name, chosen.times});
    }
  }
  chosen.candidate = std::move(candidates[best]);
  return chosen;
}

}  // namespace graphrun
