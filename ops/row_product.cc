#include "ops/row_product.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "ops/avx512.h"
#include "ops/lanes.h"
#include "ops/pair_panel.h"
#include "ops/vector_math.h"
#include "runtime/base/parallel.h"
#include "runtime/op/team_kernel.h"

namespace graphrun {
namespace {

constexpr char kPlain[] = "row panels ", kTransposed[] = "row panels of rows ";

// How a matrix [k, n] is cut: `panels` of nearly equal width, in order.
struct Cut {
  int64_t k = 0, n = 0, panels = 1;
  bool pairs = false;  // bf16: two rows of the matrix side by side

  int64_t vectors() const { return (n + kLanes - 1) / kLanes; }
  int64_t begin(int64_t panel) const { return vectors() * panel / panels; }  // in registers
  int64_t depth() const { return pairs ? k + k % 2 : k; }
  int64_t elements() const { return vectors() * kLanes * depth(); }
};

#if defined(__AVX512F__)

constexpr int64_t kWidest = 4;          // registers of columns in a panel
constexpr int64_t kBytesAlone = 65536;  // smaller matrices are read by one thread

// Four sums a column, of every fourth row each, so that no product waits for another; what a column
// sums up to does not depend on its panel's width.
constexpr int kSums = 4;

template <int kVectors>
void Multiply(const float* x, const float* panel, int64_t k, float* sums) {
  __m512 sum[kSums][kVectors];
  avx512::Unroll<kSums>(
      [&](int s) { avx512::Unroll<kVectors>([&](int v) { sum[s][v] = _mm512_setzero_ps(); }); });
  const auto add = [&](int s, float factor) {
    const __m512 f = _mm512_set1_ps(factor);
    avx512::Unroll<kVectors>([&](int v) {
      sum[s][v] = _mm512_fmadd_ps(f, _mm512_loadu_ps(panel + kLanes * v), sum[s][v]);
    });
    panel += kVectors * kLanes;
  };
  int64_t p = 0;
  for (; p + kSums <= k; p += kSums) avx512::Unroll<kSums>([&](int s) { add(s, x[p + s]); });
  for (; p < k; ++p) add(0, x[p]);
  avx512::Unroll<kVectors>([&](int v) {
    _mm512_storeu_ps(sums + kLanes * v, _mm512_add_ps(_mm512_add_ps(sum[0][v], sum[1][v]),
                                                      _mm512_add_ps(sum[2][v], sum[3][v])));
  });
}

#if defined(__AVX512BF16__)
template <int kVectors>
void Multiply(const BFloat16* x, const BFloat16* panel, int64_t k, float* sums) {
  __m512 sum[kSums][kVectors];
  avx512::Unroll<kSums>(
      [&](int s) { avx512::Unroll<kVectors>([&](int v) { sum[s][v] = _mm512_setzero_ps(); }); });
  const auto add = [&](int s, int32_t pair) {
    const __m512i f = _mm512_set1_epi32(pair);
    avx512::Unroll<kVectors>([&](int v) {
      const __m512i w = _mm512_loadu_si512(panel + 2 * kLanes * v);
      sum[s][v] = _mm512_dpbf16_ps(sum[s][v], (__m512bh)f, (__m512bh)w);
    });
    panel += 2 * kVectors * kLanes;
  };
  const auto pair = [&](int64_t p) {
    int32_t bits = 0;
    std::memcpy(&bits, x + p, sizeof(bits));
    return bits;
  };
  int64_t p = 0;
  for (; p + 2 * kSums <= k; p += 2 * kSums)
    avx512::Unroll<kSums>([&](int s) { add(s, pair(p + 2 * s)); });
  for (; p + 2 <= k; p += 2) add(0, pair(p));
  if (p < k) {
    uint16_t last = 0;
    std::memcpy(&last, x + p, sizeof(last));
    add(0, last);
  }
  avx512::Unroll<kVectors>([&](int v) {
    _mm512_storeu_ps(sums + kLanes * v, _mm512_add_ps(_mm512_add_ps(sum[0][v], sum[1][v]),
                                                      _mm512_add_ps(sum[2][v], sum[3][v])));
  });
}
#endif

template <typename T>
void MultiplyPanel(int64_t vectors, const T* x, const T* panel, int64_t k, float* sums) {
  switch (vectors) {
    case 1:
      return Multiply<1>(x, panel, k, sums);
    case 2:
      return Multiply<2>(x, panel, k, sums);
    case 3:
      return Multiply<3>(x, panel, k, sums);
    default:
      return Multiply<4>(x, panel, k, sums);
  }
}

// v[i] = f(v[i]).
template <typename F>
void Map(float* v, F f) {
  GR_INDEPENDENT
  for (int64_t i = 0; i < kWidest * kLanes; ++i) v[i] = f(v[i]);
}

void Activate(const PostOp& op, float* v) {
  const float a = op.alpha, b = op.beta;
  if (op.is_none()) return;
  if (op.name == "Relu") return Map(v, [](float x) { return x < 0 ? 0 : x; });
  if (op.name == "LeakyRelu") return Map(v, [a](float x) { return x < 0 ? a * x : x; });
  if (op.name == "Elu") return Map(v, [a](float x) { return x < 0 ? a * vm::Expm1(x) : x; });
  if (op.name == "Sigmoid") return Map(v, [](float x) { return vm::Sigmoid(x); });
  if (op.name == "Tanh") return Map(v, [](float x) { return vm::Tanh(x); });
  if (op.name == "Clip") return Map(v, [a, b](float x) { return x < a ? a : x > b ? b : x; });
  Map(v, [](float x) {  // HardSwish
    const float gate = x / 6 + 0.5f;
    return x * (gate < 0 ? 0 : gate > 1 ? 1 : gate);
  });
}

template <typename T>
class RowKernel : public TeamKernel {
 public:
  RowKernel(const Cut& cut, const RowProductRequest& request, DType bias, DType made, int threads)
      : cut_(cut), request_(request), bias_(bias), made_(made), threads_(threads) {}

