#include "ops/winograd.h"

#include <algorithm>

#include "ops/winograd_tiles.h"
#include "runtime/base/parallel.h"

namespace graphrun::winograd {

Sizes Sizes::Reversed() const {
  Sizes r = *this;
  std::swap(r.inputs, r.outputs);
  std::swap(r.in_h, r.out_h);
  std::swap(r.in_w, r.out_w);
  r.pad_h = 2 - pad_h;
  r.pad_w = 2 - pad_w;
  return r;
}

bool Pays(const Sizes& s, double product, double transforms, double weights) {
  const double channels =
      1.0 / static_cast<double>(s.inputs) + 1.0 / static_cast<double>(s.outputs);
  const double tiles = static_cast<double>(s.tiles());
  const double direct = 9.0 * static_cast<double>(s.batch * s.out_h * s.out_w);
  return IsBuilt() && 1.1 * (tiles * (product + transforms * channels) + weights) < direct;
}

bool ConvolvePays(const Sizes& s, Weights form) {
  const double plain = TransformsAsItGoes(s) ? 450 : 1000;
  return Pays(s, 43, 750, form == Weights::kTransformed ? 300 : plain);
}

int64_t WeightFloats(int64_t inputs, int64_t outputs) { return 36 * inputs * outputs; }

#if defined(__AVX512F__)

namespace {

[[gnu::flatten]] void TransformTileBack(const Sizes& s, int64_t t, const Panel& p,
                                        const float* from, int64_t first_block, const Epilogue& e,
                                        float* y) {
  const Tile tile = TileAt(s, t);
  const int64_t h = tile.h * 4, w = tile.w * 4, step = p.place_step();
  const int64_t rows = std::min<int64_t>(4, s.out_h - h),
                columns = std::min<int64_t>(4, s.out_w - w);
  constexpr __mmask16 kAll = 0xffff;  // without a mask gcc 12 warns of its own header
  const __m512 low = Of(e.low), high = Of(e.high);
  for (int64_t b = 0; b < p.blocks; ++b, from += p.block_step()) {
    const int64_t channel = first_block + b;
    const int64_t at =
        (((tile.n * (s.outputs / kBlock) + channel) * s.out_h + h) * s.out_w + w) * kBlock;
    const __m512 bias = e.bias == nullptr ? _mm512_setzero_ps() : Load(e.bias + channel * kBlock);
    const auto load = [&](int i, int j) { return Load(from + (i * 6 + j) * step); };
    BothAxes<6, 4>(Back, load, [&](int i, int j, __m512 v) {
      if (i >= rows || j >= columns) return;
      const int64_t to = at + (i * s.out_w + j) * kBlock;
      v = _mm512_add_ps(v, bias);
      if (e.added != nullptr) v = _mm512_add_ps(v, Load(e.added + to));
      if (e.clamps) v = _mm512_maskz_min_ps(kAll, high, _mm512_maskz_max_ps(kAll, low, v));
      Store(y + to, v);
    });
  }
}

// ---- products

// c[row, 0..16 kColumns) = or += the sum over k of a[row, k] u[k]; `a` in blocks of 16 k, `a_step`
// apart; the columns' blocks of c lie c_step apart.
template <int kRows, int kColumns>
[[gnu::flatten]] void Multiply(int64_t k_blocks, const float* a, int64_t a_step, const float* u,
                               bool adds, float* c, int64_t c_step) {
  __m512 sum[kRows][kColumns];
  Unroll<kRows>([&](int i) { Unroll<kColumns>([&](int j) { sum[i][j] = _mm512_setzero_ps(); }); });
  for (int64_t block = 0; block < k_blocks; ++block, a += a_step) {
    for (int64_t k = 0; k < kBlock; ++k, u += kColumns * kBlock) {
      __m512 b[kColumns];
      Unroll<kColumns>([&](int j) { b[j] = Load(u + j * kBlock); });
      Unroll<kRows>([&](int i) {
        const __m512 x = Of(a[i * kBlock + k]);
        Unroll<kColumns>([&](int j) { sum[i][j] = _mm512_fmadd_ps(x, b[j], sum[i][j]); });
      });
    }
  }
  Unroll<kRows>([&](int i) {
    Unroll<kColumns>([&](int j) {
      float* to = c + j * c_step + i * kBlock;
      Store(to, adds ? _mm512_add_ps(Load(to), sum[i][j]) : sum[i][j]);
    });
  });
}

constexpr int kRows = 12;  // 24 sums, 2 columns, 1 factor: 27 of 32 registers

template <int kMost, int kColumns>
void MultiplySome(int64_t rows, int64_t k_blocks, const float* a, int64_t a_step, const float* u,
                  bool adds, float* c, int64_t c_step) {
  if (rows == kMost) return Multiply<kMost, kColumns>(k_blocks, a, a_step, u, adds, c, c_step);
  if constexpr (kMost > 1) {
    MultiplySome<kMost - 1, kColumns>(rows, k_blocks, a, a_step, u, adds, c, c_step);
  }
}

// Blocks of input channels that are summed for themselves: rounds less than one long sum, and their
// weights stay in the cache of the first level for all rows.
constexpr int64_t kBlocksAtOnce = 8;

template <int kColumns>
void MultiplyRows(int64_t rows, int64_t blocks, const float* a, int64_t a_step, const float* u,
                  bool adds, float* c, int64_t c_step) {
  for (int64_t first = 0; first < blocks; first += kBlocksAtOnce) {
    const int64_t n = std::min(kBlocksAtOnce, blocks - first);
    const float* from = a + first * a_step;
    const float* weights = u + first * kBlock * kColumns * kBlock;
    avx512::EqualRuns(rows, kRows, [&](int64_t row, int64_t count) {
      MultiplySome<kRows, kColumns>(count, n, from + row * kBlock, a_step, weights,
                                    adds || first > 0, c + row * kBlock, c_step);
    });
  }
}

// One input channel's windows for 16 output channels; a window's elements lie 16 x 16 apart.
[[gnu::flatten]] void TransformWindows(const float* from, float* to, int64_t to_step) {
  BothAxes<3, 6>(
      Window, [&](int i, int j) { return Load(from + (i * 3 + j) * kBlock * kBlock); },
      [&](int i, int j, __m512 v) { Store(to + (i * 6 + j) * to_step, v); });
}

// The windows from one block of input channels to one of output channels. The input channels lie
// `step` apart in the result, the places `place_step`.
void TransformWeightBlock(const Sizes& s, Weights form, const float* w, int64_t in, int64_t out,
                          float* to, int64_t step, int64_t place_step) {
  constexpr int64_t kSquare = kBlock * kBlock, kBytes = kBlock * sizeof(float);
  float turned[9 * kSquare];
  const bool turns = form == Weights::kTurned;
  const int64_t in_step = turns ? s.outputs / kBlock : 1, out_step = turns ? 1 : s.inputs / kBlock;
  const float* from = w + (out * out_step + in * in_step) * 9 * kSquare;
  // The next block, of which the processor does not foresee nine short streams.
  const float* next = from + (in + 1 < s.inputs / kBlock ? in_step * 9 * kSquare : 0);
  if (turns) {
    for (int64_t i = 0; i < 9; ++i) {
      avx512::Transpose16(from + i * kSquare, kBytes, turned + (8 - i) * kSquare, kBytes);
    }
    from = turned;
  }
  for (int64_t k = 0; k < kBlock; ++k) {
    for (int64_t i = 0; i < 9; ++i) __builtin_prefetch(next + (k * 9 + i) * kBlock);
    TransformWindows(from + k * kBlock, to + k * step, place_step);
  }
}

// Columns of products are taken in pairs of blocks; the last may be a single one.
int64_t PairWidth(const Sizes& s, int64_t pair) {
  return std::min(2 * kBlock, s.outputs - pair * 2 * kBlock);
}

int64_t Pairs(const Sizes& s) { return (s.outputs / kBlock + 1) / 2; }

void MultiplyPair(const Sizes& s, int64_t pair, int64_t rows, int64_t blocks, const float* a,
                  int64_t a_step, const float* u, bool adds, float* c, int64_t c_step) {
  if (PairWidth(s, pair) == 2 * kBlock) {
    MultiplyRows<2>(rows, blocks, a, a_step, u, adds, c, c_step);
  } else {
    MultiplyRows<1>(rows, blocks, a, a_step, u, adds, c, c_step);
  }
}

// Tiles that a thread takes at once: both panels should stay in its cache of the second level.
int64_t TilesAtOnce(const Sizes& s) {
  constexpr int64_t kFloats = 160 * 1024;
  const int64_t tiles = kFloats / (kPlaces * (s.inputs + s.outputs)) / kRows * kRows;
  return std::clamp<int64_t>(tiles, 2 * kRows, 8 * kRows);
}

// Each thread takes runs of tiles and all output channels. `u`: transformed weights.
void ConvolveByTiles(const Sizes& s, int threads, const float* x, const float* weights,
                     const Epilogue& epilogue, float* y, float* scratch) {
  const int64_t rows = TilesAtOnce(s), tiles = s.tiles();
  const Panel in = {s.inputs / kBlock, rows}, out = {s.outputs / kBlock, rows};
  ParallelFor(threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      float* values = scratch + worker * (in.floats() + out.floats());
      float* sums = values + in.floats();
      const int64_t last = tiles * (worker + 1) / threads;
      for (int64_t first = tiles * worker / threads; first < last; first += rows) {
        const int64_t n = std::min(rows, last - first);
        for (int64_t t = 0; t < n; ++t) {
          TransformTile(s, first + t, x, in, 0, in.blocks, values + t * kBlock);
        }
        for (int64_t place = 0; place < kPlaces; ++place) {
          const float* u = weights + place * s.inputs * s.outputs;
          for (int64_t pair = 0; pair < Pairs(s); ++pair, u += 2 * kBlock * s.inputs) {
            MultiplyPair(s, pair, n, in.blocks, values + place * in.place_step(), in.block_step(),
                         u, false, sums + place * out.place_step() + 2 * pair * out.block_step(),
                         out.block_step());
          }
        }
        for (int64_t t = 0; t < n; ++t) {
          TransformTileBack(s, first + t, out, sums + t * kBlock, 0, epilogue, y);
        }
      }
    }
  });
}

