// PlanMemory: offsets in one arena for buffers with lifetimes. A pure function.
#pragma once

#include <cstdint>
#include <vector>

namespace graphrun {

struct MemoryRequest {
  int64_t bytes = 0;
  int first = 0;  // the first step that needs it
  int last = 0;   // the last step that needs it, included
};

struct MemoryPlan {
  std::vector<int64_t> offsets;  // one for each request, multiples of 64
  int64_t bytes = 0;             // of the arena
};

// Places large buffers first, each in the smallest gap that no buffer alive at the same time
// overlaps. Time is quadratic in the number of requests with a tiny constant (10,000 in some tens
// of milliseconds).
MemoryPlan PlanMemory(const std::vector<MemoryRequest>& requests);

}  // namespace graphrun
