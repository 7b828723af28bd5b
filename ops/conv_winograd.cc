#include "ops/conv_winograd.h"

#include <cstdlib>

#include "ops/onednn.h"
#include "ops/winograd.h"
#include "ops/winograd_gradient.h"

namespace graphrun {
namespace {

using winograd::Sizes;

constexpr char kPackedWeights[] = "winograd 4x4, 3x3";
constexpr int64_t kBlock = 16;

Dims WeightDims(const ConvShape& s) { return {s.outputs, s.inputs, 3, 3}; }

// The sizes where the algorithm fits.
absl::optional<Sizes> SizesOf(const ConvShape& s) {
  const Window& w = s.window;
  if (!winograd::IsBuilt() || WinogradIsOff() || w.rank() != 2 || s.groups != 1 ||
      w.kernel != Dims{3, 3} || w.strides != Dims{1, 1} || w.dilations != Dims{1, 1} ||
      s.inputs < kBlock || s.outputs < kBlock || s.inputs % kBlock != 0 ||
      s.outputs % kBlock != 0 || s.batch < 1) {
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
  const DType type = DType::kFloat32;
  if (!onednn::IsSound(type, x) || !onednn::IsSound(type, y) ||
      !onednn::IsSound(type, {64, s.inputs, s.outputs})) {
    return absl::nullopt;
  }
  return z;
}

bool IsFloat32(const PrepareContext& c, std::initializer_list<int> inputs) {
  for (const int i : inputs) {
    if (i >= 0 && c.has_input(i) && c.input_dtype(i) != DType::kFloat32) return false;
  }
  return c.output_dtype(0) == DType::kFloat32;
}

Layout Blocks(const Dims& dims) {
  return *onednn::LayoutOf(onednn::ChannelBlocks(DType::kFloat32, dims));
}

Layout WeightBlocks(const Dims& w) {
  return *onednn::LayoutOf(
      onednn::Md(w, dnnl::memory::data_type::f32, dnnl::memory::format_tag::OIhw16i16o));
}

// Relu and Clip as bounds; false for others.
bool ReadBounds(const PostOp& activation, winograd::Epilogue* e) {
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

void ScratchFloats(PrepareContext& c, int64_t floats) {
  c.Scratch(floats * static_cast<int64_t>(sizeof(float)));
}

}  // namespace

bool WinogradIsOff() {
  const char* value = std::getenv("GRAPHRUN_WINOGRAD");
  return value != nullptr && absl::string_view(value) == "off";
}

bool WinogradPays(const ConvShape& s) {
  const auto sizes = SizesOf(s);
  return sizes && winograd::ConvolvePays(*sizes, winograd::Weights::kPlain);
}

std::unique_ptr<Kernel> WinogradConv(PrepareContext& c, const ConvShape& s,
                                     const PostOp& activation, int added) {
  const auto sizes = SizesOf(s);
  winograd::Epilogue epilogue;
  if (!sizes || !IsFloat32(c, {0, 1, 2, added}) || !ReadBounds(activation, &epilogue)) {
    return nullptr;
  }
  const Sizes z = *sizes;
  const bool packs = c.constant(1) != nullptr && !winograd::TransformsAsItGoes(z);
  const winograd::Weights form =
      packs ? winograd::Weights::kTransformed : winograd::Weights::kPlain;
  if (!winograd::ConvolvePays(z, form)) return nullptr;
  const int threads = c.threads();
  c.Want(0, Blocks(c.input_dims(0)));
  c.Want(1, packs ? WinogradWeights(WeightDims(s)) : WeightBlocks(WeightDims(s)));
  if (added >= 0) c.Want(added, Blocks(c.output_dims(0)));
  c.Make(0, Blocks(c.output_dims(0)));
  ScratchFloats(c, winograd::ConvolveFloats(z, threads, form));
  return MakeKernel(
      [=](RunContext& r) {
        winograd::Epilogue e = epilogue;
        if (r.has_input(2)) e.bias = r.input(2).data<float>();
        if (added >= 0) e.added = r.input(added).data<float>();
        winograd::Convolve(z, threads, r.input(0).data<float>(), form, r.input(1).data<float>(), e,
                           r.output(0).mutable_data<float>(), static_cast<float*>(r.scratch()));
        return absl::OkStatus();
      },
      "winograd");
}

std::unique_ptr<Kernel> WinogradConvBackwardData(PrepareContext& c, const ConvShape& s) {
  const auto sizes = SizesOf(s);
  if (!sizes || !IsFloat32(c, {0, 1})) return nullptr;
  const Sizes z = sizes->Reversed();
  const winograd::Weights form = winograd::Weights::kTurned;
  if (!winograd::ConvolvePays(z, form)) return nullptr;
  const int threads = c.threads();
  c.Want(0, Blocks(c.input_dims(0)));
  c.Want(1, WeightBlocks(WeightDims(s)));
  c.Make(0, Blocks(c.output_dims(0)));
  ScratchFloats(c, winograd::ConvolveFloats(z, threads, form));
  return MakeKernel(
      [=](RunContext& r) {
        winograd::Convolve(z, threads, r.input(0).data<float>(), form, r.input(1).data<float>(), {},
                           r.output(0).mutable_data<float>(), static_cast<float*>(r.scratch()));
        return absl::OkStatus();
      },
      "winograd");
}

std::unique_ptr<Kernel> WinogradConvBackwardWeights(PrepareContext& c, const ConvShape& s) {
  const auto sizes = SizesOf(s);
  if (!sizes || !winograd::WeightGradientPays(*sizes) || !IsFloat32(c, {0, 1})) return nullptr;
  const Sizes z = *sizes;
  c.Want(0, Blocks(c.input_dims(0)));
  c.Want(1, Blocks(c.input_dims(1)));
  c.Make(0, WeightBlocks(WeightDims(s)));
  ScratchFloats(c, winograd::GradientFloats(z));
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

Layout WinogradWeights(const Dims& w) {
  return Layout::Opaque(kPackedWeights,
                        winograd::WeightFloats(w[1], w[0]) * static_cast<int64_t>(sizeof(float)));
}

std::unique_ptr<Kernel> WinogradReorder(DType dtype, const Dims& w, const Layout& from,
                                        const Layout& to) {
  if (!to.is_opaque() || to.descriptor() != kPackedWeights || !from.is_row_major() ||
      dtype != DType::kFloat32) {
    return nullptr;
  }
  return MakeKernel(
      [w](RunContext& r) -> absl::Status {
        const int64_t outputs = w[0], inputs = w[1], in_blocks = inputs / kBlock;
        GR_ASSIGN_OR_RETURN(Tensor blocks, Tensor::Allocate(DType::kFloat32, w));
        const float* from = r.input(0).data<float>();
        float* to = blocks.mutable_data<float>();
        for (int64_t o = 0; o < outputs; ++o) {
          for (int64_t i = 0; i < inputs; ++i) {
            const int64_t block = o / kBlock * in_blocks + i / kBlock;
            float* at = to + block * 9 * kBlock * kBlock + i % kBlock * kBlock + o % kBlock;
            for (int64_t k = 0; k < 9; ++k) at[k * kBlock * kBlock] = *from++;
          }
        }
        winograd::TransformWeights(inputs, outputs, winograd::Weights::kPlain, to,
                                   r.output(0).mutable_data<float>());
        return absl::OkStatus();
      },
      "winograd");
}

}  // namespace graphrun
