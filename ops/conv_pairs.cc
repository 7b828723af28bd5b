#include "ops/conv_pairs.h"

#include <algorithm>

#include "ops/onednn.h"
#include "ops/pair_products.h"
#include "runtime/base/parallel.h"

namespace graphrun {

namespace pairs {
namespace {

constexpr int64_t kBlock = 16;              // channels
constexpr int64_t kTile = kBlock * kBlock;  // weights between two blocks of channels
constexpr int64_t kPairs = 256;             // most pairs of positions packed at once
constexpr int64_t kGroup = 16;              // most blocks of output channels packed at once
constexpr int64_t kSmall = 64 * 1024;       // weights; fewer are summed in parts
constexpr int64_t kParts = 4;               // of the positions, whatever the number of threads
// Numbers of 32 bits in a packed block; one line more, so that blocks begin in different sets of
// the caches.
constexpr int64_t kPanel = (kPairs + 1) * kBlock;

}  // namespace

Places Places::Of(const ChannelRuns& r) {
  const int64_t block_step = r.blocks == 1 ? kBlock : r.positions * r.run;
  return {r.channels(), r.run, block_step, r.positions * r.channels()};
}

Sums Sums::Of(const ConvShape& s, const ChannelRuns& x, const ChannelRuns& dy) {
  Sums z;
  z.s = s;
  z.x = Places::Of(x);
  z.dy = Places::Of(dy);
  z.pairs = (s.batch * s.out_size() + 1) / 2;
  z.in_blocks = (s.inputs + kBlock - 1) / kBlock;
  z.out_blocks = (s.outputs + kBlock - 1) / kBlock;
  z.taps = s.kernel_size();
  if (z.floats() <= kSmall && z.pairs >= kParts * kPairs) z.parts = kParts;
  return z;
}

int64_t Sums::floats() const { return taps * in_blocks * out_blocks * kTile; }

int64_t Sums::scratch_floats(int threads) const {
  return (parts == 1 ? 0 : parts * floats()) + threads * (kGroup + 2) * kPanel;
}

#ifdef GR_PAIR_PRODUCTS

bool IsBuilt() { return true; }

namespace {

int64_t TilesOf(const Sums& z) { return z.taps * z.in_blocks; }
int64_t GroupsOf(const Sums& z) { return (z.out_blocks + kGroup - 1) / kGroup; }
// Output blocks of each group but the last: an even number.
int64_t GroupSize(const Sums& z) {
  return ((z.out_blocks + GroupsOf(z) - 1) / GroupsOf(z) + 1) / 2 * 2;
}
// Where the weights between two blocks begin.
int64_t At(const Sums& z, int64_t out_block, int64_t in_block, int64_t tap) {
  return ((out_block * z.in_blocks + in_block) * z.taps + tap) * kTile;
}

// rows[j] = the inputs that output position first + j sees through a window element; null outside.
void FindRows(const Sums& z, const BFloat16* x, int64_t tap, int64_t first, int64_t n,
              const BFloat16** rows) {
  const ConvShape& s = z.s;
  const int64_t kh = tap / s.kernel[2], kw = tap % s.kernel[2];
  int64_t ow = first % s.out[2], oh = first / s.out[2] % s.out[1], image = first / s.out_size();
  for (int64_t j = 0; j < n;) {
    const int64_t h = s.At(1, oh, kh);
    const BFloat16* row =
        h < 0 || h >= s.in[1] ? nullptr : x + image * z.x.image_step + h * s.in[2] * z.x.step;
    for (; ow < s.out[2] && j < n; ++ow, ++j) {
      const int64_t w = s.At(2, ow, kw);
      rows[j] = row == nullptr || w < 0 || w >= s.in[2] ? nullptr : row + w * z.x.step;
    }
    ow = 0;
    if (++oh == s.out[1]) {
      oh = 0;
      ++image;
    }
  }
}

// to[p, c] = channel c of a block in rows 2 p and 2 p + 1; zeros behind the last channel.
void PackBlock(const BFloat16* const* rows, int64_t pairs, int64_t block, const Places& places,
               uint32_t* to) {
  const int64_t left = places.channels - block * kBlock, from = block * places.block_step;
  const auto lanes = static_cast<__mmask16>(left >= kBlock ? 0xffff : (1 << left) - 1);
  const auto load = [&](const BFloat16* row) {
    return row == nullptr
               ? _mm512_setzero_si512()
               : _mm512_maskz_cvtepu16_epi32(lanes, _mm256_maskz_loadu_epi16(lanes, row + from));
  };
  for (int64_t p = 0; p < pairs; ++p, to += kBlock) {
    const __m512i low = load(rows[2 * p]), high = load(rows[2 * p + 1]);
    _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_maskz_slli_epi32(0xffff, high, 16)));
  }
}

// The same for `count` blocks; their results lie kPanel apart.
void Pack(const BFloat16* const* rows, int64_t pairs, int64_t first, int64_t count,
          const Places& places, uint32_t* to) {
  int64_t done = 0;
  if (places.block_step == kBlock) {
    // Lines of memory in their order, two blocks at once.
    done = std::min(count, places.channels / kBlock - first) / 2 * 2;
    alignas(64) uint16_t order[32];
    for (int i = 0; i < 32; ++i) order[i] = static_cast<uint16_t>(i / 2 + i % 2 * 32);
    const __m512i low = _mm512_load_si512(order);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    const auto load = [](const BFloat16* row, int64_t from) {
      return row == nullptr ? _mm512_setzero_si512() : _mm512_loadu_si512(row + from);
    };
    for (int64_t p = 0; p < pairs; ++p) {
      for (int64_t b = 0; b < done; b += 2) {
        const int64_t from = (first + b) * kBlock;
        const __m512i even = load(rows[2 * p], from), odd = load(rows[2 * p + 1], from);
        uint32_t* at = to + b * kPanel + p * kBlock;
        _mm512_storeu_si512(at, _mm512_permutex2var_epi16(even, low, odd));
        _mm512_storeu_si512(at + kPanel, _mm512_permutex2var_epi16(even, high, odd));
      }
    }
  }
  for (; done < count; ++done) PackBlock(rows, pairs, first + done, places, to + done * kPanel);
}

// [16 i, 16 o] to [8 i, 16 o, 2 i] in place.
void Interleave(float* tile) {
  for (int64_t i = 0; i < kTile; i += 2 * kBlock) {
    const __m512 even = _mm512_loadu_ps(tile + i), odd = _mm512_loadu_ps(tile + i + kBlock);
    StoreInterleaved(even, odd, tile + i);
  }
}

// Input blocks, `z.taps` tiles apart, times the output blocks of a group: pairs of output blocks
// stay in the nearest cache.
void MultiplyBlocks(const Sums& z, int64_t pairs, const uint32_t* x, int64_t in_blocks,
                    const uint32_t* dy, int64_t out_blocks, bool adds, bool last, float* tiles) {
  const int64_t step = At(z, 1, 0, 0);
  for (int64_t b = 0; b < out_blocks; b += 2, dy += 2 * kPanel, tiles += 2 * step) {
    const bool both = b + 1 < out_blocks;
    for (int64_t block = 0; block < in_blocks; ++block) {
      const uint32_t* const rows = x + block * kPanel;
      float* const tile = tiles + block * z.taps * kTile;
      for (int64_t i = 0; i < kBlock; i += 8) {
        if (both) {
          Multiply<2>(pairs, rows + i, dy, kPanel, adds, tile + i * kBlock, step);
        } else {
          Multiply<1>(pairs, rows + i, dy, kPanel, adds, tile + i * kBlock, step);
        }
      }
      if (!last) continue;
      Interleave(tile);
      if (both) Interleave(tile + step);
    }
  }
}

// The sums of tiles [first, last) and a group of output blocks over a part of the positions.
void SumTiles(const Sums& z, const BFloat16* x, const BFloat16* dy, int64_t part, int64_t group,
              int64_t first, int64_t last, uint32_t* packed, float* dw) {
  const int64_t positions = z.s.batch * z.s.out_size();
  const int64_t out_begin = group * GroupSize(z),
                out_end = std::min(out_begin + GroupSize(z), z.out_blocks);
  const int64_t begin = z.pairs * part / z.parts, end = z.pairs * (part + 1) / z.parts;
  const int64_t chunks = (end - begin + kPairs - 1) / kPairs;
  uint32_t* const panels = packed + kGroup * kPanel;
  const BFloat16* rows[2 * kPairs];
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t from = begin + (end - begin) * chunk / chunks;
    const int64_t pairs = begin + (end - begin) * (chunk + 1) / chunks - from;
    const int64_t n = std::min(2 * pairs, positions - 2 * from);
    const bool finishes = z.parts == 1 && chunk + 1 == chunks;
    std::fill(rows + n, rows + 2 * pairs, nullptr);
    int64_t image = 2 * from / z.s.out_size(), at = 2 * from % z.s.out_size();
    for (int64_t j = 0; j < n; ++j) {
      rows[j] = dy + image * z.dy.image_step + at * z.dy.step;
      if (++at < z.s.out_size()) continue;
      at = 0;
      ++image;
    }
    Pack(rows, pairs, out_begin, out_end - out_begin, z.dy, packed);
    int64_t blocks = 1;
    for (int64_t t = first; t < last; t += blocks) {
      const int64_t tap = t / z.in_blocks, block = t % z.in_blocks;
      if (t == first || block == 0) FindRows(z, x, tap, 2 * from, n, rows);
      blocks = std::min({int64_t{2}, last - t, z.in_blocks - block});
      Pack(rows, pairs, block, blocks, z.x, panels);
      MultiplyBlocks(z, pairs, panels, blocks, packed, out_end - out_begin, chunk > 0, finishes,
                     dw + At(z, out_begin, block, tap));
    }
  }
}

}  // namespace

