#include "runtime/base/all_close.h"

#include <cmath>
#include <complex>
#include <cstring>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

std::string Position(int64_t index, const Dims& dims) {
  Dims at(dims.size());
  for (size_t i = dims.size(); i-- > 0;) {
    at[i] = index % dims[i];
    index /= dims[i];
  }
  return DimsToString(at);
}

struct Differences {
  int64_t count = 0;
  int64_t worst = -1;
  double excess = -1;  // of the worst, as a multiple of what is allowed

  void Add(int64_t index, double difference, double allowed) {
    ++count;
    double over = allowed > 0 ? difference / allowed : difference;
    if (std::isnan(over)) over = INFINITY;
    if (over > excess) {
      excess = over;
      worst = index;
    }
  }
};

std::string ElementText(const Tensor& t, int64_t i) {
  switch (t.dtype()) {
    case DType::kString:
      return absl::StrCat("\"", t.data<std::string>()[i], "\"");
    case DType::kInt64:
      return absl::StrCat(t.data<int64_t>()[i]);
    case DType::kUInt64:
      return absl::StrCat(t.data<uint64_t>()[i]);
    case DType::kComplex64: {
      const std::complex<float> c = t.data<std::complex<float>>()[i];
      return absl::StrCat(c.real(), c.imag() < 0 ? "" : "+", c.imag(), "i");
    }
    case DType::kComplex128: {
      const std::complex<double> c = t.data<std::complex<double>>()[i];
      return absl::StrCat(c.real(), c.imag() < 0 ? "" : "+", c.imag(), "i");
    }
    default:
      return absl::StrCat(t.AsDouble(i));
  }
}

// One real number; NaN matches NaN, an infinity itself.
void CompareNumber(double got, double want, int64_t i, const Tolerance& tolerance,
                   Differences* differences) {
  if (got == want || (std::isnan(got) && std::isnan(want))) return;
  const double allowed = tolerance.atol + tolerance.rtol * std::fabs(want);
  const double difference = std::fabs(got - want);
  if (std::isfinite(got) && std::isfinite(want) && difference <= allowed) return;
  differences->Add(i, difference, allowed);
}

template <typename T>
void CompareComplex(const Tensor& got, const Tensor& want, const Tolerance& tolerance,
                    Differences* differences) {
  for (int64_t i = 0; i < got.num_elements(); ++i) {
    const T g = got.data<T>()[i], w = want.data<T>()[i];
    if (g == w || (std::isnan(std::abs(g)) && std::isnan(std::abs(w)))) continue;
    const double allowed = tolerance.atol + tolerance.rtol * std::abs(w);
    const double difference = std::abs(g - w);
    if (!(difference <= allowed)) differences->Add(i, difference, allowed);
  }
}

absl::string_view KindName(Type::Kind kind) {
  switch (kind) {
    case Type::Kind::kTensor:
      return "a tensor";
    case Type::Kind::kSequence:
      return "a sequence";
    case Type::Kind::kOptional:
      return "an optional";
    case Type::Kind::kMap:
      return "a map";
    case Type::Kind::kSparseTensor:
      return "a sparse tensor";
    case Type::Kind::kUnknown:
      break;
  }
  return "nothing";
}

}  // namespace

