// dw[c, i, j] = sum over n, y, x of dy[n, c, y, x] * x[n, c, y * step - pad + i, ...]: sixteen
// channels at a time, with the sums of several rows of the window in registers. The rows of x under
// a tile of outputs are first copied side by side with their pads as zeros, so that no loop knows
// of edges. A tile has few enough terms for f32; tiles are added up in their order within fixed
// shares of the rows and these in theirs, so that results do not depend on the number of threads.
#include "ops/conv_channelwise.h"

#include "ops/channel_runs.h"
#include "ops/lanes.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

constexpr int64_t kBufferPositions = 2048, kTileTerms = 1024, kShares = 16;
#if defined(__AVX512F__)
constexpr int64_t kSums = 28;  // of the 32 registers
#else
constexpr int64_t kSums = 7;
#endif

struct Plan {
  ConvShape s;
  ChannelRuns x, dy;
  int64_t channels, groups, shares, row, tile;  // row: positions of a copied row; tile: output rows
  int64_t taps() const { return s.kernel[1] * s.kernel[2]; }
  int64_t rows() const { return s.batch * s.out[1]; }
  int64_t floats() const { return groups * shares * (taps() + 1) * kLanes; }  // one for dB
};

// Adds to `sums` (R rows of W lanes) what `rows` rows of outputs give to R rows of the window.
template <int64_t W, int64_t R, typename T>
[[gnu::noinline]] void AddRows(const Plan& p, const float* x, const T* dy, int64_t rows,
                               float* sums) {
  const int64_t line = p.s.dilations[1] * p.row * kLanes, step = p.s.strides[2] * kLanes,
                down = p.s.strides[1] * p.row * kLanes, run = p.dy.run, width = p.s.out[2];
  FloatLanes acc[R * W] = {};
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + r * down;
    const T* grad = dy + r * width * run;
    for (int64_t o = 0; o < width; ++o, from += step, grad += run) {
      FloatLanes g;
      LoadLanes(grad, &g);
#pragma GCC unroll 8
      for (int64_t i = 0; i < R; ++i) {
#pragma GCC unroll 8
        for (int64_t j = 0; j < W; ++j) {
          FloatLanes v;
          LoadLanes(from + i * line + j * kLanes, &v);
          acc[i * W + j] += g * v;
        }
      }
    }
  }
  for (int64_t k = 0; k < R * W; ++k) {
    FloatLanes v;
    LoadLanes(sums + k * kLanes, &v);
    StoreLanes(v + acc[k], sums + k * kLanes);
  }
}

template <int64_t W, typename T>
void AddTile(const Plan& p, const float* x, const T* dy, int64_t rows, float* sums) {
  constexpr int64_t kMost = kSums / W < W ? kSums / W : W;
  const int64_t line = p.s.dilations[1] * p.row * kLanes;
  int64_t i = 0;
  for (; i + kMost <= p.s.kernel[1]; i += kMost)
    AddRows<W, kMost>(p, x + i * line, dy, rows, sums + i * W * kLanes);
  if constexpr (kMost > 3) {
    for (; i + 3 <= p.s.kernel[1]; i += 3)
      AddRows<W, 3>(p, x + i * line, dy, rows, sums + i * W * kLanes);
  }
  for (; i < p.s.kernel[1]; ++i) AddRows<W, 1>(p, x + i * line, dy, rows, sums + i * W * kLanes);
}

// The `lanes` first channels at `from` and zeros.
template <typename T>
void CopyLanes(const T* from, int64_t lanes, float* to) {
  FloatLanes v = {};
  if (lanes == kLanes) {
    LoadLanes(from, &v);
  } else {
    T some[kLanes] = {};
    for (int64_t l = 0; l < lanes; ++l) some[l] = from[l];
    LoadLanes(some, &v);
  }
  StoreLanes(v, to);
}

// `count` rows of x from row `first` on, pads as zeros, one after the other.
template <typename T>
void CopyRows(const Plan& p, const T* plane, int64_t first, int64_t count, int64_t lanes,
              float* to) {
  const ConvShape& s = p.s;
  const int64_t left = std::min(s.pads[2], p.row), inside = std::min(s.in[2], p.row - left);
  for (int64_t r = 0; r < count; ++r, to += p.row * kLanes) {
    const int64_t y = first + r;
    if (y < 0 || y >= s.in[1]) {
      std::fill_n(to, p.row * kLanes, 0.0f);
      continue;
    }
    std::fill_n(to, left * kLanes, 0.0f);
    const T* from = plane + y * s.in[2] * p.x.run;
    for (int64_t i = 0; i < inside; ++i)
      CopyLanes(from + i * p.x.run, lanes, to + (left + i) * kLanes);
    std::fill_n(to + (left + inside) * kLanes, (p.row - left - inside) * kLanes, 0.0f);
  }
}

