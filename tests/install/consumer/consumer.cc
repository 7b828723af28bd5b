// A program outside the tree: it links the installed library and prints what that says.
#include <iostream>

#include "runtime/base/dtype.h"

int main() {
  std::cout << graphrun::DTypeName(graphrun::DType::kFloat32) << "\n";
  return 0;
}
