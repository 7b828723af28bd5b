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
// overlaps. Takes time in proportion to the lifetimes and to what is alive beside each request: a
// chain of short ones is linear. REQUIRES: 0 <= first <= last.
MemoryPlan PlanMemory(const std::vector<MemoryRequest>& requests);

}  // namespace graphrun
