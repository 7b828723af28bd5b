#include "ops/conv_product.h"

#include "ops/channel_runs.h"
#include "ops/lanes.h"
#include "ops/onednn.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

using onednn::Md;

constexpr int64_t kMostPositions = 64;

// Row m of `a`: the window of output m, kernel elements outermost, channels fastest; zeros where it
// reaches into the pads. REQUIRES: runs of whole lanes.
void GatherWindows(const ConvShape& s, const ChannelRuns& r, const float* x, float* a) {
  const int64_t taps = s.kernel_size(), channels = r.channels();
  ParallelFor(s.batch * s.out_size(), std::max<int64_t>(32768 / (taps * channels), 1),
              [&](int64_t begin, int64_t end) {
                const FloatLanes zero = {};
                for (int64_t m = begin; m < end; ++m) {
                  const int64_t n = m / s.out_size(), o = m % s.out_size();
                  const int64_t od = o / s.out[2] / s.out[1], oh = o / s.out[2] % s.out[1],
                                ow = o % s.out[2];
                  float* to = a + m * taps * channels;
                  for (int64_t k = 0; k < taps; ++k) {
                    const int64_t d = s.At(0, od, k / s.kernel[2] / s.kernel[1]),
                                  h = s.At(1, oh, k / s.kernel[2] % s.kernel[1]),
                                  w = s.At(2, ow, k % s.kernel[2]);
                    const bool inside =
                        d >= 0 && d < s.in[0] && h >= 0 && h < s.in[1] && w >= 0 && w < s.in[2];
                    const int64_t position = (d * s.in[1] + h) * s.in[2] + w;
                    for (int64_t b = 0; b < r.blocks; ++b) {
                      const float* from = x + ((n * r.blocks + b) * r.positions + position) * r.run;
                      for (int64_t l = 0; l < r.run; l += kLanes, to += kLanes) {
                        FloatLanes v = zero;
                        if (inside) LoadLanes(from + l, &v);
                        StoreLanes(v, to);
                      }
                    }
                  }
                }
              });
}

// The layout over [O, I, kernel...] of the product's weights [kernel... I, O]; nothing where its
// blocks do not fit.
absl::optional<Layout> WeightLayout(const Md& md, const ConvShape& s) {
  const auto packed = onednn::LayoutOf(md);
  if (!packed || packed->is_opaque()) return absl::nullopt;
  Dims strides = {s.outputs, 1}, padded = {s.kernel_size() * s.inputs, s.outputs};
  std::vector<std::pair<int, int64_t>> blocks;
  int64_t block = 1;
  if (packed->is_blocked()) {
    strides = packed->strides();
    if (packed->padded()[0] != padded[0]) return absl::nullopt;
    padded = packed->padded();
    for (const auto& [axis, size] : packed->blocks()) {
      if (axis == 0) block *= size;
      blocks.emplace_back(1 - axis, size);
    }
  }
  if (s.inputs % block != 0) return absl::nullopt;
  Dims dims = s.window.kernel;
  dims.insert(dims.begin(), {s.outputs, s.inputs});
  Dims all(dims.size()), sizes = dims;
  all[0] = strides[1];
  all[1] = strides[0];
  sizes[0] = padded[1];
  int64_t step = strides[0] * (s.inputs / block);
  for (size_t i = dims.size(); i-- > 2;) {
    all[i] = step;
    step *= dims[i];
  }
  return Layout::Blocked(dims, std::move(all), std::move(sizes), std::move(blocks));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Kernel>> ProductConv(PrepareContext& c, const ConvShape& s,
                                                    const dnnl::post_ops* activation, int added) {
  const DType dtype = c.input_dtype(0);
  const Dims x = c.input_dims(0), y = c.output_dims(0);
  const int64_t rows = s.batch * s.out_size(), terms = s.kernel_size() * s.inputs;
  if (dtype != DType::kFloat32 || c.constant(1) == nullptr || s.groups != 1 || rows < 1 ||
      rows > kMostPositions || s.kernel_size() < 2 || s.inputs % kLanes != 0 ||
      s.outputs % kLanes != 0 || !onednn::IsSound(dtype, {rows, terms}) ||
      !onednn::IsSound(dtype, c.input_dims(1))) {
    return nullptr;
  }
  const auto runs = ChannelRuns::Of(x, c.input_layout(0));
  if (!runs || runs->run % kLanes != 0) return nullptr;
  const ChannelRuns r = *runs;
  dnnl::post_ops post_ops;
  if (added >= 0) post_ops.append_sum(1.0f);
  if (activation != nullptr) onednn::AppendEltwises(*activation, post_ops);
  const Md a = onednn::RowMajor(dtype, {rows, terms});
  const Md result = onednn::RowMajor(dtype, {rows, s.outputs});
  const Md bias = c.has_input(2) ? onednn::RowMajor(dtype, {1, s.outputs}) : Md();
  const auto pd = onednn::MatMul(a, onednn::Any(dtype, {terms, s.outputs}), bias, result,
                                 onednn::Attributes(post_ops));
  if (!pd || onednn::IsReference(*pd)) return nullptr;
  const auto weights = WeightLayout(pd->weights_desc(), s);
  if (!weights) return nullptr;

  c.Want(0, r.LayoutOf(x));
  c.Want(1, *weights);
  ChannelRuns last = r;
  last.blocks = 1;
  last.run = s.outputs;
  c.Make(0, last.LayoutOf(y));
  onednn::Program program;
  const onednn::Slot windows = program.Temporary(a);
  std::vector<onednn::Program::Argument> arguments = {
      {DNNL_ARG_SRC, a, windows},
      {DNNL_ARG_WEIGHTS, pd->weights_desc(), onednn::In(1)},
      {DNNL_ARG_DST, result, onednn::Out(0)}};
  if (!onednn::DimsOf(bias).empty()) arguments.push_back({DNNL_ARG_BIAS, bias, onednn::In(2)});
  program.Add(dnnl::matmul(*pd), *pd, std::move(arguments));
  const std::string info = "windows, " + program.info();
  std::shared_ptr<const Kernel> product = onednn::MakeProgramKernel(c, std::move(program), added);
  return MakeKernel(
      [s, r, windows, product](RunContext& run) {
        GatherWindows(s, r, run.input(0).data<float>(),
                      static_cast<float*>(onednn::Program::Address(run, windows)));
        return product->Run(run);
      },
      info);
}

}  // namespace graphrun
