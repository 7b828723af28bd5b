#include "ops/conv_groups.h"

#include <algorithm>

#include "ops/avx512.h"
#include "ops/channel_runs.h"
#include "ops/conv_pairs.h"
#include "ops/lanes.h"
#include "ops/onednn.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

using pairs::Places;

// Where a weight lies: the sum of what its three coordinates add.
struct WeightPlaces {
  std::vector<int64_t> outputs, inputs, taps;

  int64_t At(int64_t output, int64_t input, int64_t tap) const {
    return outputs[static_cast<size_t>(output)] + inputs[static_cast<size_t>(input)] +
           taps[static_cast<size_t>(tap)];
  }
  static WeightPlaces Of(const Dims& dims, const Layout& layout);
};

// What indices along an axis add to an element's place.
std::vector<int64_t> AxisPlaces(const Dims& dims, const Layout& layout, size_t axis) {
  std::vector<int64_t> places(static_cast<size_t>(dims[axis]));
  int64_t row_major = 1;
  for (size_t i = axis + 1; i < dims.size(); ++i) row_major *= dims[i];
  for (int64_t v = 0; v < dims[axis]; ++v) {
    int64_t& at = places[static_cast<size_t>(v)];
    if (!layout.is_blocked()) {
      at = v * row_major;
      continue;
    }
    int64_t left = v, step = 1;
    for (size_t i = layout.blocks().size(); i-- > 0;) {
      const auto& [block_axis, size] = layout.blocks()[i];
      if (block_axis == static_cast<int>(axis)) {
        at += left % size * step;
        left /= size;
      }
      step *= size;
    }
    at += left * layout.strides()[axis];
  }
  return places;
}

WeightPlaces WeightPlaces::Of(const Dims& dims, const Layout& layout) {
  WeightPlaces w;
  w.outputs = AxisPlaces(dims, layout, 0);
  w.inputs = AxisPlaces(dims, layout, 1);
  w.taps = {0};
  for (size_t axis = 2; axis < dims.size(); ++axis) {
    const auto places = AxisPlaces(dims, layout, axis);
    std::vector<int64_t> all;
    for (const int64_t before : w.taps) {
      for (const int64_t place : places) all.push_back(before + place);
    }
    w.taps = std::move(all);
  }
  return w;
}

// The output positions that see an input position along one axis, with the window's element.
struct Seen {
  struct Pair {
    int64_t tap, out;
  };
  std::vector<std::vector<Pair>> of;  // for each input position

  static Seen Of(const Sliding& s, size_t axis) {
    Seen seen;
    seen.of.resize(static_cast<size_t>(s.in[axis]));
    for (int64_t k = 0; k < s.kernel[axis]; ++k) {
      int64_t first, last;
      s.Inside(axis, k, &first, &last);
      for (int64_t o = first; o < last; ++o) {
        seen.of[static_cast<size_t>(s.At(axis, o, k))].push_back({k, o});
      }
    }
    return seen;
  }
};

struct Work {
  ConvShape s;
  Places x, dy;
  WeightPlaces weights;
  std::array<Seen, 3> seen;
  int64_t channels = 0, blocks = 0, taps = 0;

  // The last block begins earlier, so that it is whole.
  int64_t First(int64_t block) const { return std::min(block * kLanes, channels - kLanes); }
  int64_t Of(const Places& p, int64_t image, int64_t block) const {
    const int64_t first = First(block);
    return image * p.image_step + first / kLanes * p.block_step + first % kLanes;
  }
  int64_t width() const { return s.inputs; }
};

#if defined(__AVX512F__)

bool IsBuilt() { return true; }

using avx512::Unroll;
constexpr __mmask16 kAll = 0xffff;

inline __m512 Load(const float* from) { return _mm512_loadu_ps(from); }
inline __m512 Load(const BFloat16* from) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  return _mm512_castsi512_ps(
      _mm512_maskz_slli_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, halves), 16));
}
inline void Store(__m512 v, float* to) { _mm512_storeu_ps(to, v); }
inline void Store(__m512 v, BFloat16* to) {
  FloatLanes lanes;
  std::memcpy(&lanes, &v, sizeof(lanes));
  StoreLanes(lanes, to);
}

