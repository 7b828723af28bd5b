#include "ops/winograd_bf16.h"

#include <algorithm>
#include <cstring>

#include "ops/avx512.h"
#include "runtime/base/parallel.h"

#if defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512BF16__)
#define GR_WINOGRAD_BF16 1
#endif

namespace graphrun::winograd_bf16 {

#if defined(GR_WINOGRAD_BF16)

namespace {

using avx512::Unroll;

constexpr int64_t kBlock = 16;                  // channels
constexpr int64_t kPlaces = 16;                 // 4 x 4
constexpr int64_t kTaps = 9 * kBlock * kBlock;  // weights between two blocks of channels
constexpr __mmask16 kAll = 0xffff;              // without a mask gcc 12 warns of its own header

// Tiles of 2 x 2 outputs.
struct Tiles {
  int64_t height, width, count;

  static Tiles Of(const Sizes& s) {
    const int64_t height = (s.out_h + 1) / 2, width = (s.out_w + 1) / 2;
    return {height, width, s.batch * height * width};
  }
};

// Neighbours in one row of tiles.
struct Run {
  int64_t image, row, first, count;
};

// f(run, tiles before it) for all runs among `count` tiles from `first` on.
template <typename F>
void ForRuns(const Tiles& t, int64_t first, int64_t count, F f) {
  for (int64_t done = 0; done < count;) {
    const int64_t at = first + done, column = at % t.width;
    const Run run = {at / (t.height * t.width), at / t.width % t.height, column,
                     std::min(count - done, t.width - column)};
    f(run, done);
    done += run.count;
  }
}

// Transformed tiles [16][channels / 16][rows][16]; some numbers between the places keep their lines
// out of each other's way in the cache.
struct Panel {
  int64_t blocks, rows;

  int64_t block_step() const { return rows * kBlock; }
  int64_t place_step() const { return blocks * rows * kBlock + 2 * kBlock; }
  int64_t count() const { return kPlaces * place_step(); }
  int64_t bytes(int64_t each) const { return (count() * each + 63) / 64 * 64; }
};

// From one place of transformed weights to the next: off the powers of two, which would meet in the
// same lines of the cache.
int64_t WeightStep(int64_t inputs, int64_t outputs) { return inputs * outputs + 4 * kBlock; }

constexpr int64_t kNumber = sizeof(BFloat16), kSum = sizeof(float);

__m512 Of(float v) { return _mm512_set1_ps(v); }
__m512 Load(const float* p) { return _mm512_loadu_ps(p); }

// ---- bf16

__m512 Widen(__m256i v) {
  return _mm512_castsi512_ps(
      _mm512_maskz_slli_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, v), 16));
}

__m512 Load(const BFloat16* p) {
  return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// Both halves of pairs.
__m512 Even(__m512i pairs) { return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(kAll, pairs, 16)); }
__m512 Odd(__m512i pairs) {
  return _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(-65536)));
}

__m512i Round(__m512 low, __m512 high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }

__m256i Lower(__m512i v) {
  __m256i low;  // gcc 12 warns of its own cast
  std::memcpy(&low, &v, sizeof(low));
  return low;
}
__m256i Upper(__m512i v) { return _mm512_maskz_extracti64x4_epi64(0xf, v, 1); }
void Store(BFloat16* p, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }

// ---- transforms of one axis

// Four inputs become the values that meet the windows'.
void Forward(const __m512 (&d)[4], __m512 (&v)[4]) {
  v[0] = _mm512_sub_ps(d[0], d[2]);
  v[1] = _mm512_add_ps(d[1], d[2]);
  v[2] = _mm512_sub_ps(d[2], d[1]);
  v[3] = _mm512_sub_ps(d[1], d[3]);
}

// Four sums become two outputs.
void Back(const __m512 (&m)[4], __m512 (&y)[2]) {
  y[0] = _mm512_add_ps(m[0], _mm512_add_ps(m[1], m[2]));
  y[1] = _mm512_sub_ps(_mm512_sub_ps(m[1], m[2]), m[3]);
}

