// RunTeam: several threads that work through stages of one task together, with barriers between the
// stages instead of a parallel region each.
#pragma once

#include <atomic>
#include <cstdint>

#include "absl/functional/function_ref.h"

namespace graphrun {

// One member's view of its team.
class Team {
 public:
  struct Gate {
    std::atomic<int> waiting{0};
    std::atomic<uint32_t> passed{0};
  };
  Team(int member, int size, Gate* gate) : member_(member), size_(size), gate_(gate) {}
  int member() const { return member_; }  // [0, size)
  int size() const { return size_; }
  // This member's share of n items: [begin(n), end(n)); the shares cover [0, n).
  int64_t begin(int64_t n) const { return n * member_ / size_; }
  int64_t end(int64_t n) const { return n * (member_ + 1) / size_; }
  // Returns when every member has come here as often as this one. What members wrote before is
  // visible after.
  void Wait();

 private:
  int member_, size_;
  Gate* gate_;
};

// Calls fn once on each member of a team of at most `threads` (and at most NumThreads()) threads,
// all at the same time; a single member is the calling thread. fn must not throw, and every member
// must call Wait equally often. Inside a parallel region the team has one member.
void RunTeam(int threads, absl::FunctionRef<void(Team& team)> fn);

}  // namespace graphrun
