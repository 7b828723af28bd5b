// The registry of all built-in operators, made once for a test program.
#pragma once

#include "ops/ops.h"

namespace graphrun {

// Never destroyed: parameters of tests point into it until the program ends.
inline const OpRegistry& StandardRegistry() {
  static const OpRegistry* const registry = [] {
    auto* ops = new OpRegistry();
    RegisterOps(*ops);
    return ops;
  }();
  return *registry;
}

}  // namespace graphrun
