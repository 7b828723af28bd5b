// StringConcat, StringSplit, StringNormalizer, RegexFullMatch: operators on strings.
//
// Source: https://onnx.ai/onnx/operators (StringNormalizer 10; the others 20). Patterns are RE2's.
// StringNormalizer changes the case of the Latin, Greek and Cyrillic letters of UTF-8 whatever
// locale is named; other letters stay.
#include <re2/re2.h>

#include "absl/strings/ascii.h"
#include "ops/broadcast.h"
#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

absl::StatusOr<std::unique_ptr<Kernel>> ConcatKernel(PrepareContext& c) {
  const Broadcast<2> broadcast(c.output_dims(0), {c.input_dims(0), c.input_dims(1)});
  return MakeKernel([broadcast](RunContext& r) {
    const std::string* x = r.input(0).data<std::string>();
    const std::string* y = r.input(1).data<std::string>();
    std::string* z = r.output(0).mutable_data<std::string>();
    broadcast.ForEachRow([&](int64_t out, const std::array<int64_t, 2>& at,
                             const std::array<int64_t, 2>& step, int64_t n) {
      for (int64_t i = 0; i < n; ++i)
        z[out + i] = absl::StrCat(x[at[0] + i * step[0]], y[at[1] + i * step[1]]);
    });
    return absl::OkStatus();
  });
}

absl::Status InferSplit(InferContext& c) {
  Shape y = c.input_shape(0);
  if (y.has_rank()) y.Append(Dim());
  c.set_output(0, DType::kString, std::move(y));
  c.set_output(1, DType::kInt64, c.input_shape(0));
  return absl::OkStatus();
}

// At most `most` splits (negative: any number); without a delimiter at runs of white space, which
// are dropped at both ends.
std::vector<std::string> SplitString(const std::string& text, const std::string& delimiter,
                                     int64_t most) {
  std::vector<std::string> parts;
  const bool open = most < 0;
  if (!delimiter.empty()) {
    size_t start = 0;
    while (open || static_cast<int64_t>(parts.size()) < most) {
      const size_t found = text.find(delimiter, start);
      if (found == std::string::npos) break;
      parts.push_back(text.substr(start, found - start));
      start = found + delimiter.size();
    }
    parts.push_back(text.substr(start));
    return parts;
  }
  const auto space = [](char ch) { return absl::ascii_isspace(static_cast<unsigned char>(ch)); };
  size_t at = 0;
  while (true) {
    while (at < text.size() && space(text[at])) ++at;
    if (at == text.size()) return parts;
    size_t end = at;
    if (!open && static_cast<int64_t>(parts.size()) >= most) {
      end = text.size();
      while (end > at && space(text[end - 1])) --end;
      parts.push_back(text.substr(at, end - at));
      return parts;
    }
    while (end < text.size() && !space(text[end])) ++end;
    parts.push_back(text.substr(at, end - at));
    at = end;
  }
}

absl::StatusOr<std::unique_ptr<Kernel>> SplitKernel(PrepareContext& c) {
  const std::string delimiter = c.String("delimiter");
  const int64_t most = c.has_attr("maxsplit") ? std::max<int64_t>(c.Int("maxsplit"), 0) : -1;
  return MakeKernel([delimiter, most](RunContext& r) -> absl::Status {
    const Tensor& x = r.input(0);
    std::vector<std::vector<std::string>> parts;
    size_t longest = 0;
    for (int64_t i = 0; i < x.num_elements(); ++i) {
      parts.push_back(SplitString(x.data<std::string>()[i], delimiter, most));
      longest = std::max(longest, parts.back().size());
    }
    Dims dims = x.dims();
    dims.push_back(static_cast<int64_t>(longest));
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, DType::kString, dims));
    std::string* y = r.output(0).mutable_data<std::string>();
    if (r.has_output(1)) GR_RETURN_IF_ERROR(r.ResizeOutput(1, DType::kInt64, x.dims()));
    for (size_t i = 0; i < parts.size(); ++i) {
      std::string* row = y + i * longest;
      for (size_t k = 0; k < longest; ++k)
        row[k] = k < parts[i].size() ? std::move(parts[i][k]) : std::string();
      if (r.has_output(1))
        r.output(1).mutable_data<int64_t>()[i] = static_cast<int64_t>(parts[i].size());
    }
    return absl::OkStatus();
  });
}

