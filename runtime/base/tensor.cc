#include "runtime/base/tensor.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "runtime/base/limits.h"

namespace graphrun {
namespace {

constexpr size_t kAlignment = 64;
constexpr int64_t kPages = 1 << 20;  // zeros from this size on come from the system

using AllTypes = Concat<Concat<NumericTypes, SmallFloatTypes>, SmallIntTypes>;

}  // namespace

absl::StatusOr<Tensor> Tensor::Allocate(DType dtype, Dims dims) {
  if (dims.size() > kMaxRank) {
    return LimitError("a tensor of rank ", dims.size(), " is asked for; at most ", kMaxRank,
                      " axes are supported");
  }
  GR_ASSIGN_OR_RETURN(const int64_t count, NumElements(dims));
  const auto bytes = CheckedMul(count, DTypeSize(dtype));
  if (!bytes || *bytes > kMaxTensorBytes) {
    return LimitError("a tensor ", DTypeName(dtype), DimsToString(dims),
                      " is larger than the limit of ", kMaxTensorBytes, " bytes");
  }
  Tensor t;
  t.dtype_ = dtype;
  t.dims_ = std::move(dims);
  t.num_elements_ = count;
  if (dtype == DType::kString) {
    auto strings = std::shared_ptr<std::string[]>(new std::string[static_cast<size_t>(count)]);
    t.data_ = strings.get();
    t.owner_ = strings;
    return t;
  }
  const size_t size =
      std::max<size_t>((static_cast<size_t>(*bytes) + kAlignment - 1) / kAlignment, 1) * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, size);
  if (memory == nullptr) {
    return LimitError("out of memory: ", *bytes, " bytes for a tensor ", t.type().ToString());
  }
  t.data_ = memory;
  t.owner_ =
      std::shared_ptr<const void>(memory, [](const void* p) { std::free(const_cast<void*>(p)); });
  return t;
}

Tensor::Tensor(DType dtype, Dims dims) {
  auto t = Allocate(dtype, std::move(dims));
  GR_CHECK(t.ok());
  *this = *std::move(t);
}

Tensor Tensor::View(DType dtype, Dims dims, void* data, std::shared_ptr<const void> owner) {
  Tensor t;
  t.dtype_ = dtype;
  t.num_elements_ = Product(dims);
  t.dims_ = std::move(dims);
  t.data_ = data;
  t.owner_ = std::move(owner);
  return t;
}

Tensor Tensor::Zeros(DType dtype, Dims dims) {
  // Pages that the system gives are zero, and are no memory before they are touched.
  const auto count = NumElements(dims);
  const auto size = count.ok() ? CheckedMul(*count, DTypeSize(dtype)) : absl::nullopt;
  if (dtype != DType::kString && size && *size >= kPages) {
    const auto bytes = static_cast<size_t>(*size);
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory != MAP_FAILED) {
      return View(dtype, std::move(dims), memory,
                  std::shared_ptr<const void>(
                      memory, [bytes](const void* p) { munmap(const_cast<void*>(p), bytes); }));
    }
  }
  Tensor t(dtype, std::move(dims));
  if (dtype != DType::kString) std::memset(t.data_, 0, static_cast<size_t>(t.byte_size()));
  return t;
}

Tensor Tensor::Reshaped(Dims dims) const {
  Tensor t = *this;
  GR_CHECK(Product(dims) == num_elements_);
  t.dims_ = std::move(dims);
  return t;
}

Tensor Tensor::Clone() const {
  Tensor t(dtype_, dims_);
  if (dtype_ == DType::kString) {
    const auto* from = static_cast<const std::string*>(data_);
    std::copy(from, from + num_elements_, static_cast<std::string*>(t.data_));
  } else if (num_elements_ > 0) {
    std::memcpy(t.data_, data_, static_cast<size_t>(byte_size()));
  }
  return t;
}

double Tensor::AsDouble(int64_t i) const {
  double value = 0;
  if (DispatchDType(AllTypes(), dtype_, [&]<typename T>() {
        value = static_cast<double>(static_cast<Compute<T>>(data<T>()[i]));
      })) {
    return value;
  }
  if (dtype_ == DType::kBool) return data<bool>()[i] ? 1 : 0;
  if (dtype_ == DType::kComplex64) return data<std::complex<float>>()[i].real();
  GR_CHECK(dtype_ == DType::kComplex128);
  return data<std::complex<double>>()[i].real();
}

std::vector<int64_t> Tensor::AsInt64s() const {
  std::vector<int64_t> values(static_cast<size_t>(num_elements_));
  const bool known =
      DispatchDType(Concat<IntegerTypes, SmallIntTypes>(), dtype_, [&]<typename T>() {
        for (int64_t i = 0; i < num_elements_; ++i) {
          values[static_cast<size_t>(i)] =
              static_cast<int64_t>(static_cast<Compute<T>>(data<T>()[i]));
        }
      });
  if (!known) {
    GR_CHECK(dtype_ == DType::kBool);
    for (int64_t i = 0; i < num_elements_; ++i)
      values[static_cast<size_t>(i)] = data<bool>()[i] ? 1 : 0;
  }
  return values;
}

std::string Tensor::ToString(int64_t max_elements) const {
  if (!is_defined()) return "undefined";
  std::string out = absl::StrCat(type().ToString(), " {");
  for (int64_t i = 0; i < std::min(num_elements_, max_elements); ++i) {
    if (i > 0) out += ", ";
    if (dtype_ == DType::kString) {
      absl::StrAppend(&out, "\"", data<std::string>()[i], "\"");
    } else if (IsInteger(dtype_)) {
      absl::StrAppend(&out, static_cast<int64_t>(AsDouble(i)));
    } else {
      absl::StrAppend(&out, AsDouble(i));
    }
  }
  if (num_elements_ > max_elements) out += ", ...";
  return out + "}";
}

bool SameBits(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.dims() != b.dims()) return false;
  if (a.dtype() == DType::kString) {
    return std::equal(a.data<std::string>(), a.data<std::string>() + a.num_elements(),
                      b.data<std::string>());
  }
  return a.num_elements() == 0 ||
         std::memcmp(a.raw(), b.raw(), static_cast<size_t>(a.byte_size())) == 0;
}

namespace {

// What all items have in common: tensors of a sequence may differ in their sizes.
Type ItemType(const Datum& container) {
  if (container.items.empty() || container.items[0].is_tensor()) {
    const DType dtype =
        container.items.empty() ? container.element : container.items[0].tensor.dtype();
    return Type::Tensor(dtype, Shape());
  }
  return container.items[0].type();
}

}  // namespace

Type Datum::type() const {
  switch (kind) {
    case Type::Kind::kTensor:
      return Type::Tensor(tensor.dtype(), Shape::Of(tensor.dims()));
    case Type::Kind::kSequence:
      return Type::SequenceOf(ItemType(*this));
    case Type::Kind::kOptional:
      return Type::OptionalOf(ItemType(*this));
    case Type::Kind::kMap:
      return Type::MapOf(keys.dtype(), ItemType(*this));
    default:
      return Type();
  }
}

}  // namespace graphrun
