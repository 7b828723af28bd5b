// Profile: time per step of a plan, summed over runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace graphrun {

struct Profile {
  struct Row {
    std::string label, op, kernel, info;
    int64_t calls = 0;
    double seconds = 0;
  };
  std::vector<Row> rows;  // in the order of steps
  int64_t runs = 0;
  double seconds = 0;  // of whole runs

  // A table sorted by share; `top` rows, 0: all.
  std::string ToString(size_t top = 0) const;
};

}  // namespace graphrun
