// Dim, Shape and Type: what is known of a value before it is computed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "absl/types/span.h"
#include "runtime/base/dtype.h"

namespace graphrun {

// The sizes of a concrete tensor, outermost axis first.
using Dims = std::vector<int64_t>;

// The size of one axis: a number, a symbol ("N", the same wherever it occurs in a graph), or
// unknown.
class Dim {
 public:
  Dim() = default;                       // unknown
  Dim(int64_t value) : value_(value) {}  // NOLINT: a number is a Dim
  static Dim Symbol(std::string name) {
    Dim d;
    d.symbol_ = std::move(name);
    return d;
  }
  bool is_number() const { return value_ >= 0; }
  bool is_symbol() const { return !symbol_.empty(); }
  bool is_unknown() const { return !is_number() && !is_symbol(); }
  int64_t value() const { return value_; }               // REQUIRES: is_number()
  const std::string& symbol() const { return symbol_; }  // empty unless is_symbol()

  // True where both are surely the same size: equal numbers or the same symbol.
  bool SurelyEquals(const Dim& o) const {
    return is_number() ? value_ == o.value_ : is_symbol() && symbol_ == o.symbol_;
  }
  bool operator==(const Dim& o) const { return value_ == o.value_ && symbol_ == o.symbol_; }
  std::string ToString() const;  // "3", "N" or "?"

 private:
  int64_t value_ = -1;
  std::string symbol_;
};

// The axes of a tensor, or "unknown rank" (the default).
class Shape {
 public:
  Shape() = default;
  explicit Shape(std::vector<Dim> dims) : known_(true), dims_(std::move(dims)) {}
  static Shape Of(absl::Span<const int64_t> dims) {
    return Shape(std::vector<Dim>(dims.begin(), dims.end()));
  }
  static Shape Scalar() { return Shape(std::vector<Dim>()); }
  static Shape UnknownOfRank(int rank) {
    return Shape(std::vector<Dim>(static_cast<size_t>(rank)));
  }

  bool has_rank() const { return known_; }
  int rank() const { return static_cast<int>(dims_.size()); }  // REQUIRES: has_rank()
  const Dim& operator[](int axis) const { return dims_[static_cast<size_t>(axis)]; }
  Dim& operator[](int axis) { return dims_[static_cast<size_t>(axis)]; }
  const std::vector<Dim>& dims() const { return dims_; }
  void Append(Dim d) { dims_.push_back(std::move(d)); }

  bool is_concrete() const;  // rank and every axis are numbers
  Dims ToDims() const;       // REQUIRES: is_concrete()
  // True where both surely are the same shape.
  bool SurelyEquals(const Shape& o) const;
  bool operator==(const Shape& o) const { return known_ == o.known_ && dims_ == o.dims_; }
  std::string ToString() const;  // "[N, 3, 28]", "[]" for a scalar, "[...]" for unknown rank

 private:
  bool known_ = false;
  std::vector<Dim> dims_;
};

// Element type and shape of a tensor.
struct TensorType {
  DType dtype = DType::kUndefined;
  Shape shape;
  bool operator==(const TensorType& o) const { return dtype == o.dtype && shape == o.shape; }
  std::string ToString() const;  // "float32[N, 10]"
};

// The type of any value of a graph: a tensor, or one of ONNX's containers.
struct Type {
  enum class Kind { kUnknown, kTensor, kSequence, kOptional, kMap, kSparseTensor };
  Kind kind = Kind::kUnknown;
  TensorType tensor;                    // kTensor and kSparseTensor
  DType key = DType::kUndefined;        // kMap
  std::shared_ptr<const Type> element;  // kSequence, kOptional; the value type of kMap

  static Type Tensor(DType dtype, Shape shape) {
    return {Kind::kTensor, {dtype, std::move(shape)}, {}, {}};
  }
  static Type SequenceOf(Type e) {
    return {Kind::kSequence, {}, {}, std::make_shared<Type>(std::move(e))};
  }
  static Type OptionalOf(Type e) {
    return {Kind::kOptional, {}, {}, std::make_shared<Type>(std::move(e))};
  }
  static Type MapOf(DType key, Type e) {
    return {Kind::kMap, {}, key, std::make_shared<Type>(std::move(e))};
  }
  bool is_tensor() const { return kind == Kind::kTensor; }
  bool is_known() const { return kind != Kind::kUnknown; }
  bool operator==(const Type& o) const;
  std::string ToString() const;  // "float32[N, 10]", "seq(float32[...])"
};

// a * b; nothing where that overflows 63 bits or an argument is negative.
absl::optional<int64_t> CheckedMul(int64_t a, int64_t b);

// The product of all sizes (1 for a scalar). An error of kind kLimit on overflow or a negative
// size.
absl::StatusOr<int64_t> NumElements(absl::Span<const int64_t> dims);

// The product of sizes already known to be sound (a planned tensor's).
int64_t Product(absl::Span<const int64_t> dims);

// Row-major strides in elements.
Dims RowMajorStrides(absl::Span<const int64_t> dims);

// "[2, 3]"
std::string DimsToString(absl::Span<const int64_t> dims);

// NumPy's broadcasting of two shapes, symbols included. An error that names both where they do not
// fit.
absl::StatusOr<Shape> BroadcastShapes(const Shape& a, const Shape& b);
absl::StatusOr<Dims> BroadcastDims(absl::Span<const int64_t> a, absl::Span<const int64_t> b);

// `axis` counted from the end where negative. An error where it is not in [-rank, rank).
absl::StatusOr<int> NormalizeAxis(int64_t axis, int rank);

}  // namespace graphrun
