#include "ops/pooled_conv.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "ops/avx512.h"
#include "ops/conv_winograd.h"
#include "ops/lanes.h"
#include "ops/onednn.h"
#include "ops/pair_panel.h"
#include "runtime/op/team_kernel.h"

namespace graphrun {
namespace {

constexpr char kSingles[] = "pooled convolution", kPairs[] = "pooled convolution of pairs";
constexpr int64_t kGroup = 2 * kLanes;  // channels that are made together
constexpr int64_t kUnit = 4;            // bytes: one element of f32 or two of bf16

// The weights' steps: places (channel, kh, kw) in f32; in pairs (kh, kw, two channels).
int64_t Steps(const Dims& w, bool pairs) {
  return pairs ? w[2] * w[3] * ((w[1] + 1) / 2) : w[1] * w[2] * w[3];
}
int64_t Groups(int64_t outputs) { return (outputs + kGroup - 1) / kGroup; }

#if defined(__AVX512F__)

constexpr int64_t kImageBytes = 256 * 1024;  // a padded image stays in a processor's own cache
constexpr double kWorkAlone = 64 * 1024;     // fewer multiply-adds are one thread's

struct Plan {
  ConvShape conv;
  bool pairs = false;    // products of bf16 pairs, x with channels last
  bool blocked = false;  // x of f32 in blocks of 16 channels
  enum class Store { kPlanes, kBlocks, kLast } store = Store::kPlanes;
  int64_t pooled_h = 0, pooled_w = 0;
  int64_t padded_h = 0, padded_w = 0;
  int64_t pixel = 1;             // from one column of the padded image to the next, in units
  std::vector<int64_t> offsets;  // of each step, in bytes
  int64_t image = 0;             // the padded image, in units
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};

template <bool kIsPairs>
inline __m512 Add(__m512 sum, __m512i x, __m512i w) {
  if constexpr (kIsPairs) {
#if defined(__AVX512BF16__)
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)w);
#else
    return sum;
#endif
  } else {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(x), _mm512_castsi512_ps(w), sum);
  }
}

inline __m512i Everywhere(const char* at) {
  int32_t bits = 0;
  std::memcpy(&bits, at, sizeof(bits));
  return _mm512_set1_epi32(bits);
}

// The largest of four sums each, for kColumns pooled columns of 32 channels: to[column][32].
template <bool kIsPairs, int kColumns>
void Tile(const Plan& p, const char* at, const char* weights, float* to) {
  constexpr int kPixels = 2 * kColumns;
  constexpr __mmask16 kAll =
      0xffff;  // intrinsics without a mask leave gcc 12 warnings of their own
  __m512 sum[2][kPixels][2];
  avx512::Unroll<2>([&](int r) {
    avx512::Unroll<kPixels>([&](int i) {
      sum[r][i][0] = _mm512_setzero_ps();
      sum[r][i][1] = _mm512_setzero_ps();
    });
  });
  const int64_t pixel = p.pixel * kUnit, row = p.padded_w * pixel;
  for (const int64_t offset : p.offsets) {
    const __m512i w0 = _mm512_loadu_si512(weights),
                  w1 = _mm512_loadu_si512(weights + kLanes * kUnit);
    weights += kGroup * kUnit;
    const char* x = at + offset;
    avx512::Unroll<2>([&](int r) {
      avx512::Unroll<kPixels>([&](int i) {
        const __m512i v = Everywhere(x + r * row + i * pixel);
        sum[r][i][0] = Add<kIsPairs>(sum[r][i][0], v, w0);
        sum[r][i][1] = Add<kIsPairs>(sum[r][i][1], v, w1);
      });
    });
  }
  avx512::Unroll<kColumns>([&](int i) {
    avx512::Unroll<2>([&](int v) {
      const __m512 upper = _mm512_maskz_max_ps(kAll, sum[0][2 * i][v], sum[0][2 * i + 1][v]);
      const __m512 lower = _mm512_maskz_max_ps(kAll, sum[1][2 * i][v], sum[1][2 * i + 1][v]);
      _mm512_storeu_ps(to + i * kGroup + v * kLanes, _mm512_maskz_max_ps(kAll, upper, lower));
    });
  });
}

template <bool kIsPairs>
void Row(const Plan& p, const char* at, const char* weights, int64_t columns, float* to) {
  while (columns > 0) {
    // Three columns at a time; of four that are left two and two.
    const int64_t n = columns == 4 ? 2 : std::min<int64_t>(columns, 3);
    if (n == 3) Tile<kIsPairs, 3>(p, at, weights, to);
    if (n == 2) Tile<kIsPairs, 2>(p, at, weights, to);
    if (n == 1) Tile<kIsPairs, 1>(p, at, weights, to);
    at += 2 * n * p.pixel * kUnit;
    to += n * kGroup;
    columns -= n;
  }
}

