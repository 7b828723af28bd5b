// A program outside the tree: it asks the installed library for its operators.
#include <iostream>

#include "ops/ops.h"
#include "runtime/op/op_registry.h"

int main() {
  graphrun::OpRegistry ops;
  graphrun::RegisterOps(ops);
  const bool knows = ops.Find("", "Add", 14) != nullptr;
  std::cout << (knows ? "Add is known\n" : "Add is unknown\n");
  return knows ? 0 : 1;
}
