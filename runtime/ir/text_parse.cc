#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/limits.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/ir/text.h"
#include "runtime/ir/text_scanner.h"
#include "runtime/ir/text_values.h"

namespace graphrun {
namespace {

constexpr int64_t kDefaultIrVersion = 10;
constexpr int kDefaultOpset = 21;

using Kind = Attr::Kind;

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
  absl::StatusOr<NamedFunction> Function();

  // Values in front of `end`; `initializers` (may be null) takes those with "= {...}".
  absl::Status Values(absl::string_view end, std::vector<NamedValue>* values,
                      std::vector<std::pair<std::string, Tensor>>* initializers,
                      bool keep_initialized);

  TextScanner in_;
};

absl::Status Parser::Values(absl::string_view end, std::vector<NamedValue>* values,
                            std::vector<std::pair<std::string, Tensor>>* initializers,
                            bool keep_initialized) {
  for (bool first = true; !in_.Accept(end); first = false) {
    if (!first) GR_RETURN_IF_ERROR(in_.Expect(","));
    NamedValue v;
    if (IsTypeWord(in_.PeekWord())) {
      GR_ASSIGN_OR_RETURN(v.type, ParseTypeText(&in_));
    }
    GR_ASSIGN_OR_RETURN(v.name, in_.Name());
    if (in_.Sees("=") && initializers != nullptr) {
      GR_RETURN_IF_ERROR(in_.Expect("="));
      GR_ASSIGN_OR_RETURN(Tensor t, ParseElements(&in_, v.type));
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
    GR_ASSIGN_OR_RETURN(kind, GuessKind(in_, name));
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
  GR_ASSIGN_OR_RETURN(Attr value, is_list ? ParseList(&in_, kind) : ParseValue(&in_, kind));
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
