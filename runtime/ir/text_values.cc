#include "runtime/ir/text_values.h"

#include <complex>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/limits.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/ir/text.h"

namespace graphrun {
namespace {

constexpr int kMaxTypeDepth = 32;

using NumberTypes = Concat<Concat<NumericTypes, SmallFloatTypes>, SmallIntTypes>;
using Kind = Attr::Kind;

// One element as T; false where it does not fit.
template <typename T>
bool ToNumber(const std::string& text, T* out) {
  if constexpr (std::is_same_v<T, uint64_t>) {
    return absl::SimpleAtoi(text, out);
  } else if constexpr (std::is_same_v<T, double>) {
    return absl::SimpleAtod(text, out);
  } else if constexpr (std::is_integral_v<T>) {
    int64_t v = 0;
    if (!absl::SimpleAtoi(text, &v)) return false;
    *out = static_cast<T>(v);
    return static_cast<int64_t>(*out) == v;
  } else if constexpr (std::is_same_v<Compute<T>, float>) {
    float v = 0;
    if (!absl::SimpleAtof(text, &v)) return false;
    *out = T(v);
    return true;
  } else {
    int64_t v = 0;
    if (!absl::SimpleAtoi(text, &v)) return false;
    *out = T(v);
    return static_cast<int>(*out) == v;
  }
}

}  // namespace

bool IsTypeWord(absl::string_view word) {
  return DTypeFromName(word) != DType::kUndefined || word == "seq" || word == "map" ||
         word == "optional" || word == "sparse_tensor" || word == "opaque" || word == "undefined";
}

absl::StatusOr<Type> ParseTypeText(TextScanner* in, int depth) {
  if (depth > kMaxTypeDepth) return in->Error("types are nested too deep");
  const std::string word(in->PeekWord());
  if (!IsTypeWord(word)) return in->Error("a type is expected");
  GR_RETURN_IF_ERROR(in->Expect(word));
  if (word == "opaque") {
    GR_RETURN_IF_ERROR(in->Expect("("));
    while (!in->Accept(")")) {
      if (in->Accept(".") || in->Accept(",")) continue;
      GR_RETURN_IF_ERROR(in->Name().status());
    }
    return Type();
  }
  if (word == "seq" || word == "optional" || word == "sparse_tensor") {
    GR_RETURN_IF_ERROR(in->Expect("("));
    Type element;
    if (!in->Sees(")")) {
      GR_ASSIGN_OR_RETURN(element, ParseTypeText(in, depth + 1));
    }
    GR_RETURN_IF_ERROR(in->Expect(")"));
    if (word == "seq") return Type::SequenceOf(element);
    if (word == "optional") return Type::OptionalOf(element);
    element.kind = Type::Kind::kSparseTensor;
    return element;
  }
  if (word == "map") {
    GR_RETURN_IF_ERROR(in->Expect("("));
    const DType key = DTypeFromName(in->PeekWord());
    if (key == DType::kUndefined) return in->Error("the type of the keys is expected");
    GR_RETURN_IF_ERROR(in->Expect(in->PeekWord()));
    GR_RETURN_IF_ERROR(in->Expect(","));
    GR_ASSIGN_OR_RETURN(Type value, ParseTypeText(in, depth + 1));
    GR_RETURN_IF_ERROR(in->Expect(")"));
    return Type::MapOf(key, std::move(value));
  }
  const DType dtype = DTypeFromName(word);
  if (!in->Accept("[")) return Type::Tensor(dtype, Shape::Scalar());
  if (in->Accept("]")) return Type::Tensor(dtype, Shape());
  std::vector<Dim> dims;
  do {
    if (in->Accept("?")) {
      dims.emplace_back();
    } else if (absl::ascii_isdigit(static_cast<unsigned char>(in->Peek()))) {
      GR_ASSIGN_OR_RETURN(const int64_t size, in->Int());
      dims.emplace_back(size);
    } else {
      GR_ASSIGN_OR_RETURN(std::string symbol, in->Name());
      dims.push_back(Dim::Symbol(std::move(symbol)));
    }
  } while (in->Accept(","));
  if (dims.size() > kMaxRank)
    return in->Error(absl::StrCat("rank ", dims.size(), " is beyond the limit of ", kMaxRank));
  GR_RETURN_IF_ERROR(in->Expect("]"));
  return Type::Tensor(dtype, Shape(std::move(dims)));
}

absl::StatusOr<Tensor> ParseElements(TextScanner* in, const Type& type) {
  if (!type.is_tensor() || !type.tensor.shape.is_concrete() ||
      type.tensor.dtype == DType::kUndefined) {
    return in->Error(absl::StrCat("elements need a tensor type whose sizes are numbers, not \"",
                                  PrintType(type), "\""));
  }
  const DType dtype = type.tensor.dtype;
  const Dims dims = type.tensor.shape.ToDims();
  const TextScanner start = *in;
  GR_RETURN_IF_ERROR(in->Expect("{"));
  std::vector<std::string> items;
  while (!in->Sees("}")) {
    if (!items.empty()) GR_RETURN_IF_ERROR(in->Expect(","));
    if (dtype == DType::kString) {
      GR_ASSIGN_OR_RETURN(items.emplace_back(), in->String());
    } else if (dtype == DType::kBool && (in->PeekWord() == "true" || in->PeekWord() == "false")) {
      items.push_back(in->Accept("true") ? "1" : "0");
      (void)in->Accept("false");
    } else {
      GR_ASSIGN_OR_RETURN(items.emplace_back(), in->Number());
    }
  }
  GR_RETURN_IF_ERROR(in->Expect("}"));
  auto count = NumElements(dims);
  if (!count.ok()) return Annotate(count.status(), "the tensor's sizes");
  const auto needed = CheckedMul(*count, IsComplex(dtype) ? 2 : 1);
  if (!needed || static_cast<int64_t>(items.size()) != *needed) {
    return start.Error(absl::StrCat(PrintType(type), " has ", *count, " elements but ",
                                    items.size(), " are given"));
  }
  GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(dtype, dims));
  for (size_t i = 0; i < items.size(); ++i) {
    bool fits = true;
    if (dtype == DType::kString) {
      t.mutable_data<std::string>()[i] = items[i];
    } else if (dtype == DType::kBool) {
      fits = items[i] == "0" || items[i] == "1";
      t.mutable_data<bool>()[i] = items[i] == "1";
    } else if (dtype == DType::kComplex64) {
      fits = ToNumber(items[i], static_cast<float*>(t.mutable_raw()) + i);
    } else if (dtype == DType::kComplex128) {
      fits = ToNumber(items[i], static_cast<double*>(t.mutable_raw()) + i);
    } else {
      DispatchDType(NumberTypes(), dtype,
                    [&]<typename T>() { fits = ToNumber(items[i], t.mutable_data<T>() + i); });
    }
    if (!fits)
      return start.Error(
          absl::StrCat("element ", i, ", \"", items[i], "\", is no ", DTypeName(dtype)));
  }
  return t;
}