  int threads() const override { return threads_; }
  std::string info() const override { return "row"; }

  void RunShare(RunContext& r, Team& team) const override {
    const T* x = r.input(0).data<T>();
    const T* panels = static_cast<const T*>(r.input(1).raw());
    // Each member turns round by itself; members beyond the array share.
    std::atomic<uint32_t>& turn = turns_[static_cast<size_t>(team.member()) % kTurns].back;
    const bool back = turn.load(std::memory_order_relaxed) != 0;
    turn.store(back ? 0 : 1, std::memory_order_relaxed);
    const int64_t begin = team.begin(cut_.panels), end = team.end(cut_.panels);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t panel = back ? begin + end - 1 - i : i;
      const int64_t first = cut_.begin(panel), vectors = cut_.begin(panel + 1) - first;
      alignas(64) float sums[kWidest * kLanes] = {};
      MultiplyPanel(vectors, x, panels + first * kLanes * cut_.depth(), cut_.k, sums);
      const int64_t column = first * kLanes;
      Finish(r, column, std::min(vectors * kLanes, cut_.n - column), sums);
    }
  }

 private:
  void Finish(RunContext& r, int64_t column, int64_t n, float* sums) const {
    if (request_.alpha != 1) Map(sums, [a = request_.alpha](float x) { return a * x; });
    if (bias_ == DType::kFloat32) {
      const float* bias = r.input(request_.bias).data<float>() + column;
      for (int64_t i = 0; i < n; ++i) sums[i] = vm::MulAdd(request_.beta, bias[i], sums[i]);
    } else if (bias_ == DType::kBFloat16) {
      const BFloat16* bias = r.input(request_.bias).data<BFloat16>() + column;
      for (int64_t i = 0; i < n; ++i)
        sums[i] = vm::MulAdd(request_.beta, static_cast<float>(bias[i]), sums[i]);
    }
    Activate(request_.activation, sums);
    if (made_ == DType::kFloat32) {
      std::copy(sums, sums + n, r.output(0).mutable_data<float>() + column);
    } else {
      BFloat16* y = r.output(0).mutable_data<BFloat16>() + column;
      for (int64_t i = 0; i < n; ++i) y[i] = BFloat16(sums[i]);
    }
  }

