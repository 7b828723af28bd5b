#include "runtime/exec/memory_plan.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace graphrun {

MemoryPlan PlanMemory(const std::vector<MemoryRequest>& requests) {
  constexpr int64_t kAlignment = 64;
  MemoryPlan plan;
  plan.offsets.assign(requests.size(), 0);
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return requests[a].bytes > requests[b].bytes; });
  // What is placed already: by its first step, and in a segment tree over the steps, in which the
  // nodes from a leaf up to the root hold what is alive at that step.
  size_t steps = 0;
  for (const MemoryRequest& r : requests) steps = std::max(steps, static_cast<size_t>(r.last) + 1);
  std::vector<std::vector<size_t>> alive(2 * steps), begun(steps);
  std::vector<std::pair<int64_t, int64_t>> busy;  // begin, end of what is alive at the same time
  for (const size_t i : order) {
    const MemoryRequest& r = requests[i];
    if (r.bytes == 0) continue;
    busy.clear();
    const auto first = static_cast<size_t>(r.first), last = static_cast<size_t>(r.last);
    const auto add = [&](const std::vector<size_t>& placed) {
      for (const size_t j : placed)
        busy.emplace_back(plan.offsets[j], plan.offsets[j] + requests[j].bytes);
    };
    for (size_t node = first + steps; node > 0; node /= 2) add(alive[node]);
    for (size_t s = first + 1; s <= last; ++s) add(begun[s]);
    std::sort(busy.begin(), busy.end());
    int64_t best = -1, best_gap = 0, end = 0;
    for (const auto& [begin, stop] : busy) {
      const int64_t gap = begin - end;
      if (gap >= r.bytes && (best < 0 || gap < best_gap)) {
        best = end;
        best_gap = gap;
      }
      end = std::max(end, (stop + kAlignment - 1) / kAlignment * kAlignment);
    }
    plan.offsets[i] = best >= 0 ? best : end;
    plan.bytes = std::max(plan.bytes, plan.offsets[i] + r.bytes);
    begun[first].push_back(i);
    for (size_t left = first + steps, right = last + steps + 1; left < right;
         left /= 2, right /= 2) {
      if (left % 2 == 1) alive[left++].push_back(i);
      if (right % 2 == 1) alive[--right].push_back(i);
    }
  }
  plan.bytes = (plan.bytes + kAlignment - 1) / kAlignment * kAlignment;
  return plan;
}

}  // namespace graphrun