// Three elements of a window become four.
void Window(const __m512 (&g)[3], __m512 (&u)[4]) {
  const __m512 half = _mm512_mul_ps(Of(0.5f), _mm512_add_ps(g[0], g[2]));
  u[0] = g[0];
  u[1] = _mm512_fmadd_ps(Of(0.5f), g[1], half);
  u[2] = _mm512_fnmadd_ps(Of(0.5f), g[1], half);
  u[3] = g[2];
}

// ---- tiles

// Columns of inputs, transformed along themselves, serve both tiles that see them.
[[gnu::flatten]] void TransformRun(const Sizes& s, const Run& run, const BFloat16* x,
                                   const Panel& p, BFloat16* to) {
  const int64_t h = run.row * 2 - s.pad_h, w = run.first * 2 - s.pad_w, step = p.place_step();
  __m512i inside[4];
  int64_t line[4];
  for (int64_t i = 0; i < 4; ++i) {
    inside[i] = _mm512_set1_epi32(h + i >= 0 && h + i < s.in_h ? -1 : 0);
    line[i] = std::clamp<int64_t>(h + i, 0, s.in_h - 1) * s.in_w * kBlock;
  }
  for (int64_t b = 0; b < p.blocks; ++b, to += p.block_step()) {
    const BFloat16* image = x + (run.image * p.blocks + b) * s.in_h * s.in_w * kBlock;
    const auto column = [&](int64_t at, __m512(&v)[4]) {
      __m512 d[4];
      if (at < 0 || at >= s.in_w) {
        Unroll<4>([&](int i) { v[i] = _mm512_setzero_ps(); });
        return;
      }
      Unroll<4>([&](int i) {
        const __m512 loaded = Load(image + line[i] + at * kBlock);
        d[i] = _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(loaded), inside[i]));
      });
      Forward(d, v);
    };
    __m512 half[4][4];  // [column][row]
    Unroll<2>([&](int j) { column(w + j, half[j]); });
    BFloat16* at = to;
    for (int64_t t = 0; t < run.count; ++t, at += kBlock) {
      Unroll<2>([&](int j) { column(w + 2 * t + 2 + j, half[2 + j]); });
      Unroll<4>([&](int i) {
        __m512 d[4], v[4];
        Unroll<4>([&](int j) { d[j] = half[j][i]; });
        Forward(d, v);
        Unroll<2>([&](int j) {
          const __m512i both = Round(v[2 * j], v[2 * j + 1]);
          Store(at + (i * 4 + 2 * j) * step, Lower(both));
          Store(at + (i * 4 + 2 * j + 1) * step, Upper(both));
        });
      });
      Unroll<4>([&](int i) {
        half[0][i] = half[2][i];
        half[1][i] = half[3][i];
      });
    }
  }
}

[[gnu::flatten]] void TransformRunBack(const Sizes& s, const Run& run, const Panel& p,
                                       const float* from, const Epilogue& e, BFloat16* y) {
  const int64_t h = run.row * 2, step = p.place_step(), rows = std::min<int64_t>(2, s.out_h - h);
  const __m512 low = Of(e.low), high = Of(e.high);
  for (int64_t b = 0; b < p.blocks; ++b, from += p.block_step()) {
    const int64_t image = ((run.image * p.blocks + b) * s.out_h + h) * s.out_w * kBlock;
    const __m512 bias = e.bias == nullptr ? _mm512_setzero_ps() : Load(e.bias + b * kBlock);
    for (int64_t t = 0; t < run.count; ++t) {
      const int64_t w = (run.first + t) * 2;
      const float* at = from + t * kBlock;
      __m512 half[4][2];
      Unroll<4>([&](int j) {
        __m512 m[4];
        Unroll<4>([&](int i) { m[i] = Load(at + (i * 4 + j) * step); });
        Back(m, half[j]);
      });
      Unroll<2>([&](int i) {
        if (i >= rows) return;
        const int64_t to = image + (i * s.out_w + w) * kBlock;
        const bool two = w + 1 < s.out_w;
        __m512 m[4], v[2];
        Unroll<4>([&](int j) { m[j] = half[j][i]; });
        Back(m, v);
        Unroll<2>([&](int j) {
          v[j] = _mm512_add_ps(v[j], bias);
          if (e.added != nullptr && (j == 0 || two)) {
            v[j] = _mm512_add_ps(v[j], Load(e.added + to + j * kBlock));
          }
          if (e.clamps) {
            v[j] = _mm512_maskz_min_ps(kAll, high, _mm512_maskz_max_ps(kAll, low, v[j]));
          }
        });
        const __m512i both = Round(v[0], v[1]);
        if (two) {
          _mm512_storeu_si512(y + to, both);
        } else {
          Store(y + to, Lower(both));
        }
      });
    }
  }
}

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

