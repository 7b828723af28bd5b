#include "ops/strided_conv.h"

#include <algorithm>

#include "ops/avx512.h"
#include "ops/onednn.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace strided_conv {

#if defined(__AVX512F__)

namespace {

using avx512::Unroll;

constexpr int64_t kBlock = 16, kPair = 2 * kBlock, kStep = 2;
constexpr int kRows = 14;  // 28 sums, 2 columns, 1 factor: 31 of 32 registers
constexpr int kWideRows = 7;

// Channels that are summed at once for all outputs, before the next ones are added.
constexpr int64_t kBlocksAtOnce = 8;
// Floats of x that stay in the cache of the second level meanwhile.
constexpr int64_t kFloatsAtOnce = 192 * 1024;

inline __m512 Load(const float* p) { return _mm512_loadu_ps(p); }

// A run of outputs of one row, and the channels that are summed now.
struct Run {
  const float* x;  // the image's first block of them
  int64_t blocks;
  int64_t h, w;       // where the first output's window begins
  const float* u;     // weights from these channels to the first pair of blocks
  float* y;           // the first output's first block
  const float* bias;  // of the first block, or null
  bool adds, ends;    // to what y holds; with the epilogue
};

template <int kRows, int kColumns>
[[gnu::flatten]] void Multiply(const Sizes& s, const Epilogue& e, const Run& r) {
  __m512 sum[kRows][kColumns];
  Unroll<kRows>([&](int i) { Unroll<kColumns>([&](int j) { sum[i][j] = _mm512_setzero_ps(); }); });
  const int64_t taps = s.kernel_h * s.kernel_w, pair_step = s.inputs * taps * kPair;
  const float* u = r.u;
  float edge[kRows * kStep * kBlock];
  for (int64_t b = 0; b < r.blocks; ++b) {
    const float* plane = r.x + b * s.in_h * s.in_w * kBlock;
    for (int64_t kh = 0; kh < s.kernel_h; ++kh) {
      const int64_t h = r.h + kh;
      if (h < 0 || h >= s.in_h) {
        u += s.kernel_w * kBlock * kPair;
        continue;
      }
      for (int64_t kw = 0; kw < s.kernel_w; ++kw) {
        const int64_t w = r.w + kw;
        const float* a = edge;
        if (w >= 0 && w + kStep * (kRows - 1) < s.in_w) {
          a = plane + (h * s.in_w + w) * kBlock;
        } else {
          for (int64_t i = 0; i < kRows; ++i) {
            const int64_t at = w + kStep * i;
            _mm512_storeu_ps(edge + i * kStep * kBlock,
                             at >= 0 && at < s.in_w ? Load(plane + (h * s.in_w + at) * kBlock)
                                                    : _mm512_setzero_ps());
          }
        }
        for (int64_t k = 0; k < kBlock; ++k, u += kPair) {
          __m512 v[kColumns];
          Unroll<kColumns>([&](int j) { v[j] = Load(u + j / 2 * pair_step + j % 2 * kBlock); });
          Unroll<kRows>([&](int i) {
            const __m512 f = _mm512_set1_ps(a[i * kStep * kBlock + k]);
            Unroll<kColumns>([&](int j) { sum[i][j] = _mm512_fmadd_ps(f, v[j], sum[i][j]); });
          });
        }
      }
    }
  }
  constexpr __mmask16 kAll = 0xffff;  // without a mask gcc 12 warns of its own header
  const __m512 low = _mm512_set1_ps(e.low), high = _mm512_set1_ps(e.high);
  Unroll<kColumns>([&](int j) {
    float* to = r.y + j * s.out_h * s.out_w * kBlock;
    const __m512 bias = r.bias == nullptr ? _mm512_setzero_ps() : Load(r.bias + j * kBlock);
    Unroll<kRows>([&](int i) {
      __m512 v = sum[i][j];
      if (r.adds) v = _mm512_add_ps(v, Load(to + i * kBlock));
      if (r.ends) {
        v = _mm512_add_ps(v, bias);
        v = _mm512_maskz_min_ps(kAll, high, _mm512_maskz_max_ps(kAll, low, v));
      }
      _mm512_storeu_ps(to + i * kBlock, v);
    });
  });
}

template <int kMost, int kColumns>
void MultiplySome(int64_t rows, const Sizes& s, const Epilogue& e, const Run& r) {
  if (rows == kMost) return Multiply<kMost, kColumns>(s, e, r);
  if constexpr (kMost > 1) MultiplySome<kMost - 1, kColumns>(rows, s, e, r);
}

struct Range {
  int64_t begin, end;
};

// Outputs [runs.begin, runs.end) of the rows' runs, channels of pairs [pairs.begin, pairs.end).
void ConvolvePart(const Sizes& s, const Range& runs, const Range& pairs, const float* x,
                  const float* w, const Epilogue& e, float* y) {
  const int64_t in_blocks = s.inputs / kBlock, taps = s.kernel_h * s.kernel_w;
  const int64_t in_row_runs = (s.out_w + kRows - 1) / kRows;
  const int64_t row_floats = kStep * s.in_w * kBlock * kBlocksAtOnce;
  const int64_t at_once = std::max<int64_t>(kFloatsAtOnce / row_floats, 4) * in_row_runs;
  for (int64_t first = runs.begin; first < runs.end; first += at_once) {
    const int64_t last = std::min(runs.end, first + at_once);
    for (int64_t block = 0; block < in_blocks; block += kBlocksAtOnce) {
      Run r;
      r.blocks = std::min(kBlocksAtOnce, in_blocks - block);
      r.adds = block > 0;
      r.ends = block + r.blocks == in_blocks;
      for (int64_t pair = pairs.begin; pair < pairs.end;) {
        const bool wide = s.out_w <= kWideRows && pair + 2 <= pairs.end;
        r.u = w + (pair * in_blocks + block) * taps * kBlock * kPair;
        r.bias = e.bias == nullptr ? nullptr : e.bias + pair * kPair;
        for (int64_t run = first; run < last; ++run) {
          const int64_t row = run / in_row_runs, part = run % in_row_runs;
          const int64_t n = row / s.out_h, oh = row % s.out_h;
          const int64_t ow = part * s.out_w / in_row_runs;
          const int64_t rows = (part + 1) * s.out_w / in_row_runs - ow;
          r.x = x + (n * in_blocks + block) * s.in_h * s.in_w * kBlock;
          r.h = oh * kStep - s.pad_h;
          r.w = ow * kStep - s.pad_w;
          r.y = y + (((n * s.outputs / kBlock + 2 * pair) * s.out_h + oh) * s.out_w + ow) * kBlock;
          if (wide) {
            MultiplySome<kWideRows, 4>(rows, s, e, r);
          } else {
            MultiplySome<kRows, 2>(rows, s, e, r);
          }
        }
        pair += wide ? 2 : 1;
      }
    }
  }
}

}  // namespace

