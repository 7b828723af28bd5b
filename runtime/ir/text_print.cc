#include <algorithm>
#include <complex>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/ir/text.h"

namespace graphrun {
namespace {

std::string Quoted(absl::string_view s) { return Attr(std::string(s)).ToString(); }

// A name as it may stand in the text: quoted where it is no plain identifier or reads as a type.
std::string Name(absl::string_view name) {
  static constexpr const char* kWords[] = {"seq",           "map",    "optional",
                                           "sparse_tensor", "opaque", "undefined"};
  bool plain = !name.empty() && !absl::ascii_isdigit(static_cast<unsigned char>(name[0]));
  for (const char c : name) plain &= absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_';
  for (const char* word : kWords) plain &= name != word;
  plain &= DTypeFromName(name) == DType::kUndefined;
  return plain ? std::string(name) : Quoted(name);
}

std::string Element(DType dtype) {
  if (dtype == DType::kFloat32) return "float";
  if (dtype == DType::kFloat64) return "double";
  return dtype == DType::kUndefined ? "undefined" : std::string(DTypeName(dtype));
}

std::string Real(double v, bool is_double) {
  if (!is_double) return Attr(static_cast<float>(v)).ToString();
  char buffer[32];
  for (const int digits : {6, 15, 17}) {
    std::snprintf(buffer, sizeof buffer, "%.*g", digits, v);
    if (std::strtod(buffer, nullptr) == v) break;
  }
  return buffer;
}

std::string TensorText(const Tensor& t, int64_t max_elements) {
  const int64_t shown =
      max_elements < 0 ? t.num_elements() : std::min(max_elements, t.num_elements());
  std::vector<std::string> items;
  std::vector<int64_t> ints;
  if (IsInteger(t.dtype()) && t.dtype() != DType::kUInt64) ints = t.AsInt64s();
  for (int64_t i = 0; i < shown; ++i) {
    switch (t.dtype()) {
      case DType::kString:
        items.push_back(Quoted(t.data<std::string>()[i]));
        break;
      case DType::kBool:
        items.push_back(t.data<bool>()[i] ? "1" : "0");
        break;
      case DType::kUInt64:
        items.push_back(absl::StrCat(t.data<uint64_t>()[i]));
        break;
      case DType::kComplex64:
        items.push_back(Real(t.data<std::complex<float>>()[i].real(), false));
        items.push_back(Real(t.data<std::complex<float>>()[i].imag(), false));
        break;
      case DType::kComplex128:
        items.push_back(Real(t.data<std::complex<double>>()[i].real(), true));
        items.push_back(Real(t.data<std::complex<double>>()[i].imag(), true));
        break;
      default:
        items.push_back(ints.empty() ? Real(t.AsDouble(i), t.dtype() == DType::kFloat64)
                                     : absl::StrCat(ints[static_cast<size_t>(i)]));
    }
  }
  if (shown < t.num_elements()) items.push_back("...");
  return absl::StrCat("{", absl::StrJoin(items, ", "), "}");
}

std::string TypedName(const Type& type, absl::string_view name) {
  const std::string text = PrintType(type);
  return absl::StrCat(text, text.empty() ? "" : " ", Name(name));
}

class Printer {
 public:
  Printer(const PrintOptions& options, const std::map<std::string, int>& imports)
      : options_(options), imports_(imports) {}

  std::string Graph(const NamedGraph& graph, int indent) const {
    std::vector<std::string> inputs, outputs, inner;
    const auto initializer = [&](absl::string_view name) -> const Tensor* {
      for (const auto& [n, tensor] : graph.initializers) {
        if (n == name) return &tensor;
      }
      return nullptr;
    };
    for (const NamedValue& v : graph.inputs) {
      const Tensor* value = initializer(v.name);
      inputs.push_back(TypedName(v.type, v.name));
      if (value != nullptr)
        absl::StrAppend(&inputs.back(), " = ", TensorText(*value, options_.max_elements));
    }
    for (const NamedValue& v : graph.outputs) outputs.push_back(TypedName(v.type, v.name));
    for (const auto& initializer : graph.initializers) {
      const bool is_input = std::any_of(graph.inputs.begin(), graph.inputs.end(),
                                        [&](const auto& v) { return v.name == initializer.first; });
      if (!is_input) inner.push_back(Value(initializer.first, initializer.second));
    }
    for (const NamedValue& v : graph.value_infos) {
      if (options_.types) inner.push_back(TypedName(v.type, v.name));
    }
    std::string out = absl::StrCat(Name(graph.name), " (", absl::StrJoin(inputs, ", "), ") => (",
                                   absl::StrJoin(outputs, ", "), ")");
    if (!inner.empty()) absl::StrAppend(&out, " <", absl::StrJoin(inner, ", "), ">");
    return absl::StrCat(out, Nodes(graph, indent));
  }

  std::string Nodes(const NamedGraph& graph, int indent) const {
    std::string out = " {\n";
    for (const NamedNode& node : graph.nodes)
      absl::StrAppend(&out, std::string(static_cast<size_t>(indent) + 2, ' '),
                      Node(node, indent + 2), "\n");
    return absl::StrCat(out, std::string(static_cast<size_t>(indent), ' '), "}");
  }