  static constexpr size_t kTurns = 8;
  struct alignas(64) Turn {
    std::atomic<uint32_t> back{0};
  };
  Cut cut_;
  RowProductRequest request_;
  DType bias_, made_;
  int threads_;
  mutable std::array<Turn, kTurns> turns_;
};

#endif

template <typename T>
void Pack(const Cut& cut, bool transposed, const T* from, T* to) {
  const int64_t group = cut.pairs ? 2 : 1;
  ParallelFor(cut.panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = cut.begin(panel) * kLanes;
      const int64_t width = cut.begin(panel + 1) * kLanes - first;
      T* out = to + first * cut.depth();
      // Eight rows at a time: a column's elements of these lie in few cache lines.
      for (int64_t start = 0; start < cut.depth(); start += 8) {
        const int64_t stop = std::min(start + 8, cut.depth());
        for (int64_t j = 0; j < width; ++j) {
          const int64_t column = first + j;
          for (int64_t p = start; p < stop; ++p) {
            T v(0);
            if (p < cut.k && column < cut.n)
              v = transposed ? from[column * cut.k + p] : from[p * cut.n + column];
            out[p / group * width * group + j * group + p % group] = v;
          }
        }
      }
    }
  });
}

}  // namespace

std::unique_ptr<Kernel> RowProduct(PrepareContext& c, const RowProductRequest& request) {
#if defined(__AVX512F__)
  const MatMulShape s = request.shape.Simplified();
  const DType type = c.input_dtype(0), made = c.output_dtype(0);
  const auto taken = [](DType t) { return t == DType::kFloat32 || t == DType::kBFloat16; };
  if (!taken(type) || (type == DType::kBFloat16 && !HasPairPanels()) || !taken(made) || s.m != 1 ||
      s.k < 1 || s.n < 1 || !s.batch.empty() || c.input_dims(1).size() != 2 ||
      c.input_dtype(1) != type || c.constant(1) == nullptr) {
    return nullptr;
  }
  DType bias = DType::kUndefined;
  if (request.bias >= 0) {
    bias = c.input_dtype(request.bias);
    if (!taken(bias) || Product(c.input_dims(request.bias)) != s.n) return nullptr;
  }
  Cut cut;
  cut.k = s.k;
  cut.n = s.n;
  cut.pairs = type == DType::kBFloat16;
  const int64_t bytes = cut.elements() * DTypeSize(type);
  const int threads = bytes < kBytesAlone ? 1 : c.threads();
  const int64_t fewest = (cut.vectors() + kWidest - 1) / kWidest;
  cut.panels = std::min((fewest + threads - 1) / threads * threads, cut.vectors());
  c.Want(1, Layout::Opaque(absl::StrCat(s.trans_b ? kTransposed : kPlain, cut.panels), bytes));
  if (type == DType::kFloat32)
    return std::make_unique<RowKernel<float>>(cut, request, bias, made, threads);
#if defined(__AVX512BF16__)
  return std::make_unique<RowKernel<BFloat16>>(cut, request, bias, made, threads);
#endif
#endif
  return nullptr;
}

std::unique_ptr<Kernel> RowProductReorder(DType dtype, const Dims& dims, const Layout& from,
                                          const Layout& to) {
  if (!to.is_opaque() || !from.is_row_major() || dims.size() != 2) return nullptr;
  absl::string_view text = to.descriptor();
  Cut cut;
  const bool transposed = absl::ConsumePrefix(&text, kTransposed);
  if (!transposed && !absl::ConsumePrefix(&text, kPlain)) return nullptr;
  if (!absl::SimpleAtoi(text, &cut.panels)) return nullptr;
  cut.k = dims[transposed ? 1 : 0];
  cut.n = dims[transposed ? 0 : 1];
  cut.pairs = dtype == DType::kBFloat16;
  return MakeKernel(
      [=](RunContext& r) {
        if (dtype == DType::kFloat32) {
          Pack(cut, transposed, r.input(0).data<float>(),
               static_cast<float*>(r.output(0).mutable_raw()));
        } else {
          Pack(cut, transposed, r.input(0).data<BFloat16>(),
               static_cast<BFloat16*>(r.output(0).mutable_raw()));
        }
        return absl::OkStatus();
      },
      "row panels");
}

}  // namespace graphrun
