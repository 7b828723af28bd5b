// Runs graphs held in attributes (If, Loop, Scan) by Sessions of their own.
#pragma once

#include <memory>

#include "runtime/exec/session.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

absl::StatusOr<std::unique_ptr<SubgraphRunner>> MakeSubgraphRunner(Attr::GraphPtr graph,
                                                                   const OpRegistry* registry,
                                                                   const SessionOptions& options);

}  // namespace graphrun
