#include "ops/winograd_pairs.h"

#include <algorithm>

#include "ops/conv_winograd.h"
#include "ops/onednn.h"
#include "ops/pair_products.h"
#include "ops/winograd_tiles.h"
#include "runtime/base/parallel.h"

namespace graphrun {
namespace winograd {

bool PairsPay(const Sizes& s) { return Pays(s, 33, 550, 720); }

#ifdef GR_PAIR_PRODUCTS

namespace {

constexpr int64_t kTile = kBlock * kBlock;  // weights between two blocks of channels
constexpr int64_t kColumns = 2;             // blocks of outputs that are multiplied at once

// Transformed pairs of tiles [36][channels / 16][pairs][16] of 32 bits; a line between the places
// keeps them out of each other's way in the cache.
struct Lines {
  int64_t blocks, pairs;

  int64_t block_step() const { return pairs * kBlock; }
  int64_t place_step() const { return blocks * pairs * kBlock + kBlock; }
  int64_t size() const { return kPlaces * place_step(); }
};

// Sums [36][outputs / 16][inputs / 16][16 i][16 o].
struct Sums {
  int64_t in_blocks, out_blocks;

  int64_t out_step() const { return in_blocks * kTile; }
  int64_t place_step() const { return out_blocks * out_step() + kBlock; }
  int64_t size() const { return kPlaces * place_step(); }
};

Lines InputLines(const PairSums& z) { return {z.s.inputs / kBlock, z.pairs}; }
Lines GradientLines(const PairSums& z) { return {z.s.outputs / kBlock, z.pairs}; }
// Of all weights, or of those that one thread sums at once.
Sums KeptSums(const PairSums& z) {
  if (z.whole()) return {z.in_blocks, kColumns};
  return {z.s.inputs / kBlock, z.s.outputs / kBlock};
}

// A square of one block of channels in an image; parts of it may lie outside, where it is zero.
struct Square {
  const BFloat16* at = nullptr;
  int64_t row_step = 0, step = 0;
  uint32_t rows = 0;  // bit i: row i is inside
  __mmask16 lanes[6] = {};
  bool inside = false;
};

// The square of size x size elements at (h, w) of a tensor of h_size x w_size.
Square SquareAt(const pairs::Places& p, const BFloat16* image, int64_t h, int64_t w, int64_t size,
                int64_t h_size, int64_t w_size) {
  Square q;
  q.step = p.step;
  q.row_step = w_size * p.step;
  q.at = image + (h * w_size + w) * p.step;
  q.inside = h >= 0 && w >= 0 && h + size <= h_size && w + size <= w_size;
  for (int64_t i = 0; i < size; ++i) {
    if (h + i >= 0 && h + i < h_size) q.rows |= 1u << i;
    q.lanes[i] = w + i >= 0 && w + i < w_size ? 0xffff : 0;
  }
  return q;
}

__m512 Widen(__m256i v) {
  return _mm512_castsi512_ps(
      _mm512_maskz_slli_epi32(0xffff, _mm512_maskz_cvtepu16_epi32(0xffff, v), 16));
}

// The places of two squares in one block of channels, as pairs.
template <auto kTransform, int kFrom, bool kInside>
[[gnu::flatten]] void TransformBlock(const Square* squares, int64_t offset, uint32_t* to,
                                     int64_t step) {
  alignas(64) static constexpr uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                      21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                      11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i order = _mm512_load_si512(kOrder);
  __m512 half[2][kFrom][6];
  Unroll<2>([&](int t) {
    const Square& q = squares[t];
    const BFloat16* const at = q.at + offset;
    Unroll<kFrom>([&](int i) {
      __m512 from[kFrom];
      if (kInside || (q.rows >> i & 1) != 0) {
        Unroll<kFrom>([&](int j) {
          const BFloat16* p = at + i * q.row_step + j * q.step;
          from[j] = Widen(kInside ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))
                                  : _mm256_maskz_loadu_epi16(q.lanes[j], p));
        });
        kTransform(from, half[t][i]);
      } else {
        Unroll<6>([&](int j) { half[t][i][j] = _mm512_setzero_ps(); });
      }
    });
  });
  Unroll<6>([&](int j) {
    __m512 from[kFrom], even[6], odd[6];
    Unroll<kFrom>([&](int i) { from[i] = half[0][i][j]; });
    kTransform(from, even);
    Unroll<kFrom>([&](int i) { from[i] = half[1][i][j]; });
    kTransform(from, odd);
    Unroll<6>([&](int i) {
      const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(odd[i], even[i]);
      _mm512_storeu_si512(to + (i * 6 + j) * step, _mm512_permutexvar_epi16(order, both));
    });
  });
}

template <auto kTransform, int kFrom>
void TransformPair(const Square* squares, const pairs::Places& places, const Lines& lines,
                   uint32_t* to) {
  for (int64_t b = 0; b < lines.blocks; ++b, to += lines.block_step()) {
    const int64_t offset = b * places.block_step;
    if (squares[0].inside && squares[1].inside) {
      TransformBlock<kTransform, kFrom, true>(squares, offset, to, lines.place_step());
    } else {
      TransformBlock<kTransform, kFrom, false>(squares, offset, to, lines.place_step());
    }
  }
}

// Squares `at(tile)` of tiles `first` and `first` + 1; one that is all outside where there is none.
template <typename F>
void FindPair(const Sizes& s, int64_t first, F at, Square* squares) {
  squares[0] = at(TileAt(s, first));
  if (first + 1 < s.tiles()) {
    squares[1] = at(TileAt(s, first + 1));
  } else {
    squares[1].at = squares[0].at;
  }
}

void TransformInputs(const PairSums& z, int64_t first, const BFloat16* x, uint32_t* to) {
  const Sizes& s = z.s;
  Square squares[2];
  const auto at = [&](const Tile& t) {
    return SquareAt(z.x, x + t.n * z.x.image_step, t.h * 4 - s.pad_h, t.w * 4 - s.pad_w, 6, s.in_h,
                    s.in_w);
  };
  FindPair(s, first, at, squares);
  TransformPair<Forward, 6>(squares, z.x, InputLines(z), to);
}

void TransformGradients(const PairSums& z, int64_t first, const BFloat16* dy, uint32_t* to) {
  const Sizes& s = z.s;
  Square squares[2];
  const auto at = [&](const Tile& t) {
    return SquareAt(z.dy, dy + t.n * z.dy.image_step, t.h * 4, t.w * 4, 4, s.out_h, s.out_w);
  };
  FindPair(s, first, at, squares);
  TransformPair<BackTransposed, 4>(squares, z.dy, GradientLines(z), to);
}

// Sums of some blocks of inputs and one or two of outputs at one place.
void MultiplyPlace(int64_t pairs, const uint32_t* values, int64_t value_step, int64_t in_blocks,
                   const uint32_t* gradients, int64_t gradient_step, int64_t out_blocks, bool adds,
                   float* sums, int64_t sum_step) {
  constexpr int64_t kHalf = 8;
  for (int64_t block = 0; block < in_blocks; ++block, values += value_step) {
    for (int64_t i = 0; i < kBlock; i += kHalf, sums += kHalf * kBlock) {
      if (out_blocks == kColumns) {
        pairs::Multiply<kColumns>(pairs, values + i, gradients, gradient_step, adds, sums,
                                  sum_step);
      } else {
        pairs::Multiply<1>(pairs, values + i, gradients, gradient_step, adds, sums, sum_step);
      }
    }
  }
}

// The transpose of TransformWindows for 16 x 16 sums, to [9][8 i][16 o][2 i].
[[gnu::flatten]] void TransformSumsBack(const float* from, int64_t from_step, float* to) {
  for (int64_t k = 0; k < kBlock; k += 2, from += 2 * kBlock, to += 2 * kBlock) {
    __m512 g[2][9];
    Unroll<2>([&](int row) {
      BothAxes<6, 3>(
          WindowTransposed,
          [&](int i, int j) { return Load(from + (i * 6 + j) * from_step + row * kBlock); },
          [&](int i, int j, __m512 v) { g[row][i * 3 + j] = v; });
    });
    Unroll<9>([&](int i) { pairs::StoreInterleaved(g[0][i], g[1][i], to + i * kTile); });
  }
}

// Transforms of `n` pairs of tiles from tile `first` on.
void TransformTiles(const PairSums& z, int64_t first, int64_t n, const BFloat16* x,
                    const BFloat16* dy, uint32_t* values, uint32_t* gradients) {
  ParallelFor(n, 4, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      TransformInputs(z, first + 2 * p, x, values + p * kBlock);
    }
    for (int64_t p = begin; p < end; ++p) {
      TransformGradients(z, first + 2 * p, dy, gradients + p * kBlock);
    }
  });
}