bool IsBuilt() { return true; }

void Convolve(const Sizes& s, int threads, const float* x, const float* w, const Epilogue& epilogue,
              float* y) {
  const int64_t runs = s.batch * s.out_h * ((s.out_w + kRows - 1) / kRows);
  const int64_t pairs = s.outputs / kPair;
  // Few outputs: all of them for each weight, once.
  const bool by_outputs = runs < 16 * threads && pairs >= 2 * threads;
  ParallelFor(threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Range all = {0, runs}, channels = {0, pairs};
      if (by_outputs) {
        channels = {pairs / 2 * i / threads * 2, pairs / 2 * (i + 1) / threads * 2};
        if (i + 1 == threads) channels.end = pairs;
      } else {
        all = {runs * i / threads, runs * (i + 1) / threads};
      }
      ConvolvePart(s, all, channels, x, w, epilogue, y);
    }
  });
}

#else

bool IsBuilt() { return false; }
void Convolve(const Sizes&, int, const float*, const float*, const Epilogue&, float*) {}

#endif

}  // namespace strided_conv

namespace {

// Channels [O / 32][I / 16][kernel][16 I][32 O].
Layout WeightBlocks(const Dims& w) {
  const int64_t square = 16 * 32, row = w[3] * square, window = w[2] * row;
  return Layout::Blocked(w, {w[1] / 16 * window, window, row, square}, w, {{1, 16}, {0, 32}});
}

}  // namespace

std::unique_ptr<Kernel> StridedConv(PrepareContext& c, const ConvShape& s, const PostOp& activation,
                                    int added) {
  const Window& w = s.window;
  const Dims x = c.input_dims(0), y = c.output_dims(0), weights = c.input_dims(1);
  strided_conv::Epilogue epilogue;
  const bool clips = activation.name == "Clip";
  if (!strided_conv::IsBuilt() || added >= 0 || w.rank() != 2 || s.groups != 1 || s.batch < 1 ||
      w.strides != Dims{2, 2} || w.dilations != Dims{1, 1} || s.kernel_size() < 2 ||
      s.inputs < 16 || s.inputs % 16 != 0 || s.outputs < 32 || s.outputs % 32 != 0 || y[2] < 1 ||
      y[3] < 1 || c.constant(1) == nullptr ||
      !(activation.is_none() || activation.name == "Relu" || clips)) {
    return nullptr;
  }
  for (const DType type : {c.input_dtype(0), c.input_dtype(1), c.output_dtype(0)})
    if (type != DType::kFloat32) return nullptr;
  if (c.has_input(2) && c.input_dtype(2) != DType::kFloat32) return nullptr;
  for (const Dims& dims : {x, y, weights})
    if (!onednn::IsSound(DType::kFloat32, dims)) return nullptr;
  if (!activation.is_none()) epilogue.low = clips ? activation.alpha : 0;
  if (clips) epilogue.high = activation.beta;
  strided_conv::Sizes z;
  z.batch = s.batch;
  z.inputs = s.inputs;
  z.outputs = s.outputs;
  z.in_h = x[2];
  z.in_w = x[3];
  z.out_h = y[2];
  z.out_w = y[3];
  z.kernel_h = weights[2];
  z.kernel_w = weights[3];
  z.pad_h = w.pads_begin[0];
  z.pad_w = w.pads_begin[1];
  c.Want(0, *onednn::LayoutOf(onednn::ChannelBlocks(DType::kFloat32, x)));
  c.Want(1, WeightBlocks(weights));
  c.Make(0, *onednn::LayoutOf(onednn::ChannelBlocks(DType::kFloat32, y)));
  const int threads = c.threads();
  return MakeKernel(
      [z, threads, epilogue](RunContext& r) {
        strided_conv::Epilogue e = epilogue;
        if (r.has_input(2)) e.bias = r.input(2).data<float>();
        strided_conv::Convolve(z, threads, r.input(0).data<float>(), r.input(1).data<float>(), e,
                               r.output(0).mutable_data<float>());
        return absl::OkStatus();
      },
      "steps of two");
}

}  // namespace graphrun
