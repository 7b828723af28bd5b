#include "runtime/ir/attr.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_join.h"

namespace graphrun {

absl::string_view AttrKindName(Attr::Kind kind) {
  constexpr std::array<const char*, 13> kNames = {
      "int",    "float",   "string",  "tensor", "graph", "type",     "ints",
      "floats", "strings", "tensors", "graphs", "types", "reference"};
  return kNames[static_cast<size_t>(kind)];
}

bool Attr::operator==(const Attr& o) const {
  if (kind() != o.kind()) return false;
  switch (kind()) {
    case Kind::kInt:
      return *get<int64_t>() == *o.get<int64_t>();
    case Kind::kFloat:
      return *get<float>() == *o.get<float>();
    case Kind::kString:
      return *get<std::string>() == *o.get<std::string>();
    case Kind::kTensor:
      return SameBits(*get<Tensor>(), *o.get<Tensor>());
    case Kind::kGraph:
      return *get<GraphPtr>() == *o.get<GraphPtr>();
    case Kind::kType:
      return *get<Type>() == *o.get<Type>();
    case Kind::kInts:
      return *get<std::vector<int64_t>>() == *o.get<std::vector<int64_t>>();
    case Kind::kFloats:
      return *get<std::vector<float>>() == *o.get<std::vector<float>>();
    case Kind::kStrings:
      return *get<std::vector<std::string>>() == *o.get<std::vector<std::string>>();
    case Kind::kTensors: {
      const auto &a = *get<std::vector<Tensor>>(), &b = *o.get<std::vector<Tensor>>();
      return std::equal(a.begin(), a.end(), b.begin(), b.end(), SameBits);
    }
    case Kind::kGraphs:
      return *get<std::vector<GraphPtr>>() == *o.get<std::vector<GraphPtr>>();
    case Kind::kTypes:
      return *get<std::vector<Type>>() == *o.get<std::vector<Type>>();
    case Kind::kRef:
      return get<Ref>()->name == o.get<Ref>()->name;
  }
  return false;
}

namespace {

template <typename T, typename F>
std::string List(const std::vector<T>& items, F&& format) {
  return absl::StrCat(
      "[", absl::StrJoin(items, ", ", [&](std::string* out, const T& v) { *out += format(v); }),
      "]");
}

std::string Quoted(const std::string& s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
      continue;
    }
    out += c;
  }
  return out + "\"";
}

std::string FloatText(float v) {
  std::string s = absl::StrCat(v);
  if (static_cast<float>(std::atof(s.c_str())) != v && v == v) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.9g", static_cast<double>(v));
    s = buffer;
  }
  return s.find_first_of(".en") == std::string::npos ? s + ".0" : s;
}

}  // namespace

std::string Attr::ToString() const {
  const auto int_text = [](int64_t v) { return absl::StrCat(v); };
  switch (kind()) {
    case Kind::kInt:
      return int_text(*get<int64_t>());
    case Kind::kFloat:
      return FloatText(*get<float>());
    case Kind::kString:
      return Quoted(*get<std::string>());
    case Kind::kTensor:
      return get<Tensor>()->ToString();
    case Kind::kGraph:
      return "graph";
    case Kind::kType:
      return get<Type>()->ToString();
    case Kind::kInts:
      return List(*get<std::vector<int64_t>>(), int_text);
    case Kind::kFloats:
      return List(*get<std::vector<float>>(), FloatText);
    case Kind::kStrings:
      return List(*get<std::vector<std::string>>(), Quoted);
    case Kind::kTensors:
      return List(*get<std::vector<Tensor>>(), [](const Tensor& t) { return t.ToString(); });
    case Kind::kGraphs:
      return "graphs";
    case Kind::kTypes:
      return List(*get<std::vector<Type>>(), [](const Type& t) { return t.ToString(); });
    case Kind::kRef:
      return absl::StrCat("@", get<Ref>()->name);
  }
  return "";
}

}  // namespace graphrun
