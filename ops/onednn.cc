#include "ops/onednn.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "absl/strings/match.h"
#include "runtime/base/limits.h"
#include "runtime/base/parallel.h"

#if DNNL_VERSION_MAJOR >= 3
#define GR_V2(...)
#define GR_V3(...) __VA_ARGS__
#else
#define GR_V2(...) __VA_ARGS__
#define GR_V3(...)
#endif

namespace graphrun::onednn {
namespace {

using dnnl::prop_kind;

// F's descriptor, or nothing where oneDNN refuses.
template <typename F>
auto OrNothing(F make) -> absl::optional<decltype(make())> {
  try {
    return make();
  } catch (const dnnl::error&) {
    return absl::nullopt;
  }
}

prop_kind Forward(bool training) {
  return training ? prop_kind::forward_training : prop_kind::forward_inference;
}

Dims MinusOne(Dims dilations) {
  for (int64_t& d : dilations) --d;
  return dilations;
}

// A primitive divides its work for the threads that OpenMP promises, and some give wrong results
// with fewer (OMP_THREAD_LIMIT): promise no more than come.
void PromiseWhatComes() {
  static thread_local int checked = 0;
  const int promised = NumThreads();
  if (promised == checked || omp_in_parallel()) return;
  int came = 1;
#pragma omp parallel
  {
#pragma omp single
    came = omp_get_num_threads();
  }
  if (came < promised) SetNumThreads(came);
  checked = NumThreads();
}

const dnnl::stream& Stream() {
  static const dnnl::stream* const stream = new dnnl::stream(Engine());
  return *stream;
}

}  // namespace

const dnnl::engine& Engine() {
  PromiseWhatComes();
  static const dnnl::engine* const engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

dnnl::primitive_attr Attributes(const dnnl::post_ops& post_ops) {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (post_ops.len() > 0) attr.set_post_ops(post_ops);
  return attr;
}

void AppendEltwise(dnnl::post_ops& post_ops, dnnl::algorithm algorithm, float alpha, float beta) {
  GR_V3(post_ops.append_eltwise(algorithm, alpha, beta);)
  GR_V2(post_ops.append_eltwise(1.0f, algorithm, alpha, beta);)
}

void AppendEltwises(const dnnl::post_ops& from, dnnl::post_ops& to) {
  for (int i = 0; i < from.len(); ++i) {
    dnnl::algorithm algorithm;
    float alpha = 0, beta = 0;
    GR_V3(from.get_params_eltwise(i, algorithm, alpha, beta);)
    GR_V2(float scale = 1; from.get_params_eltwise(i, scale, algorithm, alpha, beta);)
    AppendEltwise(to, algorithm, alpha, beta);
  }
}

Pd<dnnl::matmul> MatMul(const Md& a, const Md& b, const Md& bias, const Md& y,
                        const dnnl::primitive_attr& attr) {
  return OrNothing([&] {
    GR_V3(return dnnl::matmul::primitive_desc(Engine(), a, b, bias, y, attr);)
    GR_V2(return dnnl::matmul::primitive_desc(dnnl::matmul::desc(a, b, bias, y), attr, Engine());)
  });
}

Pd<dnnl::convolution_forward> Convolution(bool training, const Md& x, const Md& w, const Md& bias,
                                          const Md& y, const Window& v,
                                          const dnnl::primitive_attr& attr,
                                          dnnl::algorithm algorithm) {
  using P = dnnl::convolution_forward;
  return OrNothing([&] {
    GR_V3(return P::primitive_desc(Engine(), Forward(training), algorithm, x, w, bias, y, v.strides,
                                   MinusOne(v.dilations), v.pads_begin, v.pads_end, attr);)
    GR_V2(return P::primitive_desc(P::desc(Forward(training), algorithm, x, w, bias, y, v.strides,
                                           MinusOne(v.dilations), v.pads_begin, v.pads_end),
                                   attr, Engine());)
  });
}

namespace {

// Backward descriptors want a forward one as a hint; every format in it is free.
Pd<dnnl::convolution_forward> ConvolutionHint(const Md& x, const Md& w, const Md& bias, const Md& y,
                                              const Window& window, dnnl::algorithm algorithm) {
  const auto free = [](const Md& md, DType dtype) { return Any(dtype, DimsOf(md)); };
  const DType dtype = DTypeOf(y);
  return Convolution(true, free(x, dtype), free(w, dtype), bias, free(y, dtype), window,
                     Attributes(), algorithm);
}

}  // namespace

Pd<dnnl::convolution_backward_data> ConvolutionBackwardData(const Md& dx, const Md& w, const Md& dy,
                                                            const Window& v,
                                                            dnnl::algorithm algorithm) {
  using P = dnnl::convolution_backward_data;
  const auto hint = ConvolutionHint(dx, w, Md(), dy, v, algorithm);
  if (!hint) return absl::nullopt;
  return OrNothing([&] {
    GR_V3(return P::primitive_desc(Engine(), algorithm, dx, w, dy, v.strides, MinusOne(v.dilations),
                                   v.pads_begin, v.pads_end, *hint, Attributes());)
    GR_V2(return P::primitive_desc(P::desc(algorithm, dx, w, dy, v.strides, MinusOne(v.dilations),
                                           v.pads_begin, v.pads_end),
                                   Attributes(), Engine(), *hint);)
  });
}

Pd<dnnl::convolution_backward_weights> ConvolutionBackwardWeights(const Md& x, const Md& dw,
                                                                  const Md& dbias, const Md& dy,
                                                                  const Window& v,
                                                                  dnnl::algorithm algorithm) {
  using P = dnnl::convolution_backward_weights;
  const auto hint = ConvolutionHint(x, dw, dbias, dy, v, algorithm);
  if (!hint) return absl::nullopt;
  return OrNothing([&] {
    GR_V3(return P::primitive_desc(Engine(), algorithm, x, dw, dbias, dy, v.strides,
                                   MinusOne(v.dilations), v.pads_begin, v.pads_end, *hint,
                                   Attributes());)
    GR_V2(return P::primitive_desc(P::desc(algorithm, x, dw, dbias, dy, v.strides,
                                           MinusOne(v.dilations), v.pads_begin, v.pads_end),
                                   Attributes(), Engine(), *hint);)
  });
}

Pd<dnnl::deconvolution_forward> Deconvolution(bool training, const Md& x, const Md& w,
                                              const Md& bias, const Md& y, const Window& v,
                                              const dnnl::primitive_attr& attr) {
  using P = dnnl::deconvolution_forward;
  const auto algorithm = dnnl::algorithm::deconvolution_direct;
  return OrNothing([&] {
    GR_V3(return P::primitive_desc(Engine(), Forward(training), algorithm, x, w, bias, y, v.strides,
                                   MinusOne(v.dilations), v.pads_begin, v.pads_end, attr);)
    GR_V2(return P::primitive_desc(P::desc(Forward(training), algorithm, x, w, bias, y, v.strides,
                                           MinusOne(v.dilations), v.pads_begin, v.pads_end),
                                   attr, Engine());)
  });
}

Pd<PoolingForward> Pooling(bool training, dnnl::algorithm algorithm, const Md& x, const Md& y,
                           const Window& v, const dnnl::primitive_attr& attr) {
  return OrNothing([&] {
    GR_V3(return PoolingForward::primitive_desc(Engine(), Forward(training), algorithm, x, y,
                                                v.strides, v.kernel, MinusOne(v.dilations),
                                                v.pads_begin, v.pads_end, attr);)
    GR_V2(return PoolingForward::primitive_desc(
                     PoolingForward::desc(Forward(training), algorithm, x, y, v.strides, v.kernel,
                                          MinusOne(v.dilations), v.pads_begin, v.pads_end),
                     attr, Engine());)
  });
}

Pd<PoolingBackward> PoolingGradient(dnnl::algorithm algorithm, const Md& dx, const Md& dy,
                                    const Window& v, const PoolingForward::primitive_desc& f) {
  return OrNothing([&] {
    GR_V3(return PoolingBackward::primitive_desc(Engine(), algorithm, dx, dy, v.strides, v.kernel,
                                                 MinusOne(v.dilations), v.pads_begin, v.pads_end, f,
                                                 Attributes());)
    GR_V2(return PoolingBackward::primitive_desc(
                     PoolingBackward::desc(algorithm, dx, dy, v.strides, v.kernel,
                                           MinusOne(v.dilations), v.pads_begin, v.pads_end),
                     Attributes(), Engine(), f);)
  });
}

Pd<dnnl::batch_normalization_forward> BatchNormalization(bool training, const Md& x, float epsilon,
                                                         dnnl::normalization_flags flags) {
  using P = dnnl::batch_normalization_forward;
  return OrNothing([&] {
    GR_V3(
        return P::primitive_desc(Engine(), Forward(training), x, x, epsilon, flags, Attributes());)
    GR_V2(return P::primitive_desc(P::desc(Forward(training), x, epsilon, flags), Attributes(),
                                   Engine());)
  });
}

Pd<dnnl::batch_normalization_backward> BatchNormalizationGradient(const Md& dx, const Md& x,
                                                                  float epsilon,
                                                                  dnnl::normalization_flags flags) {
  using P = dnnl::batch_normalization_backward;
  const auto hint = BatchNormalization(true, x, epsilon, flags);
  if (!hint) return absl::nullopt;
  return OrNothing([&] {
    GR_V3(return P::primitive_desc(Engine(), prop_kind::backward, dx, dx, x, epsilon, flags, *hint,
                                   Attributes());)
    GR_V2(return P::primitive_desc(P::desc(prop_kind::backward, dx, x, epsilon, flags),
                                   Attributes(), Engine(), *hint);)
  });
}

Pd<dnnl::layer_normalization_forward> LayerNormalization(bool training, const Md& x, float epsilon,
                                                         dnnl::normalization_flags flags) {
  using P = dnnl::layer_normalization_forward;
  return OrNothing([&] {
    GR_V3(
        return P::primitive_desc(Engine(), Forward(training), x, x, epsilon, flags, Attributes());)
    GR_V2(return P::primitive_desc(P::desc(Forward(training), x, epsilon, flags), Attributes(),
                                   Engine());)
  });
}

Pd<dnnl::lrn_forward> Lrn(bool training, dnnl::algorithm algorithm, const Md& x, int64_t size,
                          float alpha, float beta, float k) {
  using P = dnnl::lrn_forward;
  return OrNothing([&] {
    GR_V3(return P::primitive_desc(Engine(), Forward(training), algorithm, x, x, size, alpha, beta,
                                   k, Attributes());)
    GR_V2(return P::primitive_desc(P::desc(Forward(training), algorithm, x, size, alpha, beta, k),
                                   Attributes(), Engine());)
  });
}

Pd<dnnl::lrn_backward> LrnGradient(dnnl::algorithm algorithm, const Md& x, const Md& dy,
                                   int64_t size, float alpha, float beta, float k,
                                   const dnnl::lrn_forward::primitive_desc& f) {
  using P = dnnl::lrn_backward;
  return OrNothing([&] {
    GR_V3(return P::primitive_desc(Engine(), algorithm, dy, dy, x, size, alpha, beta, k, f,
                                   Attributes());)
    GR_V2(return P::primitive_desc(P::desc(algorithm, x, dy, size, alpha, beta, k), Attributes(),
                                   Engine(), f);)
  });
}

Pd<SoftmaxForward> Softmax(bool log, const Md& x, const Md& y, int axis) {
  const auto algorithm = log ? dnnl::algorithm::softmax_log : dnnl::algorithm::softmax_accurate;
  return OrNothing([&] {
    GR_V3(return SoftmaxForward::primitive_desc(Engine(), Forward(false), algorithm, x, y, axis,
                                                Attributes());)
    GR_V2(return SoftmaxForward::primitive_desc(
                     SoftmaxForward::desc(Forward(false), algorithm, x, y, axis), Attributes(),
                     Engine());)
  });
}

Pd<dnnl::eltwise_forward> Eltwise(dnnl::algorithm algorithm, const Md& x, const Md& y, float alpha,
                                  float beta, const dnnl::primitive_attr& attr) {
  using P = dnnl::eltwise_forward;
  return OrNothing([&] {
    GR_V3(return P::primitive_desc(Engine(), Forward(false), algorithm, x, y, alpha, beta, attr);)
    GR_V2((void)y; return P::primitive_desc(P::desc(Forward(false), algorithm, x, alpha, beta),
                                            attr, Engine());)
  });
}

Pd<dnnl::reorder> Reorder(const Md& from, const Md& to) {
  return OrNothing(
      [&] { return dnnl::reorder::primitive_desc(Engine(), from, Engine(), to, Attributes()); });
}

std::string ImplementationOf(const dnnl::primitive_desc_base& pd) {
  const char* name = nullptr;
  dnnl_primitive_desc_query(pd.get(), dnnl_query_impl_info_str, 0, &name);
  return name == nullptr ? "" : name;
}

bool IsReference(const dnnl::primitive_desc_base& pd) {
  const std::string name = ImplementationOf(pd);
  return name.empty() || absl::StartsWith(name, "ref") || absl::StrContains(name, ":ref") ||
         absl::StrContains(name, "+ref");
}

// ---- Program

struct Program::Step {
  dnnl::primitive primitive;
  std::vector<Argument> arguments;
};

// Memory objects of one running Program.
struct Program::State {
  struct Call {
    std::vector<dnnl::memory> memories;
    std::vector<void*> handles;
    std::vector<dnnl_exec_arg_t> arguments;
  };
  std::vector<Call> calls;
};

// States that no thread uses now.
struct Program::Pool {
  std::array<std::atomic<State*>, 8> idle{};
  ~Pool() {
    for (auto& slot : idle) delete slot.load();
  }
};

Program::Program() : pool_(std::make_unique<Pool>()), threads_(NumThreads()) {}
Program::Program(Program&&) noexcept = default;
Program::~Program() = default;

Slot Program::TemporaryBytes(int64_t bytes) {
  const Slot slot{Slot::Kind::kTemporary, 0, temporaries_};
  temporaries_ += (bytes + 63) / 64 * 64;
  return slot;
}

void Program::Add(const dnnl::primitive& primitive, const dnnl::primitive_desc_base& pd,
                  std::vector<Argument> arguments) {
  const Md scratchpad = pd.query_md(dnnl::query::scratchpad_md);
  const int64_t bytes = ByteSize(scratchpad);
  if (bytes > 0) {
    arguments.push_back({DNNL_ARG_SCRATCHPAD, scratchpad, {Slot::Kind::kScratchpad, 0, 0}});
    scratchpad_ = std::max(scratchpad_, bytes);
  }
  const std::string name = ImplementationOf(pd);
  if (!name.empty()) absl::StrAppend(&info_, info_.empty() ? "" : " + ", name);
  steps_.push_back({primitive, std::move(arguments)});
}

bool Program::AddReorder(const Md& from, Slot source, const Md& to, Slot target) {
  const auto pd = Reorder(from, to);
  if (!pd) return false;
  Add(dnnl::reorder(*pd), *pd, {{DNNL_ARG_FROM, from, source}, {DNNL_ARG_TO, to, target}});
  return true;
}

bool Program::Reordered(const Md& from, const Md& to, Slot* at) {
  if (from == to) return true;
  const Slot target = Temporary(to);
  if (!AddReorder(from, *at, to, target)) return false;
  *at = target;
  return true;
}

std::unique_ptr<Program::State> Program::MakeState() const {
  auto state = std::make_unique<State>();
  for (const Step& step : steps_) {
    State::Call call;
    for (const Argument& a : step.arguments) {
      call.memories.push_back(dnnl::memory(a.md, Engine(), DNNL_MEMORY_NONE));
      call.arguments.push_back({a.id, call.memories.back().get()});
      call.handles.push_back(nullptr);
    }
    state->calls.push_back(std::move(call));
  }
  return state;
}

void* Program::Address(RunContext& r, const Slot& slot, int64_t temporaries) {
  char* base = nullptr;
  switch (slot.kind) {
    case Slot::Kind::kInput:
      base = static_cast<char*>(const_cast<void*>(r.input(slot.index).raw()));
      break;
    case Slot::Kind::kOutput:
      base = static_cast<char*>(r.output(slot.index).mutable_raw());
      break;
    case Slot::Kind::kTemporary:
      base = static_cast<char*>(r.scratch());
      break;
    case Slot::Kind::kScratchpad:
      base = static_cast<char*>(r.scratch()) + temporaries;
      break;
  }
  return base + slot.offset;
}

absl::Status Program::RunWith(State& state, RunContext& r) const {
  for (size_t s = 0; s < steps_.size(); ++s) {
    State::Call& call = state.calls[s];
    for (size_t a = 0; a < call.arguments.size(); ++a) {
      void* const data = Address(r, steps_[s].arguments[a].slot, temporaries_);
      if (call.handles[a] == data) continue;
      const auto set = dnnl_memory_set_data_handle(call.arguments[a].memory, data);
      if (set != dnnl_success) {
        return InternalError("oneDNN refuses a buffer: status ", static_cast<int>(set));
      }
      call.handles[a] = data;
    }
    const auto ran =
        dnnl_primitive_execute(steps_[s].primitive.get(), Stream().get(),
                               static_cast<int>(call.arguments.size()), call.arguments.data());
    if (ran == dnnl_out_of_memory) return LimitError("oneDNN is out of memory");
    if (ran != dnnl_success) {
      return InternalError("oneDNN's ", info_, " fails: status ", static_cast<int>(ran));
    }
  }
  return absl::OkStatus();
}

absl::Status Program::Run(RunContext& r) const {
  // A primitive's work is divided for the threads that there were when it was made.
  if (threads_ > 1 && omp_in_parallel()) {
    return InternalError("a kernel of oneDNN made for ", threads_,
                         " threads runs inside a parallel region");
  }
  const int threads = NumThreads();
  if (threads != threads_) SetNumThreads(threads_);
  std::unique_ptr<State> state;
  for (auto& slot : pool_->idle) {
    state.reset(slot.exchange(nullptr));
    if (state != nullptr) break;
  }
  absl::Status status;
  try {
    if (state == nullptr) state = MakeState();
    status = RunWith(*state, r);
  } catch (const dnnl::error& e) {
    status = InternalError("oneDNN: ", e.what());
    state = nullptr;
  }
  if (threads != threads_) SetNumThreads(threads);
  for (auto& slot : pool_->idle) {
    State* expected = nullptr;
    if (state != nullptr && slot.compare_exchange_strong(expected, state.get())) {
      state.release();
      break;
    }
  }
  return status;
}

std::unique_ptr<Kernel> MakeProgramKernel(PrepareContext& c, Program program, int added) {
  class ProgramKernel : public Kernel {
   public:
    ProgramKernel(Program program, int added, int64_t bytes)
        : program_(std::move(program)), added_(added), bytes_(bytes) {}
    absl::Status Run(RunContext& r) const override {
      if (added_ >= 0) {
        const char* from = static_cast<const char*>(r.input(added_).raw());
        char* to = static_cast<char*>(r.output(0).mutable_raw());
        if (from != to) {
          ParallelFor(bytes_, 65536, [&](int64_t begin, int64_t end) {
            std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
          });
        }
      }
      return program_.Run(r);
    }
    std::string info() const override { return program_.info(); }

   private:
    Program program_;
    int added_;
    int64_t bytes_;
  };
  c.Scratch(program.scratch_bytes());
  int64_t bytes = 0;
  if (added >= 0) {
    c.Want(added, c.made(0));
    bytes = c.made(0).ByteSize(c.output_dtype(0), c.output_dims(0));
  }
  return std::make_unique<ProgramKernel>(std::move(program), added, bytes);
}

}  // namespace graphrun::onednn
