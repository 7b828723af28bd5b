#include "runtime/plugin/kernel.h"

#include <mutex>

#include "runtime/base/limits.h"
#include "runtime/base/parallel.h"
#include "runtime/plugin/call.h"
#include "runtime/plugin/handles.h"
#include "runtime/plugin/memory.h"
#include "runtime/plugin/run.h"

namespace graphrun {
namespace {

// The state that a plugin's prepare made, until nobody needs it.
class KernelState {
 public:
  explicit KernelState(const gr_kernel& kernel) : kernel_(kernel) {}
  KernelState(const KernelState&) = delete;
  KernelState& operator=(const KernelState&) = delete;
  ~KernelState() {
    if (state != nullptr && kernel_.destroy != nullptr) {
      CallQuietly([&] { kernel_.destroy(kernel_.self, state); });
    }
  }
  void* state = nullptr;

 private:
  gr_kernel kernel_;
};

class PluginKernel : public Kernel {
 public:
  PluginKernel(const gr_kernel& kernel, std::string where, bool guard,
               std::unique_ptr<KernelState> state, std::vector<ExpectedOutput> expected,
               int64_t scratch_bytes)
      : kernel_(kernel),
        where_(std::move(where)),
        guard_(guard),
        state_(std::move(state)),
        expected_(std::move(expected)),
        scratch_bytes_(scratch_bytes) {}

  absl::Status Run(RunContext& context) const override {
    gr_run run(context, expected_);
    run.guard = guard_;
    GR_RETURN_IF_ERROR(run.Begin(scratch_bytes_));
    GR_RETURN_IF_ERROR(Call(where_, Blame::kModel,
                            [&] { return kernel_.run(kernel_.self, state_->state, &run); }));
    return Annotate(run.End(), where_);
  }

 private:
  gr_kernel kernel_;
  std::string where_;
  bool guard_;
  std::unique_ptr<KernelState> state_;
  std::vector<ExpectedOutput> expected_;
  int64_t scratch_bytes_;
};

// Containers and strings are none of a plugin's business.
bool Serves(const PrepareContext& c, const std::vector<int32_t>& dtypes) {
  for (int i = 0; i < c.num_inputs(); ++i) {
    if (c.has_input(i) && !IsPluginDType(static_cast<int32_t>(c.input_dtype(i)))) return false;
  }
  for (int i = 0; i < c.num_outputs(); ++i) {
    if (c.has_output(i) && !IsPluginDType(static_cast<int32_t>(c.output_dtype(i)))) return false;
  }
  const int32_t first =
      static_cast<int32_t>(c.num_inputs() > 0 ? c.input_dtype(0) : c.output_dtype(0));
  return dtypes.empty() || std::find(dtypes.begin(), dtypes.end(), first) != dtypes.end();
}

absl::StatusOr<std::unique_ptr<Kernel>> Prepare(const gr_kernel& kernel, const std::string& where,
                                                bool guard, PrepareContext& c) {
  gr_node node(c.node(), c.def());
  gr_prepare prepare{c, node};
  auto state = std::make_unique<KernelState>(kernel);
  if (kernel.prepare != nullptr) {
    GR_RETURN_IF_ERROR(Call(where, Blame::kModel, [&] {
      return kernel.prepare(kernel.self, &node, &prepare, &state->state);
    }));
    if (prepare.declined) return std::unique_ptr<Kernel>();
  }
  std::vector<ExpectedOutput> expected;
  for (int i = 0; i < c.num_outputs(); ++i) {
    expected.emplace_back();
    if (!c.has_output(i)) continue;
    expected.back() = {c.output_dtype(i), c.node().output(i)->shape()};
  }
  return std::unique_ptr<Kernel>(std::make_unique<PluginKernel>(
      kernel, where, guard, std::move(state), std::move(expected), c.scratch_bytes()));
}

}  // namespace

absl::StatusOr<OpDef::NamedKernel> ReadKernel(const gr_kernel& kernel, const std::string& where,
                                              bool guard) {
  GR_ASSIGN_OR_RETURN(std::string name,
                      TableReader::Name(kernel.name, "_-.", where + ": its name"));
  const std::string place = absl::StrCat(where, ": kernel ", name);
  if (kernel.run == nullptr) return PluginError(place, ": run is null");
  GR_ASSIGN_OR_RETURN(auto dtypes,
                      TableReader::Plain(kernel.dtypes, kernel.num_dtypes, place + ": dtypes"));
  for (const int32_t dtype : dtypes) {
    if (!IsPluginDType(dtype)) {
      return PluginError(place, ": element type ", dtype, " is none that plugins may use");
    }
  }
  return OpDef::NamedKernel{
      std::move(name),
      [kernel, place, guard, dtypes](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
        if (!Serves(c, dtypes)) return std::unique_ptr<Kernel>();
        return Prepare(kernel, place, guard, c);
      }};
}

namespace {

// What a plugin's range function throws is carried over to the thread that called it.
void PluginParallelFor(int64_t n, int64_t grain, gr_range_fn fn, void* argument) {
  if (n <= 0 || fn == nullptr) return;
  std::mutex mutex;
  std::exception_ptr thrown;
  ParallelFor(n, std::max<int64_t>(grain, 1), [&](int64_t begin, int64_t end) {
    try {
      fn(argument, begin, end);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex);
      thrown = std::current_exception();
    }
  });
  if (thrown != nullptr) std::rethrow_exception(thrown);
}

}  // namespace

const gr_kernel_api kKernelApi = {
    .struct_size = sizeof(gr_kernel_api),
    .decline = [](gr_prepare* p) { p->declined = true; },
    .set_scratch =
        [](gr_prepare* p, int64_t bytes) {
          if (bytes < 0 || bytes > kMaxTensorBytes) {
            return GiveStatus(
                PluginError("set_scratch(", bytes, "): not in [0, ", kMaxTensorBytes, "]"));
          }
          p->context.Scratch(bytes);
          return GiveStatus(absl::OkStatus());
        },
    .constant =
        [](gr_prepare* p, int32_t i) {
          return p->node.Keep(i >= 0 && p->context.has_input(i) ? p->context.constant(i) : nullptr);
        },
    .threads = [](const gr_prepare* p) -> int32_t { return p->context.threads(); },
    .input = [](gr_run* r, int32_t i) -> const gr_tensor* {
      return i >= 0 && r->context.has_input(i) ? &r->inputs[static_cast<size_t>(i)] : nullptr;
    },
    .output = [](gr_run* r, int32_t i) -> gr_tensor* {
      if (i < 0 || static_cast<size_t>(i) >= r->outputs.size()) return nullptr;
      gr_tensor& tensor = r->outputs[static_cast<size_t>(i)];
      return tensor.struct_size == 0 ? nullptr : &tensor;
    },
    .resize_output = [](gr_run* r, int32_t i, int32_t rank,
                        const int64_t* dims) { return GiveStatus(r->Resize(i, rank, dims)); },
    .scratch = [](gr_run* r) { return r->scratch; },
    .seed = [](const gr_run* r) { return r->context.seed(); },
    .step = [](const gr_run* r) { return r->context.step(); },
    .parallel_for = PluginParallelFor,
};

}  // namespace graphrun