void WeightGradient(const Sums& z, int threads, const BFloat16* x, const BFloat16* dy, float* dw,
                    float* scratch) {
  const int64_t tiles = TilesOf(z), units = z.parts * GroupsOf(z) * tiles;
  float* const sums = z.parts == 1 ? dw : scratch;
  auto* const panels =
      reinterpret_cast<uint32_t*>(scratch + (z.parts == 1 ? 0 : z.parts) * z.floats());
  ParallelFor(threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t worker = begin; worker < end; ++worker) {
      const int64_t last = units * (worker + 1) / threads;
      for (int64_t unit = units * worker / threads; unit < last;) {
        const int64_t part = unit / tiles / GroupsOf(z), group = unit / tiles % GroupsOf(z);
        const int64_t tile = unit % tiles, n = std::min(tiles - tile, last - unit);
        SumTiles(z, x, dy, part, group, tile, tile + n, panels + worker * (kGroup + 2) * kPanel,
                 sums + part * z.floats());
        unit += n;
      }
    }
  });
  if (z.parts == 1) return;
  ParallelFor(z.floats() / kTile, 16, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t i = t * kTile; i < (t + 1) * kTile; ++i) {
        float sum = sums[i];
        for (int64_t part = 1; part < z.parts; ++part) sum += sums[part * z.floats() + i];
        dw[i] = sum;
      }
      Interleave(dw + t * kTile);
    }
  });
}

