#include "runtime/onnx/import.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "google/protobuf/arena.h"
#include "google/protobuf/io/coded_stream.h"
#include "runtime/base/file.h"
#include "runtime/base/limits.h"
#include "runtime/base/status.h"
#include "runtime/onnx/tensor_proto.h"
#include "runtime/onnx/versions.h"
#include "runtime/onnx/wire.h"

namespace graphrun {
namespace {

using onnx::AttributeProto;

constexpr int kMessageDepth = 220;  // of protobuf messages: about four to a nested graph

std::string At(absl::string_view field, int index, absl::string_view name = "") {
  return absl::StrCat(field, "[", index, "]", name.empty() ? "" : " \"", name,
                      name.empty() ? "" : "\"");
}

// The name as the field has it, ai.onnx written out or not.
std::string Domain(const std::string& domain) { return domain == "ai.onnx" ? "" : domain; }

template <typename Entries>
std::map<std::string, std::string> Metadata(const Entries& entries) {
  std::map<std::string, std::string> map;
  for (const auto& e : entries) map.emplace(e.key(), e.value());
  return map;
}

// Version 1 files do not say the type of an attribute; the field that is set does.
AttributeProto::AttributeType TypeOf(const AttributeProto& a) {
  if (a.type() != AttributeProto::UNDEFINED || !a.ref_attr_name().empty()) return a.type();
  if (a.has_f()) return AttributeProto::FLOAT;
  if (a.has_i()) return AttributeProto::INT;
  if (a.has_s()) return AttributeProto::STRING;
  if (a.has_t()) return AttributeProto::TENSOR;
  if (a.has_g()) return AttributeProto::GRAPH;
  if (a.floats_size() > 0) return AttributeProto::FLOATS;
  if (a.ints_size() > 0) return AttributeProto::INTS;
  if (a.strings_size() > 0) return AttributeProto::STRINGS;
  if (a.tensors_size() > 0) return AttributeProto::TENSORS;
  if (a.graphs_size() > 0) return AttributeProto::GRAPHS;
  return AttributeProto::UNDEFINED;
}

absl::optional<Attr::Kind> KindOf(AttributeProto::AttributeType type) {
  using Kind = Attr::Kind;
  constexpr std::pair<AttributeProto::AttributeType, Kind> kKinds[] = {
      {AttributeProto::FLOAT, Kind::kFloat},
      {AttributeProto::INT, Kind::kInt},
      {AttributeProto::STRING, Kind::kString},
      {AttributeProto::TENSOR, Kind::kTensor},
      {AttributeProto::GRAPH, Kind::kGraph},
      {AttributeProto::FLOATS, Kind::kFloats},
      {AttributeProto::INTS, Kind::kInts},
      {AttributeProto::STRINGS, Kind::kStrings},
      {AttributeProto::TENSORS, Kind::kTensors},
      {AttributeProto::GRAPHS, Kind::kGraphs},
      {AttributeProto::TYPE_PROTO, Kind::kType},
      {AttributeProto::TYPE_PROTOS, Kind::kTypes},
      {AttributeProto::SPARSE_TENSOR, Kind::kTensor},
      {AttributeProto::SPARSE_TENSORS, Kind::kTensors}};
  for (const auto& [from, to] : kKinds) {
    if (from == type) return to;
  }
  return absl::nullopt;
}

class Reader {
 public:
  explicit Reader(TensorSource source) : source_(source) {}

  absl::StatusOr<NamedModel> Model(const onnx::ModelProto& proto);

 private:
  absl::StatusOr<NamedGraph> Graph(const onnx::GraphProto& proto, int depth);
  absl::StatusOr<NamedNode> Node(const onnx::NodeProto& proto, int depth);
  absl::Status Attribute(const AttributeProto& proto, int depth, AttrMap* attrs,
                         std::vector<NamedNode::GraphAttr>* graphs);
  absl::StatusOr<NamedFunction> Function(const onnx::FunctionProto& proto);
  absl::StatusOr<NamedTraining> Training(const onnx::TrainingInfoProto& proto);