// Channel i of its group, for every lane.
template <int kWidth>
struct Spread {
  __m512i from[kWidth];

  Spread() {
    alignas(64) int32_t lanes[kLanes];
    for (int i = 0; i < kWidth; ++i) {
      for (int l = 0; l < kLanes; ++l) lanes[l] = l / kWidth * kWidth + i;
      from[i] = _mm512_load_si512(lanes);
    }
  }
  template <int i>
  __m512 Get(__m512 v) const {
    return kWidth == 1 ? v : _mm512_maskz_permutexvar_ps(kAll, from[i], v);
  }
};

template <int kTimes, typename F>
inline void UnrollConstant(F f) {
  if constexpr (kTimes > 0) {
    UnrollConstant<kTimes - 1>(f);
    f(std::integral_constant<int, kTimes - 1>());
  }
}

// Sums that run beside each other, so that none waits for the one before.
template <int kWidth>
constexpr int kChains = kWidth >= 8 ? 1 : 8 / kWidth;

// sums[i][l] = the sum over all positions of dy's lane l times input i of its group, seen through a
// window element.
template <int kWidth, typename T>
[[gnu::flatten]] void SumTap(const Work& z, const T* x, const T* dy, int64_t block, int64_t tap,
                             float* sums) {
  constexpr int kBeside = kChains<kWidth>;
  const ConvShape& s = z.s;
  const Spread<kWidth> spread;
  const int64_t k[3] = {tap / s.kernel[2] / s.kernel[1], tap / s.kernel[2] % s.kernel[1],
                        tap % s.kernel[2]};
  int64_t first[3], last[3];
  for (size_t a = 0; a < 3; ++a) s.Inside(a, k[a], &first[a], &last[a]);
  __m512 sum[kWidth][kBeside];
  Unroll<kWidth>([&](int i) { Unroll<kBeside>([&](int j) { sum[i][j] = _mm512_setzero_ps(); }); });
  const int64_t x_step = s.strides[2] * z.x.step, dy_step = z.dy.step;
  const auto add = [&](const T* x_at, const T* dy_at, int j) {
    const __m512 in = Load(x_at), out = Load(dy_at);
    UnrollConstant<kWidth>([&](auto i) {
      sum[i][j] = _mm512_fmadd_ps(spread.template Get<decltype(i)::value>(in), out, sum[i][j]);
    });
  };
  for (int64_t n = 0; n < s.batch; ++n) {
    const T *x_image = x + z.Of(z.x, n, block), *dy_image = dy + z.Of(z.dy, n, block);
    for (int64_t d = first[0]; d < last[0]; ++d) {
      for (int64_t h = first[1]; h < last[1]; ++h) {
        const T* x_at = x_image + ((s.At(0, d, k[0]) * s.in[1] + s.At(1, h, k[1])) * s.in[2] +
                                   s.At(2, first[2], k[2])) *
                                      z.x.step;
        const T* dy_at = dy_image + ((d * s.out[1] + h) * s.out[2] + first[2]) * z.dy.step;
        int64_t left = last[2] - first[2];
        for (; left >= kBeside; left -= kBeside, x_at += kBeside * x_step) {
          Unroll<kBeside>([&](int j) { add(x_at + j * x_step, dy_at + j * dy_step, j); });
          dy_at += kBeside * dy_step;
        }
        if constexpr (kBeside > 1) {
          for (; left > 0; --left, x_at += x_step, dy_at += dy_step) add(x_at, dy_at, 0);
        }
      }
    }
  }
  Unroll<kWidth>([&](int i) {
    Unroll<kBeside - 1>([&](int j) { sum[i][0] = _mm512_add_ps(sum[i][0], sum[i][j + 1]); });
    _mm512_storeu_ps(sums + i * kLanes, sum[i][0]);
  });
}