absl::StatusOr<Tensor> ParseTensor(TextScanner* in) {
  GR_ASSIGN_OR_RETURN(const Type type, ParseTypeText(in));
  if (!in->Sees("{") && !in->Sees("=")) GR_RETURN_IF_ERROR(in->Name().status());
  (void)in->Accept("=");
  return ParseElements(in, type);
}

absl::StatusOr<Kind> GuessKind(const TextScanner& in, absl::string_view name) {
  TextScanner ahead = in;
  if (ahead.Sees("(")) return Kind::kGraph;
  if (ahead.Sees("@"))
    return in.Error(
        absl::StrCat("say the type of a reference, as in \"", name, ": int = @", name, "\""));
  if (ahead.Peek() == '"') {
    GR_RETURN_IF_ERROR(ahead.String().status());
    return ahead.Sees("(") ? Kind::kGraph : Kind::kString;
  }
  if (const auto number = ahead.Number(); number.ok()) {
    return number->find_first_of(".eEn") == std::string::npos ? Kind::kInt : Kind::kFloat;
  }
  if (IsTypeWord(in.PeekWord())) return Kind::kTensor;
  if (!in.PeekWord().empty()) return Kind::kGraph;
  return in.Error("an attribute's value is expected");
}

absl::StatusOr<Attr> ParseValue(TextScanner* in, Kind kind) {
  switch (kind) {
    case Kind::kInt: {
      GR_ASSIGN_OR_RETURN(const int64_t v, in->Int());
      return Attr(v);
    }
    case Kind::kFloat: {
      const TextScanner before = *in;
      GR_ASSIGN_OR_RETURN(const std::string number, in->Number());
      float v = 0;
      if (!absl::SimpleAtof(number, &v)) return before.Error("a number is expected");
      return Attr(v);
    }
    case Kind::kString: {
      GR_ASSIGN_OR_RETURN(std::string v, in->String());
      return Attr(std::move(v));
    }
    case Kind::kTensor: {
      GR_ASSIGN_OR_RETURN(Tensor v, ParseTensor(in));
      return Attr(std::move(v));
    }
    default: {
      GR_ASSIGN_OR_RETURN(Type v, ParseTypeText(in));
      return Attr(std::move(v));
    }
  }
}

absl::StatusOr<Attr> ParseList(TextScanner* in, Kind kind) {
  std::vector<Attr> items;
  for (bool first = true; !in->Accept("]"); first = false) {
    if (!first) GR_RETURN_IF_ERROR(in->Expect(","));
    GR_ASSIGN_OR_RETURN(Attr item, ParseValue(in, kind));
    items.push_back(std::move(item));
  }
  const auto collect = [&](auto list) -> Attr {
    using T = typename decltype(list)::value_type;
    for (const Attr& item : items) list.push_back(*item.get<T>());
    return list;
  };
  switch (kind) {
    case Kind::kInt:
      return collect(std::vector<int64_t>());
    case Kind::kFloat:
      return collect(std::vector<float>());
    case Kind::kString:
      return collect(std::vector<std::string>());
    case Kind::kTensor:
      return collect(std::vector<Tensor>());
    default:
      return collect(std::vector<Type>());
  }
}

}  // namespace graphrun