// All tiles are transformed: sums of some blocks at all places and at once their result.
void SumBlocks(const PairSums& z, int threads, const uint32_t* values, const uint32_t* gradients,
               float* sums, float* dw) {
  const Lines in = InputLines(z), out = GradientLines(z);
  const Sums kept = KeptSums(z);
  const int64_t groups = (in.blocks + z.in_blocks - 1) / z.in_blocks;
  const int64_t units = (out.blocks + kColumns - 1) / kColumns * groups;
  ParallelFor(threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      float* const c = sums + worker * kept.size();
      for (int64_t unit = units * worker / threads; unit < units * (worker + 1) / threads; ++unit) {
        const int64_t o = unit / groups * kColumns, i = unit % groups * z.in_blocks;
        const int64_t out_n = std::min(kColumns, out.blocks - o),
                      in_n = std::min(z.in_blocks, in.blocks - i);
        for (int64_t place = 0; place < kPlaces; ++place) {
          MultiplyPlace(
              in.pairs, values + place * in.place_step() + i * in.block_step(), in.block_step(),
              in_n, gradients + place * out.place_step() + o * out.block_step(), out.block_step(),
              out_n, false, c + place * kept.place_step(), kept.out_step());
        }
        for (int64_t j = 0; j < out_n; ++j) {
          for (int64_t k = 0; k < in_n; ++k) {
            TransformSumsBack(c + j * kept.out_step() + k * kTile, kept.place_step(),
                              dw + ((o + j) * in.blocks + i + k) * 9 * kTile);
          }
        }
      }
    }
  });
}