template <int kWidth, typename T>
void SumAll(const Work& z, const T* x, const T* dy, float* dw) {
  const int64_t positions = z.s.batch * z.s.out_size();
  ParallelFor(z.blocks * z.taps, 1 + 16384 / (positions * kWidth + 1),
              [&](int64_t begin, int64_t end) {
                alignas(64) float sums[kWidth * kLanes];
                for (int64_t unit = begin; unit < end; ++unit) {
                  const int64_t block = unit / z.taps, tap = unit % z.taps;
                  SumTap<kWidth>(z, x, dy, block, tap, sums);
                  // Channels that two blocks share belong to the first.
                  for (int64_t l = block * kLanes - z.First(block); l < kLanes; ++l) {
                    for (int64_t i = 0; i < kWidth; ++i) {
                      dw[z.weights.At(z.First(block) + l, i, tap)] = sums[i * kLanes + l];
                    }
                  }
                }
              });
}

template <typename T>
void SumBias(const Work& z, const T* dy, float* db) {
  ParallelFor(z.blocks, 1 + 16384 / (z.s.batch * z.s.out_size() + 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t block = begin; block < end; ++block) {
                  __m512 sum = _mm512_setzero_ps();
                  for (int64_t n = 0; n < z.s.batch; ++n) {
                    const T* at = dy + z.Of(z.dy, n, block);
                    for (int64_t p = 0; p < z.s.out_size(); ++p, at += z.dy.step) {
                      sum = _mm512_add_ps(sum, Load(at));
                    }
                  }
                  alignas(64) float sums[kLanes];
                  _mm512_store_ps(sums, sum);
                  for (int64_t l = block * kLanes - z.First(block); l < kLanes; ++l) {
                    db[z.First(block) + l] = sums[l];
                  }
                }
              });
}

// packed [block, tap, output of a group, 16 lanes of inputs].
template <typename T>
void PackWeights(const Work& z, const T* w, float* packed) {
  const int64_t width = z.width();
  ParallelFor(z.blocks, 1 + 1024 / (z.taps * width), [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float* to = packed + block * z.taps * width * kLanes;
      for (int64_t tap = 0; tap < z.taps; ++tap) {
        for (int64_t o = 0; o < width; ++o) {
          for (int64_t l = 0; l < kLanes; ++l) {
            const int64_t channel = z.First(block) + l;
            *to++ = static_cast<float>(
                w[z.weights.At(channel / width * width + o, channel % width, tap)]);
          }
        }
      }
    }
  });
}

// dx of one row of positions and one block.
template <int kWidth, typename T>
[[gnu::flatten]] void SpreadRow(const Work& z, const T* dy, const float* packed, int64_t image,
                                int64_t block, int64_t d, int64_t h, T* dx) {
  const ConvShape& s = z.s;
  const Spread<kWidth> spread;
  const T* const dy_image = dy + z.Of(z.dy, image, block);
  const float* const weights = packed + block * z.taps * kWidth * kLanes;
  T* to = dx + z.Of(z.x, image, block) + (d * s.in[1] + h) * s.in[2] * z.x.step;
  for (int64_t w = 0; w < s.in[2]; ++w, to += z.x.step) {
    __m512 sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (const Seen::Pair& at_d : z.seen[0].of[static_cast<size_t>(d)]) {
      for (const Seen::Pair& at_h : z.seen[1].of[static_cast<size_t>(h)]) {
        const T* const row = dy_image + (at_d.out * s.out[1] + at_h.out) * s.out[2] * z.dy.step;
        const float* const taps =
            weights + (at_d.tap * s.kernel[1] + at_h.tap) * s.kernel[2] * kWidth * kLanes;
        for (const Seen::Pair& at_w : z.seen[2].of[static_cast<size_t>(w)]) {
          const __m512 out = Load(row + at_w.out * z.dy.step);
          const float* const tap = taps + at_w.tap * kWidth * kLanes;
          UnrollConstant<kWidth>([&](auto o) {
            constexpr int k = decltype(o)::value;
            sum[k % 2] = _mm512_fmadd_ps(spread.template Get<k>(out),
                                         _mm512_loadu_ps(tap + k * kLanes), sum[k % 2]);
          });
        }
      }
    }
    Store(_mm512_add_ps(sum[0], sum[1]), to);
  }
}

