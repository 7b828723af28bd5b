#include "ops/indices.h"

#include <atomic>

#include "runtime/base/parallel.h"

namespace graphrun {

absl::Status NormalizeIndices(const Tensor& indices, int64_t size, int64_t* out) {
  std::atomic<int64_t> wrong{-1};
  const bool known =
      DispatchDType(TypeList<int32_t, int64_t>(), indices.dtype(), [&]<typename T>() {
        const T* in = indices.data<T>();
        ParallelFor(indices.num_elements(), 16384, [&](int64_t begin, int64_t end) {
          bool sound = true;
          for (int64_t i = begin; i < end; ++i) {
            const int64_t index = in[i];
            out[i] = index < 0 ? index + size : index;
            sound &= static_cast<uint64_t>(out[i]) < static_cast<uint64_t>(size);
          }
          if (sound) return;
          for (int64_t i = begin; i < end; ++i) {
            if (static_cast<uint64_t>(out[i]) < static_cast<uint64_t>(size)) continue;
            int64_t other = wrong.load();
            while ((other < 0 || i < other) && !wrong.compare_exchange_weak(other, i)) {
            }
            return;
          }
        });
      });
  if (!known) return InternalError("indices must be int32 or int64");
  if (wrong < 0) return absl::OkStatus();
  const int64_t index = indices.dtype() == DType::kInt32 ? indices.data<int32_t>()[wrong]
                                                         : indices.data<int64_t>()[wrong];
  return ModelError("element ", wrong.load(), " of the indices is ", index, " but must be in [",
                    -size, ", ", size, ")");
}

}  // namespace graphrun