  std::string Node(const NamedNode& node, int indent) const {
    std::string out;
    if (!node.name.empty()) absl::StrAppend(&out, "[", Name(node.name), "] ");
    const auto names = [](const std::vector<std::string>& list) {
      return absl::StrJoin(list, ", ", [](std::string* s, const std::string& n) { *s += Name(n); });
    };
    absl::StrAppend(&out, names(node.outputs), node.outputs.empty() ? "= " : " = ",
                    Domain(node.domain), Name(node.op_type), node.overload.empty() ? "" : ":",
                    node.overload.empty() ? "" : Name(node.overload), Version(node));
    std::vector<std::string> attrs;
    for (const auto& [name, attr] : node.attrs) attrs.push_back(Attribute(name, attr));
    for (const NamedNode::GraphAttr& g : node.graphs) {
      std::vector<std::string> graphs;
      for (const NamedGraph& nested : g.graphs) graphs.push_back(Graph(nested, indent + 2));
      const std::string list = absl::StrJoin(graphs, ", ");
      attrs.push_back(g.is_list ? absl::StrCat(Name(g.name), ": graphs = [", list, "]")
                                : absl::StrCat(Name(g.name), " = ", list));
    }
    if (!attrs.empty()) absl::StrAppend(&out, " <", absl::StrJoin(attrs, ", "), "> ");
    return absl::StrCat(out, "(", names(node.inputs), ")");
  }

  std::string Attribute(const std::string& attribute, const Attr& attr) const {
    const std::string name = Name(attribute);
    const auto text = [&](const Tensor& t) {
      return absl::StrCat(PrintType(Type::Tensor(t.dtype(), Shape::Of(t.dims()))), " ",
                          TensorText(t, options_.max_elements));
    };
    const auto list = [](const auto& items, auto&& one) {
      return absl::StrCat(
          "[", absl::StrJoin(items, ", ", [&](std::string* s, const auto& v) { *s += one(v); }),
          "]");
    };
    switch (attr.kind()) {
      case Attr::Kind::kTensor:
        return absl::StrCat(name, " = ", text(*attr.get<Tensor>()));
      case Attr::Kind::kTensors:
        return absl::StrCat(name, ": tensors = ", list(*attr.get<std::vector<Tensor>>(), text));
      case Attr::Kind::kType:
        return absl::StrCat(name, ": type_proto = ", PrintType(*attr.get<Type>()));
      case Attr::Kind::kTypes:
        return absl::StrCat(name,
                            ": type_protos = ", list(*attr.get<std::vector<Type>>(), PrintType));
      case Attr::Kind::kRef: {
        const auto* ref = attr.get<Attr::Ref>();
        std::string kind(AttrKindName(ref->kind));
        if (ref->kind == Attr::Kind::kType || ref->kind == Attr::Kind::kTypes)
          kind = "type_proto" + kind.substr(4);
        return absl::StrCat(name, ": ", kind, " = @", Name(ref->name));
      }
      case Attr::Kind::kInts:
      case Attr::Kind::kFloats:
      case Attr::Kind::kStrings: {
        const std::string value = attr.ToString();
        return absl::StrCat(
            name, value == "[]" ? absl::StrCat(": ", AttrKindName(attr.kind())) : "", " = ", value);
      }
      default:
        return absl::StrCat(name, " = ", attr.ToString());
    }
  }

  std::string Function(const NamedFunction& f) const {
    std::string out =
        absl::StrCat("<domain: ", Quoted(f.domain), ", opset_import: ", Imports(f.opset_imports));
    if (!f.overload.empty()) absl::StrAppend(&out, ", overload: ", Quoted(f.overload));
    absl::StrAppend(&out, ">\n", Name(f.name));
    std::vector<std::string> attrs;
    for (const std::string& name : f.attributes) attrs.push_back(Name(name));
    for (const auto& [name, attr] : f.defaults) attrs.push_back(Attribute(name, attr));
    if (!attrs.empty()) absl::StrAppend(&out, " <", absl::StrJoin(attrs, ", "), ">");
    const auto values = [](const std::vector<NamedValue>& list) {
      return absl::StrJoin(
          list, ", ", [](std::string* s, const NamedValue& v) { *s += TypedName(v.type, v.name); });
    };
    absl::StrAppend(&out, " (", values(f.body.inputs), ") => (", values(f.body.outputs), ")");
    if (options_.types && !f.body.value_infos.empty())
      absl::StrAppend(&out, " <", values(f.body.value_infos), ">");
    return absl::StrCat(out, Nodes(f.body, 0));
  }

  static std::string Imports(const std::map<std::string, int>& imports) {
    return absl::StrCat("[",
                        absl::StrJoin(imports, ", ",
                                      [](std::string* s, const auto& i) {
                                        absl::StrAppend(s, Quoted(i.first), " : ", i.second);
                                      }),
                        "]");
  }

