#include "runtime/exec/measure_kernels.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "runtime/exec/state_store.h"

namespace graphrun {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kLeastRounds = 7, kMostRounds = 100;
constexpr double kLongEnough = 20e-3;  // seconds of all runs of a candidate
constexpr double kClearlySlower = 1.5;
// Above so many multiply-adds the plain kernel, which may be hundreds of times slower, is not run.
constexpr double kTooMuchForPlainKernel = 4e6;

bool IsPlainTensor(const Value* v) {
  return v->type().is_tensor() && v->shape().is_concrete() && v->dtype() != DType::kString &&
         v->dtype() != DType::kUndefined;
}

// Numbers around one in floating point, zeros (which are valid as indices) in integers.
void Fill(DType dtype, void* memory, int64_t bytes) {
  const auto n = bytes / static_cast<int64_t>(DTypeSize(dtype));
  if (bytes > 0) std::memset(memory, 0, static_cast<size_t>(bytes));
  DispatchDType(FloatTypes(), dtype, [&]<typename T>() {
    auto* data = static_cast<T*>(memory);
    for (int64_t i = 0; i < n; ++i)
      data[i] = static_cast<T>(0.5f + static_cast<float>((i * 73) & 127) / 128);
  });
}

// The memory that all candidates of a node share, and runs of them.
class Bench {
 public:
  Bench(const Node& node, const OpDef& def, const OpRegistry& registry, LayoutsAtHand at_hand)
      : node_(node), def_(def), registry_(registry), at_hand_(at_hand) {}

  // Makes room for what `candidate` reads and writes; `first`: the one that says how outputs are
  // to lie.
  absl::Status Add(const KernelCandidate& candidate, const KernelCandidate& first) {
    const PrepareContext& prepare = *candidate.prepare;
    trials_.emplace_back();
    Trial& trial = trials_.back();
    trial.kernel = candidate.kernel.get();
    for (int i = 0; i < node_.num_inputs(); ++i) {
      trial.inputs.push_back(nullptr);
      const Value* in = node_.input(i);
      if (in == nullptr) continue;
      Layout wanted = prepare.wanted(i);
      if (wanted.is_undecided()) wanted = Layout();
      const std::vector<Layout> have = at_hand_(in);
      const bool free = in->is_constant() || have.empty();
      if (!free && def_.is_shape_only(i)) wanted = have.front();
      GR_ASSIGN_OR_RETURN(trial.inputs.back(), MemoryOf(in, wanted));
      if (free || std::find(have.begin(), have.end(), wanted) != have.end()) continue;
      GR_RETURN_IF_ERROR(AddReorder(in, have.front(), wanted, &trial.before));
    }
    for (int o = 0; o < node_.num_outputs(); ++o) {
      trial.outputs.push_back(nullptr);
      const Value* out = node_.output(o);
      if (!node_.has_output(o)) continue;
      const Layout made = prepare.made(o), expected = first.prepare->made(o);
      GR_ASSIGN_OR_RETURN(trial.outputs.back(), MemoryOf(out, made));
      if (made != expected) GR_RETURN_IF_ERROR(AddReorder(out, made, expected, &trial.after));
    }
    GR_ASSIGN_OR_RETURN(trial.scratch, Tensor::Allocate(DType::kUInt8, {prepare.scratch_bytes()}));
    return absl::OkStatus();
  }

  // Seconds of one run of the candidate that was added as number `t`.
  absl::StatusOr<double> Run(size_t t) {
    Trial& trial = trials_[t];
    const auto begin = Clock::now();
    GR_RETURN_IF_ERROR(RunReorders(trial.before));
    RunContext context(trial.inputs.data(), static_cast<int>(trial.inputs.size()),
                       trial.outputs.data(), static_cast<int>(trial.outputs.size()),
                       trial.scratch.mutable_raw(), 0, 0);
    GR_RETURN_IF_ERROR(trial.kernel->Run(context));
    GR_RETURN_IF_ERROR(RunReorders(trial.after));
    return std::chrono::duration<double>(Clock::now() - begin).count();
  }

 private:
  struct Reorder {
    std::unique_ptr<Kernel> kernel;
    const Datum* from;
    Datum* to;
  };
  struct Trial {
    const Kernel* kernel = nullptr;
    std::vector<const Datum*> inputs;
    std::vector<Datum*> outputs;
    std::vector<Reorder> before, after;
    Tensor scratch;
  };
  struct Place {
    const Value* value;
    Layout layout;
    Tensor memory;
    std::unique_ptr<Datum> datum;
  };

