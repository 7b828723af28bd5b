#include "ops/winograd.h"

#include <algorithm>

#include "ops/avx512.h"
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

namespace {

// Measured on a processor with AVX-512: direct sums cost 9 for each output position and pair of
// channels; a tile costs `product` for its sums and `transforms` for a pair of channels'
// transforms, weights cost `weights`.
bool Pays(const Sizes& s, double product, double transforms, double weights) {
  const double channels =
      1.0 / static_cast<double>(s.inputs) + 1.0 / static_cast<double>(s.outputs);
  const double tiles = static_cast<double>(s.tiles());
  const double direct = 9.0 * static_cast<double>(s.batch * s.out_h * s.out_w);
  return 1.1 * (tiles * (product + transforms * channels) + weights) < direct;
}

}  // namespace

bool ConvolvePays(const Sizes& s) { return IsBuilt() && Pays(s, 43, 750, 1000); }

bool WeightGradientPays(const Sizes& s) { return IsBuilt() && Pays(s, 38, 2100, 900); }

int64_t WeightFloats(int64_t inputs, int64_t outputs) { return 36 * inputs * outputs; }

#if defined(__AVX512F__)

namespace {

using avx512::Unroll;

constexpr int64_t kBlock = 16;  // channels
constexpr int64_t kPlaces = 36;

// The points +-a and +-b, beside 0 and infinity.
constexpr float kA = 0.6875f, kB = 1.5f;
constexpr float kA2 = kA * kA, kB2 = kB * kB, kSum = kA2 + kB2, kProduct = kA2 * kB2;
constexpr float kA3 = kA2 * kA, kB3 = kB2 * kB;

inline __m512 Of(float v) { return _mm512_set1_ps(v); }
inline __m512 Load(const float* p) { return _mm512_loadu_ps(p); }
inline void Store(float* p, __m512 v) { _mm512_storeu_ps(p, v); }

// Six inputs become the values that meet the windows'.
inline void Forward(const __m512 (&d)[6], __m512 (&v)[6]) {
  v[0] = _mm512_fmadd_ps(Of(kProduct), d[0], _mm512_fnmadd_ps(Of(kSum), d[2], d[4]));
  const __m512 even_a = _mm512_fnmadd_ps(Of(kB2), d[2], d[4]);
  const __m512 odd_a = _mm512_fnmadd_ps(Of(kB2), d[1], d[3]);
  v[1] = _mm512_fmadd_ps(Of(kA), odd_a, even_a);
  v[2] = _mm512_fnmadd_ps(Of(kA), odd_a, even_a);
  const __m512 even_b = _mm512_fnmadd_ps(Of(kA2), d[2], d[4]);
  const __m512 odd_b = _mm512_fnmadd_ps(Of(kA2), d[1], d[3]);
  v[3] = _mm512_fmadd_ps(Of(kB), odd_b, even_b);
  v[4] = _mm512_fnmadd_ps(Of(kB), odd_b, even_b);
  v[5] = _mm512_fmadd_ps(Of(kProduct), d[1], _mm512_fnmadd_ps(Of(kSum), d[3], d[5]));
}

// Six sums become four outputs.
inline void Back(const __m512 (&m)[6], __m512 (&y)[4]) {
  const __m512 sum_a = _mm512_add_ps(m[1], m[2]), sum_b = _mm512_add_ps(m[3], m[4]);
  const __m512 dif_a = _mm512_sub_ps(m[1], m[2]), dif_b = _mm512_sub_ps(m[3], m[4]);
  y[0] = _mm512_add_ps(m[0], _mm512_add_ps(sum_a, sum_b));
  y[1] = _mm512_fmadd_ps(Of(kA), dif_a, _mm512_mul_ps(Of(kB), dif_b));
  y[2] = _mm512_fmadd_ps(Of(kA2), sum_a, _mm512_mul_ps(Of(kB2), sum_b));
  y[3] = _mm512_fmadd_ps(Of(kA3), dif_a, _mm512_fmadd_ps(Of(kB3), dif_b, m[5]));
}

// The transpose of Back: four gradients of outputs become six gradients of sums.
inline void BackTransposed(const __m512 (&y)[4], __m512 (&m)[6]) {
  m[0] = y[0];
  const __m512 even_a = _mm512_fmadd_ps(Of(kA2), y[2], y[0]);
  const __m512 odd_a = _mm512_fmadd_ps(Of(kA2), y[3], y[1]);
  m[1] = _mm512_fmadd_ps(Of(kA), odd_a, even_a);
  m[2] = _mm512_fnmadd_ps(Of(kA), odd_a, even_a);
  const __m512 even_b = _mm512_fmadd_ps(Of(kB2), y[2], y[0]);
  const __m512 odd_b = _mm512_fmadd_ps(Of(kB2), y[3], y[1]);
  m[3] = _mm512_fmadd_ps(Of(kB), odd_b, even_b);
  m[4] = _mm512_fnmadd_ps(Of(kB), odd_b, even_b);
  m[5] = y[3];
}

// One over the derivative of the polynomial that vanishes at all points, at 0, a and b.
constexpr float kN0 = static_cast<float>(1.0 / (0.6875 * 0.6875 * 1.5 * 1.5));
constexpr float kNA =
    static_cast<float>(1.0 / (2 * 0.6875 * 0.6875 * (0.6875 * 0.6875 - 1.5 * 1.5)));
constexpr float kNB = static_cast<float>(1.0 / (2 * 1.5 * 1.5 * (1.5 * 1.5 - 0.6875 * 0.6875)));

// Three elements of a window become six.
inline void Window(const __m512 (&g)[3], __m512 (&u)[6]) {
  u[0] = _mm512_mul_ps(Of(kN0), g[0]);
  const __m512 even_a = _mm512_mul_ps(Of(kNA), _mm512_fmadd_ps(Of(kA2), g[2], g[0]));
  u[1] = _mm512_fmadd_ps(Of(kNA * kA), g[1], even_a);
  u[2] = _mm512_fnmadd_ps(Of(kNA * kA), g[1], even_a);
  const __m512 even_b = _mm512_mul_ps(Of(kNB), _mm512_fmadd_ps(Of(kB2), g[2], g[0]));
  u[3] = _mm512_fmadd_ps(Of(kNB * kB), g[1], even_b);
  u[4] = _mm512_fnmadd_ps(Of(kNB * kB), g[1], even_b);
  u[5] = g[2];
}

// The transpose of Window.
inline void WindowTransposed(const __m512 (&u)[6], __m512 (&g)[3]) {
  const __m512 sum_a = _mm512_mul_ps(Of(kNA), _mm512_add_ps(u[1], u[2]));
  const __m512 sum_b = _mm512_mul_ps(Of(kNB), _mm512_add_ps(u[3], u[4]));
  const __m512 dif_a = _mm512_sub_ps(u[1], u[2]), dif_b = _mm512_sub_ps(u[3], u[4]);
  g[0] = _mm512_fmadd_ps(Of(kN0), u[0], _mm512_add_ps(sum_a, sum_b));
  g[1] = _mm512_fmadd_ps(Of(kNA * kA), dif_a, _mm512_mul_ps(Of(kNB * kB), dif_b));
  g[2] = _mm512_fmadd_ps(Of(kA2), sum_a, _mm512_fmadd_ps(Of(kB2), sum_b, u[5]));
}

// A transform of one axis applied to both axes of a kFrom x kFrom square: load(i, j), store(i, j,
// v).
template <int kFrom, int kTo, typename T, typename L, typename S>
inline void BothAxes(T transform, L load, S store) {
  __m512 half[kFrom][kTo];
  Unroll<kFrom>([&](int i) {
    __m512 from[kFrom];
    Unroll<kFrom>([&](int j) { from[j] = load(i, j); });
    transform(from, half[i]);
  });
  Unroll<kTo>([&](int j) {
    __m512 from[kFrom], to[kTo];
    Unroll<kFrom>([&](int i) { from[i] = half[i][j]; });
    transform(from, to);
    Unroll<kTo>([&](int i) { store(i, j, to[i]); });
  });
}

// Where a tile lies.
struct Tile {
  int64_t n, h, w;  // image; tile's row and column
};

Tile TileAt(const Sizes& s, int64_t t) {
  const int64_t each = s.tiles_h() * s.tiles_w();
  return {t / each, t % each / s.tiles_w(), t % s.tiles_w()};
}

// Transformed tiles [36][channels / 16][rows][16]; 16 floats between the places keep their lines
// out of each other's way in the cache.
struct Panel {
  int64_t blocks, rows;