// The sum of dy over images and positions.
void SumChannels(const PairSums& z, const BFloat16* dy, float* db) {
  constexpr int kSums = 4;  // that the processor adds to at once
  const int64_t positions = z.s.out_h * z.s.out_w;
  ParallelFor(z.s.outputs / kBlock, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      __m512 sums[kSums];
      Unroll<kSums>([&](int j) { sums[j] = _mm512_setzero_ps(); });
      for (int64_t image = 0; image < z.s.batch; ++image) {
        const BFloat16* const from = dy + image * z.dy.image_step + b * z.dy.block_step;
        const auto at = [&](int64_t i) {
          return Widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i * z.dy.step)));
        };
        __m512 parts[kSums];
        Unroll<kSums>([&](int j) { parts[j] = _mm512_setzero_ps(); });
        int64_t i = 0;
        for (; i + kSums <= positions; i += kSums) {
          Unroll<kSums>([&](int j) { parts[j] = _mm512_add_ps(parts[j], at(i + j)); });
        }
        for (; i < positions; ++i) parts[0] = _mm512_add_ps(parts[0], at(i));
        Unroll<kSums>([&](int j) { sums[j] = _mm512_add_ps(sums[j], parts[j]); });
      }
      const __m512 low = _mm512_add_ps(sums[0], sums[1]), high = _mm512_add_ps(sums[2], sums[3]);
      Store(db + b * kBlock, _mm512_add_ps(low, high));
    }
  });
}

}  // namespace

PairSums PairSums::Of(const Sizes& s, const pairs::Places& x, const pairs::Places& dy) {
  constexpr int64_t kLines = 16 * 1024, kFewest = 32, kInBlocks = 4;
  PairSums z = {s, x, dy};
  const int64_t all = (s.tiles() + 1) / 2;
  const int64_t each = kPlaces * (s.inputs + s.outputs) / kBlock;  // lines of a pair
  // All where they take no more room than the sums of all weights would.
  const int64_t most = std::max(kLines / each, kFewest);
  const int64_t sums = kPlaces * s.inputs * s.outputs / kBlock;
  const int64_t chunks = all * each <= sums + most * each ? 1 : (all + most - 1) / most;
  z.pairs = (all + chunks - 1) / chunks;
  const int64_t blocks = s.inputs / kBlock, groups = (blocks + kInBlocks - 1) / kInBlocks;
  z.in_blocks = (blocks + groups - 1) / groups;
  return z;
}

