#include "ops/strided.h"

#include "ops/move.h"

namespace graphrun {
namespace {

// Axes of size 1 dropped and neighbours merged; at least one axis is left.
StridedView Merge(const StridedView& view) {
  StridedView m;
  m.offset = view.offset;
  for (size_t i = 0; i < view.dims.size(); ++i) {
    if (view.dims[i] == 1) continue;
    if (!m.dims.empty() && m.strides.back() == view.strides[i] * view.dims[i]) {
      m.dims.back() *= view.dims[i];
      m.strides.back() = view.strides[i];
    } else {
      m.dims.push_back(view.dims[i]);
      m.strides.push_back(view.strides[i]);
    }
  }
  if (m.dims.empty()) {
    m.dims.push_back(1);
    m.strides.push_back(1);
  }
  return m;
}

// Calls row(offset in the view's tensor, offset in the dense one) for every row along the last
// axis.
template <typename F>
void ForEachRow(const StridedView& v, int64_t row_bytes, F&& row) {
  const size_t axes = v.dims.size() - 1;
  const int64_t n = v.dims.back();
  const int64_t rows = n == 0 ? 0 : Product(v.dims) / n;
  ParallelFor(rows, RowGrain(row_bytes), [&](int64_t begin, int64_t end) {
    Dims index(axes);
    int64_t rest = begin, at = v.offset;
    for (size_t i = axes; i-- > 0;) {
      index[i] = rest % v.dims[i];
      rest /= v.dims[i];
      at += index[i] * v.strides[i];
    }
    for (int64_t r = begin; r < end; ++r) {
      row(at, r * n);
      for (size_t i = axes; i-- > 0;) {
        at += v.strides[i];
        if (++index[i] < v.dims[i]) break;
        at -= index[i] * v.strides[i];
        index[i] = 0;
      }
    }
  });
}

// A single long row is cut, so that threads share it.
StridedView Cut(StridedView v) {
  constexpr int64_t kPiece = 1 << 16;
  if (v.dims.size() == 1 && v.dims[0] > kPiece && v.dims[0] % kPiece == 0) {
    v.dims = {v.dims[0] / kPiece, kPiece};
    v.strides = {v.strides[0] * kPiece, v.strides[0]};
  }
  return v;
}

}  // namespace

void GatherView(DType dtype, const void* src, const StridedView& view, void* dst) {
  if (Product(view.dims) == 0) return;
  const StridedView v = Cut(Merge(view));
  const int64_t n = v.dims.back(), step = v.strides.back();
  DispatchWidth(dtype, [&]<typename W>() {
    const W* from = static_cast<const W*>(src);
    W* to = static_cast<W*>(dst);
    ForEachRow(v, n * static_cast<int64_t>(sizeof(W)), [&](int64_t at, int64_t out) {
      if (step == 1) return CopyRow(from + at, to + out, n);
      for (int64_t i = 0; i < n; ++i) to[out + i] = from[at + i * step];
    });
  });
}

void ScatterView(DType dtype, const void* src, void* dst, const StridedView& view) {
  if (Product(view.dims) == 0) return;
  const StridedView v = Cut(Merge(view));
  const int64_t n = v.dims.back(), step = v.strides.back();
  DispatchWidth(dtype, [&]<typename W>() {
    const W* from = static_cast<const W*>(src);
    W* to = static_cast<W*>(dst);
    ForEachRow(v, n * static_cast<int64_t>(sizeof(W)), [&](int64_t at, int64_t in) {
      if (step == 1) return CopyRow(from + in, to + at, n);
      for (int64_t i = 0; i < n; ++i) to[at + i * step] = from[in + i];
    });
  });
}

}  // namespace graphrun