  absl::StatusOr<Datum*> MemoryOf(const Value* v, const Layout& layout) {
    for (const Place& place : places_)
      if (place.value == v && place.layout == layout) return place.datum.get();
    const Dims dims = v->shape().ToDims();
    const int64_t bytes = layout.ByteSize(v->dtype(), dims);
    Place place{v, layout, Tensor(), nullptr};
    GR_ASSIGN_OR_RETURN(place.memory, Tensor::Allocate(DType::kUInt8, {bytes}));
    void* memory = place.memory.mutable_raw();
    if (v->is_constant()) {
      GR_RETURN_IF_ERROR(CopyLayout(registry_, v->dtype(), dims, v->initializer().raw(), Layout(),
                                    memory, layout));
    } else {
      Fill(v->dtype(), memory, bytes);
    }
    place.datum = std::make_unique<Datum>(Tensor::View(v->dtype(), dims, memory));
    places_.push_back(std::move(place));
    return places_.back().datum.get();
  }

  absl::Status AddReorder(const Value* v, const Layout& from, const Layout& to,
                          std::vector<Reorder>* reorders) {
    if (!registry_.reorder()) return InternalError("no reorder between layouts is registered");
    Reorder reorder;
    GR_ASSIGN_OR_RETURN(reorder.kernel,
                        registry_.reorder()(v->dtype(), v->shape().ToDims(), from, to));
    GR_ASSIGN_OR_RETURN(reorder.from, MemoryOf(v, from));
    GR_ASSIGN_OR_RETURN(reorder.to, MemoryOf(v, to));
    reorders->push_back(std::move(reorder));
    return absl::OkStatus();
  }

  static absl::Status RunReorders(std::vector<Reorder>& reorders) {
    for (Reorder& r : reorders) {
      RunContext context(&r.from, 1, &r.to, 1, nullptr, 0, 0);
      GR_RETURN_IF_ERROR(r.kernel->Run(context));
    }
    return absl::OkStatus();
  }

  const Node& node_;
  const OpDef& def_;
  const OpRegistry& registry_;
  LayoutsAtHand at_hand_;
  std::vector<Trial> trials_;
  std::vector<Place> places_;
};

}  // namespace

bool IsMeasurable(const Node& node, const OpDef& def) {
  if (def.is_random() || node.inputs().size() != static_cast<size_t>(node.num_inputs()))
    return false;
  for (const auto& [name, attr] : node.attrs())
    if (attr.kind() == Attr::Kind::kGraph || attr.kind() == Attr::Kind::kGraphs) return false;
  for (const Value* v : node.inputs())
    if (v != nullptr && !IsPlainTensor(v)) return false;
  for (int o = 0; o < node.num_outputs(); ++o)
    if (node.has_output(o) && !IsPlainTensor(node.output(o))) return false;
  return true;
}

bool IsTooSlowToMeasure(const Node& node, const OpDef& def, const std::string& kernel) {
  return kernel == "native" && def.multiply_adds(node) > kTooMuchForPlainKernel;
}

std::vector<double> MeasureKernels(const Node& node, const OpDef& def, const OpRegistry& registry,
                                   const std::vector<KernelCandidate>& candidates,
                                   LayoutsAtHand at_hand) {
  Bench bench(node, def, registry, at_hand);
  std::vector<double> least(candidates.size(), -1), spent(candidates.size(), 0);
  std::vector<size_t> racing;
  const auto fastest = [&] {
    double best = -1;
    for (const double s : least)
      if (s >= 0 && (best < 0 || s < best)) best = s;
    return best;
  };
  for (size_t c = 0; c < candidates.size(); ++c) {
    if (!bench.Add(candidates[c], candidates.front()).ok()) continue;
    const auto cold = bench.Run(c);
    if (!cold.ok()) continue;
    racing.push_back(c);
    least[c] = *cold;
  }
  // The first runs were cold: they only say what is far behind.
  const double first = fastest();
  const auto behind = [&](double limit) {
    return [&least, limit](size_t c) { return least[c] < 0 || least[c] > limit; };
  };
  racing.erase(std::remove_if(racing.begin(), racing.end(), behind(20 * first + 1e-4)),
               racing.end());
  for (const size_t c : racing) least[c] = -1;
  for (int round = 0; round < kMostRounds && !racing.empty(); ++round) {
    double longest = 0;
    for (const size_t c : racing) {
      const auto seconds = bench.Run(c);
      if (!seconds.ok()) {
        least[c] = -1;
        continue;
      }
      spent[c] += *seconds;
      least[c] = least[c] < 0 ? *seconds : std::min(least[c], *seconds);
      longest = std::max(longest, spent[c]);
    }
    if (round < 2) continue;
    racing.erase(std::remove_if(racing.begin(), racing.end(), behind(kClearlySlower * fastest())),
                 racing.end());
    if (racing.size() < 2 || (round + 1 >= kLeastRounds && longest >= kLongEnough)) break;
  }
  return least;
}

}  // namespace graphrun