// The sums of one group of channels over one share of the rows; behind them dy's own.
template <typename T>
void Share(const Plan& p, const T* x, const T* dy, int64_t group, int64_t share, bool with_bias,
           float* sums) {
  const ConvShape& s = p.s;
  alignas(64) float buffer[kBufferPositions * kLanes];
  alignas(64) float grads[kTileTerms * kLanes];
  std::fill_n(sums, (p.taps() + 1) * kLanes, 0.0f);
  const int64_t first = group * kLanes, lanes = std::min(kLanes, p.channels - first);
  const int64_t end = p.rows() * (share + 1) / p.shares;
  for (int64_t row = p.rows() * share / p.shares; row < end;) {
    const int64_t n = row / s.out[1], oh = row % s.out[1];
    const int64_t count = std::min({p.tile, s.out[1] - oh, end - row});
    const auto plane = [&](const ChannelRuns& r, int64_t positions) {
      const int64_t block = r.run == kLanes ? group : 0, lane = r.run == kLanes ? 0 : first;
      return (n * r.blocks + block) * positions * r.run + lane;
    };
    const T* grad = dy + plane(p.dy, s.out_size()) + oh * s.out[2] * p.dy.run;
    CopyRows(p, x + plane(p.x, s.in_size()), oh * s.strides[1] - s.pads[1],
             (count - 1) * s.strides[1] + (s.kernel[1] - 1) * s.dilations[1] + 1, lanes, buffer);
    const auto add = [&](const Plan& at, const auto* g) {
      if (s.kernel[2] == 3) AddTile<3>(at, buffer, g, count, sums);
      if (s.kernel[2] == 5) AddTile<5>(at, buffer, g, count, sums);
      if (s.kernel[2] == 7) AddTile<7>(at, buffer, g, count, sums);
      if (!with_bias) return;
      FloatLanes sum = {}, v;
      for (int64_t i = 0; i < count * s.out[2]; ++i) {
        LoadLanes(g + i * at.dy.run, &v);
        sum += v;
      }
      LoadLanes(sums + p.taps() * kLanes, &v);
      StoreLanes(v + sum, sums + p.taps() * kLanes);
    };
    if (lanes == kLanes) {
      add(p, grad);
    } else {
      for (int64_t i = 0; i < count * s.out[2]; ++i)
        CopyLanes(grad + i * p.dy.run, lanes, grads + i * kLanes);
      Plan copied = p;
      copied.dy.run = kLanes;
      add(copied, static_cast<const float*>(grads));
    }
    row += count;
  }
}

// Where the weights of a channel lie: sixteen channels side by side where `lanes`.
struct WeightPlaces {
  bool lanes = false;
  int64_t block = 0, row = 0, column = 0;

  static WeightPlaces Of(const Layout& home, const Plan& p) {
    if (home.is_blocked() && home.blocks() == std::vector<std::pair<int, int64_t>>{{0, kLanes}}) {
      const Dims& strides = home.strides();
      const int64_t row = strides.size() > 3 ? strides[strides.size() - 2] : 0;
      return {true, strides[0], row, strides.back()};
    }
    return {false, p.taps() * kLanes, p.s.kernel[2], 1};
  }
};

template <typename To>
void Store(const Plan& p, const WeightPlaces& at, const float* sums, int64_t group, To* dw,
           To* db) {
  const int64_t lanes = std::min(kLanes, p.channels - group * kLanes);
  for (int64_t k = 0; k < p.taps() + (db != nullptr ? 1 : 0); ++k) {
    FloatLanes sum = {};
    for (int64_t i = 0; i < p.shares; ++i) {
      FloatLanes v;
      LoadLanes(sums + ((group * p.shares + i) * (p.taps() + 1) + k) * kLanes, &v);
      sum += v;
    }
    To* to = k == p.taps() ? db + group * kLanes
                           : dw + group * at.block + k / p.s.kernel[2] * at.row +
                                 k % p.s.kernel[2] * at.column;
    if (at.lanes && k < p.taps()) {
      StoreLanes(sum, to);  // beyond the last channel lie the layout's pads: zeros
      continue;
    }
    To some[kLanes];
    StoreLanes(sum, some);
    for (int64_t l = 0; l < lanes; ++l) to[k == p.taps() ? l : l * p.taps()] = some[l];
  }
}

