#include "ops/int8_onednn.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "ops/onednn.h"
#include "ops/quantized.h"

namespace graphrun {
namespace {

using onednn::Md;

// oneDNN's sums of bytes are exact only where the processor has instructions for them (VNNI); older
// ones saturate in between.
bool SumsExactly() {
  constexpr unsigned kVnni = 0x40;  // part of every instruction set from avx512_core_vnni on
  return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & kVnni) != 0;
}

// A constant input's numbers; {0} where it is left out; nothing where it is known at run time only.
absl::optional<std::vector<double>> KnownNumbers(const PrepareContext& c, int input) {
  if (input < 0 || !c.has_input(input)) return std::vector<double>{0};
  const Tensor* t = c.constant(input);
  if (t == nullptr) return absl::nullopt;
  std::vector<double> v(static_cast<size_t>(t->num_elements()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = t->AsDouble(static_cast<int64_t>(i));
  return v;
}

// Weights as int8, shifted by 128 where they are uint8; nothing unless their zero points become 0.
absl::optional<std::vector<int8_t>> SignedWeights(const PrepareContext& c, const Int8Inputs& in) {
  const Tensor* w = c.constant(in.b);
  const auto zero = KnownNumbers(c, in.b_zero);
  if (w == nullptr || !zero) return absl::nullopt;
  const bool is_unsigned = w->dtype() == DType::kUInt8;
  for (const double z : *zero) {
    if (z != (is_unsigned ? 128 : 0)) return absl::nullopt;
  }
  std::vector<int8_t> weights(static_cast<size_t>(w->num_elements()));
  const auto* from = static_cast<const uint8_t*>(w->raw());
  for (size_t i = 0; i < weights.size(); ++i) {
    weights[i] = static_cast<int8_t>(is_unsigned ? from[i] ^ 0x80 : from[i]);
  }
  return weights;
}

// Memory that oneDNN finds aligned.
using Bytes = std::shared_ptr<Tensor>;
absl::StatusOr<Bytes> NewBytes(int64_t n) {
  GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(DType::kUInt8, {std::max<int64_t>(n, 1)}));
  return std::make_shared<Tensor>(std::move(t));
}

// `data` in the format that a primitive wants, packed once; null where oneDNN has no such reorder.
absl::StatusOr<Bytes> Packed(const Md& from, std::vector<int8_t>& data, const Md& to) {
  const auto pd = onednn::Reorder(from, to);
  if (!pd) return Bytes();
  GR_ASSIGN_OR_RETURN(Bytes packed, NewBytes(static_cast<int64_t>(to.get_size())));
  GR_ASSIGN_OR_RETURN(const Bytes scratch,
                      NewBytes(static_cast<int64_t>(pd->scratchpad_desc().get_size())));
  dnnl::stream stream(onednn::Engine());
  dnnl::reorder(*pd).execute(
      stream, {{DNNL_ARG_FROM, dnnl::memory(from, onednn::Engine(), data.data())},
               {DNNL_ARG_TO, dnnl::memory(to, onednn::Engine(), packed->mutable_raw())},
               {DNNL_ARG_SCRATCHPAD,
                dnnl::memory(pd->scratchpad_desc(), onednn::Engine(), scratch->mutable_raw())}});
  stream.wait();
  return packed;
}

// A primitive with two operands, the second one packed.
template <typename Primitive>
struct PackedProduct {
  Primitive primitive;
  Md a, b, y, scratch;
  Bytes packed;

  template <typename Pd>
  PackedProduct(const Pd& pd, Bytes weights)
      : primitive(pd),
        a(pd.src_desc()),
        b(pd.weights_desc()),
        y(pd.dst_desc()),
        scratch(pd.scratchpad_desc()),
        packed(std::move(weights)) {}

  int64_t y_bytes() const { return (static_cast<int64_t>(y.get_size()) + 63) / 64 * 64; }
  int64_t scratch_bytes() const { return static_cast<int64_t>(scratch.get_size()); }

  absl::Status Run(const void* from, void* to, void* scratchpad) const {
    try {
      const dnnl::engine& engine = onednn::Engine();
      dnnl::stream stream(engine);
      primitive.execute(stream, {{DNNL_ARG_SRC, dnnl::memory(a, engine, const_cast<void*>(from))},
                                 {DNNL_ARG_WEIGHTS, dnnl::memory(b, engine, packed->mutable_raw())},
                                 {DNNL_ARG_DST, dnnl::memory(y, engine, to)},
                                 {DNNL_ARG_SCRATCHPAD, dnnl::memory(scratch, engine, scratchpad)}});
      stream.wait();
    } catch (const dnnl::error& e) {
      return InternalError("oneDNN: ", e.what());
    }
    return absl::OkStatus();
  }
};

// Saturated<T>(value, zero) without calls or branches, so that loops become vector code.
// REQUIRES: |zero| < 2^16.
template <typename T>
inline int32_t Clamped(double value, double zero) {
  constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to an integer
  constexpr double kFar = 1 << 20, kLow = static_cast<double>(std::numeric_limits<T>::lowest()),
                   kHigh = static_cast<double>(std::numeric_limits<T>::max());
  value = value < -kFar ? -kFar : value;
  value = value > kFar ? kFar : value;
  double q = (value + kRound) - kRound + zero;
  q = q < kLow ? kLow : q;
  q = q > kHigh ? kHigh : q;
  return static_cast<int32_t>(q == q ? q : 0.0);
}

// What becomes of 32-bit sums [rows, columns], where the columns are output channels.
struct Rounding {
  int64_t columns = 1;
  // What the zero point of a adds to the sums: one for each column, or for each column of each of
  // `places` rows that repeat.
  std::vector<int32_t> excess;
  int64_t places = 1;
  bool rounds = false;
  double a_scale = 1, y_scale = 1, zero = 0;
  bool a_scale_first = false;  // the order in which the standard multiplies, which rounds
  std::vector<double> scale;   // of b, one for each column

  template <typename T>
  void Apply(const int32_t* sums, const int32_t* bias, int64_t rows, T* y) const {
    ParallelFor(rows, std::max<int64_t>(16384 / columns, 1), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) Row(sums, bias, r, y);
    });
  }

