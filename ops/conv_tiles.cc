#include "ops/conv_tiles.h"

#include <algorithm>

#include "ops/avx512.h"
#include "ops/conv_pairs.h"
#include "ops/onednn.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace {

using pairs::Places;

constexpr int64_t kBlock = 16;              // channels
constexpr int64_t kTile = kBlock * kBlock;  // weights between two blocks of channels

struct Work {
  ConvShape s;
  Places x, dy;
  int64_t in_blocks = 0, out_blocks = 0, taps = 0;
};

#if defined(__AVX512F__)

bool IsBuilt() { return true; }

using avx512::Unroll;

// tile[i, 0..16) of kColumns tiles = the sum over all positions of x[i] times dy[0..16), for 8
// inputs.
template <int kColumns>
[[gnu::flatten]] void SumTile(const Work& z, const float* x, const float* dy, int64_t tap,
                              float* tile, int64_t tile_step) {
  const ConvShape& s = z.s;
  const int64_t k[3] = {tap / s.kernel[2] / s.kernel[1], tap / s.kernel[2] % s.kernel[1],
                        tap % s.kernel[2]};
  int64_t first[3], last[3];
  for (size_t a = 0; a < 3; ++a) s.Inside(a, k[a], &first[a], &last[a]);
  __m512 sum[8][kColumns];
  Unroll<8>([&](int i) { Unroll<kColumns>([&](int j) { sum[i][j] = _mm512_setzero_ps(); }); });
  const int64_t x_step = s.strides[2] * z.x.step;
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t d = first[0]; d < last[0]; ++d) {
      for (int64_t h = first[1]; h < last[1]; ++h) {
        const float* in =
            x + n * z.x.image_step +
            ((s.At(0, d, k[0]) * s.in[1] + s.At(1, h, k[1])) * s.in[2] + s.At(2, first[2], k[2])) *
                z.x.step;
        const float* out =
            dy + n * z.dy.image_step + ((d * s.out[1] + h) * s.out[2] + first[2]) * z.dy.step;
        for (int64_t w = first[2]; w < last[2]; ++w, in += x_step, out += z.dy.step) {
          __m512 columns[kColumns];
          Unroll<kColumns>([&](int j) { columns[j] = _mm512_loadu_ps(out + j * z.dy.block_step); });
          Unroll<8>([&](int i) {
            const __m512 v = _mm512_set1_ps(in[i]);
            Unroll<kColumns>([&](int j) { sum[i][j] = _mm512_fmadd_ps(v, columns[j], sum[i][j]); });
          });
        }
      }
    }
  }
  Unroll<8>([&](int i) {
    Unroll<kColumns>(
        [&](int j) { _mm512_storeu_ps(tile + j * tile_step + i * kBlock, sum[i][j]); });
  });
}

void SumBias(const Work& z, const float* dy, float* db) {
  const int64_t positions = z.s.out_size();
  ParallelFor(z.out_blocks, 1 + 16384 / (z.s.batch * positions + 1),
              [&](int64_t begin, int64_t end) {
                for (int64_t block = begin; block < end; ++block) {
                  __m512 sum = _mm512_setzero_ps();
                  for (int64_t n = 0; n < z.s.batch; ++n) {
                    const float* at = dy + n * z.dy.image_step + block * z.dy.block_step;
                    for (int64_t p = 0; p < positions; ++p, at += z.dy.step) {
                      sum = _mm512_add_ps(sum, _mm512_loadu_ps(at));
                    }
                  }
                  _mm512_storeu_ps(db + block * kBlock, sum);
                }
              });
}

