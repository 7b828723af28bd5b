#include "ops/conv_onednn.h"

#include "absl/strings/match.h"
#include "ops/conv_groups.h"
#include "ops/conv_product.h"
#include "ops/conv_tiles.h"
#include "ops/conv_winograd.h"
#include "ops/onednn.h"

namespace graphrun {
namespace {

using onednn::Md;

bool IsServed(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kBFloat16 || dtype == DType::kFloat16;
}

bool IsSlow(const dnnl::primitive_desc_base& pd) {
  const std::string name = onednn::ImplementationOf(pd);
  return onednn::IsReference(pd) || absl::StartsWith(name, "gemm") ||
         absl::StrContains(name, ":gemm");
}

enum class Family { kChannelsLast, kBlocks, kAny, kRowMajor };

Md Make(Family family, DType dtype, const Dims& dims) {
  switch (family) {
    case Family::kChannelsLast:
      return onednn::ChannelsLast(dtype, dims);
    case Family::kBlocks:
      return onednn::ChannelBlocks(dtype, dims);
    case Family::kAny:
      return onednn::Any(dtype, dims);
    case Family::kRowMajor:
      break;
  }
  return onednn::RowMajor(dtype, dims);
}

// Which family an activation's layout belongs to.
Family FamilyOf(DType dtype, const Dims& dims, const Layout& layout) {
  if (layout.is_row_major()) return Family::kRowMajor;
  for (const Family family : {Family::kChannelsLast, Family::kBlocks}) {
    const auto own = onednn::LayoutOf(Make(family, dtype, dims));
    if (own && *own == layout) return family;
  }
  return Family::kAny;
}

bool HasTiles() {
  constexpr unsigned kTiles = 0x200;  // part of every instruction set with AMX, in all versions
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & kTiles) != 0;
}

// What is fast where the neighbours leave the choice. AMX wants channels last; without it, bf16
// inference over many channels takes 0.86 to 0.94 of the time with blocks of them.
Family PreferredFamily(DType dtype, const Dims& x, const Dims& y, bool constant) {
  if (dtype == DType::kFloat32) return constant && x[0] == 1 ? Family::kAny : Family::kBlocks;
  const bool blocks = dtype == DType::kBFloat16 && constant && y[1] >= 64 && !HasTiles();
  return blocks ? Family::kBlocks : Family::kChannelsLast;
}

// Pairs of formats for the side with the input channels and the side with the output channels, best
// first. `arriving` are the layouts that the two tensors have now (row-major where nobody has
// decided).
std::vector<std::pair<Md, Md>> Candidates(DType dtype, const Dims& x, const Dims& y,
                                          const Layout& x_layout, const Layout& y_layout,
                                          bool constant, DType y_dtype = DType::kUndefined) {
  if (y_dtype == DType::kUndefined) y_dtype = dtype;
  const Family x_family = FamilyOf(dtype, x, x_layout), y_family = FamilyOf(dtype, y, y_layout);
  Family preferred = PreferredFamily(dtype, x, y, constant);
  for (const Family family : {x_family, y_family}) {
    if (family == Family::kBlocks || family == Family::kChannelsLast) preferred = family;
  }
  const Family other = preferred == Family::kBlocks ? Family::kChannelsLast : Family::kBlocks;
  std::vector<std::pair<Md, Md>> pairs;
  for (const Family family : {preferred, other}) {
    if (family == Family::kBlocks && (y[1] % 16 != 0 || (x[1] >= 16 && x[1] % 16 != 0))) continue;
    if (x[1] < 16) {
      pairs.emplace_back(Make(x_family, dtype, x), Make(family, y_dtype, y));
      pairs.emplace_back(Make(Family::kAny, dtype, x), Make(family, y_dtype, y));
    } else {
      pairs.emplace_back(Make(family, dtype, x), Make(family, y_dtype, y));
    }
  }
  pairs.emplace_back(Make(Family::kAny, dtype, x), Make(Family::kAny, y_dtype, y));
  pairs.emplace_back(Make(Family::kRowMajor, dtype, x), Make(Family::kRowMajor, y_dtype, y));
  return pairs;
}

// The first descriptor that make(x, y) gives and that is fast, else the last that is not a
// reference.
template <typename F>
auto Choose(const std::vector<std::pair<Md, Md>>& pairs, F make) -> decltype(make(Md(), Md())) {
  decltype(make(Md(), Md())) fallback;
  for (const auto& [x, y] : pairs) {
    auto pd = make(x, y);
    if (!pd || onednn::IsReference(*pd)) continue;
    if (!IsSlow(*pd)) return pd;
    fallback = std::move(pd);
  }
  return fallback;
}

// ---- weights: oneDNN's have a groups' axis of their own

Dims WeightDims(const ConvShape& s) {
  Dims dims = s.window.kernel;
  dims.insert(dims.begin(), {s.outputs, s.inputs});
  if (s.groups > 1) dims.insert(dims.begin(), s.groups);
  return dims;
}

// The graph's sizes [G*O, I, kernel...].
Dims GraphWeightDims(const ConvShape& s) {
  Dims dims = s.window.kernel;
  dims.insert(dims.begin(), {s.groups * s.outputs, s.inputs});
  return dims;
}

// The layout over the graph's axes that a descriptor over oneDNN's stands for; nothing where groups
// and outputs do not merge.
absl::optional<Layout> WeightLayout(const Md& md, const ConvShape& s) {
  const auto layout = onednn::LayoutOf(md);
  if (s.groups == 1 || !layout || layout->is_row_major()) return layout;
  if (!layout->is_blocked()) return absl::nullopt;
  const Dims padded = layout->padded(), strides = layout->strides();
  int64_t group_block = 1, output_block = 1;
  std::vector<std::pair<int, int64_t>> blocks;
  for (const auto& [axis, size] : layout->blocks()) {
    if (axis == 0) group_block *= size;
    if (axis == 1) output_block *= size;
    blocks.emplace_back(axis == 0 ? 0 : axis - 1, size);
  }
  Dims merged_strides(strides.begin() + 1, strides.end());
  Dims merged_padded(padded.begin() + 1, padded.end());
  if (s.outputs == 1 && padded[1] == 1) {
    merged_strides[0] = strides[0];
    merged_padded[0] = padded[0];
  } else if (group_block == 1 && padded[1] == s.outputs && padded[0] == s.groups &&
             strides[0] == strides[1] * (s.outputs / output_block)) {
    merged_padded[0] = s.groups * s.outputs;
  } else {
    return absl::nullopt;
  }
  return Layout::Blocked(GraphWeightDims(s), std::move(merged_strides), std::move(merged_padded),
                         std::move(blocks));
}

// Where the primitive finds the weights of input i: in the layout that it wants, or (where that
// layout cannot be carried outside) row-major, reordered in every run.
bool TakeWeights(PrepareContext& c, int i, const Md& wanted, const ConvShape& s,
                 onednn::Program& program, onednn::Slot* at) {
  *at = onednn::In(i);
  if (const auto layout = WeightLayout(wanted, s)) {
    c.Want(i, *layout);
    return true;
  }
  return program.Reordered(onednn::RowMajor(c.input_dtype(i), WeightDims(s)), wanted, at);
}

// False where the layout of an activation cannot be carried outside.
bool TakeActivation(PrepareContext& c, int i, const Md& md) {
  const auto layout = onednn::LayoutOf(md);
  if (!layout || layout->is_opaque()) return false;
  c.Want(i, *layout);
  return true;
}

bool MakeActivation(PrepareContext& c, int o, const Md& md) {
  const auto layout = onednn::LayoutOf(md);
  if (!layout || layout->is_opaque()) return false;
  c.Make(o, *layout);
  return true;
}

Layout Known(const Layout& layout) { return layout.is_undecided() ? Layout() : layout; }

// oneDNN's limits; sizes that it would crash on.
bool IsSound(const ConvShape& s, DType dtype, const Dims& x, const Dims& w, const Dims& y) {
  return IsServed(dtype) && onednn::IsSound(dtype, x) && onednn::IsSound(dtype, w) &&
         onednn::IsSound(dtype, y) && s.window.rank() >= 1 && s.window.rank() <= 3;
}

// The pads at the end that make the sizes come out exactly.
Window ExactWindow(const ConvShape& s) {
  Window w = s.window;
  const size_t lead = 3 - w.kernel.size();
  for (size_t i = 0; i < w.kernel.size(); ++i) {
    w.pads_end[i] = (s.out[lead + i] - 1) * w.strides[i] + w.Extent(static_cast<int>(i)) -
                    s.in[lead + i] - w.pads_begin[i];
  }
  return w;
}

// Winograd's transforms pay for 3x3 windows over many channels; oneDNN 3 has none.
dnnl::algorithm AlgorithmFor(const ConvShape& s, DType dtype) {
  const Window& w = s.window;
  const bool fits = !WinogradIsOff() && DNNL_VERSION_MAJOR < 3 && dtype == DType::kFloat32 &&
                    w.rank() == 2 && s.groups == 1 && w.kernel == Dims{3, 3} &&
                    w.strides == Dims{1, 1} && w.dilations == Dims{1, 1} && s.inputs >= 16 &&
                    s.outputs >= 16 && s.out[1] >= 8 && s.out[2] >= 8;
  return fits ? dnnl::algorithm::convolution_winograd : dnnl::algorithm::convolution_direct;
}

// oneDNN 3 offers for the gradient of depthwise windows with strides over bf16 channels last a
// kernel for whole channels, which takes 30 times as long as the one for blocks of channels.
bool IsForWholeChannels(const dnnl::primitive_desc_base& pd, const ConvShape& s) {
  return s.groups > 1 && s.inputs == 1 &&
         absl::StrContains(onednn::ImplementationOf(pd), "brgconv_strided");
}

// Channels of narrow groups that an implementation other than the depthwise ones fills up to whole
// blocks: most of its sums are of zeros.
bool IsPadded(const dnnl::primitive_desc_base& pd, const Md& weights) {
  if (absl::StrContains(onednn::ImplementationOf(pd), "dw")) return false;
  const auto layout = onednn::LayoutOf(weights);
  const Dims dims = onednn::DimsOf(weights);
  return layout && layout->is_blocked() &&
         layout->padded()[1] * layout->padded()[2] > dims[1] * dims[2];
}

// In which layout oneDNN leaves the weights' gradient of that convolution; nothing where it is
// slow.
Md GradientOf(const dnnl::convolution_forward::primitive_desc& forward, const ConvShape& s,
              const Md& weights) {
  const auto pd =
      onednn::ConvolutionBackwardWeights(forward.src_desc(), weights, Md(), forward.dst_desc(),
                                         ExactWindow(s), dnnl::algorithm::convolution_direct);
  if (!pd || IsSlow(*pd) || IsPadded(*pd, pd->diff_weights_desc())) return Md();
  return pd->diff_weights_desc();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Kernel>> OneDnnConv(PrepareContext& c, const ConvShape& s,
                                                   const dnnl::post_ops* activation, int added) {
  const DType dtype = c.input_dtype(0);
  const Dims x = c.input_dims(0), w = WeightDims(s), y = c.output_dims(0);
  if (!IsSound(s, dtype, x, w, y)) return nullptr;
  const bool constant = c.constant(1) != nullptr;
  const bool winograd = AlgorithmFor(s, dtype) == dnnl::algorithm::convolution_winograd;
  if (!winograd) {
    GR_ASSIGN_OR_RETURN(std::unique_ptr<Kernel> product, ProductConv(c, s, activation, added));
    if (product != nullptr) return product;
  }
  const Md weights = onednn::Any(dtype, w);
  const DType y_dtype = c.output_dtype(0);
  const Md bias = c.has_input(2) ? onednn::RowMajor(c.input_dtype(2), {y[1]}) : Md();
  dnnl::post_ops post_ops;
  if (added >= 0) post_ops.append_sum(1.0f);
  if (activation != nullptr) onednn::AppendEltwises(*activation, post_ops);
  const auto attributes = onednn::Attributes(post_ops);
  const auto make_with = [&](const Md& x_md, const Md& w_md, const Md& y_md,
                             dnnl::algorithm algorithm) {
    return onednn::Convolution(!constant, x_md, w_md, bias, y_md, s.window, attributes, algorithm);
  };
  const auto make = [&](dnnl::algorithm algorithm) {
    return [&, algorithm](const Md& x_md, const Md& y_md) {
      return make_with(x_md, weights, y_md, algorithm);
    };
  };
  const auto pairs = Candidates(dtype, x, y, Known(c.input_layout(0)), Layout(), constant, y_dtype);
  onednn::Pd<dnnl::convolution_forward> pd;
  if (winograd) {
    const Md blocks = onednn::ChannelBlocks(dtype, x);
    pd = Choose({{blocks, onednn::ChannelBlocks(dtype, y)}},
                make(dnnl::algorithm::convolution_winograd));
  }
  if (!pd) {
    pd = Choose(pairs, make(dnnl::algorithm::convolution_direct));
    if (!pd) return nullptr;
    // Weights that are trained live in the layout of their gradient where that is as good: else
    // each step moves weights, gradients and the update's results to and fro.
    const Md gradient = constant || dtype != DType::kFloat32 || y_dtype != dtype
                            ? Md()
                            : GradientOf(*pd, s, weights);
    if (!onednn::DimsOf(gradient).empty() && gradient != pd->weights_desc()) {
      auto same =
          make_with(pd->src_desc(), gradient, pd->dst_desc(), dnnl::algorithm::convolution_direct);
      if (same && !IsSlow(*same)) pd = std::move(same);
    }
  }

  onednn::Program program;
  onednn::Slot at;
  if (!TakeActivation(c, 0, pd->src_desc()) || !MakeActivation(c, 0, pd->dst_desc()) ||
      !TakeWeights(c, 1, pd->weights_desc(), s, program, &at)) {
    return nullptr;
  }
  std::vector<onednn::Program::Argument> arguments = {
      {DNNL_ARG_SRC, pd->src_desc(), onednn::In(0)},
      {DNNL_ARG_WEIGHTS, pd->weights_desc(), at},
      {DNNL_ARG_DST, pd->dst_desc(), onednn::Out(0)}};
  if (!onednn::DimsOf(bias).empty()) arguments.push_back({DNNL_ARG_BIAS, bias, onednn::In(2)});
  program.Add(dnnl::convolution_forward(*pd), *pd, std::move(arguments));
  return onednn::MakeProgramKernel(c, std::move(program), added);
}

absl::StatusOr<std::unique_ptr<Kernel>> OneDnnConvBackwardData(PrepareContext& c,
                                                               const ConvShape& s) {
  const DType dtype = c.input_dtype(0);
  const Dims dy = c.input_dims(0), w = WeightDims(s), dx = c.output_dims(0);
  if (!IsSound(s, dtype, dx, w, dy)) return nullptr;
  const Md weights = onednn::Any(dtype, w);
  const Window window = ExactWindow(s);
  const auto make = [&](dnnl::algorithm algorithm) {
    return [&, algorithm](const Md& x_md, const Md& y_md) {
      auto pd = onednn::ConvolutionBackwardData(x_md, weights, y_md, window, algorithm);
      if (pd && IsForWholeChannels(*pd, s)) pd.reset();
      return pd;
    };
  };
  onednn::Pd<dnnl::convolution_backward_data> pd;
  if (AlgorithmFor(s, dtype) == dnnl::algorithm::convolution_winograd) {
    pd = Choose({{onednn::ChannelBlocks(dtype, dx), onednn::ChannelBlocks(dtype, dy)}},
                make(dnnl::algorithm::convolution_winograd));
  }
  if (!pd) {
    pd =
        Choose(Candidates(dtype, dx, dy, Known(c.input_layout(2)), Known(c.input_layout(0)), false),
               make(dnnl::algorithm::convolution_direct));
  }
  if (!pd) return nullptr;
  if (ServesGroups(s, dtype, dtype) && (IsSlow(*pd) || IsPadded(*pd, pd->weights_desc()))) {
    return nullptr;
  }
  onednn::Program program;
  onednn::Slot at;
  if (!TakeActivation(c, 0, pd->diff_dst_desc()) || !MakeActivation(c, 0, pd->diff_src_desc()) ||
      !TakeWeights(c, 1, pd->weights_desc(), s, program, &at)) {
    return nullptr;
  }
  program.Add(dnnl::convolution_backward_data(*pd), *pd,
              {{DNNL_ARG_DIFF_DST, pd->diff_dst_desc(), onednn::In(0)},
               {DNNL_ARG_WEIGHTS, pd->weights_desc(), at},
               {DNNL_ARG_DIFF_SRC, pd->diff_src_desc(), onednn::Out(0)}});
  return onednn::MakeProgramKernel(c, std::move(program));
}

absl::StatusOr<std::unique_ptr<Kernel>> OneDnnConvBackwardWeights(PrepareContext& c,
                                                                  const ConvShape& s) {
  const DType dtype = c.input_dtype(0);
  const Dims dy = c.input_dims(0), w = WeightDims(s), x = c.input_dims(1);
  if (!IsSound(s, dtype, x, w, dy)) return nullptr;
  const DType made_dtype = c.output_dtype(0);
  const Md bias = c.has_output(1) ? onednn::RowMajor(made_dtype, {dy[1]}) : Md();
  const Window window = ExactWindow(s);
  // The layout in which the weights live is the best for their gradient.
  std::vector<Md> homes;
  const Layout home = c.input_layout(2);
  if (s.groups == 1 && home.is_blocked()) {
    if (const auto md = onednn::Describe(made_dtype, w, home)) homes.push_back(*md);
  }
  homes.push_back(onednn::Any(made_dtype, w));
  onednn::Pd<dnnl::convolution_backward_weights> pd;
  for (const Md& diff : homes) {
    const auto make = [&](dnnl::algorithm algorithm) {
      return [&, algorithm](const Md& x_md, const Md& y_md) {
        return onednn::ConvolutionBackwardWeights(x_md, diff, bias, y_md, window, algorithm);
      };
    };
    if (AlgorithmFor(s, dtype) == dnnl::algorithm::convolution_winograd) {
      pd = Choose({{onednn::ChannelBlocks(dtype, x), onednn::ChannelBlocks(dtype, dy)}},
                  make(dnnl::algorithm::convolution_winograd));
    }
    if (!pd) {
      pd = Choose(
          Candidates(dtype, x, dy, Known(c.input_layout(1)), Known(c.input_layout(0)), false),
          make(dnnl::algorithm::convolution_direct));
    }
    if (pd && !IsSlow(*pd)) break;
  }
  if (!pd) return nullptr;
  if (ServesTiles(s, dtype, made_dtype) && IsSlow(*pd)) return nullptr;
  if (made_dtype == DType::kFloat32 && ServesGroups(s, dtype, made_dtype) &&
      (IsSlow(*pd) || IsPadded(*pd, pd->diff_weights_desc()))) {
    return nullptr;
  }
  onednn::Program program;
  if (!TakeActivation(c, 0, pd->diff_dst_desc()) || !TakeActivation(c, 1, pd->src_desc())) {
    return nullptr;
  }
  const Md made = pd->diff_weights_desc();
  const auto layout = WeightLayout(made, s);
  const bool carried = layout && !layout->is_opaque();
  onednn::Slot at = onednn::Out(0);
  if (carried) {
    c.Make(0, *layout);
  } else {
    at = program.Temporary(made);
  }
  std::vector<onednn::Program::Argument> arguments = {
      {DNNL_ARG_DIFF_DST, pd->diff_dst_desc(), onednn::In(0)},
      {DNNL_ARG_SRC, pd->src_desc(), onednn::In(1)},
      {DNNL_ARG_DIFF_WEIGHTS, made, at}};
  if (!onednn::DimsOf(bias).empty())
    arguments.push_back({DNNL_ARG_DIFF_BIAS, bias, onednn::Out(1)});
  program.Add(dnnl::convolution_backward_weights(*pd), *pd, std::move(arguments));
  if (!carried && !program.AddReorder(made, at, onednn::RowMajor(dtype, w), onednn::Out(0))) {
    return nullptr;
  }
  return onednn::MakeProgramKernel(c, std::move(program));
}

absl::StatusOr<std::unique_ptr<Kernel>> OneDnnConvTranspose(PrepareContext& c, const ConvShape& s) {
  const DType dtype = c.input_dtype(0);
  const Dims x = c.input_dims(0), y = c.output_dims(0);
  if (!IsSound(s, dtype, y, WeightDims(s), x)) return nullptr;
  // A deconvolution's weights are [G, O, I, kernel...] of its own inputs and outputs: the
  // convolution's, with both channel axes exchanged.
  const size_t first = s.groups > 1 ? 1 : 0;
  Dims w = WeightDims(s);
  std::swap(w[first], w[first + 1]);
  const Md bias = c.has_input(2) ? onednn::RowMajor(dtype, {y[1]}) : Md();
  const Window window = ExactWindow(s);
  const Md weights = onednn::Any(dtype, w);
  const auto attributes = onednn::Attributes();
  const auto pd = Choose(Candidates(dtype, x, y, Known(c.input_layout(0)), Layout(), false),
                         [&](const Md& x_md, const Md& y_md) {
                           return onednn::Deconvolution(c.constant(1) == nullptr, x_md, weights,
                                                        bias, y_md, window, attributes);
                         });
  if (!pd) return nullptr;
  std::vector<int> exchange(w.size());
  for (size_t i = 0; i < w.size(); ++i) exchange[i] = static_cast<int>(i);
  std::swap(exchange[first], exchange[first + 1]);
  onednn::Program program;
  onednn::Slot at = onednn::In(1);
  if (!TakeActivation(c, 0, pd->src_desc()) || !MakeActivation(c, 0, pd->dst_desc())) {
    return nullptr;
  }
  const auto layout = WeightLayout(pd->weights_desc().permute_axes(exchange), s);
  if (layout && layout->is_blocked()) {
    c.Want(1, *layout);
  } else if (!program.Reordered(onednn::RowMajor(dtype, WeightDims(s)).permute_axes(exchange),
                                pd->weights_desc(), &at)) {
    return nullptr;
  }
  std::vector<onednn::Program::Argument> arguments = {
      {DNNL_ARG_SRC, pd->src_desc(), onednn::In(0)},
      {DNNL_ARG_WEIGHTS, pd->weights_desc(), at},
      {DNNL_ARG_DST, pd->dst_desc(), onednn::Out(0)}};
  if (!onednn::DimsOf(bias).empty()) arguments.push_back({DNNL_ARG_BIAS, bias, onednn::In(2)});
  program.Add(dnnl::deconvolution_forward(*pd), *pd, std::move(arguments));
  return onednn::MakeProgramKernel(c, std::move(program));
}

}  // namespace graphrun
