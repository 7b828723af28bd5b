// StateStore: the trainable parameters, optimizer slots and counters that live from one run to the
// next, each in the layout that the compute kernels of its plans want. Sessions may share one
// (training and validation do).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/op/op_registry.h"

namespace graphrun {

class StateStore {
 public:
  explicit StateStore(const OpRegistry* registry) : registry_(registry) {}
  StateStore(const StateStore&) = delete;
  StateStore& operator=(const StateStore&) = delete;

  struct Entry {
    std::string name;
    DType dtype = DType::kUndefined;
    Dims dims;
    Layout layout;
    Tensor memory;                    // uint8 [bytes], zero beyond the elements
    std::vector<std::string> copies;  // names of its rounded copies
  };

  // Adds a state in that layout, filled from a row-major tensor. REQUIRES: no state of that name.
  absl::Status Add(const std::string& name, const Tensor& value, const Layout& layout);
  // Adds a copy of state `of`, rounded to `dtype`, which mixed precision computes with. It follows
  // what is written to that state; what a plan does to the state, the plan does to the copy, or
  // Refresh does. REQUIRES: no state of that name.
  absl::Status AddCopy(const std::string& name, const std::string& of, DType dtype,
                       const Layout& layout);
  // Rounds the state anew into all its copies.
  absl::Status Refresh(const std::string& of);
  const Entry* Find(const std::string& name) const;  // null: none of that name; pointers stay valid
  // The value of a state, row-major, in memory of its own.
  absl::StatusOr<Tensor> Read(const std::string& name) const;
  // Overwrites a state with a row-major tensor of the same type and sizes.
  absl::Status Write(const std::string& name, const Tensor& value);
  std::vector<std::string> Names() const;         // sorted, without copies
  std::map<std::string, Layout> Layouts() const;  // of all, copies included
  int64_t bytes() const;

 private:
  absl::Status Allocate(const std::string& name, DType dtype, const Dims& dims,
                        const Layout& layout);

  const OpRegistry* registry_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> copy_of_;
};

// Copies elements between layouts, with the registry's reorder where they differ. Memory beyond the
// elements of the destination must be zero before.
absl::Status CopyLayout(const OpRegistry& registry, DType dtype, const Dims& dims, const void* from,
                        const Layout& from_layout, void* to, const Layout& to_layout);

}  // namespace graphrun
