#include "runtime/base/parallel.h"

#include <omp.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace graphrun {

int NumThreads() { return omp_in_parallel() ? 1 : omp_get_max_threads(); }

void SetNumThreads(int threads) { omp_set_num_threads(std::max(threads, 1)); }

void ParallelFor(int64_t n, int64_t grain, absl::FunctionRef<void(int64_t, int64_t)> fn) {
  if (n <= 0) return;
  const int64_t useful = std::max<int64_t>(n / std::max<int64_t>(grain, 1), 1);
  const int threads = static_cast<int>(std::min<int64_t>(NumThreads(), useful));
  if (threads <= 1) {
    fn(0, n);
    return;
  }
#if defined(__SANITIZE_THREAD__)
  // ThreadSanitizer does not see how libgomp's team waits for its members: for it, threads that it
  // knows.
  std::vector<std::thread> others;
  for (int64_t me = 1; me < threads; ++me)
    others.emplace_back([&, me] { fn(n * me / threads, n * (me + 1) / threads); });
  fn(0, n / threads);
  for (std::thread& other : others) other.join();
#else
#pragma omp parallel num_threads(threads)
  {
    // The team may turn out smaller than asked for (OMP_THREAD_LIMIT), so ranges follow the team
    // that came.
    const int64_t team = omp_get_num_threads();
    const int64_t me = omp_get_thread_num();
    const int64_t begin = n * me / team;
    const int64_t end = n * (me + 1) / team;
    if (begin < end) fn(begin, end);
  }
#endif
}

double ParallelSum(int64_t n, int64_t block, absl::FunctionRef<double(int64_t, int64_t)> partial) {
  if (n <= 0) return 0;
  const int64_t blocks = (n + block - 1) / block;
  if (blocks == 1) return partial(0, n);
  std::vector<double> sums(static_cast<size_t>(blocks));
  ParallelFor(blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      sums[static_cast<size_t>(b)] = partial(b * block, std::min(n, (b + 1) * block));
    }
  });
  for (size_t width = sums.size(); width > 1; width = (width + 1) / 2) {
    for (size_t i = 0; i < width / 2; ++i) sums[i] = sums[2 * i] + sums[2 * i + 1];
    if (width % 2) sums[width / 2] = sums[width - 1];
  }
  return sums[0];
}

}  // namespace graphrun
