#include "ops/winograd_bf16.h"

#include <algorithm>
#include <cstring>

#include "ops/winograd_bf16_tiles.h"
#include "runtime/base/parallel.h"

namespace graphrun::winograd_bf16 {

#if defined(GR_WINOGRAD_BF16)

namespace {

constexpr int64_t kTaps = 9 * kBlock * kBlock;  // weights between two blocks of channels

// ---- products

// c[row, 0..16 kColumns) = or += the sum over pairs k of a[row, k] u[k]; `a` in blocks of 16
// channels, `a_step` apart; the columns' blocks of c lie c_step apart.
template <int kRows, int kColumns>
[[gnu::flatten]] void Multiply(int64_t k_blocks, const BFloat16* a, int64_t a_step,
                               const BFloat16* u, bool adds, float* c, int64_t c_step) {
  __m512 sum[kRows][kColumns];
  Unroll<kRows>([&](int i) { Unroll<kColumns>([&](int j) { sum[i][j] = _mm512_setzero_ps(); }); });
  for (int64_t block = 0; block < k_blocks; ++block, a += a_step) {
    for (int64_t k = 0; k < kBlock; k += 2, u += 2 * kColumns * kBlock) {
      __m512i b[kColumns];
      Unroll<kColumns>([&](int j) { b[j] = _mm512_loadu_si512(u + 2 * j * kBlock); });
      Unroll<kRows>([&](int i) {
        int32_t pair;
        std::memcpy(&pair, a + i * kBlock + k, sizeof(pair));
        const __m512i x = _mm512_set1_epi32(pair);
        Unroll<kColumns>(
            [&](int j) { sum[i][j] = _mm512_dpbf16_ps(sum[i][j], (__m512bh)x, (__m512bh)b[j]); });
      });
    }
  }
  Unroll<kRows>([&](int i) {
    Unroll<kColumns>([&](int j) {
      float* to = c + j * c_step + i * kBlock;
      _mm512_storeu_ps(to, adds ? _mm512_add_ps(Load(to), sum[i][j]) : sum[i][j]);
    });
  });
}

constexpr int kRows = 12;  // 24 sums, 2 columns, 1 factor: 27 of 32 registers

template <int kMost, int kColumns>
void MultiplySome(int64_t rows, int64_t k_blocks, const BFloat16* a, int64_t a_step,
                  const BFloat16* u, bool adds, float* c, int64_t c_step) {
  if (rows == kMost) return Multiply<kMost, kColumns>(k_blocks, a, a_step, u, adds, c, c_step);
  if constexpr (kMost > 1) {
    MultiplySome<kMost - 1, kColumns>(rows, k_blocks, a, a_step, u, adds, c, c_step);
  }
}

// Blocks of input channels that are summed for themselves: their weights stay in the cache of the
// first level for all rows.
constexpr int64_t kBlocksAtOnce = 16;

template <int kColumns>
void MultiplyRows(int64_t rows, int64_t blocks, const BFloat16* a, int64_t a_step,
                  const BFloat16* u, bool adds, float* c, int64_t c_step) {
  for (int64_t first = 0; first < blocks; first += kBlocksAtOnce) {
    const int64_t n = std::min(kBlocksAtOnce, blocks - first);
    avx512::EqualRuns(rows, kRows, [&](int64_t row, int64_t count) {
      MultiplySome<kRows, kColumns>(count, n, a + first * a_step + row * kBlock, a_step,
                                    u + first * kBlock * kColumns * kBlock, adds || first > 0,
                                    c + row * kBlock, c_step);
    });
  }
}

// Columns of products are taken in pairs of blocks; the last may be a single one.
int64_t PairWidth(const Sizes& s, int64_t pair) {
  return std::min(2 * kBlock, s.outputs - pair * 2 * kBlock);
}

int64_t Pairs(const Sizes& s) { return (s.outputs / kBlock + 1) / 2; }

// Transformed weights [pairs of blocks of outputs][16][inputs / 2][32][2], a last single block
// [16][inputs / 2][16][2]. Between the places some numbers as in a panel.
constexpr int64_t WeightStep(int64_t inputs, int64_t width) { return inputs * width + 4 * kBlock; }

// Where the weights of a pair begin.
int64_t PairAt(const Sizes& s, int64_t pair) {
  return pair * kPlaces * WeightStep(s.inputs, 2 * kBlock);
}

// ---- weights

// Turns a square of weights by half and over: [8 i][16 o][2 i] becomes [o][i] in f32.
void TurnSquare(const BFloat16* from, float* to) {
  constexpr int64_t kBytes = kBlock * kSum;
  float square[kBlock * kBlock];
  for (int64_t k = 0; k < kBlock; k += 2) {
    const __m512i pairs = _mm512_loadu_si512(from + k * kBlock);
    _mm512_storeu_ps(square + k * kBlock, Even(pairs));
    _mm512_storeu_ps(square + (k + 1) * kBlock, Odd(pairs));
  }
  avx512::Transpose16(square, kBytes, to, kBytes);
}

// Each of 16 windows for one input channel: load(element) gives f32.
template <typename L>
void TransformWindows(L load, __m512 (&u)[16]) {
  __m512 half[3][4];
  Unroll<3>([&](int i) {
    const __m512 g[3] = {load(i * 3), load(i * 3 + 1), load(i * 3 + 2)};
    Window(g, half[i]);
  });
  Unroll<4>([&](int j) {
    const __m512 g[3] = {half[0][j], half[1][j], half[2][j]};
    __m512 column[4];
    Window(g, column);
    Unroll<4>([&](int i) { u[i * 4 + j] = column[i]; });
  });
}

// The windows from one block of input channels to one of output channels. Pairs of input channels
// lie `step` apart in the result, the places `place_step`.
[[gnu::flatten]] void TransformWeightBlock(const Sizes& s, Weights form, const BFloat16* w,
                                           int64_t in, int64_t out, BFloat16* to, int64_t step,
                                           int64_t place_step) {
  constexpr int64_t kSquare = kBlock * kBlock;
  const bool turns = form == Weights::kTurned;
  const int64_t in_step = turns ? s.outputs / kBlock : 1, out_step = turns ? 1 : s.inputs / kBlock;
  const BFloat16* from = w + (out * out_step + in * in_step) * kTaps;
  // The next block, of which the processor does not foresee nine short streams.
  const BFloat16* next = from + (in + 1 < s.inputs / kBlock ? in_step * kTaps : 0);
  float turned[kTaps];
  if (turns) {
    for (int64_t i = 0; i < 9; ++i) TurnSquare(from + i * kSquare, turned + (8 - i) * kSquare);
  }
  alignas(64) static constexpr int16_t kWeave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                     21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                     11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i weave = _mm512_loadu_si512(kWeave);
  for (int64_t k = 0; k < kBlock / 2; ++k) {
    for (int64_t i = 0; i < 9; ++i) __builtin_prefetch(next + (k * 9 + i) * 2 * kBlock);
    __m512 even[16], odd[16];
    if (turns) {
      const float* rows = turned + 2 * k * kBlock;
      TransformWindows([&](int i) { return Load(rows + i * kSquare); }, even);
      TransformWindows([&](int i) { return Load(rows + i * kSquare + kBlock); }, odd);
    } else {
      const BFloat16* pairs = from + 2 * k * kBlock;
      const auto load = [&](int i) { return _mm512_loadu_si512(pairs + i * kSquare); };
      TransformWindows([&](int i) { return Even(load(i)); }, even);
      TransformWindows([&](int i) { return Odd(load(i)); }, odd);
    }
    Unroll<16>([&](int i) {
      const __m512i both = Round(even[i], odd[i]);
      _mm512_storeu_si512(to + k * step + i * place_step,
                          _mm512_maskz_permutexvar_epi16(0xffffffff, weave, both));
    });
  }
}

// The windows from `count` blocks of input channels to a pair.
void TransformPairWeights(const Sizes& s, Weights form, const BFloat16* w, int64_t first,
                          int64_t count, int64_t pair, BFloat16* to) {
  const int64_t width = PairWidth(s, pair), step = WeightStep(count * kBlock, width);
  for (int64_t b = 0; b < count; ++b) {
    for (int64_t o = 0; o < width / kBlock; ++o) {
      TransformWeightBlock(s, form, w, first + b, 2 * pair + o,
                           to + b * kBlock * width + 2 * o * kBlock, 2 * width, step);
    }
  }
}

// ---- convolutions

// out = or += values times the weights of a pair.
void MultiplyPair(const Sizes& s, int64_t pair, int64_t rows, const Panel& in,
                  const BFloat16* values, int64_t blocks, const BFloat16* u, bool adds,
                  const Panel& out, float* sums) {
  const int64_t step = WeightStep(blocks * kBlock, PairWidth(s, pair));
  const auto multiply = out.blocks == 2 ? MultiplyRows<2> : MultiplyRows<1>;
  for (int64_t place = 0; place < kPlaces; ++place, u += step) {
    multiply(rows, blocks, values + place * in.place_step(), in.block_step(), u, adds,
             sums + place * out.place_step(), out.block_step());
  }
}

// What a thread does: tiles and pairs of blocks of output channels, so many tiles at once that its
// panels nearly stay in the cache of the second level, but enough for what weights cost to read.
struct Share {
  int64_t tiles, pairs, rows;

