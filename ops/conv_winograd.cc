#include "ops/conv_winograd.h"

#include <cstdlib>

#include "ops/onednn.h"
#include "ops/winograd.h"
#include "ops/winograd_bf16.h"
#include "ops/winograd_gradient.h"

namespace graphrun {
namespace {

using winograd::Sizes;
using winograd::Weights;

constexpr int64_t kBlock = 16;

// What the types' algorithms do, with the same names.
template <typename T>
struct Algorithm;

template <>
struct Algorithm<float> {
  static constexpr DType kType = DType::kFloat32;
  static constexpr char kPackedWeights[] = "winograd 4x4, 3x3";
  using Epilogue = winograd::Epilogue;

  static bool IsBuilt() { return winograd::IsBuilt(); }
  static bool Pays(const Sizes& s, Weights form) { return winograd::ConvolvePays(s, form); }
  static bool TakesTransformed(const Sizes& s) { return !winograd::TransformsAsItGoes(s); }
  static int64_t WeightCount(int64_t inputs, int64_t outputs) {
    return winograd::WeightFloats(inputs, outputs);
  }
  static int64_t ScratchBytes(const Sizes& s, int threads, Weights form) {
    return winograd::ConvolveFloats(s, threads, form) * static_cast<int64_t>(sizeof(float));
  }
  // Where TransformWeights and Convolve expect the weight from input channel i of 16 to output
  // channel o of 16, among those of one element of the window.
  static int64_t Place(int64_t i, int64_t o) { return i * kBlock + o; }
  static dnnl::memory::format_tag Tag() { return dnnl::memory::format_tag::OIhw16i16o; }
  static void TransformWeights(int64_t inputs, int64_t outputs, const float* w, float* to) {
    winograd::TransformWeights(inputs, outputs, Weights::kPlain, w, to);
  }
  static void Convolve(const Sizes& s, int threads, const float* x, Weights form, const float* w,
                       const Epilogue& e, float* y, void* scratch) {
    winograd::Convolve(s, threads, x, form, w, e, y, static_cast<float*>(scratch));
  }
};

template <>
struct Algorithm<BFloat16> {
  static constexpr DType kType = DType::kBFloat16;
  static constexpr char kPackedWeights[] = "winograd 2x2, 3x3";
  using Epilogue = winograd_bf16::Epilogue;

