// Tensor: element type, sizes, and a shared or borrowed block of memory.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "runtime/base/shape.h"
#include "runtime/base/status.h"

namespace graphrun {

// Copies of a Tensor share their memory. Elements are row-major unless whoever planned the memory
// says otherwise. A tensor may be read by any number of threads; writing needs one owner.
class Tensor {
 public:
  Tensor() = default;  // no type, no memory

  // Memory of its own, uninitialised (strings: empty), aligned to 64 bytes. Errors: kLimit.
  static absl::StatusOr<Tensor> Allocate(DType dtype, Dims dims);
  // As Allocate, for sizes known to be sound; aborts where they are not.
  Tensor(DType dtype, Dims dims);
  // Borrowed memory, kept alive by `owner` where that is given. `data` must be aligned for the
  // type.
  static Tensor View(DType dtype, Dims dims, void* data,
                     std::shared_ptr<const void> owner = nullptr);

  // Zeros (or empty strings) of that type.
  static Tensor Zeros(DType dtype, Dims dims);
  // Tensor::Of<float>({2, 2}, {1, 2, 3, 4})
  template <typename T>
  static Tensor Of(Dims dims, std::initializer_list<T> values) {
    return Of<T>(std::move(dims), absl::Span<const T>(values.begin(), values.size()));
  }
  template <typename T>
  static Tensor Of(Dims dims, absl::Span<const T> values) {
    Tensor t(kDTypeOf<T>, std::move(dims));
    GR_CHECK(static_cast<size_t>(t.num_elements()) == values.size());
    std::copy(values.begin(), values.end(), t.mutable_data<T>());
    return t;
  }
  template <typename T>
  static Tensor Scalar(T value) {
    Tensor t(kDTypeOf<T>, Dims());
    t.mutable_data<T>()[0] = value;
    return t;
  }
  // A 1-D int64 tensor, as shapes and axes are given to operators.
  static Tensor Int64s(absl::Span<const int64_t> values) {
    return Of<int64_t>({static_cast<int64_t>(values.size())}, values);
  }

  bool is_defined() const { return dtype_ != DType::kUndefined; }
  DType dtype() const { return dtype_; }
  const Dims& dims() const { return dims_; }
  int rank() const { return static_cast<int>(dims_.size()); }
  int64_t dim(int axis) const { return dims_[static_cast<size_t>(axis)]; }
  int64_t num_elements() const { return num_elements_; }
  int64_t byte_size() const { return num_elements_ * DTypeSize(dtype_); }

  const void* raw() const { return data_; }
  void* mutable_raw() { return data_; }
  template <typename T>
  const T* data() const {
    GR_CHECK(kDTypeOf<T> == dtype_);
    return static_cast<const T*>(data_);
  }
  template <typename T>
  T* mutable_data() {
    GR_CHECK(kDTypeOf<T> == dtype_);
    return static_cast<T*>(data_);
  }
  template <typename T>
  absl::Span<const T> span() const {
    return {data<T>(), static_cast<size_t>(num_elements_)};
  }
  const std::shared_ptr<const void>& owner() const { return owner_; }

  // The same memory under other sizes. REQUIRES: as many elements.
  Tensor Reshaped(Dims dims) const;
  // A deep copy.
  Tensor Clone() const;
  // Element i as a double, whatever number type it has (real part of complex; bool as 0 or 1).
  double AsDouble(int64_t i) const;
  // All elements as int64. REQUIRES: an integer or bool type.
  std::vector<int64_t> AsInt64s() const;
  // Points this tensor at other memory of the same size; for plans that move buffers.
  void Rebase(void* data) { data_ = data; }

  TensorType type() const { return {dtype_, Shape::Of(dims_)}; }
  // "float32[2, 2] {1, 2, 3, 4}", at most `max_elements` of them.
  std::string ToString(int64_t max_elements = 16) const;

 private:
  DType dtype_ = DType::kUndefined;
  Dims dims_;
  int64_t num_elements_ = 0;
  void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
};

// Bitwise equality of type, sizes and elements.
bool SameBits(const Tensor& a, const Tensor& b);

// A value of a running graph: a tensor or one of ONNX's containers.
struct Datum {
  Type::Kind kind = Type::Kind::kUnknown;
  Tensor tensor;             // kTensor
  std::vector<Datum> items;  // kSequence: its elements; kOptional: one or none; kMap: its values
  Tensor keys;               // kMap: int64 or string [items.size()]
  DType element =
      DType::kUndefined;  // element type of the tensors within, known also where it is empty

  Datum() = default;
  Datum(Tensor t)
      : kind(Type::Kind::kTensor), tensor(std::move(t)) {}  // NOLINT: a tensor is a Datum
  static Datum Sequence(std::vector<Datum> items, DType element) {
    Datum d;
    d.kind = Type::Kind::kSequence;
    d.items = std::move(items);
    d.element = element;
    return d;
  }
  static Datum Optional() {
    Datum d;
    d.kind = Type::Kind::kOptional;
    return d;
  }
  static Datum Optional(Datum value) {
    Datum d = Optional();
    d.items.push_back(std::move(value));
    return d;
  }
  bool is_tensor() const { return kind == Type::Kind::kTensor; }
  // The type of this value, shapes concrete.
  Type type() const;
};

}  // namespace graphrun