bool Fits(const ConvShape& s) {
  return s.inputs == 1 && s.outputs == 1 && s.groups > 1 && s.kernel[0] == 1 && s.in[0] == 1 &&
         s.out[0] == 1 && s.dilations[2] == 1 &&
         (s.kernel[2] == 3 || s.kernel[2] == 5 || s.kernel[2] == 7) && s.batch * s.out_size() > 0;
}

template <typename T, typename To>
std::unique_ptr<Kernel> Make(const Plan& p, const WeightPlaces& places) {
  return MakeKernel([p, places](RunContext& r) {
    const T *dy = r.input(0).data<T>(), *x = r.input(1).data<T>();
    auto* sums = static_cast<float*>(r.scratch());
    const bool with_bias = r.has_output(1);
    const int64_t work = p.rows() * p.s.out[2] * p.taps() / p.shares;
    ParallelFor(p.groups * p.shares, std::max<int64_t>(65536 / std::max<int64_t>(work, 1), 1),
                [&](int64_t begin, int64_t end) {
                  for (int64_t i = begin; i < end; ++i)
                    Share(p, x, dy, i / p.shares, i % p.shares, with_bias,
                          sums + i * (p.taps() + 1) * kLanes);
                });
    To* dw = r.output(0).mutable_data<To>();
    To* db = with_bias ? r.output(1).mutable_data<To>() : nullptr;
    ParallelFor(p.groups, std::max<int64_t>(2048 / (p.taps() * p.shares), 1),
                [&](int64_t begin, int64_t end) {
                  for (int64_t g = begin; g < end; ++g) Store(p, places, sums, g, dw, db);
                });
    return absl::OkStatus();
  });
}

}  // namespace

std::unique_ptr<Kernel> ChannelwiseGradWeight(PrepareContext& c, const ConvShape& s) {
  if (!Fits(s)) return nullptr;
  const Dims dims = c.input_dims(1), dy = c.input_dims(0);
  // as x or dy lies already; else blocks, or channels last
  const auto fitting = [](const Dims& sizes, const Layout& layout) {
    auto runs = ChannelRuns::Of(sizes, layout);
    const bool fits = layout.is_blocked() && runs && (runs->run == kLanes || runs->blocks == 1);
    return fits ? runs : absl::nullopt;
  };
  ChannelRuns runs{s.batch, s.groups, 1, 0};
  runs.run = s.groups % kLanes == 0 ? kLanes : s.groups;
  runs.blocks = s.groups / runs.run;
  if (const auto y = fitting(dy, c.input_layout(0))) runs = *y;
  if (const auto x = fitting(dims, c.input_layout(1))) runs = *x;
  const Layout layout = runs.LayoutOf(dims);
  Plan p{s, runs, runs, s.groups, (s.groups + kLanes - 1) / kLanes, 1, 0, 0};
  p.row = (s.out[2] - 1) * s.strides[2] + s.kernel[2];
  const int64_t extent = (s.kernel[1] - 1) * s.dilations[1] + 1;
  if (p.row > kBufferPositions || extent > kBufferPositions || extent * p.row > kBufferPositions ||
      s.out[2] > kTileTerms) {
    return nullptr;
  }
  p.tile = std::max<int64_t>(
      std::min((kBufferPositions / p.row - extent) / s.strides[1] + 1, kTileTerms / s.out[2]), 1);
  p.shares = std::clamp<int64_t>(kShares / p.groups, 1, p.rows());
  const WeightPlaces places = WeightPlaces::Of(c.input_layout(2), p);
  std::unique_ptr<Kernel> kernel;
  DispatchDType(TypeList<float, BFloat16>(), c.input_dtype(0), [&]<typename T>() {
    if (c.output_dtype(0) == DType::kFloat32) kernel = Make<T, float>(p, places);
    if (c.output_dtype(0) == DType::kBFloat16) kernel = Make<T, BFloat16>(p, places);
  });
  if (kernel == nullptr) return kernel;
  c.Want(0, p.dy.LayoutOf(dy));
  c.Want(1, layout);
  if (places.lanes) c.Make(0, c.input_layout(2));
  c.Scratch(p.floats() * static_cast<int64_t>(sizeof(float)));
  return kernel;
}

}  // namespace graphrun