 private:
  template <typename T>
  void Row(const int32_t* sums, const int32_t* bias, int64_t r, T* y) const {
    constexpr int64_t kChunk = 256;
    const int32_t* extra = excess.empty() ? nullptr : excess.data() + r % places * columns;
    for (int64_t at = 0; at < columns; at += kChunk) {
      const int64_t n = std::min(kChunk, columns - at);
      uint32_t v[kChunk];
      for (int64_t i = 0; i < n; ++i) v[i] = static_cast<uint32_t>(sums[r * columns + at + i]);
      for (int64_t i = 0; i < n && extra != nullptr; ++i) {
        v[i] -= static_cast<uint32_t>(extra[at + i]);
      }
      for (int64_t i = 0; i < n && bias != nullptr; ++i) {
        v[i] += static_cast<uint32_t>(bias[at + i]);
      }
      if constexpr (std::is_same_v<T, int32_t>) {
        for (int64_t i = 0; i < n; ++i) y[r * columns + at + i] = static_cast<int32_t>(v[i]);
        continue;
      }
      int32_t to[kChunk];
      const double z = zero;
      if (a_scale_first) {
        const double *s = scale.data() + at, by = a_scale, over = y_scale;
        for (int64_t i = 0; i < n; ++i) {
          const double sum = static_cast<int32_t>(v[i]);
          to[i] = Clamped<T>(sum * (by * s[i]) / over, z);
        }
      } else {
        const double* s = scale.data() + at;
        const double factor = a_scale / y_scale;
        for (int64_t i = 0; i < n; ++i) {
          const double sum = static_cast<int32_t>(v[i]);
          to[i] = Clamped<T>(sum * s[i] * factor, z);
        }
      }
      T* out = y + r * columns + at;
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(to[i]);
    }
  }
};

// Scales and zero points of the result; false where they are not known now.
bool ReadRounding(const PrepareContext& c, const Int8Inputs& in, int64_t columns, Rounding* to) {
  to->columns = columns;
  to->rounds = in.y_scale >= 0;
  if (!to->rounds) return true;
  const auto a = KnownNumbers(c, in.a_scale), b = KnownNumbers(c, in.b_scale),
             y = KnownNumbers(c, in.y_scale), zero = KnownNumbers(c, in.y_zero);
  if (!a || !b || !y || !zero || a->size() != 1 || y->size() != 1 || zero->size() != 1) {
    return false;
  }
  if (b->size() != 1 && static_cast<int64_t>(b->size()) != columns) return false;
  to->a_scale = (*a)[0];
  to->y_scale = (*y)[0];
  to->zero = (*zero)[0];
  to->scale.assign(static_cast<size_t>(columns), (*b)[0]);
  if (b->size() > 1) to->scale = *b;
  return true;
}

