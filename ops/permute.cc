#include "ops/permute.h"

#include "ops/move.h"

namespace graphrun {
namespace {

constexpr int64_t kTile = 32;        // output rows of a tile
constexpr int64_t kStripe = 512;     // columns of a stripe of tiles
constexpr int64_t kTileArea = 4096;  // elements that a tile of few columns should have

using Lanes4 = uint32_t __attribute__((vector_size(32)));
using Lanes2 = uint16_t __attribute__((vector_size(16)));
using Lanes1 = uint8_t __attribute__((vector_size(16)));

template <typename V, typename W>
V Load(const W* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// Squares that are transposed in registers: out[i * out_stride + k] = in[k * in_stride + i].
template <typename W>
inline constexpr int64_t kSquare = 0;  // none
template <>
inline constexpr int64_t kSquare<Word1> = 16;
template <>
inline constexpr int64_t kSquare<Word2> = 8;
template <>
inline constexpr int64_t kSquare<Word4> = 8;

inline void Square(const Word4* in, int64_t in_stride, Word4* out, int64_t out_stride) {
  Lanes4 r[8], t[8];
  for (int i = 0; i < 8; ++i) r[i] = Load<Lanes4>(in + i * in_stride);
  for (int i = 0; i < 8; i += 2) {
    t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int k = 0; k < 2; ++k) {
      r[i + 2 * k] = __builtin_shufflevector(t[i + k], t[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      r[i + 2 * k + 1] =
          __builtin_shufflevector(t[i + k], t[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  }
  for (int i = 0; i < 4; ++i) {
    const Lanes4 low = __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    const Lanes4 high = __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    std::memcpy(out + i * out_stride, &low, sizeof low);
    std::memcpy(out + (i + 4) * out_stride, &high, sizeof high);
  }
}

// Merging row i with row i + n/2 element by element, log2(n) times, transposes n rows of n.
inline void Square(const Word2* in, int64_t in_stride, Word2* out, int64_t out_stride) {
  Lanes2 r[8], t[8];
  for (int i = 0; i < 8; ++i) r[i] = Load<Lanes2>(in + i * in_stride);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) {
      t[2 * i] = __builtin_shufflevector(r[i], r[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
      t[2 * i + 1] = __builtin_shufflevector(r[i], r[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    std::copy(t, t + 8, r);
  }
  for (int i = 0; i < 8; ++i) std::memcpy(out + i * out_stride, &r[i], sizeof r[i]);
}

inline void Square(const Word1* in, int64_t in_stride, Word1* out, int64_t out_stride) {
  Lanes1 r[16], t[16];
  for (int i = 0; i < 16; ++i) r[i] = Load<Lanes1>(in + i * in_stride);
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 8; ++i) {
      t[2 * i] = __builtin_shufflevector(r[i], r[i + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21,
                                         6, 22, 7, 23);
      t[2 * i + 1] = __builtin_shufflevector(r[i], r[i + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                             13, 29, 14, 30, 15, 31);
    }
    std::copy(t, t + 16, r);
  }
  for (int i = 0; i < 16; ++i) std::memcpy(out + i * out_stride, &r[i], sizeof r[i]);
}

// A few input rows merged element by element, as channels in front become channels behind.
template <int kRows, typename W>
void Interleave(const W* in, int64_t in_stride, W* out, int64_t out_stride, int64_t a) {
  for (int64_t i = 0; i < a; ++i) {
    for (int k = 0; k < kRows; ++k) out[i * out_stride + k] = in[k * in_stride + i];
  }
}

// out[i * out_stride + k] = in[k * in_stride + i] for i < a, k < b.
template <typename W>
void TransposeBlock(const W* in, int64_t in_stride, W* out, int64_t out_stride, int64_t a,
                    int64_t b) {
  if (b == 2) return Interleave<2>(in, in_stride, out, out_stride, a);
  if (b == 3) return Interleave<3>(in, in_stride, out, out_stride, a);
  if (b == 4) return Interleave<4>(in, in_stride, out, out_stride, a);
  int64_t i = 0;
  constexpr int64_t kSide = kSquare<W>;
  if constexpr (kSide > 0) {
    for (; i + kSide <= a; i += kSide) {
      int64_t k = 0;
      for (; k + kSide <= b; k += kSide)
        Square(in + k * in_stride + i, in_stride, out + i * out_stride + k, out_stride);
      for (; k < b; ++k) {
        const W* from = in + k * in_stride + i;
        W* to = out + i * out_stride + k;
        for (int64_t row = 0; row < kSide; ++row) to[row * out_stride] = from[row];
      }
    }
  } else if constexpr (!std::is_same_v<W, std::string>) {
    for (; i + 8 <= a; i += 8) {
      for (int64_t k = 0; k < b; ++k) {
        const W* from = in + k * in_stride + i;
        W* to = out + i * out_stride + k;
        for (int64_t j = 0; j < 8; ++j) to[j * out_stride] = from[j];
      }
    }
  }
  for (; i < a; ++i) {
    for (int64_t k = 0; k < b; ++k) out[i * out_stride + k] = in[k * in_stride + i];
  }
}

// Copies of rows whose bytes are known to the compiler.
template <int kBytes>
void CopyFixed(const Word1* src, Word1* dst, int64_t) {
  std::memcpy(dst, src, kBytes);
}

}  // namespace

Permute::Permute(absl::Span<const int64_t> dims, absl::Span<const int64_t> perm) {
  elements_ = Product(dims);
  if (elements_ == 0) return;
  const Dims strides = RowMajorStrides(dims);
  for (const int64_t axis : perm) {
    const auto from = static_cast<size_t>(axis);
    if (dims[from] == 1) continue;
    if (!dims_.empty() && in_strides_.back() == strides[from] * dims[from]) {
      dims_.back() *= dims[from];
      in_strides_.back() = strides[from];
    } else {
      dims_.push_back(dims[from]);
      in_strides_.push_back(strides[from]);
    }
  }
  out_strides_ = RowMajorStrides(dims_);
  if (dims_.size() <= 1) {
    dims_.clear();
    return;
  }
  const auto drop = [&](size_t axis) {
    const auto at = static_cast<std::ptrdiff_t>(axis);
    dims_.erase(dims_.begin() + at);
    in_strides_.erase(in_strides_.begin() + at);
    out_strides_.erase(out_strides_.begin() + at);
  };
  const size_t last = dims_.size() - 1;
  if (in_strides_[last] == 1) {
    row_ = dims_[last];
    drop(last);
    return;
  }
  size_t inner = 0;
  while (in_strides_[inner] != 1) ++inner;
  a_ = dims_[inner];
  a_stride_ = out_strides_[inner];
  b_ = dims_[last];
  b_stride_ = in_strides_[last];
  drop(last);
  drop(inner);
  if (dims_.empty()) {
    dims_.push_back(1);
    in_strides_.push_back(0);
    out_strides_.push_back(0);
  }
}

template <typename W>
void Permute::Rows(const W* src, W* dst, int64_t scale) const {
  const int64_t row = row_ * scale;
  auto copy = &CopyRow<W>;
  if constexpr (std::is_same_v<W, Word1>) {
    if (row == 4) copy = &CopyFixed<4>;
    if (row == 8) copy = &CopyFixed<8>;
    if (row == 16) copy = &CopyFixed<16>;
    if (row == 32) copy = &CopyFixed<32>;
    if (row == 64) copy = &CopyFixed<64>;
  }
  const auto axes = static_cast<int>(dims_.size());
  ParallelFor(Product(dims_), RowGrain(row), [&](int64_t begin, int64_t end) {
    int64_t index[16], at = 0, rest = begin;
    for (int i = axes; i-- > 0;) {
      const auto axis = static_cast<size_t>(i);
      index[i] = rest % dims_[axis];
      rest /= dims_[axis];
      at += index[i] * in_strides_[axis];
    }
    for (int64_t r = begin; r < end; ++r) {
      copy(src + at * scale, dst + r * row, row);
      for (int i = axes; i-- > 0;) {
        const auto axis = static_cast<size_t>(i);
        at += in_strides_[axis];
        if (++index[i] < dims_[axis]) break;
        at -= index[i] * in_strides_[axis];
        index[i] = 0;
      }
    }
  });
}

template <typename W>
void Permute::Tiles(const W* src, W* dst) const {
  const int64_t height = std::max(kTile, kTileArea / std::min(b_, kStripe));
  const int64_t tiles = (a_ + height - 1) / height, stripes = (b_ + kStripe - 1) / kStripe;
  const int64_t work = std::min(a_, height) * std::min(b_, kStripe);
  ParallelFor(Product(dims_) * tiles * stripes, RowGrain(work * static_cast<int64_t>(sizeof(W))),
              [&](int64_t begin, int64_t end) {
                for (int64_t job = begin; job < end; ++job) {
                  const int64_t stripe = job % stripes, tile = job / stripes % tiles;
                  int64_t outer = job / stripes / tiles;
                  const int64_t a = tile * height, b = stripe * kStripe;
                  int64_t in = b * b_stride_ + a, out = a * a_stride_ + b;
                  for (size_t axis = dims_.size(); axis-- > 0;) {
                    const int64_t index = outer % dims_[axis];
                    outer /= dims_[axis];
                    in += index * in_strides_[axis];
                    out += index * out_strides_[axis];
                  }
                  TransposeBlock(src + in, b_stride_, dst + out, a_stride_,
                                 std::min(height, a_ - a), std::min(kStripe, b_ - b));
                }
              });
}

void Permute::Run(DType dtype, const void* src, void* dst) const {
  if (elements_ == 0) return;
  if (dims_.empty() || row_ > 0) {
    DispatchRows(dtype, [&]<typename W>(int64_t scale) {
      const W* from = static_cast<const W*>(src);
      W* to = static_cast<W*>(dst);
      if (row_ > 0) return Rows(from, to, scale);
      ParallelFor(elements_ * scale, 1 << 20, [&](int64_t begin, int64_t end) {
        CopyRow(from + begin, to + begin, end - begin);
      });
    });
    return;
  }
  DispatchWidth(dtype,
                [&]<typename W>() { Tiles(static_cast<const W*>(src), static_cast<W*>(dst)); });
}

}  // namespace graphrun
