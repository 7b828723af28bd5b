// oneDNN behind one door: descriptors, factories of primitive descriptors, and the program of
// primitives that a kernel runs. The only place that knows the difference between versions 2 and 3
// of its interface.
//
// A factory gives nothing where oneDNN has no implementation; the caller then tries other layouts
// or leaves the node to the next kernel. Sizes must have been checked: no zero among them, kernel
// sizes and strides positive (oneDNN crashes or computes garbage on others).
#pragma once

#include <atomic>
#include <dnnl.hpp>
#include <string>
#include <vector>

#include "absl/types/optional.h"
#include "ops/window.h"
#include "runtime/op/kernel.h"

namespace graphrun::onednn {

using Md = dnnl::memory::desc;

// The library's CPU engine: primitives run only on the engine object that they were made for, so
// there is one in a process.
const dnnl::engine& Engine();

// ---- descriptors

// undef where oneDNN has no such type.
dnnl::memory::data_type TypeOf(DType dtype);
Md RowMajor(DType dtype, const Dims& dims);
Md Any(DType dtype, const Dims& dims);
Md Strided(DType dtype, const Dims& dims, const Dims& strides);
// Channels last, for sizes [N, C, spatial...].
Md ChannelsLast(DType dtype, const Dims& dims);
// Channels in blocks of 16 (nCw16c, nChw16c, nCdhw16c).
Md ChannelBlocks(DType dtype, const Dims& dims);
// What a layout is for oneDNN; `any` for an undecided one, nothing where there is no such
// descriptor.
absl::optional<Md> Describe(DType dtype, const Dims& dims, const Layout& layout);
// The layout that a descriptor stands for; nothing where it cannot be carried outside of oneDNN.
absl::optional<Layout> LayoutOf(const Md& md);
Dims DimsOf(const Md& md);
DType DTypeOf(const Md& md);
bool IsAny(const Md& md);
int64_t ByteSize(const Md& md);
// True where every size is at least 1 and the tensor's bytes fit limits.h.
bool IsSound(DType dtype, const Dims& dims);

// ---- attributes

// Scratchpad given by the caller, and these operations on the result.
dnnl::primitive_attr Attributes(const dnnl::post_ops& post_ops = {});
void AppendEltwise(dnnl::post_ops& post_ops, dnnl::algorithm algorithm, float alpha = 0,
                   float beta = 0);
// Appends the eltwise operations of one list to another.
void AppendEltwises(const dnnl::post_ops& from, dnnl::post_ops& to);

// ---- primitive descriptors

template <typename Primitive>
using Pd = absl::optional<typename Primitive::primitive_desc>;

Pd<dnnl::matmul> MatMul(const Md& a, const Md& b, const Md& bias, const Md& y,
                        const dnnl::primitive_attr& attr);
Pd<dnnl::convolution_forward> Convolution(
    bool training, const Md& x, const Md& w, const Md& bias, const Md& y, const Window& window,
    const dnnl::primitive_attr& attr,
    dnnl::algorithm algorithm = dnnl::algorithm::convolution_direct);
Pd<dnnl::convolution_backward_data> ConvolutionBackwardData(
    const Md& dx, const Md& w, const Md& dy, const Window& window,
    dnnl::algorithm algorithm = dnnl::algorithm::convolution_direct);
Pd<dnnl::convolution_backward_weights> ConvolutionBackwardWeights(
    const Md& x, const Md& dw, const Md& dbias, const Md& dy, const Window& window,
    dnnl::algorithm algorithm = dnnl::algorithm::convolution_direct);
Pd<dnnl::deconvolution_forward> Deconvolution(bool training, const Md& x, const Md& w,
                                              const Md& bias, const Md& y, const Window& window,
                                              const dnnl::primitive_attr& attr);
#if DNNL_VERSION_MAJOR >= 3
using PoolingForward = dnnl::pooling_forward;
using PoolingBackward = dnnl::pooling_backward;
using SoftmaxForward = dnnl::softmax_forward;
using SoftmaxBackward = dnnl::softmax_backward;
#else
using PoolingForward = dnnl::pooling_v2_forward;
using PoolingBackward = dnnl::pooling_v2_backward;
using SoftmaxForward = dnnl::softmax_v2_forward;
using SoftmaxBackward = dnnl::softmax_v2_backward;
#endif
Pd<PoolingForward> Pooling(bool training, dnnl::algorithm algorithm, const Md& x, const Md& y,
                           const Window& window, const dnnl::primitive_attr& attr);
Pd<PoolingBackward> PoolingGradient(dnnl::algorithm algorithm, const Md& dx, const Md& dy,
                                    const Window& window, const PoolingForward::primitive_desc& f);
Pd<dnnl::batch_normalization_forward> BatchNormalization(bool training, const Md& x, float epsilon,
                                                         dnnl::normalization_flags flags);
Pd<dnnl::batch_normalization_backward> BatchNormalizationGradient(const Md& dx, const Md& x,
                                                                  float epsilon,
                                                                  dnnl::normalization_flags flags);
Pd<dnnl::layer_normalization_forward> LayerNormalization(bool training, const Md& x, float epsilon,
                                                         dnnl::normalization_flags flags);
Pd<dnnl::lrn_forward> Lrn(bool training, dnnl::algorithm algorithm, const Md& x, int64_t size,
                          float alpha, float beta, float k);
Pd<dnnl::lrn_backward> LrnGradient(dnnl::algorithm algorithm, const Md& x, const Md& dy,
                                   int64_t size, float alpha, float beta, float k,
                                   const dnnl::lrn_forward::primitive_desc& f);
Pd<SoftmaxForward> Softmax(bool log, const Md& x, const Md& y, int axis);
Pd<dnnl::eltwise_forward> Eltwise(dnnl::algorithm algorithm, const Md& x, const Md& y, float alpha,
                                  float beta, const dnnl::primitive_attr& attr);
Pd<dnnl::reorder> Reorder(const Md& from, const Md& to);

// oneDNN's name of what it chose, for instance "brgconv:avx512_core"; empty where it says none.
std::string ImplementationOf(const dnnl::primitive_desc_base& pd);
// True for an implementation hundreds of times slower than what other layouts would get.
bool IsReference(const dnnl::primitive_desc_base& pd);

// ---- running

// Where a primitive's argument lies when a kernel runs.
struct Slot {
  enum class Kind { kInput, kOutput, kTemporary, kScratchpad } kind;
  int index = 0;       // of the node's input or output
  int64_t offset = 0;  // bytes from the start of the input, the output or the scratch memory
};
inline Slot In(int i) { return {Slot::Kind::kInput, i, 0}; }
inline Slot Out(int i) { return {Slot::Kind::kOutput, i, 0}; }

// Primitives run one after another. Immutable once a kernel runs it; Run may be called from several
// threads. After the first Run in a thread, Run allocates nothing of its own.
class Program {
 public:
  struct Argument {
    int id;  // DNNL_ARG_...
    Md md;
    Slot slot;
  };
  Program();
  Program(Program&&) noexcept;
  ~Program();