  static Share Of(const Sizes& s, int threads) {
    constexpr int64_t kBytes = 512 * 1024, kLeast = 64, kMost = 192;
    const int64_t count = Tiles::Of(s).count, pairs = Pairs(s);
    const int64_t each = kPlaces * (s.inputs * kNumber + 2 * kBlock * kSum);
    const int64_t most = std::clamp(kBytes / each, kLeast, kMost);
    Share share = {(count + threads - 1) / threads, pairs, most};
    // Few tiles: each thread transforms all of them and reads its own weights only.
    if (count <= most && count < s.outputs && pairs % threads == 0) {
      share = {count, pairs / threads, most};
    }
    const int64_t times = (share.tiles + most - 1) / most;
    share.rows = (share.tiles + times - 1) / times;
    return share;
  }
  Panel in(const Sizes& s) const { return {s.inputs / kBlock, rows}; }
  Panel out() const { return {2, rows}; }
  int64_t bytes(const Sizes& s) const { return in(s).bytes(kNumber) + out().bytes(kSum); }
};

// `weights`: transformed.
void ConvolveTiles(const Sizes& s, int threads, const BFloat16* x, const BFloat16* weights,
                   const Epilogue& epilogue, BFloat16* y, char* scratch) {
  const Tiles tiles = Tiles::Of(s);
  const Share share = Share::Of(s, threads);
  const Panel in = share.in(s);
  const auto run = [&](int64_t worker) {
    const int64_t splits = Pairs(s) / share.pairs;  // of the outputs
    const int64_t first_pair = worker % splits * share.pairs;
    const int64_t begin = std::min(worker / splits * share.tiles, tiles.count);
    const int64_t end = std::min(begin + share.tiles, tiles.count);
    BFloat16* values = reinterpret_cast<BFloat16*>(scratch + worker * share.bytes(s));
    float* sums = reinterpret_cast<float*>(scratch + worker * share.bytes(s) + in.bytes(kNumber));
    for (int64_t first = begin; first < end; first += share.rows) {
      const int64_t n = std::min(share.rows, end - first);
      ForRuns(tiles, first, n, [&](const Run& run, int64_t at) {
        TransformRun(s, run, x, in, values + at * kBlock);
      });
      for (int64_t pair = first_pair; pair < first_pair + share.pairs; ++pair) {
        const Panel out = {PairWidth(s, pair) / kBlock, share.rows};
        MultiplyPair(s, pair, n, in, values, in.blocks, weights + PairAt(s, pair), false, out,
                     sums);
        ForRuns(tiles, first, n, [&](const Run& run, int64_t at) {
          TransformRunBack(s, run, out, sums + at * kBlock, 2 * pair, epilogue, y);
        });
      }
    }
  };
  ParallelFor(threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) run(worker);
  });
}