template <int kWidth, typename T>
void SpreadAll(const Work& z, const T* dy, const float* packed, T* dx) {
  // A thread's rows are those of whole blocks: where two blocks share channels both write the same
  // numbers, so that the last two blocks of a row stay together.
  const int64_t rows = z.s.batch * z.s.in[0] * z.s.in[1];
  const int64_t work = z.s.in[2] * z.taps * kWidth * z.blocks;
  ParallelFor(rows, 1 + 32768 / (work + 1), [&](int64_t begin, int64_t end) {
    for (int64_t block = 0; block < z.blocks; ++block) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t h = row % z.s.in[1], d = row / z.s.in[1] % z.s.in[0];
        SpreadRow<kWidth>(z, dy, packed, row / z.s.in[1] / z.s.in[0], block, d, h, dx);
      }
    }
  });
}

template <typename T>
void WeightGradient(const Work& z, const T* x, const T* dy, float* dw) {
  switch (z.width()) {
    case 1:
      return SumAll<1>(z, x, dy, dw);
    case 2:
      return SumAll<2>(z, x, dy, dw);
    case 4:
      return SumAll<4>(z, x, dy, dw);
    default:
      return SumAll<8>(z, x, dy, dw);
  }
}

template <typename T>
void InputGradient(const Work& z, const T* dy, const T* w, float* packed, T* dx) {
  PackWeights(z, w, packed);
  switch (z.width()) {
    case 1:
      return SpreadAll<1>(z, dy, packed, dx);
    case 2:
      return SpreadAll<2>(z, dy, packed, dx);
    case 4:
      return SpreadAll<4>(z, dy, packed, dx);
    default:
      return SpreadAll<8>(z, dy, packed, dx);
  }
}

#else

bool IsBuilt() { return false; }
template <typename T>
void SumBias(const Work&, const T*, float*) {}
template <typename T>
void WeightGradient(const Work&, const T*, const T*, float*) {}
template <typename T>
void InputGradient(const Work&, const T*, const T*, float*, T*) {}

#endif

// The runs of an activation that has channels last or in blocks of 16, as it is; channels last of
// any other.
absl::optional<ChannelRuns> RunsOf(const Dims& dims, const Layout& layout, DType dtype) {
  auto runs = ChannelRuns::Of(dims, layout);
  if (runs && (runs->run == kLanes || (runs->blocks == 1 && runs->run > 1))) return runs;
  const auto last = onednn::LayoutOf(onednn::ChannelsLast(dtype, dims));
  return last ? ChannelRuns::Of(dims, *last) : absl::nullopt;
}

Layout Carried(const Layout& layout) { return layout.is_blocked() ? layout : Layout(); }

Work WorkOf(const ConvShape& s, const ChannelRuns& x, const ChannelRuns& dy, const Dims& w,
            const Layout& weights) {
  Work z;
  z.s = s;
  z.x = Places::Of(x);
  z.dy = Places::Of(dy);
  z.weights = WeightPlaces::Of(w, weights);
  z.channels = s.groups * s.inputs;
  z.blocks = (z.channels + kLanes - 1) / kLanes;
  z.taps = s.kernel_size();
  for (size_t axis = 0; axis < 3; ++axis) z.seen[axis] = Seen::Of(s, axis);
  return z;
}

bool IsSound(const Dims& x, const Dims& dy, const Dims& w) {
  return onednn::IsSound(DType::kFloat32, x) && onednn::IsSound(DType::kFloat32, dy) &&
         onednn::IsSound(DType::kFloat32, w);
}

}  // namespace