inline float AsFloat(float v) { return v; }
inline float AsFloat(BFloat16 v) { return static_cast<float>(v); }

// The padded copy of an image: planes of f32 from planes; blocks from blocks; pairs of channels
// from channels last.
template <typename T>
void PadPlanes(const Plan& p, const T* x, float* to) {
  const ConvShape& s = p.conv;
  const int64_t h = s.in[1], w = s.in[2], top = s.pads[1], left = s.pads[2];
  std::memset(to, 0, static_cast<size_t>(p.image) * sizeof(float));
  for (int64_t c = 0; c < s.inputs; ++c) {
    for (int64_t i = 0; i < h; ++i) {
      float* row = to + (c * p.padded_h + top + i) * p.padded_w + left;
      const T* from = x + (c * h + i) * w;
      for (int64_t j = 0; j < w; ++j) row[j] = AsFloat(from[j]);
    }
  }
}

// Pixels of `bytes` bytes each, in `planes` planes.
void PadPixels(const Plan& p, int64_t planes, int64_t bytes, const char* x, char* to) {
  const ConvShape& s = p.conv;
  const int64_t h = s.in[1], w = s.in[2], top = s.pads[1], left = s.pads[2];
  const int64_t row = p.padded_w * bytes;
  const auto clear = [](char* from, int64_t n) { std::memset(from, 0, static_cast<size_t>(n)); };
  for (int64_t c = 0; c < planes; ++c) {
    char* plane = to + c * p.padded_h * row;
    clear(plane, top * row);
    clear(plane + (top + h) * row, (p.padded_h - top - h) * row);
    for (int64_t i = 0; i < h; ++i) {
      char* at = plane + (top + i) * row;
      clear(at, left * bytes);
      std::memcpy(at + left * bytes, x + (c * h + i) * w * bytes, static_cast<size_t>(w * bytes));
      clear(at + (left + w) * bytes, (p.padded_w - left - w) * bytes);
    }
  }
}

template <typename TX, typename TY>
class PooledConvKernel : public TeamKernel {
 public:
  PooledConvKernel(Plan plan, DType bias, int threads)
      : p_(std::move(plan)), bias_(bias), threads_(threads) {}

  int threads() const override { return threads_; }
  std::string info() const override { return p_.pairs ? "pooled, pairs" : "pooled"; }

  void RunShare(RunContext& r, Team& team) const override {
    const ConvShape& s = p_.conv;
    const int64_t groups = Groups(s.outputs), rows = p_.pooled_h;
    const int64_t units = s.batch * groups * rows;
    char* padded = static_cast<char*>(r.scratch()) + team.member() * MemberBytes(p_);
    float* row = reinterpret_cast<float*>(padded + p_.image * kUnit);
    const char* weights = static_cast<const char*>(r.input(1).raw());
    const int64_t steps = static_cast<int64_t>(p_.offsets.size());
    int64_t held = -1;
    for (int64_t unit = team.begin(units); unit < team.end(units); ++unit) {
      const int64_t image = unit / (groups * rows), group = unit / rows % groups, ph = unit % rows;
      if (image != held) Pad(r.input(0).data<TX>() + image * s.inputs * s.in[1] * s.in[2], padded);
      held = image;
      const char* at = padded + 2 * ph * p_.padded_w * p_.pixel * kUnit;
      const char* w = weights + group * steps * kGroup * kUnit;
      if (p_.pairs) {
        Row<true>(p_, at, w, p_.pooled_w, row);
      } else {
        Row<false>(p_, at, w, p_.pooled_w, row);
      }
      Finish(r, image, group * kGroup, ph, row);
    }
  }

  // Scratch memory: the padded image and a pooled row of one group.
  static int64_t MemberBytes(const Plan& p) { return (p.image + p.pooled_w * kGroup) * kUnit; }

 private:
  void Pad(const TX* x, char* to) const {
    if (p_.blocked) {
      PadPixels(p_, p_.conv.inputs / kLanes, kLanes * kUnit, reinterpret_cast<const char*>(x), to);
    } else if (p_.pairs) {
      PadPixels(p_, 1, p_.conv.inputs / 2 * kUnit, reinterpret_cast<const char*>(x), to);
    } else {
      PadPlanes(p_, x, reinterpret_cast<float*>(to));
    }
  }

