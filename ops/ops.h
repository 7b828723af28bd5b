// The operators: RegisterOps fills a registry with every family in this folder.
#pragma once

#include "runtime/op/op_registry.h"

namespace graphrun {

void RegisterOps(OpRegistry& ops);

}  // namespace graphrun
