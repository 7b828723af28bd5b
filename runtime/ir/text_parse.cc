#include <algorithm>
#include <complex>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/limits.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/ir/text.h"
#include "runtime/ir/text_scanner.h"

namespace graphrun {
namespace {

constexpr int64_t kDefaultIrVersion = 10;
constexpr int kDefaultOpset = 21;
constexpr int kMaxTypeDepth = 32;

using NumberTypes = Concat<Concat<NumericTypes, SmallFloatTypes>, SmallIntTypes>;
using Kind = Attr::Kind;

bool IsTypeWord(absl::string_view word) {
  return DTypeFromName(word) != DType::kUndefined || word == "seq" || word == "map" ||
         word == "optional" || word == "sparse_tensor" || word == "opaque" || word == "undefined";
}

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

// True where an operator of ai.onnx occurs.
bool UsesStandard(const NamedGraph& graph) {
  return std::any_of(graph.nodes.begin(), graph.nodes.end(), [](const NamedNode& node) {
    if (node.domain.empty()) return true;
    for (const NamedNode::GraphAttr& attr : node.graphs) {
      if (std::any_of(attr.graphs.begin(), attr.graphs.end(), UsesStandard)) return true;
    }
    return false;
  });
}

class Parser {
 public:
  explicit Parser(absl::string_view text) : in_(text) {}

  absl::StatusOr<NamedModel> Model();

 private:
  struct Header {
    std::map<std::string, std::string> texts;
    std::map<std::string, int64_t> numbers;
    std::map<std::string, int> opset_imports;
    std::map<std::string, std::string> metadata;
    Bindings updates;
  };

  absl::StatusOr<Header> ParseHeader();
  absl::StatusOr<NamedGraph> Graph(int depth);
  absl::Status Nodes(int depth, NamedGraph* graph);
  absl::StatusOr<NamedNode> Node(int depth);
  absl::StatusOr<std::vector<std::string>> Names(absl::string_view end);
  absl::Status Attributes(int depth, absl::string_view end, NamedNode* node,
                          std::vector<std::string>* without_value);
  absl::Status Attribute(const std::string& name, int depth, NamedNode* node);
  absl::StatusOr<Attr> Value(Kind kind);
  absl::StatusOr<Attr> List(Kind kind);
  absl::StatusOr<Kind> GuessKind(absl::string_view name);
  absl::StatusOr<Type> ParseType(int depth = 0);
  absl::StatusOr<Tensor> Elements(const Type& type);
  absl::StatusOr<Tensor> TensorLiteral();
  absl::StatusOr<NamedFunction> Function();

  // Values in front of `end`; `initializers` (may be null) takes those with "= {...}".
  absl::Status Values(absl::string_view end, std::vector<NamedValue>* values,
                      std::vector<std::pair<std::string, Tensor>>* initializers,
                      bool keep_initialized);