#else

bool IsBuilt() { return false; }
void WeightGradient(const Sums&, int, const BFloat16*, const BFloat16*, float*, float*) {}

#endif

}  // namespace pairs

namespace {

// Channels that make the packing pay.
constexpr int64_t kFewest = 64;

}  // namespace

absl::optional<ChannelRuns> pairs::RunsOf(PrepareContext& c, int input) {
  const Dims dims = c.input_dims(input);
  auto runs = ChannelRuns::Of(dims, c.input_layout(input));
  if (runs && (runs->run == 16 || (runs->blocks == 1 && runs->run > 1))) return runs;
  const auto last = onednn::LayoutOf(onednn::ChannelsLast(DType::kBFloat16, dims));
  return last ? ChannelRuns::Of(dims, *last) : absl::nullopt;
}

std::unique_ptr<Kernel> PairsConvBackwardWeights(PrepareContext& c, const ConvShape& s) {
  const Dims dy = c.input_dims(0), x = c.input_dims(1), w = c.output_dims(0);
  const DType type = DType::kBFloat16;
  if (!pairs::IsBuilt() || c.input_dtype(0) != type || c.input_dtype(1) != type ||
      c.output_dtype(0) != DType::kFloat32 || c.has_output(1) || s.groups != 1 ||
      s.window.rank() != 2 || s.batch < 1 || s.inputs < 16 ||
      s.inputs * s.kernel_size() < kFewest || s.outputs < kFewest || !onednn::IsSound(type, dy) ||
      !onednn::IsSound(type, x) || !onednn::IsSound(DType::kFloat32, w)) {
    return nullptr;
  }
  // As the convolution itself reads them: the update then writes their bf16 copy in place.
  const auto made = onednn::LayoutOf(
      onednn::Md(w, dnnl::memory::data_type::f32, dnnl::memory::format_tag::OIhw8i16o2i));
  const auto x_runs = pairs::RunsOf(c, 1), dy_runs = pairs::RunsOf(c, 0);
  if (!made || !x_runs || !dy_runs) return nullptr;
  const pairs::Sums z = pairs::Sums::Of(s, *x_runs, *dy_runs);
  c.Want(0, dy_runs->LayoutOf(dy));
  c.Want(1, x_runs->LayoutOf(x));
  c.Make(0, *made);
  const int threads = c.threads();
  c.Scratch(z.scratch_floats(threads) * static_cast<int64_t>(sizeof(float)));
  return MakeKernel(
      [=](RunContext& r) {
        pairs::WeightGradient(z, threads, r.input(1).data<BFloat16>(), r.input(0).data<BFloat16>(),
                              r.output(0).mutable_data<float>(), static_cast<float*>(r.scratch()));
        return absl::OkStatus();
      },
      "pairs");
}

}  // namespace graphrun