// The kernel: a product, then what becomes of its sums.
template <typename Primitive>
std::unique_ptr<Kernel> MakeInt8Kernel(PrepareContext& c, const Int8Inputs& in,
                                       PackedProduct<Primitive> product, Rounding rounding,
                                       const std::string& info) {
  const int64_t sums_bytes = rounding.rounds ? product.y_bytes() : 0;
  c.Scratch(sums_bytes + product.scratch_bytes());
  const auto run = [in, product, rounding, sums_bytes](RunContext& r) -> absl::Status {
    auto* scratch = static_cast<char*>(r.scratch());
    void* sums = rounding.rounds ? r.scratch() : r.output(0).mutable_raw();
    GR_RETURN_IF_ERROR(product.Run(r.input(in.a).raw(), sums, scratch + sums_bytes));
    const auto* from = static_cast<const int32_t*>(sums);
    const int32_t* bias =
        in.bias >= 0 && r.has_input(in.bias) ? r.input(in.bias).data<int32_t>() : nullptr;
    const int64_t rows = r.output(0).num_elements() / rounding.columns;
    if (!rounding.rounds) {
      if (rounding.excess.empty()) return absl::OkStatus();
      rounding.Apply(from, bias, rows, r.output(0).mutable_data<int32_t>());
    } else if (r.output(0).dtype() == DType::kUInt8) {
      rounding.Apply(from, bias, rows, r.output(0).mutable_data<uint8_t>());
    } else {
      rounding.Apply(from, bias, rows, r.output(0).mutable_data<int8_t>());
    }
    return absl::OkStatus();
  };
  return MakeKernel(run, info);
}

bool HasPads(const Window& w) {
  const auto zero = [](int64_t p) { return p == 0; };
  return !std::all_of(w.pads_begin.begin(), w.pads_begin.end(), zero) ||
         !std::all_of(w.pads_end.begin(), w.pads_end.end(), zero);
}

// A convolution of images of one place: the product of [N, C] and the filters [O, C].
bool IsProduct(const ConvShape& s) {
  return s.groups == 1 && s.in_size() == 1 && s.out_size() == 1 && s.kernel_size() == 1 &&
         !HasPads(s.window);
}