// Scratch memory of a thread of ConvolveByOutputs: the weights of kBlocksAtOnce blocks of input
// channels for a pair, and the pair's sums. 16 floats between the weights' places keep their lines
// out of each other's way in the cache.
constexpr int64_t kPairWeights = kPlaces * (kBlocksAtOnce * kBlock * 2 * kBlock + kBlock);

// Each thread takes pairs of blocks of output channels and all tiles.
void ConvolveByOutputs(const Sizes& s, int threads, const float* x, Weights form, const float* w,
                       const Epilogue& epilogue, float* y, float* scratch) {
  const int64_t tiles = s.tiles();
  const Panel in = {s.inputs / kBlock, tiles};
  float* values = scratch;
  ParallelFor(tiles * in.blocks, 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t t = i % tiles, b = i / tiles;
      TransformTile(s, t, x, in, b, b + 1, values + b * in.block_step() + t * kBlock);
    }
  });
  const int64_t pairs = Pairs(s);
  ParallelFor(threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      float* u = scratch + in.floats() + worker * (kPairWeights + Panel{2, tiles}.floats());
      float* sums = u + kPairWeights;
      for (int64_t pair = pairs * worker / threads; pair < pairs * (worker + 1) / threads; ++pair) {
        const int64_t width = PairWidth(s, pair);
        const Panel out = {width / kBlock, tiles};
        for (int64_t first = 0; first < in.blocks; first += kBlocksAtOnce) {
          const int64_t n = std::min(kBlocksAtOnce, in.blocks - first);
          const int64_t step = n * kBlock * width + kBlock;
          for (int64_t b = 0; b < n; ++b) {
            for (int64_t o = 0; o < out.blocks; ++o) {
              TransformWeightBlock(s, form, w, first + b, 2 * pair + o,
                                   u + b * kBlock * width + o * kBlock, width, step);
            }
          }
          for (int64_t place = 0; place < kPlaces; ++place) {
            MultiplyPair(s, pair, tiles, n,
                         values + place * in.place_step() + first * in.block_step(),
                         in.block_step(), u + place * step, first > 0,
                         sums + place * out.place_step(), out.block_step());
          }
        }
        for (int64_t t = 0; t < tiles; ++t) {
          TransformTileBack(s, t, out, sums + t * kBlock, 2 * pair, epilogue, y);
        }
      }
    }
  });
}

}  // namespace