  // Scratch memory for a tensor of that descriptor, apart from all others.
  Slot Temporary(const Md& md) { return TemporaryBytes(ByteSize(md)); }
  Slot TemporaryBytes(int64_t bytes);
  // `pd` must be the descriptor of `primitive`; its scratchpad is added to the arguments.
  void Add(const dnnl::primitive& primitive, const dnnl::primitive_desc_base& pd,
           std::vector<Argument> arguments);
  // Where a tensor of descriptor `from` at `at` lies as `to`: at `at` where they agree, else in a
  // temporary that a reorder fills. False where oneDNN has no such reorder.
  bool Reordered(const Md& from, const Md& to, Slot* at);
  // A reorder from one place to another.
  bool AddReorder(const Md& from, Slot source, const Md& to, Slot target);

  int64_t scratch_bytes() const { return temporaries_ + scratchpad_; }
  // The names of the implementations, in order: "brgemm:avx512_core".
  const std::string& info() const { return info_; }
  absl::Status Run(RunContext& context) const;
  // The memory of a slot.
  static void* Address(RunContext& context, const Slot& slot, int64_t temporaries = 0);

 private:
  struct Step;
  struct State;
  struct Pool;
  std::unique_ptr<State> MakeState() const;
  absl::Status RunWith(State& state, RunContext& context) const;

  std::vector<Step> steps_;
  std::unique_ptr<Pool> pool_;
  std::string info_;
  int64_t temporaries_ = 0, scratchpad_ = 0;
  int threads_ = 1;
};

// A kernel that runs a program. Tells the context how much scratch memory it needs. Where `added`
// is an input (not -1), the program adds to what output 0 holds: the kernel first puts that input
// there, unless both are the same memory; it wants the input in the output's layout.
std::unique_ptr<Kernel> MakeProgramKernel(PrepareContext& c, Program program, int added = -1);

}  // namespace graphrun::onednn