absl::Status AllClose(const Tensor& got, const Tensor& want, const Tolerance& tolerance) {
  if (got.dtype() != want.dtype() || got.dims() != want.dims()) {
    return MakeError(ErrorKind::kNumeric, absl::StrCat("is ", got.type().ToString(), ", expected ",
                                                       want.type().ToString()));
  }
  Differences differences;
  const int64_t n = got.num_elements();
  if (IsFloat(got.dtype())) {
    for (int64_t i = 0; i < n; ++i)
      CompareNumber(got.AsDouble(i), want.AsDouble(i), i, tolerance, &differences);
  } else if (got.dtype() == DType::kComplex64) {
    CompareComplex<std::complex<float>>(got, want, tolerance, &differences);
  } else if (got.dtype() == DType::kComplex128) {
    CompareComplex<std::complex<double>>(got, want, tolerance, &differences);
  } else if (got.dtype() == DType::kString) {
    for (int64_t i = 0; i < n; ++i)
      if (got.data<std::string>()[i] != want.data<std::string>()[i]) differences.Add(i, 1, 0);
  } else {
    const size_t size = static_cast<size_t>(DTypeSize(got.dtype()));
    const char* g = static_cast<const char*>(got.raw());
    const char* w = static_cast<const char*>(want.raw());
    for (int64_t i = 0; i < n; ++i) {
      const size_t at = static_cast<size_t>(i) * size;
      if (std::memcmp(g + at, w + at, size) != 0)
        differences.Add(i, std::fabs(got.AsDouble(i) - want.AsDouble(i)), 0);
    }
  }
  if (differences.count == 0) return absl::OkStatus();
  const int64_t i = differences.worst;
  std::string allowed;
  if (IsFloat(got.dtype()) || IsComplex(got.dtype())) {
    allowed = absl::StrCat(" (rtol ", tolerance.rtol, ", atol ", tolerance.atol, ")");
  }
  return MakeError(
      ErrorKind::kNumeric,
      absl::StrCat(differences.count, " of ", n, n == 1 ? " element" : " elements", " differ",
                   differences.count == 1 ? "s" : "", ", the most at ", Position(i, got.dims()),
                   ": got ", ElementText(got, i), ", expected ", ElementText(want, i), allowed));
}

namespace {

std::string KeyText(const Tensor& keys, int64_t i) {
  return keys.dtype() == DType::kString ? keys.data<std::string>()[i]
                                        : absl::StrCat(keys.data<int64_t>()[i]);
}

// Maps have no order: values are compared key by key. REQUIRES: as many items.
absl::Status MapsClose(const Datum& got, const Datum& want, const Tolerance& tolerance) {
  if (got.keys.dtype() != want.keys.dtype()) {
    return MakeError(ErrorKind::kNumeric,
                     absl::StrCat("has keys of type ", DTypeName(got.keys.dtype()), ", expected ",
                                  DTypeName(want.keys.dtype())));
  }
  std::map<std::string, const Datum*> values;
  for (size_t i = 0; i < got.items.size(); ++i) {
    values[KeyText(got.keys, static_cast<int64_t>(i))] = &got.items[i];
  }
  for (size_t i = 0; i < want.items.size(); ++i) {
    const std::string key = KeyText(want.keys, static_cast<int64_t>(i));
    const auto it = values.find(key);
    if (it == values.end()) {
      return MakeError(ErrorKind::kNumeric, absl::StrCat("has no key ", key));
    }
    Datum value = *it->second;
    const Tensor& expected = want.items[i].tensor;
    if (value.is_tensor() && value.tensor.num_elements() == 1 && expected.num_elements() == 1) {
      value.tensor = value.tensor.Reshaped(expected.dims());
    }
    GR_RETURN_IF_ERROR(
        Annotate(AllClose(value, want.items[i], tolerance), absl::StrCat("key ", key)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AllClose(const Datum& got, const Datum& want, const Tolerance& tolerance) {
  if (got.kind != want.kind) {
    return MakeError(ErrorKind::kNumeric,
                     absl::StrCat("is ", KindName(got.kind), ", expected ", KindName(want.kind)));
  }
  if (got.is_tensor()) return AllClose(got.tensor, want.tensor, tolerance);
  if (got.items.size() != want.items.size()) {
    return MakeError(ErrorKind::kNumeric, absl::StrCat("has ", got.items.size(),
                                                       " items, expected ", want.items.size()));
  }
  if (got.kind == Type::Kind::kMap) return MapsClose(got, want, tolerance);
  for (size_t i = 0; i < got.items.size(); ++i) {
    GR_RETURN_IF_ERROR(
        Annotate(AllClose(got.items[i], want.items[i], tolerance), absl::StrCat("item ", i)));
  }
  return absl::OkStatus();
}

}  // namespace graphrun