bool ServesGroups(const ConvShape& s, DType activations, DType weights) {
  const int64_t width = s.inputs;
  const bool types = activations == DType::kFloat32
                         ? weights == DType::kFloat32
                         : activations == DType::kBFloat16 &&
                               (weights == DType::kFloat32 || weights == DType::kBFloat16);
  return IsBuilt() && types && s.batch > 0 && s.groups > 1 && s.outputs == width &&
         (width == 1 || width == 2 || width == 4 || width == 8) && s.groups * width >= kLanes;
}

std::unique_ptr<Kernel> GroupsConvBackwardData(PrepareContext& c, const ConvShape& s) {
  const Dims dy = c.input_dims(0), w = c.input_dims(1), dx = c.output_dims(0);
  const DType type = c.input_dtype(0);
  if (c.input_dtype(1) != type || !ServesGroups(s, type, type) || !IsSound(dx, dy, w)) {
    return nullptr;
  }
  const auto runs = RunsOf(dy, c.input_layout(0), type);
  if (!runs) return nullptr;
  const auto dx_runs = ChannelRuns::Of(dx, runs->LayoutOf(dx));
  if (!dx_runs) return nullptr;
  const Layout weights = Carried(c.input_layout(1));
  auto z = std::make_shared<const Work>(WorkOf(s, *dx_runs, *runs, w, weights));
  c.Want(0, runs->LayoutOf(dy));
  c.Want(1, weights);
  c.Make(0, dx_runs->LayoutOf(dx));
  c.Scratch(z->blocks * z->taps * z->width() * kLanes * static_cast<int64_t>(sizeof(float)));
  return MakeKernel(
      [z, type](RunContext& r) {
        auto* const packed = static_cast<float*>(r.scratch());
        if (type == DType::kFloat32) {
          InputGradient(*z, r.input(0).data<float>(), r.input(1).data<float>(), packed,
                        r.output(0).mutable_data<float>());
        } else {
          InputGradient(*z, r.input(0).data<BFloat16>(), r.input(1).data<BFloat16>(), packed,
                        r.output(0).mutable_data<BFloat16>());
        }
        return absl::OkStatus();
      },
      "groups");
}

std::unique_ptr<Kernel> GroupsConvBackwardWeights(PrepareContext& c, const ConvShape& s) {
  const Dims dy = c.input_dims(0), x = c.input_dims(1), w = c.output_dims(0);
  const DType type = c.input_dtype(0);
  if (c.output_dtype(0) != DType::kFloat32 || c.input_dtype(1) != type ||
      !ServesGroups(s, type, DType::kFloat32) || !IsSound(x, dy, w)) {
    return nullptr;
  }
  const auto dy_runs = RunsOf(dy, c.input_layout(0), type);
  const auto x_runs = RunsOf(x, c.input_layout(1), type);
  if (!dy_runs || !x_runs) return nullptr;
  const Layout home = Carried(c.input_layout(2));
  const int64_t bytes = home.HasPadding(w) ? home.ByteSize(DType::kFloat32, w) : 0;
  auto z = std::make_shared<const Work>(WorkOf(s, *x_runs, *dy_runs, w, home));
  c.Want(0, dy_runs->LayoutOf(dy));
  c.Want(1, x_runs->LayoutOf(x));
  c.Make(0, home);
  const bool has_bias = c.has_output(1);
  return MakeKernel(
      [z, type, bytes, has_bias](RunContext& r) {
        auto* const dw = r.output(0).mutable_data<float>();
        auto* const db = has_bias ? r.output(1).mutable_data<float>() : nullptr;
        if (bytes > 0) std::memset(dw, 0, static_cast<size_t>(bytes));
        const auto run = [&](const auto* dy, const auto* x) {
          WeightGradient(*z, x, dy, dw);
          if (db != nullptr) SumBias(*z, dy, db);
        };
        if (type == DType::kFloat32) {
          run(r.input(0).data<float>(), r.input(1).data<float>());
        } else {
          run(r.input(0).data<BFloat16>(), r.input(1).data<BFloat16>());
        }
        return absl::OkStatus();
      },
      "groups");
}

}  // namespace graphrun