  int64_t block_step() const { return rows * kBlock; }
  int64_t place_step() const { return blocks * rows * kBlock + kBlock; }
  int64_t floats() const { return kPlaces * place_step(); }
};

[[gnu::flatten]] void TransformTile(const Sizes& s, int64_t t, const float* x, const Panel& p,
                                    int64_t first_block, int64_t end_block, float* to) {
  const Tile tile = TileAt(s, t);
  const int64_t h = tile.h * 4 - s.pad_h, w = tile.w * 4 - s.pad_w, step = p.place_step();
  const bool inside = h >= 0 && w >= 0 && h + 6 <= s.in_h && w + 6 <= s.in_w;
  for (int64_t b = first_block; b < end_block; ++b, to += p.block_step()) {
    const float* image = x + (tile.n * p.blocks + b) * s.in_h * s.in_w * kBlock;
    const auto store = [&](int i, int j, __m512 v) { Store(to + (i * 6 + j) * step, v); };
    if (inside) {
      const float* from = image + (h * s.in_w + w) * kBlock;
      BothAxes<6, 6>(
          Forward, [&](int i, int j) { return Load(from + (i * s.in_w + j) * kBlock); }, store);
    } else {
      __m512 copy[6][6];
      for (int64_t i = 0; i < 6; ++i) {
        for (int64_t j = 0; j < 6; ++j) {
          const bool in = h + i >= 0 && h + i < s.in_h && w + j >= 0 && w + j < s.in_w;
          copy[i][j] = in ? Load(image + ((h + i) * s.in_w + w + j) * kBlock) : _mm512_setzero_ps();
        }
      }
      BothAxes<6, 6>(
          Forward, [&](int i, int j) { return copy[i][j]; }, store);
    }
  }
}

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

constexpr int64_t kRows = 12;  // 24 sums, 2 columns, 1 factor: 27 of 32 registers

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
    const auto multiply = [&](int64_t row, auto multiply_rows) {
      multiply_rows(n, from + row * kBlock, a_step, weights, adds || first > 0, c + row * kBlock,
                    c_step);
    };
    int64_t row = 0;
    for (; row + kRows <= rows; row += kRows) multiply(row, Multiply<kRows, kColumns>);
    for (; row + 4 <= rows; row += 4) multiply(row, Multiply<4, kColumns>);
    for (; row < rows; ++row) multiply(row, Multiply<1, kColumns>);
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
  const float* from = w + (out * (s.inputs / kBlock) + in) * 9 * kSquare;
  if (form == Weights::kTurned) {
    from = w + (in * (s.outputs / kBlock) + out) * 9 * kSquare;
    for (int64_t i = 0; i < 9; ++i) {
      avx512::Transpose16(from + i * kSquare, kBytes, turned + (8 - i) * kSquare, kBytes);
    }
    from = turned;
  }
  for (int64_t k = 0; k < kBlock; ++k) {
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
// channels for a pair, and the pair's sums.
constexpr int64_t kPairWeights = kPlaces * kBlocksAtOnce * kBlock * 2 * kBlock;

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
          const int64_t step = n * kBlock * width;
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

namespace {

// The transpose of TransformTileBack without its epilogue.
[[gnu::flatten]] void TransformGradientTile(const Sizes& s, int64_t t, const float* dy,
                                            const Panel& p, float* to) {
  const Tile tile = TileAt(s, t);
  const int64_t h = tile.h * 4, w = tile.w * 4, step = p.place_step();
  const int64_t rows = s.out_h - h, columns = s.out_w - w;
  for (int64_t b = 0; b < p.blocks; ++b, to += p.block_step()) {
    const float* from = dy + (((tile.n * p.blocks + b) * s.out_h + h) * s.out_w + w) * kBlock;
    BothAxes<4, 6>(
        BackTransposed,
        [&](int i, int j) {
          if (i >= rows || j >= columns) return _mm512_setzero_ps();
          return Load(from + (i * s.out_w + j) * kBlock);
        },
        [&](int i, int j, __m512 v) { Store(to + (i * 6 + j) * step, v); });
  }
}

// c[row, 0..16 kColumns) = or += the sum over n tiles of a[tile, row] b[tile, column].
template <int kRows, int kColumns>
[[gnu::flatten]] void MultiplyTiles(int64_t n, const float* a, const float* b, int64_t b_step,
                                    bool adds, float* c, int64_t c_step) {
  __m512 sum[kRows][kColumns];
  Unroll<kRows>([&](int i) {
    Unroll<kColumns>(
        [&](int j) { sum[i][j] = adds ? Load(c + j * c_step + i * kBlock) : _mm512_setzero_ps(); });
  });
  for (int64_t t = 0; t < n; ++t, a += kBlock, b += kBlock) {
    __m512 columns[kColumns];
    Unroll<kColumns>([&](int j) { columns[j] = Load(b + j * b_step); });
    Unroll<kRows>([&](int i) {
      const __m512 x = Of(a[i]);
      Unroll<kColumns>([&](int j) { sum[i][j] = _mm512_fmadd_ps(x, columns[j], sum[i][j]); });
    });
  }
  Unroll<kRows>([&](int i) {
    Unroll<kColumns>([&](int j) { Store(c + j * c_step + i * kBlock, sum[i][j]); });
  });
}

// All input channels' rows of kColumns blocks of output channels.
template <int kColumns>
void MultiplyPlace(int64_t n, const Panel& in, const float* a, const float* b, int64_t b_step,
                   bool adds, float* c) {
  constexpr int kHalf = 8;
  const int64_t c_step = in.blocks * kBlock * kBlock;
  for (int64_t block = 0; block < in.blocks; ++block, a += in.block_step()) {
    for (int64_t i = 0; i < kBlock; i += kHalf, c += kHalf * kBlock) {
      MultiplyTiles<kHalf, kColumns>(n, a + i, b, b_step, adds, c, c_step);
    }
  }
}

// The transpose of TransformWindows; the elements of a window lie kBlock * kBlock apart.
[[gnu::flatten]] void TransformWindowsBack(const float* from, int64_t from_step, float* to) {
  BothAxes<6, 3>(
      WindowTransposed, [&](int i, int j) { return Load(from + (i * 6 + j) * from_step); },
      [&](int i, int j, __m512 v) { Store(to + (i * 3 + j) * kBlock * kBlock, v); });
}

// Tiles whose transforms are kept at once: the cache of the third level should hold them.
int64_t GradientTiles(const Sizes& s) {
  constexpr int64_t kFloats = 2 * 1024 * 1024;
  const int64_t most = std::max<int64_t>(kFloats / (kPlaces * (s.inputs + s.outputs)), 128);
  const int64_t chunks = (s.tiles() + most - 1) / most;
  return chunks == 0 ? 0 : (s.tiles() + chunks - 1) / chunks;
}

}  // namespace

int64_t GradientFloats(const Sizes& s) {
  const int64_t rows = GradientTiles(s);
  return WeightFloats(s.inputs, s.outputs) + Panel{s.inputs / kBlock, rows}.floats() +
         Panel{s.outputs / kBlock, rows}.floats();
}

void WeightGradient(const Sizes& s, const float* x, const float* dy, float* dw, float* db,
                    float* scratch) {
  const int64_t rows = GradientTiles(s), tiles = s.tiles();
  const Panel in = {s.inputs / kBlock, rows}, out = {s.outputs / kBlock, rows};
  float* values = scratch + WeightFloats(s.inputs, s.outputs);
  float* gradients = values + in.floats();
  const int64_t step = s.inputs * s.outputs, pairs = (out.blocks + 1) / 2;
  for (int64_t first = 0; first < tiles; first += rows) {
    const int64_t n = std::min(rows, tiles - first);
    ParallelFor(n, 4, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        TransformTile(s, first + t, x, in, 0, in.blocks, values + t * kBlock);
        TransformGradientTile(s, first + t, dy, out, gradients + t * kBlock);
      }
    });
    ParallelFor(kPlaces * pairs, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t place = i / pairs, block = i % pairs * 2;
        const float* a = values + place * in.place_step();
        const float* b = gradients + place * out.place_step() + block * out.block_step();
        float* c = scratch + place * step + block * s.inputs * kBlock;
        if (block + 1 < out.blocks) {
          MultiplyPlace<2>(n, in, a, b, out.block_step(), first > 0, c);
        } else {
          MultiplyPlace<1>(n, in, a, b, out.block_step(), first > 0, c);
        }
      }
    });
  }
  ParallelFor(in.blocks * out.blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      for (int64_t k = 0; k < kBlock; ++k) {
        const float* from = scratch + (b * kBlock + k) * kBlock;
        float* to = dw + (b * 9 * kBlock + k) * kBlock;
        TransformWindowsBack(from, step, to);
      }
    }
  });
  if (db == nullptr) return;
  const int64_t positions = s.out_h * s.out_w;
  ParallelFor(out.blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      __m512 sum = _mm512_setzero_ps();
      for (int64_t image = 0; image < s.batch; ++image) {
        const float* from = dy + (image * out.blocks + b) * positions * kBlock;
        __m512 part = _mm512_setzero_ps();
        for (int64_t i = 0; i < positions; ++i) {
          part = _mm512_add_ps(part, Load(from + i * kBlock));
        }
        sum = _mm512_add_ps(sum, part);
      }
      Store(db + b * kBlock, sum);
    }
  });
}

#else

bool IsBuilt() { return false; }
void TransformWeights(int64_t, int64_t, Weights, const float*, float*) {}
bool TransformsAsItGoes(const Sizes&) { return false; }
int64_t ConvolveFloats(const Sizes&, int, Weights) { return 0; }
void Convolve(const Sizes&, int, const float*, Weights, const float*, const Epilogue&, float*,
              float*) {}
int64_t GradientFloats(const Sizes&) { return 0; }
void WeightGradient(const Sizes&, const float*, const float*, float*, float*, float*) {}

#endif

}  // namespace graphrun::winograd