constexpr int64_t kRows = 12;  // 24 sums, 2 columns, 1 factor: 27 of 32 registers

// Blocks of input channels that are summed for themselves: their weights stay in the cache of the
// first level for all rows.
constexpr int64_t kBlocksAtOnce = 16;

template <int kColumns>
void MultiplyRows(int64_t rows, int64_t blocks, const BFloat16* a, int64_t a_step,
                  const BFloat16* u, float* c, int64_t c_step) {
  for (int64_t first = 0; first < blocks; first += kBlocksAtOnce) {
    const int64_t n = std::min(kBlocksAtOnce, blocks - first);
    const BFloat16* from = a + first * a_step;
    const BFloat16* weights = u + first * kBlock * kColumns * kBlock;
    const auto multiply = [&](int64_t row, auto multiply_rows) {
      multiply_rows(n, from + row * kBlock, a_step, weights, first > 0, c + row * kBlock, c_step);
    };
    int64_t row = 0;
    for (; row + kRows <= rows; row += kRows) multiply(row, Multiply<kRows, kColumns>);
    for (; row + 4 <= rows; row += 4) multiply(row, Multiply<4, kColumns>);
    for (; row < rows; ++row) multiply(row, Multiply<1, kColumns>);
  }
}

// Columns of products are taken in pairs of blocks; the last may be a single one.
int64_t PairWidth(const Sizes& s, int64_t pair) {
  return std::min(2 * kBlock, s.outputs - pair * 2 * kBlock);
}

int64_t Pairs(const Sizes& s) { return (s.outputs / kBlock + 1) / 2; }