  TextScanner in_;
};

absl::StatusOr<Type> Parser::ParseType(int depth) {
  if (depth > kMaxTypeDepth) return in_.Error("types are nested too deep");
  const std::string word(in_.PeekWord());
  if (!IsTypeWord(word)) return in_.Error("a type is expected");
  GR_RETURN_IF_ERROR(in_.Expect(word));
  if (word == "opaque") {
    GR_RETURN_IF_ERROR(in_.Expect("("));
    while (!in_.Accept(")")) {
      if (in_.Accept(".") || in_.Accept(",")) continue;
      GR_RETURN_IF_ERROR(in_.Name().status());
    }
    return Type();
  }
  if (word == "seq" || word == "optional" || word == "sparse_tensor") {
    GR_RETURN_IF_ERROR(in_.Expect("("));
    Type element;
    if (!in_.Sees(")")) {
      GR_ASSIGN_OR_RETURN(element, ParseType(depth + 1));
    }
    GR_RETURN_IF_ERROR(in_.Expect(")"));
    if (word == "seq") return Type::SequenceOf(element);
    if (word == "optional") return Type::OptionalOf(element);
    element.kind = Type::Kind::kSparseTensor;
    return element;
  }
  if (word == "map") {
    GR_RETURN_IF_ERROR(in_.Expect("("));
    const DType key = DTypeFromName(in_.PeekWord());
    if (key == DType::kUndefined) return in_.Error("the type of the keys is expected");
    GR_RETURN_IF_ERROR(in_.Expect(in_.PeekWord()));
    GR_RETURN_IF_ERROR(in_.Expect(","));
    GR_ASSIGN_OR_RETURN(Type value, ParseType(depth + 1));
    GR_RETURN_IF_ERROR(in_.Expect(")"));
    return Type::MapOf(key, std::move(value));
  }
  const DType dtype = DTypeFromName(word);
  if (!in_.Accept("[")) return Type::Tensor(dtype, Shape::Scalar());
  if (in_.Accept("]")) return Type::Tensor(dtype, Shape());
  std::vector<Dim> dims;
  do {
    if (in_.Accept("?")) {
      dims.emplace_back();
    } else if (absl::ascii_isdigit(static_cast<unsigned char>(in_.Peek()))) {
      GR_ASSIGN_OR_RETURN(const int64_t size, in_.Int());
      dims.emplace_back(size);
    } else {
      GR_ASSIGN_OR_RETURN(std::string symbol, in_.Name());
      dims.push_back(Dim::Symbol(std::move(symbol)));
    }
  } while (in_.Accept(","));
  if (dims.size() > kMaxRank)
    return in_.Error(absl::StrCat("rank ", dims.size(), " is beyond the limit of ", kMaxRank));
  GR_RETURN_IF_ERROR(in_.Expect("]"));
  return Type::Tensor(dtype, Shape(std::move(dims)));
}

absl::StatusOr<Tensor> Parser::Elements(const Type& type) {
  if (!type.is_tensor() || !type.tensor.shape.is_concrete() ||
      type.tensor.dtype == DType::kUndefined) {
    return in_.Error(absl::StrCat("elements need a tensor type whose sizes are numbers, not \"",
                                  PrintType(type), "\""));
  }
  const DType dtype = type.tensor.dtype;
  const Dims dims = type.tensor.shape.ToDims();
  const TextScanner start = in_;
  GR_RETURN_IF_ERROR(in_.Expect("{"));
  std::vector<std::string> items;
  while (!in_.Sees("}")) {
    if (!items.empty()) GR_RETURN_IF_ERROR(in_.Expect(","));
    if (dtype == DType::kString) {
      GR_ASSIGN_OR_RETURN(items.emplace_back(), in_.String());
    } else if (dtype == DType::kBool && (in_.PeekWord() == "true" || in_.PeekWord() == "false")) {
      items.push_back(in_.Accept("true") ? "1" : "0");
      (void)in_.Accept("false");
    } else {
      GR_ASSIGN_OR_RETURN(items.emplace_back(), in_.Number());
    }
  }
  GR_RETURN_IF_ERROR(in_.Expect("}"));
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

absl::Status Parser::Values(absl::string_view end, std::vector<NamedValue>* values,
                            std::vector<std::pair<std::string, Tensor>>* initializers,
                            bool keep_initialized) {
  for (bool first = true; !in_.Accept(end); first = false) {
    if (!first) GR_RETURN_IF_ERROR(in_.Expect(","));
    NamedValue v;
    if (IsTypeWord(in_.PeekWord())) {
      GR_ASSIGN_OR_RETURN(v.type, ParseType());
    }
    GR_ASSIGN_OR_RETURN(v.name, in_.Name());
    if (in_.Sees("=") && initializers != nullptr) {
      GR_RETURN_IF_ERROR(in_.Expect("="));
      GR_ASSIGN_OR_RETURN(Tensor t, Elements(v.type));
      initializers->emplace_back(v.name, std::move(t));
      if (!keep_initialized) continue;
    }
    values->push_back(std::move(v));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> Parser::Names(absl::string_view end) {
  std::vector<std::string> names;
  if (in_.Accept(end)) return names;
  while (true) {
    names.emplace_back();
    if (!in_.Sees(",") && !in_.Sees(end)) {
      GR_ASSIGN_OR_RETURN(names.back(), in_.Name());
    }
    if (in_.Accept(end)) return names;
    GR_RETURN_IF_ERROR(in_.Expect(","));
  }
}

absl::StatusOr<Tensor> Parser::TensorLiteral() {
  GR_ASSIGN_OR_RETURN(const Type type, ParseType());
  if (!in_.Sees("{") && !in_.Sees("=")) GR_RETURN_IF_ERROR(in_.Name().status());
  (void)in_.Accept("=");
  return Elements(type);
}

// What kind of attribute begins here.
absl::StatusOr<Kind> Parser::GuessKind(absl::string_view name) {
  TextScanner ahead = in_;
  if (ahead.Sees("(")) return Kind::kGraph;
  if (ahead.Sees("@"))
    return in_.Error(
        absl::StrCat("say the type of a reference, as in \"", name, ": int = @", name, "\""));
  if (ahead.Peek() == '"') {
    GR_RETURN_IF_ERROR(ahead.String().status());
    return ahead.Sees("(") ? Kind::kGraph : Kind::kString;
  }
  if (const auto number = ahead.Number(); number.ok()) {
    return number->find_first_of(".eEn") == std::string::npos ? Kind::kInt : Kind::kFloat;
  }
  if (IsTypeWord(in_.PeekWord())) return Kind::kTensor;
  if (!in_.PeekWord().empty()) return Kind::kGraph;
  return in_.Error("an attribute's value is expected");
}

absl::StatusOr<Attr> Parser::Value(Kind kind) {
  switch (kind) {
    case Kind::kInt: {
      GR_ASSIGN_OR_RETURN(const int64_t v, in_.Int());
      return Attr(v);
    }
    case Kind::kFloat: {
      const TextScanner before = in_;
      GR_ASSIGN_OR_RETURN(const std::string number, in_.Number());
      float v = 0;
      if (!absl::SimpleAtof(number, &v)) return before.Error("a number is expected");
      return Attr(v);
    }
    case Kind::kString: {
      GR_ASSIGN_OR_RETURN(std::string v, in_.String());
      return Attr(std::move(v));
    }
    case Kind::kTensor: {
      GR_ASSIGN_OR_RETURN(Tensor v, TensorLiteral());
      return Attr(std::move(v));
    }
    default: {
      GR_ASSIGN_OR_RETURN(Type v, ParseType());
      return Attr(std::move(v));
    }
  }
}

// A list without its "[", of elements of `kind` (the kind of one element, or of the list).
absl::StatusOr<Attr> Parser::List(Kind kind) {
  std::vector<Attr> items;
  for (bool first = true; !in_.Accept("]"); first = false) {
    if (!first) GR_RETURN_IF_ERROR(in_.Expect(","));
    GR_ASSIGN_OR_RETURN(Attr item, Value(kind));
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

absl::Status Parser::Attribute(const std::string& name, int depth, NamedNode* node) {
  constexpr std::pair<absl::string_view, Kind> kKinds[] = {
      {"float", Kind::kFloat},     {"int", Kind::kInt},       {"string", Kind::kString},
      {"tensor", Kind::kTensor},   {"graph", Kind::kGraph},   {"type_proto", Kind::kType},
      {"floats", Kind::kFloats},   {"ints", Kind::kInts},     {"strings", Kind::kStrings},
      {"tensors", Kind::kTensors}, {"graphs", Kind::kGraphs}, {"type_protos", Kind::kTypes}};
  constexpr std::pair<Kind, Kind> kElements[] = {
      {Kind::kFloats, Kind::kFloat},   {Kind::kInts, Kind::kInt},
      {Kind::kStrings, Kind::kString}, {Kind::kTensors, Kind::kTensor},
      {Kind::kGraphs, Kind::kGraph},   {Kind::kTypes, Kind::kType}};
  absl::optional<Kind> declared;
  if (in_.Accept(":")) {
    const std::string word(in_.PeekWord());
    std::vector<std::string> words;
    for (const auto& [text, kind] : kKinds) {
      if (text == word) declared = kind;
      words.emplace_back(text);
    }
    if (!declared)
      return in_.Error(absl::StrCat("an attribute type is expected.", DidYouMean(word, words)));
    GR_RETURN_IF_ERROR(in_.Expect(word));
  }
  GR_RETURN_IF_ERROR(in_.Expect("="));
  if (declared && in_.Accept("@")) {
    GR_ASSIGN_OR_RETURN(std::string of, in_.Name());
    node->attrs.emplace(name, Attr::Ref{std::move(of), *declared});
    return absl::OkStatus();
  }
  const bool is_list = in_.Accept("[");
  Kind kind = Kind::kInts;
  if (declared) {
    kind = *declared;
    bool list_kind = false;
    for (const auto& [list, element] : kElements) {
      if (list != *declared) continue;
      kind = element;
      list_kind = true;
    }
    if (list_kind != is_list)
      return in_.Error(
          absl::StrCat("attribute ", name, " is declared ", AttrKindName(*declared),
                       list_kind ? ": a list in [] is expected" : ": no list is expected"));
  } else if (is_list && in_.Sees("]")) {
    return in_.Error(
        absl::StrCat("say the type of an empty list, as in \"", name, ": ints = []\""));
  } else {
    GR_ASSIGN_OR_RETURN(kind, GuessKind(name));
    // [1, 0.5] is a list of floats.
    TextScanner ahead = in_;
    while (is_list && kind == Kind::kInt) {
      const auto number = ahead.Number();
      if (!number.ok()) break;
      if (number->find_first_of(".eEn") != std::string::npos) kind = Kind::kFloat;
      if (!ahead.Accept(",")) break;
    }
  }
  if (kind == Kind::kGraph) {
    NamedNode::GraphAttr attr{name, is_list, {}};
    for (bool first = true; is_list ? !in_.Accept("]") : first; first = false) {
      if (!first) GR_RETURN_IF_ERROR(in_.Expect(","));
      GR_ASSIGN_OR_RETURN(NamedGraph graph, Graph(depth + 1));
      attr.graphs.push_back(std::move(graph));
    }
    node->graphs.push_back(std::move(attr));
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(Attr value, is_list ? List(kind) : Value(kind));
  node->attrs.emplace(name, std::move(value));
  return absl::OkStatus();
}

absl::Status Parser::Attributes(int depth, absl::string_view end, NamedNode* node,
                                std::vector<std::string>* without_value) {
  for (bool first = true; !in_.Accept(end); first = false) {
    if (!first) GR_RETURN_IF_ERROR(in_.Expect(","));
    const TextScanner before = in_;
    GR_ASSIGN_OR_RETURN(const std::string name, in_.Name());
    if (node->attrs.count(name) > 0) return before.Error("there are two attributes of this name");
    if (without_value != nullptr && (in_.Sees(",") || in_.Sees(end))) {
      without_value->push_back(name);
      continue;
    }
    GR_RETURN_IF_ERROR(Attribute(name, depth, node));
  }
  return absl::OkStatus();
}

absl::StatusOr<NamedNode> Parser::Node(int depth) {
  NamedNode node;
  node.line = in_.line();
  if (in_.Accept("[")) {
    GR_ASSIGN_OR_RETURN(node.name, in_.Name());
    GR_RETURN_IF_ERROR(in_.Expect("]"));
  }
  GR_ASSIGN_OR_RETURN(node.outputs, Names("="));
  GR_ASSIGN_OR_RETURN(node.op_type, in_.Name());
  while (in_.Accept(".")) {
    absl::StrAppend(&node.domain, node.domain.empty() ? "" : ".", node.op_type);
    GR_ASSIGN_OR_RETURN(node.op_type, in_.Name());
  }
  if (node.domain == "ai.onnx") node.domain.clear();
  if (in_.Accept(":")) {
    GR_ASSIGN_OR_RETURN(node.overload, in_.Name());
  }
  if (in_.Accept("@")) {
    const TextScanner number = in_;
    GR_ASSIGN_OR_RETURN(const int64_t version, in_.Int());
    if (version < 1 || version > std::numeric_limits<int>::max()) {
      return number.Error("a version of 1 or more is expected");
    }
    node.opset = static_cast<int>(version);
  }
  const bool attributes_first = in_.Accept("<");
  if (attributes_first) GR_RETURN_IF_ERROR(Attributes(depth, ">", &node, nullptr));
  GR_RETURN_IF_ERROR(in_.Expect("("));
  GR_ASSIGN_OR_RETURN(node.inputs, Names(")"));
  if (!attributes_first && in_.Accept("<"))
    GR_RETURN_IF_ERROR(Attributes(depth, ">", &node, nullptr));
  return node;
}

absl::Status Parser::Nodes(int depth, NamedGraph* graph) {
  GR_RETURN_IF_ERROR(in_.Expect("{"));
  while (!in_.Accept("}")) {
    GR_ASSIGN_OR_RETURN(NamedNode node, Node(depth));
    graph->nodes.push_back(std::move(node));
    (void)in_.Accept(";");
  }
  return absl::OkStatus();
}

absl::StatusOr<NamedGraph> Parser::Graph(int depth) {
  if (depth > kMaxGraphDepth)
    return LimitError("graphs are nested more than ", kMaxGraphDepth, " deep");
  NamedGraph graph;
  if (!in_.Sees("(")) {
    GR_ASSIGN_OR_RETURN(graph.name, in_.Name());
  }
  GR_RETURN_IF_ERROR(in_.Expect("("));
  GR_RETURN_IF_ERROR(Values(")", &graph.inputs, &graph.initializers, true));
  GR_RETURN_IF_ERROR(in_.Expect("=>"));
  GR_RETURN_IF_ERROR(in_.Expect("("));
  GR_RETURN_IF_ERROR(Values(")", &graph.outputs, nullptr, false));
  if (in_.Accept("<"))
    GR_RETURN_IF_ERROR(Values(">", &graph.value_infos, &graph.initializers, false));
  GR_RETURN_IF_ERROR(Nodes(depth, &graph));
  return graph;
}

absl::StatusOr<Parser::Header> Parser::ParseHeader() {
  static const char* const kTexts[] = {"producer_name", "producer_version", "domain", "doc_string",
                                       "overload"};
  static const char* const kNumbers[] = {"ir_version", "model_version"};
  Header header;
  for (bool first = true; !in_.Accept(">"); first = false) {
    if (!first) GR_RETURN_IF_ERROR(in_.Expect(","));
    const TextScanner before = in_;
    GR_ASSIGN_OR_RETURN(const std::string key, in_.Name());
    GR_RETURN_IF_ERROR(in_.Expect(":"));
    if (std::find(std::begin(kTexts), std::end(kTexts), key) != std::end(kTexts)) {
      GR_ASSIGN_OR_RETURN(header.texts[key], in_.String());
    } else if (std::find(std::begin(kNumbers), std::end(kNumbers), key) != std::end(kNumbers)) {
      GR_ASSIGN_OR_RETURN(header.numbers[key], in_.Int());
    } else if (key == "opset_import" || key == "metadata_props" || key == "update_binding") {
      GR_RETURN_IF_ERROR(in_.Expect("["));
      for (bool first_pair = true; !in_.Accept("]"); first_pair = false) {
        if (!first_pair) GR_RETURN_IF_ERROR(in_.Expect(","));
        GR_ASSIGN_OR_RETURN(std::string from, in_.String());
        GR_RETURN_IF_ERROR(in_.Expect(":"));
        if (key == "opset_import") {
          const TextScanner number = in_;
          GR_ASSIGN_OR_RETURN(const int64_t version, in_.Int());
          if (version < 1 || version > std::numeric_limits<int>::max())
            return number.Error("a version of 1 or more is expected");
          header.opset_imports[from == "ai.onnx" ? "" : from] = static_cast<int>(version);
          continue;
        }
        GR_ASSIGN_OR_RETURN(std::string to, in_.String());
        if (key == "metadata_props") {
          header.metadata[from] = to;
        } else {
          header.updates.emplace_back(from, to);
        }
      }
    } else {
      return before.Error(
          absl::StrCat("the header has no \"", key, "\".",
                       DidYouMean(key, {"ir_version", "opset_import", "producer_name",
                                        "producer_version", "domain", "model_version", "doc_string",
                                        "metadata_props", "update_binding", "overload"})));
    }
  }
  return header;
}

absl::StatusOr<NamedFunction> Parser::Function() {
  NamedFunction f;
  if (in_.Accept("<")) {
    GR_ASSIGN_OR_RETURN(Header header, ParseHeader());
    f.domain = header.texts["domain"];
    f.overload = header.texts["overload"];
    f.body.doc = header.texts["doc_string"];
    f.opset_imports = std::move(header.opset_imports);
  }
  GR_ASSIGN_OR_RETURN(f.name, in_.Name());
  f.body.name = f.name;
  NamedNode attrs;
  if (in_.Accept("<")) GR_RETURN_IF_ERROR(Attributes(0, ">", &attrs, &f.attributes));
  if (!attrs.graphs.empty()) return in_.Error("a graph cannot be a default value");
  f.defaults = std::move(attrs.attrs);
  GR_RETURN_IF_ERROR(in_.Expect("("));
  GR_RETURN_IF_ERROR(Values(")", &f.body.inputs, nullptr, false));
  GR_RETURN_IF_ERROR(in_.Expect("=>"));
  GR_RETURN_IF_ERROR(in_.Expect("("));
  GR_RETURN_IF_ERROR(Values(")", &f.body.outputs, nullptr, false));
  if (in_.Accept("<")) GR_RETURN_IF_ERROR(Values(">", &f.body.value_infos, nullptr, false));
  GR_RETURN_IF_ERROR(Nodes(0, &f.body));
  if (UsesStandard(f.body)) f.opset_imports.emplace("", kDefaultOpset);
  return f;
}

absl::StatusOr<NamedModel> Parser::Model() {
  NamedModel model;
  model.ir_version = kDefaultIrVersion;
  if (in_.Accept("<")) {
    GR_ASSIGN_OR_RETURN(Header header, ParseHeader());
    if (header.numbers.count("ir_version") > 0) model.ir_version = header.numbers["ir_version"];
    model.model_version = header.numbers["model_version"];
    model.producer_name = header.texts["producer_name"];
    model.producer_version = header.texts["producer_version"];
    model.domain = header.texts["domain"];
    model.doc = header.texts["doc_string"];
    model.opset_imports = std::move(header.opset_imports);
    model.metadata = std::move(header.metadata);
    if (!header.updates.empty()) {
      model.training.emplace_back();
      model.training.back().updates = std::move(header.updates);
    }
  }
  GR_ASSIGN_OR_RETURN(model.graph, Graph(0));
  if (model.opset_imports.empty() || UsesStandard(model.graph)) {
    model.opset_imports.emplace("", kDefaultOpset);
  }
  while (!in_.AtEnd()) {
    GR_ASSIGN_OR_RETURN(NamedFunction f, Function());
    model.functions.push_back(std::move(f));
  }
  return model;
}

}  // namespace

absl::StatusOr<NamedModel> ParseModel(absl::string_view text) { return Parser(text).Model(); }

absl::StatusOr<std::unique_ptr<Graph>> ParseGraph(absl::string_view text) {
  GR_ASSIGN_OR_RETURN(const NamedModel model, ParseModel(text));
  return model.training.empty() ? ResolveNames(model) : ResolveTraining(model);
}

}  // namespace graphrun
