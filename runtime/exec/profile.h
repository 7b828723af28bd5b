// Profile: time per step of a plan, summed over runs, and when each step began and ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace graphrun {

struct Profile {
  struct Row {
    std::string label, op, kernel, info;
    int64_t calls = 0;
    double seconds = 0;
    double multiply_adds = 0;  // of one call
  };
  // One call of a step. Times in seconds since the first profiled run began.
  struct Event {
    size_t row;
    double start, end;
  };
  // All steps of one operator.
  struct OpShare {
    std::string op;
    int64_t steps = 0, calls = 0;
    double seconds = 0;
    double multiply_adds = 0;  // of all calls
  };

  std::vector<Row> rows;  // in the order of steps
  int64_t runs = 0;
  double seconds = 0;  // of whole runs
  // Calls are written down until there are so many; 0: none are.
  size_t max_events = 0;
  std::vector<Event> events;
  double origin = 0;  // of the events: seconds of the steady clock

  // Multiply-adds of one run.
  double multiply_adds() const;
  // The longest first.
  std::vector<OpShare> ByOperator() const;
  // Tables sorted by share: of steps, and of operators; `top` rows, 0: all.
  std::string ToString(size_t top = 0) const;
  std::string OperatorTable(size_t top = 0) const;
};

}  // namespace graphrun