  void Finish(RunContext& r, int64_t image, int64_t channel, int64_t ph, float* row) const {
    const int64_t outputs = p_.conv.outputs, n = std::min(kGroup, outputs - channel);
    const int64_t columns = p_.pooled_w;
    float bias[kGroup] = {};
    if (bias_ == DType::kFloat32) std::copy_n(r.input(2).data<float>() + channel, n, bias);
    if (bias_ == DType::kBFloat16) {
      const BFloat16* from = r.input(2).data<BFloat16>() + channel;
      for (int64_t i = 0; i < n; ++i) bias[i] = static_cast<float>(from[i]);
    }
    const float low = p_.low, high = p_.high;
    for (int64_t pw = 0; pw < columns; ++pw) {
      float* v = row + pw * kGroup;
      for (int64_t i = 0; i < kGroup; ++i) {
        const float y = v[i] + bias[i];
        const float above = y < low ? low : y;
        v[i] = above > high ? high : above;
      }
    }
    TY* y = r.output(0).mutable_data<TY>();
    if (p_.store == Plan::Store::kPlanes) {
      // Rounded in place first: the smaller type's elements move towards the front.
      TY* rounded = reinterpret_cast<TY*>(row);
      if constexpr (!std::is_same_v<TY, float>) {
        for (int64_t at = 0; at < columns * kGroup; at += kLanes) {
          FloatLanes lanes;
          LoadLanes(row + at, &lanes);
          StoreLanes(lanes, rounded + at);
        }
      }
      y += ((image * outputs + channel) * p_.pooled_h + ph) * columns;
      for (int64_t i = 0; i < n; ++i, y += p_.pooled_h * columns)
        for (int64_t pw = 0; pw < columns; ++pw)
          std::memcpy(static_cast<void*>(y + pw), rounded + pw * kGroup + i, sizeof(TY));
      return;
    }
    const bool last = p_.store == Plan::Store::kLast;
    for (int64_t first = 0; first < n; first += kLanes) {
      TY* to =
          last ? y + (image * p_.pooled_h + ph) * columns * outputs + channel + first
               : y + ((image * outputs + channel + first) * p_.pooled_h + ph * kLanes) * columns;
      for (int64_t pw = 0; pw < columns; ++pw, to += last ? outputs : kLanes) {
        FloatLanes lanes;
        LoadLanes(row + pw * kGroup + first, &lanes);
        StoreLanes(lanes, to);
      }
    }
  }

  Plan p_;
  DType bias_;
  int threads_;
};

template <typename TX>
std::unique_ptr<Kernel> Make(Plan plan, DType made, DType bias, int threads) {
  if (made == DType::kFloat32)
    return std::make_unique<PooledConvKernel<TX, float>>(std::move(plan), bias, threads);
  return std::make_unique<PooledConvKernel<TX, BFloat16>>(std::move(plan), bias, threads);
}

// True where what reads the value only looks at it under other sizes.
bool IsFlattened(const Value& v) {
  if (v.uses().size() != 1 || v.num_graph_outputs() > 0) return v.num_graph_outputs() > 0;
  const std::string& op = v.uses()[0].node->op_type();
  return op == "Flatten" || op == "Reshape";
}

#endif

}  // namespace

bool PoolsFirst(const PostOp& activation) {
  return activation.is_none() || activation.name == "Relu" || activation.name == "Clip";
}

