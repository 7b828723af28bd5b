#include "runtime/base/shape.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "runtime/base/limits.h"
#include "runtime/base/status.h"

namespace graphrun {

std::string Dim::ToString() const {
  if (is_number()) return absl::StrCat(value_);
  return is_symbol() ? symbol_ : "?";
}

bool Shape::is_concrete() const {
  return known_ &&
         std::all_of(dims_.begin(), dims_.end(), [](const Dim& d) { return d.is_number(); });
}

Dims Shape::ToDims() const {
  Dims dims;
  dims.reserve(dims_.size());
  for (const Dim& d : dims_) dims.push_back(d.value());
  return dims;
}

bool Shape::SurelyEquals(const Shape& o) const {
  if (!known_ || !o.known_ || dims_.size() != o.dims_.size()) return false;
  for (size_t i = 0; i < dims_.size(); ++i) {
    if (!dims_[i].SurelyEquals(o.dims_[i])) return false;
  }
  return true;
}

std::string Shape::ToString() const {
  if (!known_) return "[...]";
  return absl::StrCat(
      "[",
      absl::StrJoin(dims_, ", ",
                    [](std::string* out, const Dim& d) { absl::StrAppend(out, d.ToString()); }),
      "]");
}

std::string TensorType::ToString() const {
  return absl::StrCat(DTypeName(dtype), shape.ToString());
}

bool Type::operator==(const Type& o) const {
  if (kind != o.kind || !(tensor == o.tensor) || key != o.key) return false;
  if (!element || !o.element) return !element && !o.element;
  return *element == *o.element;
}

std::string Type::ToString() const {
  switch (kind) {
    case Kind::kUnknown:
      return "?";
    case Kind::kTensor:
      return tensor.ToString();
    case Kind::kSparseTensor:
      return absl::StrCat("sparse_tensor(", tensor.ToString(), ")");
    case Kind::kSequence:
      return absl::StrCat("seq(", element->ToString(), ")");
    case Kind::kOptional:
      return absl::StrCat("optional(", element->ToString(), ")");
    case Kind::kMap:
      return absl::StrCat("map(", DTypeName(key), ", ", element->ToString(), ")");
  }
  return "?";
}

absl::optional<int64_t> CheckedMul(int64_t a, int64_t b) {
  int64_t product;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product)) return absl::nullopt;
  return product;
}

absl::StatusOr<int64_t> NumElements(absl::Span<const int64_t> dims) {
  int64_t count = 1;
  bool has_zero = false;
  for (int64_t d : dims) {
    if (d < 0) return LimitError("shape ", DimsToString(dims), " has a negative size");
    has_zero |= d == 0;
    if (d == 0) continue;
    const auto next = CheckedMul(count, d);
    if (!next)
      return LimitError("shape ", DimsToString(dims), " has more elements than 63 bits can count");
    count = *next;
  }
  return has_zero ? 0 : count;
}

int64_t Product(absl::Span<const int64_t> dims) {
  int64_t count = 1;
  for (int64_t d : dims) count *= d;
  return count;
}

Dims RowMajorStrides(absl::Span<const int64_t> dims) {
  Dims strides(dims.size());
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= dims[i];
  }
  return strides;
}

std::string DimsToString(absl::Span<const int64_t> dims) {
  return absl::StrCat("[", absl::StrJoin(dims, ", "), "]");
}

absl::StatusOr<Shape> BroadcastShapes(const Shape& a, const Shape& b) {
  if (!a.has_rank() || !b.has_rank()) return Shape();
  const int rank = std::max(a.rank(), b.rank());
  std::vector<Dim> dims(static_cast<size_t>(rank));
  for (int i = 0; i < rank; ++i) {
    const int ia = i - (rank - a.rank());
    const int ib = i - (rank - b.rank());
    Dim& out = dims[static_cast<size_t>(i)];
    if (ia < 0) {
      out = b[ib];
    } else if (ib < 0) {
      out = a[ia];
    } else if (a[ia].SurelyEquals(b[ib])) {
      out = a[ia];
    } else if (a[ia].is_number() && a[ia].value() == 1) {
      out = b[ib];
    } else if (b[ib].is_number() && b[ib].value() == 1) {
      out = a[ia];
    } else if (a[ia].is_number() && b[ib].is_number()) {
      return ModelError("shapes ", a.ToString(), " and ", b.ToString(),
                        " do not broadcast: sizes from the last axis must be equal or 1");
    } else if (a[ia].is_number()) {
      out = a[ia];  // a symbol or unknown beside a number above 1 must be that number or 1
    } else if (b[ib].is_number()) {
      out = b[ib];
    }
  }
  return Shape(std::move(dims));
}

absl::StatusOr<Dims> BroadcastDims(absl::Span<const int64_t> a, absl::Span<const int64_t> b) {
  GR_ASSIGN_OR_RETURN(Shape shape, BroadcastShapes(Shape::Of(a), Shape::Of(b)));
  return shape.ToDims();
}

absl::StatusOr<int> NormalizeAxis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) {
    return ModelError("axis ", axis, " is out of range for rank ", rank, ": it must be in [", -rank,
                      ", ", rank - 1, "]");
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

}  // namespace graphrun
