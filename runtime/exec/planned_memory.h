// PlannedMemory: what a plan takes of memory, and what fills its arena where that is fullest.
#pragma once

#include <string>
#include <vector>

#include "runtime/exec/plan.h"

namespace graphrun {

struct PlannedMemory {
  // Bytes: of the arena that steps share, of constants, of states as the plan lays them out, and of
  // graph outputs. Inputs are the caller's.
  int64_t arena = 0, constants = 0, states = 0, outputs = 0;
  int64_t total() const { return arena + constants + states + outputs; }

  // Something in the arena.
  struct Row {
    std::string name;  // what lies there at the peak
    std::string type;  // with its layout; "" for scratch memory of a step
    int64_t bytes = 0;
    int first = 0, last = 0;  // the steps between which it is in use, included
  };
  int peak_step = -1;      // the first step at which most of the arena is in use; -1: no step
  int64_t peak_bytes = 0;  // in use then; less than `arena` where there are gaps
  std::vector<Row> rows;   // what is in use then, the largest first
};

PlannedMemory MemoryOf(const ExecutionPlan& plan);

// The same for people, with at most `max_rows` tensors.
std::string MemoryTable(const ExecutionPlan& plan, size_t max_rows);

}  // namespace graphrun
