// TeamKernel: a kernel whose threads a session keeps together from one step to the next.
//
// Steps that follow each other and are all team kernels run within one parallel region: the
// threads meet between two steps instead of being called anew.
#pragma once

#include "runtime/base/team.h"
#include "runtime/op/kernel.h"

namespace graphrun {

class TeamKernel : public Kernel {
 public:
  // The share of one member. Every member is called with contexts of the same tensors and scratch
  // memory. Results must not depend on the team's size.
  virtual void RunShare(RunContext& context, Team& team) const = 0;
  // Threads that are worth calling for this step alone.
  virtual int threads() const = 0;

  absl::Status Run(RunContext& context) const final {
    RunTeam(threads(), [&](Team& team) { RunShare(context, team); });
    return absl::OkStatus();
  }
};

}  // namespace graphrun
