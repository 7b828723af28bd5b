#include "ops/permute.h"

#include "ops/move.h"

namespace graphrun {
namespace {

constexpr int64_t kTile = 32;     // output rows of a tile
constexpr int64_t kStripe = 512;  // columns of a stripe of tiles

using Lanes = uint32_t __attribute__((vector_size(32)));

Lanes Load(const Word4* p) {
  Lanes v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// out[i * out_stride + k] = in[k * in_stride + i] for i, k < 8.
inline void Transpose8x8(const Word4* in, int64_t in_stride, Word4* out, int64_t out_stride) {
  Lanes r[8], t[8];
  for (int i = 0; i < 8; ++i) r[i] = Load(in + i * in_stride);
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
    const Lanes low = __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    const Lanes high = __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    std::memcpy(out + i * out_stride, &low, sizeof low);
    std::memcpy(out + (i + 4) * out_stride, &high, sizeof high);
  }
}

// out[i * out_stride + k] = in[k * in_stride + i] for i < a, k < b.
template <typename W>
void TransposeBlock(const W* in, int64_t in_stride, W* out, int64_t out_stride, int64_t a,
                    int64_t b) {
  int64_t i = 0;
  if constexpr (std::is_same_v<W, Word4>) {
    for (; i + 8 <= a; i += 8) {
      int64_t k = 0;
      for (; k + 8 <= b; k += 8) {
        Transpose8x8(in + k * in_stride + i, in_stride, out + i * out_stride + k, out_stride);
      }
      for (int64_t row = i; row < i + 8; ++row) {
        for (int64_t rest = k; rest < b; ++rest)
          out[row * out_stride + rest] = in[rest * in_stride + row];
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
      CopyRow(src + at * scale, dst + r * row, row);
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
  const int64_t tiles = (a_ + kTile - 1) / kTile, stripes = (b_ + kStripe - 1) / kStripe;
  const int64_t work = std::min(a_, kTile) * std::min(b_, kStripe);
  ParallelFor(Product(dims_) * tiles * stripes, RowGrain(work * static_cast<int64_t>(sizeof(W))),
              [&](int64_t begin, int64_t end) {
                for (int64_t job = begin; job < end; ++job) {
                  const int64_t stripe = job % stripes, tile = job / stripes % tiles;
                  int64_t outer = job / stripes / tiles;
                  const int64_t a = tile * kTile, b = stripe * kStripe;
                  int64_t in = b * b_stride_ + a, out = a * a_stride_ + b;
                  for (size_t axis = dims_.size(); axis-- > 0;) {
                    const int64_t index = outer % dims_[axis];
                    outer /= dims_[axis];
                    in += index * in_strides_[axis];
                    out += index * out_strides_[axis];
                  }
                  TransposeBlock(src + in, b_stride_, dst + out, a_stride_, std::min(kTile, a_ - a),
                                 std::min(kStripe, b_ - b));
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