absl::StatusOr<std::unique_ptr<Kernel>> ProductOfRows(PrepareContext& c, const ConvShape& s,
                                                      const Int8Inputs& in,
                                                      std::vector<int8_t>& weights, double zero,
                                                      Rounding rounding) {
  const int64_t k = s.inputs, n = s.outputs;
  const auto pd = onednn::MatMul(
      onednn::RowMajor(c.input_dtype(in.a), {s.batch, k}), onednn::Any(DType::kInt8, {k, n}), Md(),
      onednn::RowMajor(DType::kInt32, {s.batch, n}), onednn::Attributes());
  if (!pd || onednn::IsReference(*pd)) return nullptr;
  const Md turned = onednn::Strided(DType::kInt8, {k, n}, {1, k});
  GR_ASSIGN_OR_RETURN(Bytes packed, Packed(turned, weights, pd->weights_desc()));
  if (packed == nullptr) return nullptr;
  if (zero != 0) {
    for (auto row = weights.begin(); row != weights.end(); row += k)
      rounding.excess.push_back(static_cast<int32_t>(zero) * std::accumulate(row, row + k, 0));
  }
  return MakeInt8Kernel(c, in, PackedProduct<dnnl::matmul>(*pd, std::move(packed)),
                        std::move(rounding), onednn::ImplementationOf(*pd));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Kernel>> OneDnnInt8Conv(PrepareContext& c, const ConvShape& s,
                                                       const Int8Inputs& in) {
  const DType dtype = c.input_dtype(in.a);
  const Dims x = c.input_dims(in.a), y = c.output_dims(0);
  Dims w = s.window.kernel;
  w.insert(w.begin(), {s.outputs, s.inputs});
  if (s.groups > 1) w.insert(w.begin(), s.groups);
  const auto zero = KnownNumbers(c, in.a_zero);
  Rounding rounding;
  if (!SumsExactly() || !onednn::IsSound(dtype, x) || !onednn::IsSound(DType::kInt8, w) ||
      !onednn::IsSound(DType::kInt32, y) || s.window.rank() > 3 || !zero || zero->size() != 1 ||
      !ReadRounding(c, in, y[1], &rounding)) {
    return nullptr;
  }
  auto weights = SignedWeights(c, in);
  if (!weights) return nullptr;
  if (IsProduct(s)) return ProductOfRows(c, s, in, *weights, (*zero)[0], std::move(rounding));
  const auto describe = [&](int64_t batch) {
    Dims x_one = x, y_one = y;
    x_one[0] = y_one[0] = batch;
    return onednn::Convolution(
        false, onednn::ChannelsLast(dtype, x_one), onednn::Any(DType::kInt8, w), Md(),
        onednn::ChannelsLast(DType::kInt32, y_one), s.window, onednn::Attributes());
  };
  const auto pd = describe(x[0]);
  if (!pd || onednn::IsReference(*pd)) return nullptr;
  const auto x_layout = onednn::LayoutOf(pd->src_desc()),
             y_layout = onednn::LayoutOf(pd->dst_desc());
  if (!x_layout || !y_layout) return nullptr;
  const Md plain = onednn::RowMajor(DType::kInt8, w);
  GR_ASSIGN_OR_RETURN(Bytes packed, Packed(plain, *weights, pd->weights_desc()));
  if (packed == nullptr) return nullptr;
  const PackedProduct<dnnl::convolution_forward> product(*pd, std::move(packed));

  if ((*zero)[0] != 0) {
    const auto z = static_cast<int32_t>((*zero)[0]);
    const auto each = weights->size() / static_cast<size_t>(y[1]);
    if (!HasPads(s.window)) {
      for (size_t o = 0; o < static_cast<size_t>(y[1]); ++o) {
        rounding.excess.push_back(
            z * std::accumulate(weights->begin() + static_cast<std::ptrdiff_t>(o * each),
                                weights->begin() + static_cast<std::ptrdiff_t>((o + 1) * each), 0));
      }
    } else {
      // Pads add nothing, so that places near the border have sums of their own: those of an image
      // that is the zero point everywhere.
      const auto one = describe(1);
      if (!one) return nullptr;
      GR_ASSIGN_OR_RETURN(Bytes again, Packed(plain, *weights, one->weights_desc()));
      if (again == nullptr) return nullptr;
      const PackedProduct<dnnl::convolution_forward> border(*one, std::move(again));
      GR_ASSIGN_OR_RETURN(const Bytes image, NewBytes(static_cast<int64_t>(border.a.get_size())));
      GR_ASSIGN_OR_RETURN(const Bytes sums, NewBytes(border.y_bytes()));
      GR_ASSIGN_OR_RETURN(const Bytes scratch, NewBytes(border.scratch_bytes()));
      std::memset(image->mutable_raw(), z, static_cast<size_t>(image->num_elements()));
      GR_RETURN_IF_ERROR(border.Run(image->raw(), sums->mutable_raw(), scratch->mutable_raw()));
      const auto* from = static_cast<const int32_t*>(sums->raw());
      rounding.places = s.out_size();
      rounding.excess.assign(from, from + rounding.places * y[1]);
    }
  }
  c.Want(in.a, *x_layout);
  c.Make(0, *y_layout);
  return MakeInt8Kernel(c, in, product, std::move(rounding), onednn::ImplementationOf(*pd));
}

absl::StatusOr<std::unique_ptr<Kernel>> OneDnnInt8MatMul(PrepareContext& c, const Int8Inputs& in) {
  const Dims a = c.input_dims(in.a), b = c.input_dims(in.b);
  const DType dtype = c.input_dtype(in.a);
  if (!SumsExactly() || a.empty() || b.size() != 2) return nullptr;
  const int64_t k = b[0], n = b[1], rows = k == 0 ? 0 : Product(a) / k;
  const auto zero = KnownNumbers(c, in.a_zero);
  Rounding rounding;
  rounding.a_scale_first = true;
  if (!onednn::IsSound(dtype, {rows, k}) || !onednn::IsSound(DType::kInt32, {rows, n}) ||
      !onednn::IsSound(DType::kInt8, b) || !zero || zero->size() != 1 ||
      !ReadRounding(c, in, n, &rounding)) {
    return nullptr;
  }
  auto weights = SignedWeights(c, in);
  if (!weights) return nullptr;
  const auto pd =
      onednn::MatMul(onednn::RowMajor(dtype, {rows, k}), onednn::Any(DType::kInt8, b), Md(),
                     onednn::RowMajor(DType::kInt32, {rows, n}), onednn::Attributes());
  if (!pd || onednn::IsReference(*pd)) return nullptr;
  GR_ASSIGN_OR_RETURN(Bytes packed,
                      Packed(onednn::RowMajor(DType::kInt8, b), *weights, pd->weights_desc()));
  if (packed == nullptr) return nullptr;
  if ((*zero)[0] != 0) {
    const auto z = static_cast<int32_t>((*zero)[0]);
    rounding.excess.assign(static_cast<size_t>(n), 0);
    for (size_t i = 0; i < weights->size(); ++i) {
      rounding.excess[i % static_cast<size_t>(n)] += z * (*weights)[i];
    }
  }
  return MakeInt8Kernel(c, in, PackedProduct<dnnl::matmul>(*pd, std::move(packed)),
                        std::move(rounding), onednn::ImplementationOf(*pd));
}

}  // namespace graphrun