// Whether plain weights are transformed a pair at a time: where there are few tiles, reading those
// again for each pair costs less than writing and reading 16 numbers for 9.
bool TransformsAsItGoes(const Sizes& s, Weights form) {
  return form != Weights::kTransformed && Tiles::Of(s).count <= 192 &&
         s.inputs * s.outputs >= 128 * 128;
}

// The weights of kBlocksAtOnce blocks of input channels for a pair.
constexpr int64_t kPairBytes = kPlaces * WeightStep(kBlocksAtOnce * kBlock, 2 * kBlock) * kNumber;

int64_t BytesByPairs(const Sizes& s) {
  return kPairBytes + Panel{2, Tiles::Of(s).count}.bytes(kSum);
}

// Each thread takes pairs of blocks of output channels and all tiles.
void ConvolvePairs(const Sizes& s, int threads, const BFloat16* x, Weights form, const BFloat16* w,
                   const Epilogue& epilogue, BFloat16* y, char* scratch) {
  const Tiles tiles = Tiles::Of(s);
  const Panel in = {s.inputs / kBlock, tiles.count};
  BFloat16* values = reinterpret_cast<BFloat16*>(scratch);
  ParallelFor(tiles.count, 4, [&](int64_t begin, int64_t end) {
    ForRuns(tiles, begin, end - begin, [&](const Run& run, int64_t at) {
      TransformRun(s, run, x, in, values + (begin + at) * kBlock);
    });
  });
  const int64_t pairs = Pairs(s);
  ParallelFor(threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      char* own = scratch + in.bytes(kNumber) + worker * BytesByPairs(s);
      BFloat16* u = reinterpret_cast<BFloat16*>(own);
      float* sums = reinterpret_cast<float*>(own + kPairBytes);
      for (int64_t pair = pairs * worker / threads; pair < pairs * (worker + 1) / threads; ++pair) {
        const Panel out = {PairWidth(s, pair) / kBlock, tiles.count};
        for (int64_t first = 0; first < in.blocks; first += kBlocksAtOnce) {
          const int64_t n = std::min(kBlocksAtOnce, in.blocks - first);
          TransformPairWeights(s, form, w, first, n, pair, u);
          MultiplyPair(s, pair, tiles.count, in, values + first * in.block_step(), n, u, first > 0,
                       out, sums);
        }
        ForRuns(tiles, 0, tiles.count, [&](const Run& run, int64_t at) {
          TransformRunBack(s, run, out, sums + at * kBlock, 2 * pair, epilogue, y);
        });
      }
    }
  });
}

}  // namespace

