// ParallelFor: loops over the same OpenMP threads that oneDNN uses.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace graphrun {

// Threads that ParallelFor may use now; set once at start-up or by a Session before it runs.
int NumThreads();
void SetNumThreads(int threads);

// Calls fn(begin, end) on disjoint ranges that cover [0, n). Ranges are a fixed function of n and
// of the number of threads; work below `grain` items a thread stays on the calling thread. fn must
// not throw.
void ParallelFor(int64_t n, int64_t grain, absl::FunctionRef<void(int64_t begin, int64_t end)> fn);

// A sum in a fixed order: partial(begin, end) over blocks of `block` items, added pairwise in block
// order. The result does not depend on the number of threads.
double ParallelSum(int64_t n, int64_t block,
                   absl::FunctionRef<double(int64_t begin, int64_t end)> partial);

}  // namespace graphrun
