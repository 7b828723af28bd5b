// Broadcast: walks NumPy-style broadcasting as rows with constant strides.
#pragma once

#include <array>
#include <vector>

#include "absl/types/span.h"
#include "runtime/base/parallel.h"
#include "runtime/base/shape.h"

namespace graphrun {

// N operands broadcast to `dims`, neighbouring axes merged where every operand allows it.
template <int N>
class Broadcast {
 public:
  // REQUIRES: every operand's sizes broadcast to `dims`.
  Broadcast(absl::Span<const int64_t> dims, const std::array<Dims, N>& operands) {
    const size_t rank = dims.size();
    std::array<Dims, N> strides;
    for (size_t n = 0; n < N; ++n) {
      const Dims own = RowMajorStrides(operands[n]);
      strides[n].assign(rank, 0);
      const size_t shift = rank - operands[n].size();
      for (size_t i = 0; i < operands[n].size(); ++i) {
        strides[n][i + shift] = operands[n][i] == 1 ? 0 : own[i];
      }
    }
    for (size_t i = 0; i < rank; ++i) {
      if (dims[i] == 1) continue;
      bool merge = !dims_.empty();
      for (size_t n = 0; n < N && merge; ++n) merge = strides_[n].back() == strides[n][i] * dims[i];
      if (merge) {
        dims_.back() *= dims[i];
        for (size_t n = 0; n < N; ++n) strides_[n].back() = strides[n][i];
      } else {
        dims_.push_back(dims[i]);
        for (size_t n = 0; n < N; ++n) strides_[n].push_back(strides[n][i]);
      }
    }
    if (dims_.empty()) {
      dims_.push_back(Product(dims));
      for (size_t n = 0; n < N; ++n) strides_[n].push_back(0);
    }
    row_ = dims_.back();
    rows_ = row_ == 0 ? 0 : Product(dims_) / row_;
  }

  // Calls row(output_offset, offsets[N], strides[N], count) for consecutive stretches of the
  // output, in parallel.
  template <typename F>
  void ForEachRow(F&& row) const {
    std::array<int64_t, N> step;
    for (size_t n = 0; n < N; ++n) step[n] = strides_[n].back();
    if (rows_ == 1) {
      ParallelFor(row_, kGrain, [&](int64_t begin, int64_t end) {
        std::array<int64_t, N> offsets;
        for (size_t n = 0; n < N; ++n) offsets[n] = begin * step[n];
        row(begin, offsets, step, end - begin);
      });
      return;
    }
    ParallelFor(rows_, std::max<int64_t>(kGrain / std::max<int64_t>(row_, 1), 1),
                [&](int64_t begin, int64_t end) {
                  for (int64_t r = begin; r < end; ++r) {
                    std::array<int64_t, N> offsets{};
                    int64_t rest = r;
                    for (size_t axis = dims_.size() - 1; axis-- > 0;) {
                      const int64_t index = rest % dims_[axis];
                      rest /= dims_[axis];
                      for (size_t n = 0; n < N; ++n) offsets[n] += index * strides_[n][axis];
                    }
                    row(r * row_, offsets, step, row_);
                  }
                });
  }

 private:
  static constexpr int64_t kGrain = 16384;  // elements below which a second thread does not pay
  Dims dims_;
  std::array<Dims, N> strides_;
  int64_t row_ = 0, rows_ = 0;
};

}  // namespace graphrun
