#include "ops/winograd_gradient.h"

#include <algorithm>

#include "ops/winograd_tiles.h"
#include "runtime/base/parallel.h"

namespace graphrun::winograd {

bool WeightGradientPays(const Sizes& s) { return Pays(s, 38, 1100, 900); }

#if defined(__AVX512F__)

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

// Tiles whose transforms are kept at once: few enough to stay in the caches.
int64_t GradientTiles(const Sizes& s) {
  constexpr int64_t kFloats = 512 * 1024;
  const int64_t most = std::max<int64_t>(kFloats / (kPlaces * (s.inputs + s.outputs)), 128);
  const int64_t chunks = (s.tiles() + most - 1) / most;
  return chunks == 0 ? 0 : (s.tiles() + chunks - 1) / chunks;
}

// Blocks of output channels whose sums are kept at once: all where tiles come in several chunks,
// which would be transformed again for each group, else an even number of them.
int64_t GradientBlocks(const Sizes& s) {
  constexpr int64_t kFloats = 1280 * 1024;
  const int64_t blocks = s.outputs / kBlock, floats = WeightFloats(s.inputs, s.outputs);
  if (GradientTiles(s) < s.tiles() || floats <= kFloats) return blocks;
  const int64_t groups = std::min((floats + kFloats - 1) / kFloats, (blocks + 1) / 2);
  return ((blocks + groups - 1) / groups + 1) / 2 * 2;
}

}  // namespace

int64_t GradientFloats(const Sizes& s) {
  const int64_t rows = GradientTiles(s);
  return WeightFloats(s.inputs, GradientBlocks(s) * kBlock) +
         Panel{s.inputs / kBlock, rows}.floats() + Panel{s.outputs / kBlock, rows}.floats();
}

void WeightGradient(const Sizes& s, const float* x, const float* dy, float* dw, float* db,
                    float* scratch) {
  const int64_t rows = GradientTiles(s), tiles = s.tiles(), kept = GradientBlocks(s);
  const Panel in = {s.inputs / kBlock, rows}, out = {s.outputs / kBlock, rows};
  float* values = scratch + WeightFloats(s.inputs, kept * kBlock);
  float* gradients = values + in.floats();
  const int64_t step = s.inputs * kept * kBlock;
  for (int64_t group = 0; group < out.blocks; group += kept) {
    const int64_t blocks = std::min(kept, out.blocks - group), pairs = (blocks + 1) / 2;
    for (int64_t first = 0; first < tiles; first += rows) {
      const int64_t n = std::min(rows, tiles - first);
      if (group == 0) {
        ParallelFor(n, 4, [&](int64_t begin, int64_t end) {
          for (int64_t t = begin; t < end; ++t) {
            TransformTile(s, first + t, x, in, 0, in.blocks, values + t * kBlock);
            TransformGradientTile(s, first + t, dy, out, gradients + t * kBlock);
          }
        });
      }
      ParallelFor(kPlaces * pairs, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t place = i / pairs, block = i % pairs * 2;
          const float* a = values + place * in.place_step();
          const float* b =
              gradients + place * out.place_step() + (group + block) * out.block_step();
          float* c = scratch + place * step + block * s.inputs * kBlock;
          if (block + 1 < blocks) {
            MultiplyPlace<2>(n, in, a, b, out.block_step(), first > 0, c);
          } else {
            MultiplyPlace<1>(n, in, a, b, out.block_step(), first > 0, c);
          }
        }
      });
    }
    ParallelFor(in.blocks * blocks, 4, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        for (int64_t k = 0; k < kBlock; ++k) {
          const float* from = scratch + (b * kBlock + k) * kBlock;
          float* to = dw + ((group * in.blocks + b) * 9 * kBlock + k) * kBlock;
          TransformWindowsBack(from, step, to);
        }
      }
    });
  }
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

int64_t GradientFloats(const Sizes&) { return 0; }
void WeightGradient(const Sizes&, const float*, const float*, float*, float*, float*) {}

#endif

}  // namespace graphrun::winograd
