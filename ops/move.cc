#include "ops/move.h"

namespace graphrun {

void CopyAll(const Tensor& src, Tensor& dst) {
  if (src.raw() == dst.raw()) return;
  DispatchRows(src.dtype(), [&]<typename W>(int64_t scale) {
    const W* from = static_cast<const W*>(src.raw());
    W* to = static_cast<W*>(dst.mutable_raw());
    ParallelFor(src.num_elements() * scale, 1 << 20, [&](int64_t begin, int64_t end) {
      CopyRow(from + begin, to + begin, end - begin);
    });
  });
}

void FillAll(const Tensor& value, Tensor& dst) {
  DispatchWidth(dst.dtype(), [&]<typename W>() {
    const W v = *static_cast<const W*>(value.raw());
    W* to = static_cast<W*>(dst.mutable_raw());
    ParallelFor(dst.num_elements(), RowGrain(static_cast<int64_t>(sizeof(W))),
                [&](int64_t begin, int64_t end) { std::fill(to + begin, to + end, v); });
  });
}

}  // namespace graphrun