  static std::string Header(const NamedModel& m) {
    std::vector<std::string> items;
    const auto text = [&](absl::string_view key, const std::string& value) {
      if (!value.empty()) items.push_back(absl::StrCat(key, ": ", Quoted(value)));
    };
    const auto pairs = [&](absl::string_view key, const auto& map) {
      if (map.begin() == map.end()) return;
      items.push_back(absl::StrCat(key, ": [",
                                   absl::StrJoin(map, ", ",
                                                 [](std::string* s, const auto& p) {
                                                   absl::StrAppend(s, Quoted(p.first), " : ",
                                                                   Quoted(p.second));
                                                 }),
                                   "]"));
    };
    if (m.ir_version > 0) items.push_back(absl::StrCat("ir_version: ", m.ir_version));
    items.push_back(absl::StrCat("opset_import: ", Imports(m.opset_imports)));
    text("producer_name", m.producer_name);
    text("producer_version", m.producer_version);
    text("domain", m.domain);
    if (m.model_version != 0) items.push_back(absl::StrCat("model_version: ", m.model_version));
    text("doc_string", m.doc);
    pairs("metadata_props", m.metadata);
    for (const NamedTraining& t : m.training) pairs("update_binding", t.updates);
    return absl::StrCat("<", absl::StrJoin(items, ", "), ">\n");
  }

 private:
  // "a.b.", parts that are no plain names in quotes.
  static std::string Domain(absl::string_view domain) {
    std::string out;
    if (domain.empty()) return out;
    for (const absl::string_view part : absl::StrSplit(domain, '.'))
      absl::StrAppend(&out, Name(part), ".");
    return out;
  }

  std::string Version(const NamedNode& node) const {
    const auto it = imports_.find(node.domain);
    const int imported = it == imports_.end() ? 1 : it->second;
    const bool shown = options_.versions ? node.opset != imported : node.opset > imported;
    return node.opset > 0 && shown ? absl::StrCat("@", node.opset) : "";
  }

  std::string Value(const std::string& name, const Tensor& tensor) const {
    return absl::StrCat(TypedName(Type::Tensor(tensor.dtype(), Shape::Of(tensor.dims())), name),
                        " = ", TensorText(tensor, options_.max_elements));
  }

  const PrintOptions& options_;
  const std::map<std::string, int>& imports_;  // of the scope that is printed
};

}  // namespace

std::string PrintType(const Type& type) {
  const auto element = [&] {
    return type.element == nullptr ? std::string() : PrintType(*type.element);
  };
  switch (type.kind) {
    case Type::Kind::kUnknown:
      return "";
    case Type::Kind::kSequence:
      return absl::StrCat("seq(", element(), ")");
    case Type::Kind::kOptional:
      return absl::StrCat("optional(", element(), ")");
    case Type::Kind::kMap:
      return absl::StrCat("map(", Element(type.key), ", ", element(), ")");
    case Type::Kind::kSparseTensor:
      return absl::StrCat("sparse_tensor(",
                          PrintType(Type::Tensor(type.tensor.dtype, type.tensor.shape)), ")");
    case Type::Kind::kTensor:
      break;
  }
  const std::string dtype = Element(type.tensor.dtype);
  if (!type.tensor.shape.has_rank()) return dtype + "[]";
  if (type.tensor.shape.rank() == 0) return dtype;
  return absl::StrCat(dtype, "[",
                      absl::StrJoin(type.tensor.shape.dims(), ", ",
                                    [](std::string* s, const Dim& d) {
                                      *s += d.is_symbol() ? Name(d.symbol()) : d.ToString();
                                    }),
                      "]");
}

std::string PrintModel(const NamedModel& model, const PrintOptions& options) {
  const Printer printer(options, model.opset_imports);
  std::string out = options.header ? Printer::Header(model) : "";
  absl::StrAppend(&out, printer.Graph(model.graph, 0), "\n");
  for (const NamedFunction& f : model.functions)
    absl::StrAppend(&out, "\n", Printer(options, f.opset_imports).Function(f), "\n");
  return out;
}

std::string PrintGraph(const Graph& graph, const PrintOptions& options) {
  return PrintModel(NameValues(graph), options);
}

std::string PrintNode(const Node& node) {
  NamedNode named;
  const auto name_of = [](const class Value* v) {
    return v == nullptr ? std::string() : v->name();
  };
  named.name = node.name();
  named.domain = node.domain();
  named.op_type = node.op_type();
  named.overload = node.overload();
  for (int i = 0; i < node.num_inputs(); ++i) named.inputs.push_back(name_of(node.input(i)));
  for (const class Value* v : node.outputs()) named.outputs.push_back(name_of(v));
  for (const auto& [name, attr] : node.attrs()) {
    const bool nested = attr.kind() == Attr::Kind::kGraph || attr.kind() == Attr::Kind::kGraphs;
    named.attrs.emplace(name, nested ? Attr("...") : attr);
  }
  PrintOptions options;
  options.max_elements = 16;
  const std::map<std::string, int> imports;
  return Printer(options, imports).Node(named, 0);
}

}  // namespace graphrun