bool IsBuilt() { return true; }

void TransformWeights(int64_t inputs, int64_t outputs, Weights form, const float* w, float* to) {
  Sizes s;
  s.inputs = inputs;
  s.outputs = outputs;
  const int64_t in_blocks = inputs / kBlock, out_blocks = outputs / kBlock;
  // [36][pairs of blocks of outputs][inputs][32], a last single block [inputs][16].
  ParallelFor(in_blocks * out_blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t in = i % in_blocks, out = i / in_blocks, width = PairWidth(s, out / 2);
      float* at = to + out / 2 * 2 * kBlock * inputs + in * kBlock * width + out % 2 * kBlock;
      TransformWeightBlock(s, form, w, in, out, at, width, inputs * outputs);
    }
  });
}

bool TransformsAsItGoes(const Sizes& s) {
  return s.tiles() <= 128 && s.inputs * s.outputs >= 128 * 128;
}

int64_t ConvolveFloats(const Sizes& s, int threads, Weights form) {
  const int64_t in = s.inputs / kBlock, out = s.outputs / kBlock;
  if (TransformsAsItGoes(s)) {
    return Panel{in, s.tiles()}.floats() + threads * (kPairWeights + Panel{2, s.tiles()}.floats());
  }
  const int64_t rows = TilesAtOnce(s);
  return (form == Weights::kTransformed ? 0 : WeightFloats(s.inputs, s.outputs)) +
         threads * (Panel{in, rows}.floats() + Panel{out, rows}.floats());
}

void Convolve(const Sizes& s, int threads, const float* x, Weights form, const float* weights,
              const Epilogue& epilogue, float* y, float* scratch) {
  if (TransformsAsItGoes(s)) {
    return ConvolveByOutputs(s, threads, x, form, weights, epilogue, y, scratch);
  }
  if (form != Weights::kTransformed) {
    TransformWeights(s.inputs, s.outputs, form, weights, scratch);
    weights = scratch;
    scratch += WeightFloats(s.inputs, s.outputs);
  }
  ConvolveByTiles(s, threads, x, weights, epilogue, y, scratch);
}

#else

bool IsBuilt() { return false; }
void TransformWeights(int64_t, int64_t, Weights, const float*, float*) {}
bool TransformsAsItGoes(const Sizes&) { return false; }
int64_t ConvolveFloats(const Sizes&, int, Weights) { return 0; }
void Convolve(const Sizes&, int, const float*, Weights, const float*, const Epilogue&, float*,
              float*) {}

#endif

}  // namespace graphrun::winograd