int64_t PairSums::scratch_bytes(int threads) const {
  const int64_t lines = InputLines(*this).size() + GradientLines(*this).size();
  return 4 * (lines + (whole() ? threads : 1) * KeptSums(*this).size());
}

void WeightGradient(const PairSums& z, int threads, const BFloat16* x, const BFloat16* dy,
                    float* dw, float* db, void* scratch) {
  if (db != nullptr) SumChannels(z, dy, db);
  const Lines in = InputLines(z), out = GradientLines(z);
  auto* const values = static_cast<uint32_t*>(scratch);
  uint32_t* const gradients = values + in.size();
  auto* const sums = reinterpret_cast<float*>(gradients + out.size());
  if (z.whole()) {
    TransformTiles(z, 0, z.pairs, x, dy, values, gradients);
    SumBlocks(z, threads, values, gradients, sums, dw);
    return;
  }
  const Sums kept = KeptSums(z);
  const int64_t all = (z.s.tiles() + 1) / 2, columns = (out.blocks + kColumns - 1) / kColumns;
  for (int64_t first = 0; first < all; first += z.pairs) {
    const int64_t n = std::min(z.pairs, all - first);
    TransformTiles(z, 2 * first, n, x, dy, values, gradients);
    ParallelFor(kPlaces * columns, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t place = i / columns, o = i % columns * kColumns;
        MultiplyPlace(n, values + place * in.place_step(), in.block_step(), in.blocks,
                      gradients + place * out.place_step() + o * out.block_step(), out.block_step(),
                      std::min(kColumns, out.blocks - o), first > 0,
                      sums + place * kept.place_step() + o * kept.out_step(), kept.out_step());
      }
    });
  }
  ParallelFor(in.blocks * out.blocks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      TransformSumsBack(sums + b * kTile, kept.place_step(), dw + b * 9 * kTile);
    }
  });
}

#else

PairSums PairSums::Of(const Sizes&, const pairs::Places&, const pairs::Places&) { return {}; }
int64_t PairSums::scratch_bytes(int) const { return 0; }
void WeightGradient(const PairSums&, int, const BFloat16*, const BFloat16*, float*, float*, void*) {
}

#endif

}  // namespace winograd

std::unique_ptr<Kernel> WinogradPairsConvBackwardWeights(PrepareContext& c, const ConvShape& s) {
  const DType type = DType::kBFloat16;
  const auto sizes = WinogradSizes(type, s);
  if (!pairs::IsBuilt() || !sizes || c.input_dtype(0) != type || c.input_dtype(1) != type ||
      c.output_dtype(0) != DType::kFloat32 ||
      (c.has_output(1) && c.output_dtype(1) != DType::kFloat32) || !winograd::PairsPay(*sizes)) {
    return nullptr;
  }
  const auto made = onednn::LayoutOf(onednn::Md(c.output_dims(0), dnnl::memory::data_type::f32,
                                                dnnl::memory::format_tag::OIhw8i16o2i));
  const auto x = pairs::RunsOf(c, 1), dy = pairs::RunsOf(c, 0);
  if (!made || !x || !dy) return nullptr;
  const auto z = winograd::PairSums::Of(*sizes, pairs::Places::Of(*x), pairs::Places::Of(*dy));
  c.Want(0, dy->LayoutOf(c.input_dims(0)));
  c.Want(1, x->LayoutOf(c.input_dims(1)));
  c.Make(0, *made);
  const int threads = c.threads();
  c.Scratch(z.scratch_bytes(threads));
  return MakeKernel(
      [=](RunContext& r) {
        winograd::WeightGradient(z, threads, r.input(1).data<BFloat16>(),
                                 r.input(0).data<BFloat16>(), r.output(0).mutable_data<float>(),
                                 r.has_output(1) ? r.output(1).mutable_data<float>() : nullptr,
                                 r.scratch());
        return absl::OkStatus();
      },
      "winograd pairs");
}

}  // namespace graphrun