  static bool IsBuilt() { return winograd_bf16::IsBuilt(); }
  static bool Pays(const Sizes& s, Weights form) { return winograd_bf16::Pays(s, form); }
  static bool TakesTransformed(const Sizes&) { return true; }
  static int64_t WeightCount(int64_t inputs, int64_t outputs) {
    return winograd_bf16::WeightCount(inputs, outputs);
  }
  static int64_t ScratchBytes(const Sizes& s, int threads, Weights form) {
    return winograd_bf16::ConvolveBytes(s, threads, form);
  }
  static int64_t Place(int64_t i, int64_t o) { return i / 2 * 2 * kBlock + o * 2 + i % 2; }
  static dnnl::memory::format_tag Tag() { return dnnl::memory::format_tag::OIhw8i16o2i; }
  static void TransformWeights(int64_t inputs, int64_t outputs, const BFloat16* w, BFloat16* to) {
    winograd_bf16::TransformWeights(inputs, outputs, Weights::kPlain, w, to);
  }
  static void Convolve(const Sizes& s, int threads, const BFloat16* x, Weights form,
                       const BFloat16* w, const Epilogue& e, BFloat16* y, void* scratch) {
    winograd_bf16::Convolve(s, threads, x, form, w, e, y, scratch);
  }
};

// f(Algorithm<T>()) for the type, else nothing.
template <typename F>
std::unique_ptr<Kernel> Dispatch(DType dtype, F f) {
  if (dtype == DType::kFloat32) return f(Algorithm<float>());
  if (dtype == DType::kBFloat16) return f(Algorithm<BFloat16>());
  return nullptr;
}

Dims WeightDims(const ConvShape& s) { return {s.outputs, s.inputs, 3, 3}; }

// The sizes where the algorithm fits.
absl::optional<Sizes> SizesOf(DType type, const ConvShape& s) {
  const Window& w = s.window;
  if (WinogradIsOff() || w.rank() != 2 || s.groups != 1 || w.kernel != Dims{3, 3} ||
      w.strides != Dims{1, 1} || w.dilations != Dims{1, 1} || s.inputs < kBlock ||
      s.outputs < kBlock || s.inputs % kBlock != 0 || s.outputs % kBlock != 0 || s.batch < 1) {
    return absl::nullopt;
  }
  Sizes z;
  z.batch = s.batch;
  z.inputs = s.inputs;
  z.outputs = s.outputs;
  z.in_h = s.in[1];
  z.in_w = s.in[2];
  z.out_h = s.out[1];
  z.out_w = s.out[2];
  z.pad_h = w.pads_begin[0];
  z.pad_w = w.pads_begin[1];
  const Dims x = {s.batch, s.inputs, z.in_h, z.in_w}, y = {s.batch, s.outputs, z.out_h, z.out_w};
  if (!onednn::IsSound(type, x) || !onednn::IsSound(type, y) ||
      !onednn::IsSound(type, {64, s.inputs, s.outputs})) {
    return absl::nullopt;
  }
  return z;
}

bool HaveType(const PrepareContext& c, DType type, std::initializer_list<int> inputs) {
  for (const int i : inputs) {
    if (i >= 0 && c.has_input(i) && c.input_dtype(i) != type) return false;
  }
  return c.output_dtype(0) == type;
}

Layout Blocks(DType type, const Dims& dims) {
  return *onednn::LayoutOf(onednn::ChannelBlocks(type, dims));
}

template <typename T>
Layout WeightBlocks(const Dims& w) {
  constexpr auto kType =
      std::is_same_v<T, float> ? dnnl::memory::data_type::f32 : dnnl::memory::data_type::bf16;
  return *onednn::LayoutOf(onednn::Md(w, kType, Algorithm<T>::Tag()));
}

// Relu and Clip as bounds; false for others.
template <typename E>
bool ReadBounds(const PostOp& activation, E* e) {
  if (activation.is_none()) return true;
  e->clamps = true;
  if (activation.name == "Relu") {
    e->low = 0;
    return true;
  }
  e->low = activation.alpha;
  e->high = activation.beta;
  return activation.name == "Clip";
}

// The bias in f32: as it is, or widened into `scratch`.
const float* Bias(const Tensor& bias, float* scratch) {
  if (bias.dtype() == DType::kFloat32) return bias.data<float>();
  for (int64_t i = 0; i < bias.num_elements(); ++i) {
    scratch[i] = static_cast<float>(bias.data<BFloat16>()[i]);
  }
  return scratch;
}

template <typename T>
std::unique_ptr<Kernel> MakeConv(PrepareContext& c, const ConvShape& s, const PostOp& activation,
                                 int added) {
  using A = Algorithm<T>;
  const auto sizes = SizesOf(A::kType, s);
  typename A::Epilogue epilogue;
  if (!A::IsBuilt() || !sizes || !HaveType(c, A::kType, {0, 1, added}) ||
      !ReadBounds(activation, &epilogue) ||
      (c.has_input(2) && c.input_dtype(2) != DType::kFloat32 && c.input_dtype(2) != A::kType)) {
    return nullptr;
  }
  const Sizes z = *sizes;
  const bool packs = c.constant(1) != nullptr && A::TakesTransformed(z);
  const Weights form = packs ? Weights::kTransformed : Weights::kPlain;
  if (!A::Pays(z, form)) return nullptr;
  const int threads = c.threads();
  c.Want(0, Blocks(A::kType, c.input_dims(0)));
  c.Want(1, packs ? WinogradWeights(A::kType, WeightDims(s)) : WeightBlocks<T>(WeightDims(s)));
  if (added >= 0) c.Want(added, Blocks(A::kType, c.output_dims(0)));
  c.Make(0, Blocks(A::kType, c.output_dims(0)));
  const int64_t bias_floats = z.outputs;
  c.Scratch(bias_floats * static_cast<int64_t>(sizeof(float)) + A::ScratchBytes(z, threads, form));
  return MakeKernel(
      [=](RunContext& r) {
        float* scratch = static_cast<float*>(r.scratch());
        typename A::Epilogue e = epilogue;
        if (r.has_input(2)) e.bias = Bias(r.input(2), scratch);
        if (added >= 0) e.added = r.input(added).data<T>();
        A::Convolve(z, threads, r.input(0).data<T>(), form, r.input(1).data<T>(), e,
                    r.output(0).mutable_data<T>(), scratch + bias_floats);
        return absl::OkStatus();
      },
      "winograd");
}

template <typename T>
std::unique_ptr<Kernel> MakeConvBackwardData(PrepareContext& c, const ConvShape& s) {
  using A = Algorithm<T>;
  const auto sizes = SizesOf(A::kType, s);
  if (!A::IsBuilt() || !sizes || !HaveType(c, A::kType, {0, 1})) return nullptr;
  const Sizes z = sizes->Reversed();
  const Weights form = Weights::kTurned;
  if (!A::Pays(z, form)) return nullptr;
  const int threads = c.threads();
  c.Want(0, Blocks(A::kType, c.input_dims(0)));
  c.Want(1, WeightBlocks<T>(WeightDims(s)));
  c.Make(0, Blocks(A::kType, c.output_dims(0)));
  c.Scratch(A::ScratchBytes(z, threads, form));
  return MakeKernel(
      [=](RunContext& r) {
        A::Convolve(z, threads, r.input(0).data<T>(), form, r.input(1).data<T>(), {},
                    r.output(0).mutable_data<T>(), r.scratch());
        return absl::OkStatus();
      },
      "winograd");
}

// Row-major weights, in the algorithm's form.
template <typename T>
absl::Status Pack(int64_t outputs, int64_t inputs, const T* from, T* to) {
  using A = Algorithm<T>;
  GR_ASSIGN_OR_RETURN(Tensor blocks, Tensor::Allocate(A::kType, {outputs, inputs, 3, 3}));
  T* plain = blocks.mutable_data<T>();
  constexpr int64_t kSquare = kBlock * kBlock;
  for (int64_t o = 0; o < outputs; ++o) {
    for (int64_t i = 0; i < inputs; ++i) {
      const int64_t block = o / kBlock * (inputs / kBlock) + i / kBlock;
      T* at = plain + block * 9 * kSquare + A::Place(i % kBlock, o % kBlock);
      for (int64_t k = 0; k < 9; ++k) at[k * kSquare] = *from++;
    }
  }
  A::TransformWeights(inputs, outputs, plain, to);
  return absl::OkStatus();
}

}  // namespace

bool WinogradIsOff() {
  const char* value = std::getenv("GRAPHRUN_WINOGRAD");
  return value != nullptr && absl::string_view(value) == "off";
}

absl::optional<Sizes> WinogradSizes(DType type, const ConvShape& s) { return SizesOf(type, s); }

bool WinogradPays(const ConvShape& s) {
  const auto sizes = SizesOf(DType::kFloat32, s);
  return winograd::IsBuilt() && sizes && winograd::ConvolvePays(*sizes, Weights::kPlain);
}

std::unique_ptr<Kernel> WinogradConv(PrepareContext& c, const ConvShape& s,
                                     const PostOp& activation, int added) {
  return Dispatch(c.input_dtype(0),
                  [&]<typename T>(Algorithm<T>) { return MakeConv<T>(c, s, activation, added); });
}

std::unique_ptr<Kernel> WinogradConvBackwardData(PrepareContext& c, const ConvShape& s) {
  return Dispatch(c.input_dtype(0),
                  [&]<typename T>(Algorithm<T>) { return MakeConvBackwardData<T>(c, s); });
}

std::unique_ptr<Kernel> WinogradConvBackwardWeights(PrepareContext& c, const ConvShape& s) {
  const DType type = DType::kFloat32;
  const auto sizes = SizesOf(type, s);
  if (!winograd::IsBuilt() || !sizes || !winograd::WeightGradientPays(*sizes) ||
      !HaveType(c, type, {0, 1})) {
    return nullptr;
  }
  const Sizes z = *sizes;
  c.Want(0, Blocks(type, c.input_dims(0)));
  c.Want(1, Blocks(type, c.input_dims(1)));
  c.Make(0, WeightBlocks<float>(WeightDims(s)));
  c.Scratch(winograd::GradientFloats(z) * static_cast<int64_t>(sizeof(float)));
  return MakeKernel(
      [=](RunContext& r) {
        winograd::WeightGradient(z, r.input(1).data<float>(), r.input(0).data<float>(),
                                 r.output(0).mutable_data<float>(),
                                 r.has_output(1) ? r.output(1).mutable_data<float>() : nullptr,
                                 static_cast<float*>(r.scratch()));
        return absl::OkStatus();
      },
      "winograd");
}

Layout WinogradWeights(DType dtype, const Dims& w) {
  const bool wide = dtype == DType::kFloat32;
  return Layout::Opaque(
      wide ? Algorithm<float>::kPackedWeights : Algorithm<BFloat16>::kPackedWeights,
      wide ? Algorithm<float>::WeightCount(w[1], w[0]) * static_cast<int64_t>(sizeof(float))
           : Algorithm<BFloat16>::WeightCount(w[1], w[0]) * static_cast<int64_t>(sizeof(BFloat16)));
}

std::unique_ptr<Kernel> WinogradReorder(DType dtype, const Dims& w, const Layout& from,
                                        const Layout& to) {
  if (!to.is_opaque() || !from.is_row_major()) return nullptr;
  return Dispatch(dtype, [&]<typename T>(Algorithm<T>) -> std::unique_ptr<Kernel> {
    if (to.descriptor() != Algorithm<T>::kPackedWeights) return nullptr;
    return MakeKernel(
        [w](RunContext& r) {
          return Pack<T>(w[0], w[1], r.input(0).data<T>(), r.output(0).mutable_data<T>());
        },
        "winograd");
  });
}

}  // namespace graphrun