  template <typename Entries>
  static absl::StatusOr<std::map<std::string, int>> Imports(const Entries& entries);
  template <typename Infos>
  static absl::Status Values(const Infos& infos, absl::string_view field,
                             std::vector<NamedValue>* values);
  template <typename Nodes>
  absl::Status Nodes_(const Nodes& nodes, int depth, std::vector<NamedNode>* to);
  template <typename Protos, typename Decode>
  static absl::StatusOr<std::vector<Tensor>> Tensors(const Protos& protos, Decode&& decode);

  TensorSource source_;
};

template <typename Entries>
absl::StatusOr<std::map<std::string, int>> Reader::Imports(const Entries& entries) {
  std::map<std::string, int> imports;
  for (int i = 0; i < entries.size(); ++i) {
    const auto& e = entries.Get(i);
    // Some writers leave the version of a domain of their own at 0, which stands for the first, and
    // some name the default domain so before they name it with its version.
    const bool own = !Domain(e.domain()).empty();
    const int64_t given = e.version() == 0 && own ? 1 : e.version();
    if (given == 0 && std::any_of(entries.begin(), entries.end(), [](const auto& other) {
          return Domain(other.domain()).empty() && other.version() > 0;
        })) {
      continue;
    }
    if (given < 1 || given > 1'000'000) {
      return ModelError(At("opset_import", i, e.domain()), ": version ", e.version(),
                        " is not an operator set's version");
    }
    int& version = imports[Domain(e.domain())];
    version = std::max(version, static_cast<int>(given));
  }
  return imports;
}

template <typename Infos>
absl::Status Reader::Values(const Infos& infos, absl::string_view field,
                            std::vector<NamedValue>* values) {
  values->reserve(static_cast<size_t>(infos.size()));
  for (int i = 0; i < infos.size(); ++i) {
    auto type = DecodeType(infos.Get(i).type());
    if (!type.ok())
      return Annotate(type.status(), absl::StrCat(At(field, i, infos.Get(i).name()), ".type"));
    values->push_back({infos.Get(i).name(), *std::move(type)});
  }
  return absl::OkStatus();
}

template <typename Nodes>
absl::Status Reader::Nodes_(const Nodes& nodes, int depth, std::vector<NamedNode>* to) {
  to->reserve(static_cast<size_t>(nodes.size()));
  for (int i = 0; i < nodes.size(); ++i) {
    auto node = Node(nodes.Get(i), depth);
    if (!node.ok()) return Annotate(node.status(), At("node", i, nodes.Get(i).name()));
    to->push_back(*std::move(node));
  }
  return absl::OkStatus();
}

template <typename Protos, typename Decode>
absl::StatusOr<std::vector<Tensor>> Reader::Tensors(const Protos& protos, Decode&& decode) {
  std::vector<Tensor> tensors;
  for (int i = 0; i < protos.size(); ++i) {
    auto tensor = decode(protos.Get(i));
    if (!tensor.ok()) return Annotate(tensor.status(), At("tensors", i));
    tensors.push_back(*std::move(tensor));
  }
  return tensors;
}

absl::Status Reader::Attribute(const AttributeProto& proto, int depth, AttrMap* attrs,
                               std::vector<NamedNode::GraphAttr>* graphs) {
  if (proto.name().empty()) return ModelError("the attribute has no name");
  const auto is_taken = [&] {
    return attrs->count(proto.name()) > 0 ||
           std::any_of(graphs->begin(), graphs->end(),
                       [&](const auto& g) { return g.name == proto.name(); });
  };
  if (is_taken()) return ModelError("there are two attributes of this name; keep one");
  const auto set = [&](Attr value) {
    attrs->emplace(proto.name(), std::move(value));
    return absl::OkStatus();
  };
  const AttributeProto::AttributeType type = TypeOf(proto);
  const auto kind = KindOf(type);
  if (!kind)
    return ModelError("type ", static_cast<int>(type),
                      " is no attribute type, or the attribute has no value");
  if (!proto.ref_attr_name().empty()) return set(Attr::Ref{proto.ref_attr_name(), *kind});
  const auto dense = [&](const auto& p) { return DecodeTensor(p, source_); };
  const auto sparse = [&](const auto& p) { return DecodeSparseTensor(p, source_); };
  const auto add_graph = [&](const onnx::GraphProto& g,
                             NamedNode::GraphAttr* attr) -> absl::Status {
    GR_ASSIGN_OR_RETURN(NamedGraph graph, Graph(g, depth + 1));
    attr->graphs.push_back(std::move(graph));
    return absl::OkStatus();
  };
  switch (type) {
    case AttributeProto::FLOAT:
      return set(proto.f());
    case AttributeProto::INT:
      return set(int64_t{proto.i()});
    case AttributeProto::STRING:
      return set(proto.s());
    case AttributeProto::FLOATS:
      return set(std::vector<float>(proto.floats().begin(), proto.floats().end()));
    case AttributeProto::INTS:
      return set(std::vector<int64_t>(proto.ints().begin(), proto.ints().end()));
    case AttributeProto::STRINGS:
      return set(std::vector<std::string>(proto.strings().begin(), proto.strings().end()));
    case AttributeProto::TENSOR: {
      GR_ASSIGN_OR_RETURN(Tensor t, dense(proto.t()));
      return set(std::move(t));
    }
    case AttributeProto::SPARSE_TENSOR: {
      GR_ASSIGN_OR_RETURN(Tensor t, sparse(proto.sparse_tensor()));
      attrs->emplace(proto.name() == "sparse_value" ? "value" : proto.name(), std::move(t));
      return absl::OkStatus();
    }
    case AttributeProto::TENSORS: {
      GR_ASSIGN_OR_RETURN(auto tensors, Tensors(proto.tensors(), dense));
      return set(std::move(tensors));
    }
    case AttributeProto::SPARSE_TENSORS: {
      GR_ASSIGN_OR_RETURN(auto tensors, Tensors(proto.sparse_tensors(), sparse));
      return set(std::move(tensors));
    }
    case AttributeProto::TYPE_PROTO: {
      GR_ASSIGN_OR_RETURN(Type t, DecodeType(proto.tp()));
      return set(std::move(t));
    }
    case AttributeProto::TYPE_PROTOS: {
      std::vector<Type> types;
      for (const auto& p : proto.type_protos()) {
        GR_ASSIGN_OR_RETURN(Type t, DecodeType(p));
        types.push_back(std::move(t));
      }
      return set(std::move(types));
    }
    default: {
      NamedNode::GraphAttr attr{proto.name(), type == AttributeProto::GRAPHS, {}};
      if (!attr.is_list) GR_RETURN_IF_ERROR(add_graph(proto.g(), &attr));
      for (const auto& g : proto.graphs()) {
        if (attr.is_list) GR_RETURN_IF_ERROR(add_graph(g, &attr));
      }
      graphs->push_back(std::move(attr));
      return absl::OkStatus();
    }
  }
}

absl::StatusOr<NamedNode> Reader::Node(const onnx::NodeProto& proto, int depth) {
  NamedNode node;
  node.name = proto.name();
  node.domain = Domain(proto.domain());
  node.op_type = proto.op_type();
  node.overload = proto.overload();
  node.doc = proto.doc_string();
  node.inputs.assign(proto.input().begin(), proto.input().end());
  node.outputs.assign(proto.output().begin(), proto.output().end());
  node.metadata = Metadata(proto.metadata_props());
  for (int i = 0; i < proto.attribute_size(); ++i) {
    const absl::Status status = Attribute(proto.attribute(i), depth, &node.attrs, &node.graphs);
    if (!status.ok()) return Annotate(status, At("attribute", i, proto.attribute(i).name()));
  }
  return node;
}

absl::StatusOr<NamedGraph> Reader::Graph(const onnx::GraphProto& proto, int depth) {
  if (depth > kMaxGraphDepth)
    return LimitError("graphs are nested more than ", kMaxGraphDepth, " deep");
  NamedGraph graph;
  graph.name = proto.name();
  graph.doc = proto.doc_string();
  graph.metadata = Metadata(proto.metadata_props());
  GR_RETURN_IF_ERROR(Values(proto.input(), "input", &graph.inputs));
  GR_RETURN_IF_ERROR(Values(proto.output(), "output", &graph.outputs));
  GR_RETURN_IF_ERROR(Values(proto.value_info(), "value_info", &graph.value_infos));
  for (int i = 0; i < proto.initializer_size(); ++i) {
    const auto& t = proto.initializer(i);
    auto tensor = DecodeTensor(t, source_);
    if (!tensor.ok()) return Annotate(tensor.status(), At("initializer", i, t.name()));
    graph.initializers.emplace_back(t.name(), *std::move(tensor));
  }
  for (int i = 0; i < proto.sparse_initializer_size(); ++i) {
    const auto& t = proto.sparse_initializer(i);
    auto tensor = DecodeSparseTensor(t, source_);
    if (!tensor.ok())
      return Annotate(tensor.status(), At("sparse_initializer", i, t.values().name()));
    graph.initializers.emplace_back(t.values().name(), *std::move(tensor));
  }
  GR_RETURN_IF_ERROR(Nodes_(proto.node(), depth, &graph.nodes));
  return graph;
}

absl::StatusOr<NamedFunction> Reader::Function(const onnx::FunctionProto& proto) {
  NamedFunction f;
  f.domain = Domain(proto.domain());
  f.name = proto.name();
  f.overload = proto.overload();
  if (f.name.empty()) return ModelError("the function has no name");
  f.attributes.assign(proto.attribute().begin(), proto.attribute().end());
  std::vector<NamedNode::GraphAttr> graphs;
  for (int i = 0; i < proto.attribute_proto_size(); ++i) {
    absl::Status status = Attribute(proto.attribute_proto(i), 0, &f.defaults, &graphs);
    if (status.ok() && !graphs.empty()) status = ModelError("a graph cannot be a default value");
    if (!status.ok())
      return Annotate(status, At("attribute_proto", i, proto.attribute_proto(i).name()));
  }
  GR_ASSIGN_OR_RETURN(f.opset_imports, Imports(proto.opset_import()));
  f.body.name = proto.name();
  f.body.doc = proto.doc_string();
  f.body.metadata = Metadata(proto.metadata_props());
  GR_RETURN_IF_ERROR(Values(proto.value_info(), "value_info", &f.body.value_infos));
  const auto type_of = [&](const std::string& name) {
    for (const NamedValue& v : f.body.value_infos) {
      if (v.name == name) return v.type;
    }
    return Type();
  };
  for (const std::string& name : proto.input()) f.body.inputs.push_back({name, type_of(name)});
  for (const std::string& name : proto.output()) f.body.outputs.push_back({name, type_of(name)});
  GR_RETURN_IF_ERROR(Nodes_(proto.node(), 0, &f.body.nodes));
  return f;
}

absl::StatusOr<NamedTraining> Reader::Training(const onnx::TrainingInfoProto& proto) {
  NamedTraining t;
  auto graph = Graph(proto.initialization(), 0);
  if (!graph.ok()) return Annotate(graph.status(), "initialization");
  t.initialization = *std::move(graph);
  graph = Graph(proto.algorithm(), 0);
  if (!graph.ok()) return Annotate(graph.status(), "algorithm");
  t.algorithm = *std::move(graph);
  for (const auto& e : proto.initialization_binding())
    t.initialization_bindings.emplace_back(e.key(), e.value());
  for (const auto& e : proto.update_binding()) t.updates.emplace_back(e.key(), e.value());
  return t;
}

absl::StatusOr<NamedModel> Reader::Model(const onnx::ModelProto& proto) {
  if (!proto.has_ir_version() || !proto.has_graph()) {
    return ModelError(proto.has_graph() ? "ir_version is missing" : "there is no graph",
                      ": this is not an ONNX model");
  }
  if (proto.ir_version() < 1 || proto.ir_version() > kMaxIrVersion) {
    return ModelError("ir_version is ", proto.ir_version(), "; versions 1 to ", kMaxIrVersion,
                      " are known here: export the model for an older version");
  }
  NamedModel model;
  model.ir_version = proto.ir_version();
  GR_ASSIGN_OR_RETURN(model.opset_imports, Imports(proto.opset_import()));
  model.producer_name = proto.producer_name();
  model.producer_version = proto.producer_version();
  model.domain = proto.domain();
  model.model_version = proto.model_version();
  model.doc = proto.doc_string();
  model.metadata = Metadata(proto.metadata_props());
  auto graph = Graph(proto.graph(), 0);
  if (!graph.ok()) return Annotate(graph.status(), "graph");
  model.graph = *std::move(graph);
  for (int i = 0; i < proto.functions_size(); ++i) {
    auto function = Function(proto.functions(i));
    if (!function.ok())
      return Annotate(function.status(), At("functions", i, proto.functions(i).name()));
    model.functions.push_back(*std::move(function));
  }
  for (int i = 0; i < proto.training_info_size(); ++i) {
    auto training = Training(proto.training_info(i));
    if (!training.ok()) return Annotate(training.status(), At("training_info", i));
    model.training.push_back(*std::move(training));
  }
  UnwrapVersions(&model);
  return model;
}

// What people hand over in place of a model.
absl::Status LooksLikeSomethingElse(absl::string_view bytes) {
  if (bytes.empty()) return ModelError("the file is empty");
  if (absl::StartsWith(bytes, "version https://git-lfs")) {
    return ModelError("this is a Git LFS pointer, not the model: fetch it with `git lfs pull`");
  }
  if (absl::StartsWith(bytes, "PK\x03\x04"))
    return ModelError("this is a zip archive (a PyTorch or NumPy file?), not an ONNX model");
  if (absl::StartsWith(bytes, "\x1f\x8b"))
    return ModelError("this is a gzip file: unpack it first");
  if (absl::StartsWith(bytes, "<"))
    return ModelError("this looks like a web page or a text, not an ONNX model");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<NamedModel> ReadOnnxBytes(absl::string_view bytes, absl::string_view folder) {
  GR_RETURN_IF_ERROR(LooksLikeSomethingElse(bytes));
  GR_ASSIGN_OR_RETURN(const SplitMessage split, SplitWire(bytes, WireMessage::kModel));
  google::protobuf::Arena arena;
  auto* proto = google::protobuf::Arena::CreateMessage<onnx::ModelProto>(&arena);
  google::protobuf::io::CodedInputStream stream(
      reinterpret_cast<const uint8_t*>(split.message.data()),
      static_cast<int>(split.message.size()));
  stream.SetRecursionLimit(kMessageDepth);
  if (!proto->ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage()) {
    return ModelError(
        "protobuf cannot read this as ONNX's ModelProto: the file is damaged, nested too deep, or "
        "of another kind");
  }
  ExternalFiles external{std::string(folder)};
  Reader reader({split.mapped, &external});
  return reader.Model(*proto);
}

absl::StatusOr<NamedModel> ReadOnnx(absl::string_view path) {
  GR_ASSIGN_OR_RETURN(const auto map, MemoryMap::Open(std::string(path)));
  auto model = ReadOnnxBytes(map->bytes(), FolderOf(path));
  if (!model.ok()) return Annotate(model.status(), path);
  return model;
}

absl::StatusOr<std::unique_ptr<Graph>> ImportOnnxBytes(absl::string_view bytes,
                                                       absl::string_view folder) {
  GR_ASSIGN_OR_RETURN(const NamedModel model, ReadOnnxBytes(bytes, folder));
  return ResolveNames(model);
}

absl::StatusOr<std::unique_ptr<Graph>> ImportOnnx(absl::string_view path) {
  GR_ASSIGN_OR_RETURN(const NamedModel model, ReadOnnx(path));
  auto graph = ResolveNames(model);
  if (!graph.ok()) return Annotate(graph.status(), path);
  return graph;
}

}  // namespace graphrun
