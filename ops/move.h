// What the operators that move elements share: copies by the width of an element instead of by its
// type, and kernels whose geometry depends on the elements of inputs.
#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/parallel.h"
#include "runtime/op/kernel.h"

namespace graphrun {

// Elements of 1 to 16 bytes of any type.
struct __attribute__((may_alias)) Word1 {
  uint8_t bits;
};
struct __attribute__((may_alias)) Word2 {
  uint16_t bits;
};
struct __attribute__((may_alias)) Word4 {
  uint32_t bits;
};
struct __attribute__((may_alias)) Word8 {
  uint64_t bits;
};
struct __attribute__((may_alias)) Word16 {
  uint64_t bits[2];
};

// Calls f.template operator()<W>() with the W that moves an element of `dtype`: Word1 to Word16 by
// its width, or std::string.
template <typename F>
void DispatchWidth(DType dtype, F&& f) {
  if (dtype == DType::kString) return f.template operator()<std::string>();
  switch (DTypeSize(dtype)) {
    case 1:
      return f.template operator()<Word1>();
    case 2:
      return f.template operator()<Word2>();
    case 4:
      return f.template operator()<Word4>();
    case 8:
      return f.template operator()<Word8>();
    default:
      return f.template operator()<Word16>();
  }
}

// Calls f.template operator()<W>(scale): W is std::string with scale 1, or Word1 with the bytes of
// an element. For kernels that copy rows: sizes and offsets count elements times `scale`.
template <typename F>
void DispatchRows(DType dtype, F&& f) {
  if (dtype == DType::kString) return f.template operator()<std::string>(int64_t{1});
  f.template operator()<Word1>(int64_t{DTypeSize(dtype)});
}

template <typename W>
void CopyRow(const W* src, W* dst, int64_t n) {
  if constexpr (std::is_same_v<W, std::string>) {
    std::copy(src, src + n, dst);
  } else {
    if (n > 0) std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(W));
  }
}

inline constexpr int64_t kCopyGrain = 1 << 16;  // bytes below which a second thread does not pay

// Rows of `row_bytes` that one thread should have at least.
inline int64_t RowGrain(int64_t row_bytes) {
  return std::max<int64_t>(kCopyGrain / std::max<int64_t>(row_bytes, 1), 1);
}

// Copies all elements of src to the memory of dst; nothing where it is the same memory.
// REQUIRES: same element type and number of elements.
void CopyAll(const Tensor& src, Tensor& dst);

// As if every element of dst were the one element of `value`.
void FillAll(const Tensor& value, Tensor& dst);

// Elements of inputs, by number; null where the input is left out.
class InputValues {
 public:
  InputValues(const std::vector<int>& inputs, std::vector<const Tensor*> tensors)
      : inputs_(inputs), tensors_(std::move(tensors)) {}
  const Tensor* operator[](int input) const {
    for (size_t k = 0; k < inputs_.size(); ++k) {
      if (inputs_[k] == input) return tensors_[k];
    }
    return nullptr;
  }
  // The elements of an integer input; empty where it is left out.
  std::vector<int64_t> ints(int input) const {
    const Tensor* t = (*this)[input];
    return t == nullptr ? std::vector<int64_t>() : t->AsInt64s();
  }

 private:
  const std::vector<int>& inputs_;
  std::vector<const Tensor*> tensors_;
};

// A kernel whose geometry depends on the elements of some inputs: `make(InputValues)`, giving
// absl::StatusOr<Plan>, is called once where they are known when the kernel is prepared, else at
// each run; then `run(const Plan&, RunContext&)`.
template <typename Make, typename Run>
absl::StatusOr<std::unique_ptr<Kernel>> KernelByValues(PrepareContext& c,
                                                       std::vector<int> value_inputs, Make make,
                                                       Run run) {
  std::vector<const Tensor*> known;
  bool all = true;
  for (const int i : value_inputs) {
    known.push_back(c.has_input(i) ? c.constant(i) : nullptr);
    all &= !c.has_input(i) || known.back() != nullptr;
  }
  if (all) {
    auto plan = make(InputValues(value_inputs, known));
    if (!plan.ok()) return plan.status();
    return MakeKernel([plan = *std::move(plan), run](RunContext& r) { return run(plan, r); });
  }
  return MakeKernel([value_inputs, make, run](RunContext& r) -> absl::Status {
    std::vector<const Tensor*> given;
    for (const int i : value_inputs) given.push_back(r.has_input(i) ? &r.input(i) : nullptr);
    auto plan = make(InputValues(value_inputs, given));
    if (!plan.ok()) return plan.status();
    return run(*plan, r);
  });
}

// A kernel that leaves input 0's elements as they are under other sizes. `dims_of(c)` gives a
// function of (InputValues, input 0's sizes) for sizes that are known only at run time. Where
// output and input share memory nothing is copied.
template <typename DimsOf>
KernelFactory ViewKernel(std::vector<int> value_inputs, DimsOf dims_of) {
  return [value_inputs, dims_of](PrepareContext& c) -> absl::StatusOr<std::unique_ptr<Kernel>> {
    if (!c.output_is_dynamic(0)) {
      return MakeKernel([](RunContext& r) {
        CopyAll(r.input(0), r.output(0));
        return absl::OkStatus();
      });
    }
    const auto of = dims_of(c);
    return MakeKernel([of, value_inputs](RunContext& r) -> absl::Status {
      std::vector<const Tensor*> given;
      for (const int i : value_inputs) given.push_back(r.has_input(i) ? &r.input(i) : nullptr);
      auto dims = of(InputValues(value_inputs, given), r.input(0).dims());
      if (!dims.ok()) return dims.status();
      GR_RETURN_IF_ERROR(r.ResizeOutput(0, r.input(0).dtype(), *std::move(dims)));
      CopyAll(r.input(0), r.output(0));
      return absl::OkStatus();
    });
  };
}

}  // namespace graphrun