void MultiplyPair(const Sizes& s, int64_t pair, int64_t rows, int64_t blocks, const BFloat16* a,
                  int64_t a_step, const BFloat16* u, float* c, int64_t c_step) {
  if (PairWidth(s, pair) == 2 * kBlock) {
    MultiplyRows<2>(rows, blocks, a, a_step, u, c, c_step);
  } else {
    MultiplyRows<1>(rows, blocks, a, a_step, u, c, c_step);
  }
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
  const int64_t block = turns ? in * (s.outputs / kBlock) + out : out * (s.inputs / kBlock) + in;
  const BFloat16* from = w + block * kTaps;
  float turned[kTaps];
  if (turns) {
    for (int64_t i = 0; i < 9; ++i) TurnSquare(from + i * kSquare, turned + (8 - i) * kSquare);
  }
  alignas(64) static constexpr int16_t kWeave[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                     21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                     11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i weave = _mm512_loadu_si512(kWeave);
  for (int64_t k = 0; k < kBlock / 2; ++k) {
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

// Tiles that a thread takes at once: both panels should stay in its cache of the second level.
int64_t TilesAtOnce(const Sizes& s) {
  constexpr int64_t kBytes = 512 * 1024;
  const int64_t tiles = kBytes / (kPlaces * (s.inputs * kNumber + s.outputs * kSum));
  return std::clamp<int64_t>(tiles / kRows * kRows, 2 * kRows, 16 * kRows);
}

int64_t BytesByTiles(const Sizes& s) {
  const int64_t rows = TilesAtOnce(s);
  return Panel{s.inputs / kBlock, rows}.bytes(kNumber) +
         Panel{s.outputs / kBlock, rows}.bytes(kSum);
}

// Each thread takes runs of tiles and all output channels. `weights`: transformed.
void ConvolveByTiles(const Sizes& s, int threads, const BFloat16* x, const BFloat16* weights,
                     const Epilogue& epilogue, BFloat16* y, char* scratch) {
  const Tiles tiles = Tiles::Of(s);
  const int64_t rows = TilesAtOnce(s);
  const Panel in = {s.inputs / kBlock, rows}, out = {s.outputs / kBlock, rows};
  ParallelFor(threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      char* own = scratch + worker * BytesByTiles(s);
      BFloat16* values = reinterpret_cast<BFloat16*>(own);
      float* sums = reinterpret_cast<float*>(own + in.bytes(kNumber));
      const int64_t last = tiles.count * (worker + 1) / threads;
      for (int64_t first = tiles.count * worker / threads; first < last; first += rows) {
        const int64_t n = std::min(rows, last - first);
        ForRuns(tiles, first, n, [&](const Run& run, int64_t at) {
          TransformRun(s, run, x, in, values + at * kBlock);
        });
        for (int64_t place = 0; place < kPlaces; ++place) {
          const BFloat16* u = weights + place * WeightStep(s.inputs, s.outputs);
          for (int64_t pair = 0; pair < Pairs(s); ++pair, u += 2 * kBlock * s.inputs) {
            MultiplyPair(s, pair, n, in.blocks, values + place * in.place_step(), in.block_step(),
                         u, sums + place * out.place_step() + 2 * pair * out.block_step(),
                         out.block_step());
          }
        }
        ForRuns(tiles, first, n, [&](const Run& run, int64_t at) {
          TransformRunBack(s, run, out, sums + at * kBlock, epilogue, y);
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
  const double weights = form == Weights::kTransformed ? 200 : 450;
  return 1.1 * (tiles * (17 + 225 * channels) + weights) < direct;
}

int64_t WeightCount(int64_t inputs, int64_t outputs) {
  return kPlaces * WeightStep(inputs, outputs);
}

void TransformWeights(int64_t inputs, int64_t outputs, Weights form, const BFloat16* w,
                      BFloat16* to) {
  Sizes s;
  s.inputs = inputs;
  s.outputs = outputs;
  const int64_t in_blocks = inputs / kBlock, out_blocks = outputs / kBlock;
  // [16][pairs of blocks of outputs][inputs / 2][32][2], a last single block [inputs / 2][16][2].
  ParallelFor(in_blocks * out_blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t in = i % in_blocks, out = i / in_blocks, width = PairWidth(s, out / 2);
      BFloat16* at =
          to + out / 2 * 2 * kBlock * inputs + in * kBlock * width + out % 2 * 2 * kBlock;
      TransformWeightBlock(s, form, w, in, out, at, 2 * width, WeightStep(inputs, outputs));
    }
  });
}

int64_t ConvolveBytes(const Sizes& s, int threads, Weights form) {
  return (form == Weights::kTransformed ? 0 : WeightCount(s.inputs, s.outputs) * kNumber) +
         threads * BytesByTiles(s);
}

void Convolve(const Sizes& s, int threads, const BFloat16* x, Weights form, const BFloat16* weights,
              const Epilogue& epilogue, BFloat16* y, void* scratch) {
  char* free = static_cast<char*>(scratch);
  if (form != Weights::kTransformed) {
    BFloat16* own = reinterpret_cast<BFloat16*>(free);
    TransformWeights(s.inputs, s.outputs, form, weights, own);
    weights = own;
    free += WeightCount(s.inputs, s.outputs) * kNumber;
  }
  ConvolveByTiles(s, threads, x, weights, epilogue, y, free);
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