std::unique_ptr<Kernel> PooledConv(PrepareContext& c, const ConvShape& s,
                                   const PostOp& activation) {
#if defined(__AVX512F__)
  const DType type = c.input_dtype(0), made = c.output_dtype(0);
  const auto taken = [](DType t) { return t == DType::kFloat32 || t == DType::kBFloat16; };
  const Dims x = c.input_dims(0), w = c.input_dims(1), y = c.output_dims(0);
  if (!taken(type) || !taken(made) || c.input_dtype(1) != type || c.constant(1) == nullptr ||
      (c.has_input(2) && !taken(c.input_dtype(2))) || x.size() != 4 || s.groups != 1 ||
      s.window.strides != Dims{1, 1} || s.window.dilations != Dims{1, 1} || s.batch < 1 ||
      s.inputs < 1 || s.in[1] < 1 || s.in[2] < 1 || s.outputs < 1 || y[2] < 1 || y[3] < 1 ||
      !PoolsFirst(activation) || (type == DType::kFloat32 && WinogradPays(s))) {
    return nullptr;
  }
  Plan p;
  p.conv = s;
  p.pooled_h = y[2];
  p.pooled_w = y[3];
  const int64_t kh = w[2], kw = w[3];
  p.padded_h = std::max(s.in[1] + s.pads[1], 2 * p.pooled_h + kh - 1);
  p.padded_w = std::max(s.in[2] + s.pads[2], 2 * p.pooled_w + kw - 1);
  if (p.padded_h > 4096 || p.padded_w > 4096 || s.inputs > 4096) return nullptr;
  p.pairs = type == DType::kBFloat16 && s.inputs % 2 == 0 && s.inputs >= 8 && HasPairPanels();
  p.blocked = type == DType::kFloat32 && s.inputs % kLanes == 0;
  const int64_t units = p.pairs ? s.inputs / 2 : s.inputs;
  p.image = (units * p.padded_h * p.padded_w + kLanes - 1) / kLanes * kLanes;
  const int64_t steps = Steps(w, p.pairs);
  if (p.image * kUnit > kImageBytes || steps * kGroup * kUnit > kImageBytes) return nullptr;
  p.pixel = p.pairs ? units : p.blocked ? kLanes : 1;
  const int64_t plane = p.padded_h * p.padded_w;
  if (p.pairs) {
    for (int64_t i = 0; i < kh; ++i)
      for (int64_t j = 0; j < kw; ++j)
        for (int64_t u = 0; u < units; ++u)
          p.offsets.push_back(((i * p.padded_w + j) * units + u) * kUnit);
  } else {
    const int64_t inner = p.blocked ? kLanes : 1;
    for (int64_t u = 0; u < units; ++u)
      for (int64_t i = 0; i < kh; ++i)
        for (int64_t j = 0; j < kw; ++j)
          p.offsets.push_back(((u / inner * plane + i * p.padded_w + j) * inner + u % inner) *
                              kUnit);
  }
  if (!activation.is_none()) {
    p.low = activation.name == "Relu" ? 0 : activation.alpha;
    if (activation.name == "Clip") p.high = activation.beta;
  }
  c.Want(1,
         Layout::Opaque(p.pairs ? kPairs : kSingles, Groups(s.outputs) * steps * kGroup * kUnit));
  if (p.blocked) c.Want(0, *onednn::LayoutOf(onednn::ChannelBlocks(type, x)));
  if (p.pairs) c.Want(0, Layout::Permuted(x, {0, 2, 3, 1}));
  if (s.outputs % kLanes == 0 && !IsFlattened(*c.node().output(0))) {
    const bool last = made == DType::kBFloat16;
    p.store = last ? Plan::Store::kLast : Plan::Store::kBlocks;
    c.Make(0, last ? Layout::Permuted(y, {0, 2, 3, 1})
                   : *onednn::LayoutOf(onednn::ChannelBlocks(made, y)));
  }
  const double work = 4 * static_cast<double>(Product(y)) * static_cast<double>(Product(w) / w[0]);
  const int threads = work < kWorkAlone ? 1 : c.threads();
  c.Scratch(threads * PooledConvKernel<float, float>::MemberBytes(p));
  const DType bias = c.has_input(2) ? c.input_dtype(2) : DType::kUndefined;
  if (type == DType::kFloat32) return Make<float>(std::move(p), made, bias, threads);
  return Make<BFloat16>(std::move(p), made, bias, threads);
#else
  return nullptr;
#endif
}

std::unique_ptr<Kernel> PooledConvReorder(DType dtype, const Dims& dims, const Layout& from,
                                          const Layout& to) {
  if (!to.is_opaque() || !from.is_row_major() || dims.size() != 4) return nullptr;
  const bool pairs = to.descriptor() == kPairs;
  if (!pairs && to.descriptor() != kSingles) return nullptr;
  return MakeKernel(
      [=](RunContext& r) {
        const int64_t outputs = dims[0], inputs = dims[1], places = dims[2] * dims[3];
        const int64_t steps = Steps(dims, pairs);
        char* y = static_cast<char*>(r.output(0).mutable_raw());
        std::memset(y, 0, static_cast<size_t>(Groups(outputs) * steps * kGroup * kUnit));
        const auto pack = [&](const auto* w, auto* to) {
          for (int64_t o = 0; o < outputs; ++o) {
            for (int64_t i = 0; i < inputs; ++i) {
              for (int64_t k = 0; k < places; ++k) {
                const int64_t step = pairs ? k * (inputs / 2) + i / 2 : i * places + k;
                const int64_t at = (o / kGroup * steps + step) * kGroup + o % kGroup;
                using To = std::remove_reference_t<decltype(*to)>;
                to[pairs ? 2 * at + i % 2 : at] = To(static_cast<float>(*w++));
              }
            }
          }
        };
        if (dtype == DType::kFloat32) {
          pack(r.input(0).data<float>(), reinterpret_cast<float*>(y));
        } else if (pairs) {
          pack(r.input(0).data<BFloat16>(), reinterpret_cast<BFloat16*>(y));
        } else {
          pack(r.input(0).data<BFloat16>(), reinterpret_cast<float*>(y));
        }
        return absl::OkStatus();
      },
      "pooled convolution");
}

}  // namespace graphrun