// dw [out_blocks, in_blocks, kernel..., 16 i, 16 o].
void WeightGradient(const Work& z, const float* x, const float* dy, float* dw) {
  const int64_t columns = (z.out_blocks + 1) / 2, step = z.in_blocks * z.taps * kTile;
  const int64_t work = z.s.batch * z.s.out_size();
  ParallelFor(
      columns * z.in_blocks * z.taps, 1 + 1024 / (work + 1), [&](int64_t begin, int64_t end) {
        for (int64_t unit = begin; unit < end; ++unit) {
          const int64_t tap = unit % z.taps, in_block = unit / z.taps % z.in_blocks;
          const int64_t out_block = unit / z.taps / z.in_blocks * 2;
          const float* const in = x + in_block * z.x.block_step;
          const float* const out = dy + out_block * z.dy.block_step;
          float* const tile = dw + ((out_block * z.in_blocks + in_block) * z.taps + tap) * kTile;
          for (int64_t i = 0; i < kBlock; i += 8) {
            if (out_block + 1 < z.out_blocks) {
              SumTile<2>(z, in + i, out, tap, tile + i * kBlock, step);
            } else {
              SumTile<1>(z, in + i, out, tap, tile + i * kBlock, step);
            }
          }
        }
      });
}

#else

bool IsBuilt() { return false; }
void SumBias(const Work&, const float*, float*) {}
void WeightGradient(const Work&, const float*, const float*, float*) {}

#endif

// Channels last and blocks of 16 as they are; blocks of any other.
absl::optional<ChannelRuns> RunsOf(const Dims& dims, const Layout& layout) {
  auto runs = ChannelRuns::Of(dims, layout);
  if (runs && (runs->run == kBlock || (runs->blocks == 1 && runs->run > 1))) return runs;
  const auto blocks = onednn::LayoutOf(onednn::ChannelBlocks(DType::kFloat32, dims));
  return blocks ? ChannelRuns::Of(dims, *blocks) : absl::nullopt;
}

// [O / 16, I / 16, kernel..., 16 i, 16 o].
Layout TilesOf(const Dims& w) {
  Dims strides(w.size());
  int64_t step = kTile;
  for (size_t i = w.size(); i-- > 2;) {
    strides[i] = step;
    step *= w[i];
  }
  strides[1] = step;
  strides[0] = step * (w[1] / kBlock);
  return Layout::Blocked(w, std::move(strides), w, {{1, kBlock}, {0, kBlock}});
}

}  // namespace

bool ServesTiles(const ConvShape& s, DType activations, DType weights) {
  return IsBuilt() && activations == DType::kFloat32 && weights == DType::kFloat32 && s.batch > 0 &&
         s.groups == 1 && s.inputs > 0 && s.outputs > 0 && s.inputs % kBlock == 0 &&
         s.outputs % kBlock == 0;
}

std::unique_ptr<Kernel> TilesConvBackwardWeights(PrepareContext& c, const ConvShape& s) {
  const Dims dy = c.input_dims(0), x = c.input_dims(1), w = c.output_dims(0);
  const DType type = DType::kFloat32;
  if (c.input_dtype(1) != c.input_dtype(0) ||
      !ServesTiles(s, c.input_dtype(0), c.output_dtype(0)) || !onednn::IsSound(type, dy) ||
      !onednn::IsSound(type, x) || !onednn::IsSound(type, w)) {
    return nullptr;
  }
  const auto dy_runs = RunsOf(dy, c.input_layout(0)), x_runs = RunsOf(x, c.input_layout(1));
  if (!dy_runs || !x_runs) return nullptr;
  Work z;
  z.s = s;
  z.x = Places::Of(*x_runs);
  z.dy = Places::Of(*dy_runs);
  z.in_blocks = s.inputs / kBlock;
  z.out_blocks = s.outputs / kBlock;
  z.taps = s.kernel_size();
  c.Want(0, dy_runs->LayoutOf(dy));
  c.Want(1, x_runs->LayoutOf(x));
  c.Make(0, TilesOf(w));
  const bool has_bias = c.has_output(1);
  return MakeKernel(
      [z, has_bias](RunContext& r) {
        const float* const dy = r.input(0).data<float>();
        WeightGradient(z, r.input(1).data<float>(), dy, r.output(0).mutable_data<float>());
        if (has_bias) SumBias(z, dy, r.output(1).mutable_data<float>());
        return absl::OkStatus();
      },
      "tiles");
}

}  // namespace graphrun