absl::Status InferRegex(InferContext& c) {
  if (!c.has_attr("pattern")) return c.Error("attribute pattern is missing");
  const re2::RE2 pattern(c.String("pattern"), re2::RE2::Quiet);
  if (!pattern.ok()) {
    return c.Error("pattern \"", c.String("pattern"), "\" is no RE2 pattern: ", pattern.error());
  }
  c.set_output(0, DType::kBool, c.input_shape(0));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> RegexKernel(PrepareContext& c) {
  const auto pattern = std::make_shared<const re2::RE2>(c.String("pattern"), re2::RE2::Quiet);
  return MakeKernel([pattern](RunContext& r) {
    const std::string* x = r.input(0).data<std::string>();
    bool* y = r.output(0).mutable_data<bool>();
    for (int64_t i = 0; i < r.input(0).num_elements(); ++i)
      y[i] = re2::RE2::FullMatch(x[i], *pattern);
    return absl::OkStatus();
  });
}

// The other case of a letter; the same code where it has none.
uint32_t LowerOf(uint32_t u) {
  if ((u >= 'A' && u <= 'Z') || (u >= 0xC0 && u <= 0xDE && u != 0xD7)) return u + 0x20;
  if ((u >= 0x391 && u <= 0x3A9 && u != 0x3A2) || (u >= 0x410 && u <= 0x42F)) return u + 0x20;
  if (u >= 0x400 && u <= 0x40F) return u + 0x50;
  const bool odd_upper = (u >= 0x139 && u <= 0x148) || (u >= 0x179 && u <= 0x17E);
  const bool even_upper = (u >= 0x100 && u <= 0x137 && u != 0x130) || (u >= 0x14A && u <= 0x177);
  if ((odd_upper && u % 2 == 1) || (even_upper && u % 2 == 0)) return u + 1;
  return u == 0x178 ? 0xFF : u;
}

uint32_t UpperOf(uint32_t u) {
  if (u == 0xFF) return 0x178;
  for (const uint32_t distance : {uint32_t{0x20}, uint32_t{0x50}, uint32_t{1}}) {
    if (u >= distance && LowerOf(u - distance) == u && u - distance != u) return u - distance;
  }
  return u;
}

// Two-byte sequences hold every letter that changes; others are copied.
std::string ChangeCase(const std::string& text, bool upper) {
  const auto change = [upper](uint32_t u) { return upper ? UpperOf(u) : LowerOf(u); };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto first = static_cast<unsigned char>(text[i]);
    const auto second = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if (first < 0x80) {
      out.push_back(static_cast<char>(change(first)));
    } else if (first >= 0xC2 && first <= 0xDF && (second & 0xC0) == 0x80) {
      const uint32_t u = change((first & 0x1Fu) << 6 | (second & 0x3Fu));
      out.push_back(static_cast<char>(0xC0 | u >> 6));
      out.push_back(static_cast<char>(0x80 | (u & 0x3F)));
      ++i;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

absl::Status InferNormalizer(InferContext& c) {
  const Shape& x = c.input_shape(0);
  const std::string action = c.String("case_change_action", "NONE");
  if (action != "NONE" && action != "LOWER" && action != "UPPER") {
    return c.Error("case_change_action is \"", action, "\" but must be LOWER, UPPER or NONE");
  }
  if (x.has_rank() && x.rank() != 1 &&
      !(x.rank() == 2 && (!x[0].is_number() || x[0].value() == 1))) {
    return c.Error("the input has shape ", x.ToString(), " but must be [C] or [1, C]");
  }
  Shape y = x.has_rank() ? Shape::UnknownOfRank(x.rank()) : Shape();
  if (y.has_rank() && y.rank() == 2) y[0] = Dim(1);
  c.set_output(0, DType::kString, std::move(y));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> NormalizerKernel(PrepareContext& c) {
  const std::string action = c.String("case_change_action", "NONE");
  const bool sensitive = c.Int("is_case_sensitive") != 0;
  std::vector<std::string> stops = c.Strings("stopwords");
  if (!sensitive) {
    for (std::string& s : stops) s = ChangeCase(s, false);
  }
  return MakeKernel([action, sensitive, stops](RunContext& r) -> absl::Status {
    const Tensor& x = r.input(0);
    std::vector<std::string> kept;
    for (int64_t i = 0; i < x.num_elements(); ++i) {
      const std::string& text = x.data<std::string>()[i];
      const std::string compared = sensitive ? text : ChangeCase(text, false);
      if (std::find(stops.begin(), stops.end(), compared) != stops.end()) continue;
      kept.push_back(action == "NONE" ? text : ChangeCase(text, action == "UPPER"));
    }
    if (kept.empty()) kept.push_back("");
    Dims dims = {static_cast<int64_t>(kept.size())};
    if (x.rank() == 2) dims.insert(dims.begin(), 1);
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, DType::kString, dims));
    std::move(kept.begin(), kept.end(), r.output(0).mutable_data<std::string>());
    return absl::OkStatus();
  });
}

Tensor Strings(Dims dims, std::initializer_list<std::string> values) {
  return Tensor::Of<std::string>(std::move(dims), values);
}

constexpr const char* kWhy = "strings have no gradient";

}  // namespace

void RegisterTextOps(OpRegistry& ops) {
  ops.Add(OpDef("StringConcat", 20)
              .Input("X", "string")
              .Input("Y", "string")
              .Output("Z", "string")
              .Infer(BroadcastAll)
              .Kernel("native", ConcatKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample()
                       .In(Strings({2}, {"a", "b"}))
                       .In(Strings({1}, {".c"}))
                       .Gives(Strings({2}, {"a.c", "b.c"})))
              .Try(Sample().In(Strings({}, {"a"})).In(Strings({2, 1}, {"b", ""}))));
  ops.Add(OpDef("StringSplit", 20)
              .Input("X", "string")
              .Output("Y", "string")
              .Output("Z", "int64")
              .Attr("delimiter", Attr::Kind::kString)
              .Attr("maxsplit", Attr::Kind::kInt)
              .Infer(InferSplit)
              .Kernel("native", SplitKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample()
                       .In(Strings({2}, {"a,b", ",c,"}))
                       .Attr("delimiter", ",")
                       .Outputs(2)
                       .Gives(Strings({2, 3}, {"a", "b", "", "", "c", ""}))
                       .Gives(Tensor::Int64s({2, 3})))
              .Try(Sample()
                       .In(Strings({2}, {"  a  b c ", ""}))
                       .Attr("maxsplit", 1)
                       .Outputs(2)
                       .Gives(Strings({2, 2}, {"a", "b c", "", ""}))
                       .Gives(Tensor::Int64s({2, 0})))
              .Try(Sample().In(Tensor(DType::kString, {0, 2})).Outputs(2)));
  ops.Add(
      OpDef("RegexFullMatch", 20)
          .Input("X", "string")
          .Output("Y", "bool")
          .Attr("pattern", Attr::Kind::kString)
          .Infer(InferRegex)
          .Kernel("native", RegexKernel)
          .NotDifferentiable("bool result")
          .Try(Sample()
                   .In(Strings({3}, {"www.a.org", "a.org", ""}))
                   .Attr("pattern", "www\\.[a-z]+\\.org")
                   .Gives(Tensor::Of<bool>({3}, {true, false, false})))
          .Try(Sample().In(Strings({1}, {"a"})).Attr("pattern", "(").Refused("no RE2 pattern")));
  ops.Add(OpDef("StringNormalizer", 10)
              .Input("X", "string")
              .Output("Y", "string")
              .Attr("case_change_action", "NONE")
              .Attr("is_case_sensitive", 0)
              .Attr("locale", Attr::Kind::kString)
              .Attr("stopwords", Attr::Kind::kStrings)
              .Infer(InferNormalizer)
              .Kernel("native", NormalizerKernel)
              .NotDifferentiable(kWhy)
              .Try(Sample()
                       .In(Strings({3}, {"Monday", "Zürich", "ΑΒ"}))
                       .Attr("case_change_action", "UPPER")
                       .Attr("stopwords", std::vector<std::string>{"monday"})
                       .Gives(Strings({2}, {"ZÜRICH", "ΑΒ"})))
              .Try(Sample()
                       .In(Strings({1, 1}, {"a"}))
                       .Attr("is_case_sensitive", 1)
                       .Attr("stopwords", std::vector<std::string>{"a"})
                       .Gives(Strings({1, 1}, {""})))
              .Try(Sample().In(Strings({2, 1}, {"a", "b"})).Refused("[C] or [1, C]")));
}

}  // namespace graphrun