bool IsBuilt() { return true; }

// In units of direct sums, of which 9 make an output position and pair of channels.
bool Pays(const Sizes& s, Weights form) {
  const double channels =
      1.0 / static_cast<double>(s.inputs) + 1.0 / static_cast<double>(s.outputs);
  const double tiles = static_cast<double>(Tiles::Of(s).count);
  const double direct = 9.0 * static_cast<double>(s.batch * s.out_h * s.out_w);
  const double weights = form == Weights::kTransformed ? 100 : 350;
  return 1.1 * (tiles * (17 + 250 * channels) + weights) < direct;
}

int64_t WeightCount(int64_t inputs, int64_t outputs) {
  return kPlaces * (inputs * outputs + (outputs / kBlock + 1) / 2 * 4 * kBlock);
}

void TransformWeights(int64_t inputs, int64_t outputs, Weights form, const BFloat16* w,
                      BFloat16* to) {
  Sizes s;
  s.inputs = inputs;
  s.outputs = outputs;
  const int64_t in_blocks = inputs / kBlock, out_blocks = outputs / kBlock;
  ParallelFor(in_blocks * out_blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t in = i % in_blocks, out = i / in_blocks, width = PairWidth(s, out / 2);
      BFloat16* at = to + PairAt(s, out / 2) + in * kBlock * width + out % 2 * 2 * kBlock;
      TransformWeightBlock(s, form, w, in, out, at, 2 * width, WeightStep(inputs, width));
    }
  });
}

int64_t ConvolveBytes(const Sizes& s, int threads, Weights form) {
  if (TransformsAsItGoes(s, form)) {
    return Panel{s.inputs / kBlock, Tiles::Of(s).count}.bytes(kNumber) + threads * BytesByPairs(s);
  }
  return (form == Weights::kTransformed ? 0 : WeightCount(s.inputs, s.outputs) * kNumber) +
         threads * Share::Of(s, threads).bytes(s);
}

void Convolve(const Sizes& s, int threads, const BFloat16* x, Weights form, const BFloat16* weights,
              const Epilogue& epilogue, BFloat16* y, void* scratch) {
  char* free = static_cast<char*>(scratch);
  if (TransformsAsItGoes(s, form)) {
    return ConvolvePairs(s, threads, x, form, weights, epilogue, y, free);
  }
  if (form != Weights::kTransformed) {
    BFloat16* own = reinterpret_cast<BFloat16*>(free);
    TransformWeights(s.inputs, s.outputs, form, weights, own);
    weights = own;
    free += WeightCount(s.inputs, s.outputs) * kNumber;
  }
  ConvolveTiles(s, threads, x, weights, epilogue, y, free);
}

#else

bool IsBuilt() { return false; }
bool Pays(const Sizes&, Weights) { return false; }
int64_t WeightCount(int64_t, int64_t) { return 0; }
void TransformWeights(int64_t, int64_t, Weights, const BFloat16*, BFloat16*) {}
int64_t ConvolveBytes(const Sizes&, int, Weights) { return 0; }
void Convolve(const Sizes&, int, const BFloat16*, Weights, const BFloat16*, const Epilogue&,
              BFloat16*, void*) {}

#endif

}  // namespace graphrun::winograd_bf16
