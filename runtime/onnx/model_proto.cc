#include "runtime/onnx/model_proto.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/onnx/tensor_proto.h"

namespace graphrun {
namespace {

using onnx::AttributeProto;

constexpr int64_t kAlignment = 64, kPage = 4096, kPageFrom = 65536;

AttributeProto::AttributeType TypeOf(Attr::Kind kind) {
  switch (kind) {
    case Attr::Kind::kInt:
      return AttributeProto::INT;
    case Attr::Kind::kFloat:
      return AttributeProto::FLOAT;
    case Attr::Kind::kString:
      return AttributeProto::STRING;
    case Attr::Kind::kTensor:
      return AttributeProto::TENSOR;
    case Attr::Kind::kGraph:
      return AttributeProto::GRAPH;
    case Attr::Kind::kType:
      return AttributeProto::TYPE_PROTO;
    case Attr::Kind::kInts:
      return AttributeProto::INTS;
    case Attr::Kind::kFloats:
      return AttributeProto::FLOATS;
    case Attr::Kind::kStrings:
      return AttributeProto::STRINGS;
    case Attr::Kind::kTensors:
      return AttributeProto::TENSORS;
    case Attr::Kind::kGraphs:
      return AttributeProto::GRAPHS;
    case Attr::Kind::kTypes:
      return AttributeProto::TYPE_PROTOS;
    case Attr::Kind::kRef:
      break;
  }
  return AttributeProto::UNDEFINED;
}

class Encoder {
 public:
  explicit Encoder(const EncodeOptions& options) : options_(options) {}

  void Model(const NamedModel& model, onnx::ModelProto* proto);

  std::vector<ExternalTensor> external;

 private:
  void Graph(const NamedGraph& graph, absl::string_view default_name, onnx::GraphProto* proto);
  void Node(const NamedNode& node, onnx::NodeProto* proto);
  void Attribute(const std::string& name, const Attr& attr, AttributeProto* proto);
  void Function(const NamedFunction& function, onnx::FunctionProto* proto);
  void Initializer(const std::string& name, const Tensor& tensor, onnx::TensorProto* proto);

  template <typename Values>
  static void ValueInfos(const std::vector<NamedValue>& values, Values* protos) {
    for (const NamedValue& v : values) {
      auto* proto = protos->Add();
      proto->set_name(v.name);
      if (v.type.is_known()) EncodeType(v.type, proto->mutable_type());
    }
  }
  template <typename Pairs, typename Entries>
  static void Entries_(const Pairs& pairs, Entries* entries) {
    for (const auto& [key, value] : pairs) {
      auto* entry = entries->Add();
      entry->set_key(key);
      entry->set_value(value);
    }
  }
  template <typename Entries>
  static void Imports(const std::map<std::string, int>& imports, Entries* entries) {
    for (const auto& [domain, version] : imports) {
      auto* entry = entries->Add();
      entry->set_domain(domain);
      entry->set_version(version);
    }
  }

  const EncodeOptions options_;
  int64_t end_ = 0;  // of the external file so far
};

void Encoder::Initializer(const std::string& name, const Tensor& tensor, onnx::TensorProto* proto) {
  const bool string = tensor.dtype() == DType::kString;
  const int64_t bytes = string ? 0 : PackedSize(tensor);
  if (options_.location.empty() || string || bytes == 0 || bytes < options_.external_min_bytes) {
    return EncodeTensor(tensor, name, proto);
  }
  const int64_t alignment = bytes >= kPageFrom ? kPage : kAlignment;
  const int64_t offset = (end_ + alignment - 1) / alignment * alignment;
  end_ = offset + bytes;
  external.push_back({tensor, offset});
  proto->set_name(name);
  for (const int64_t d : tensor.dims()) proto->add_dims(d);
  proto->set_data_type(static_cast<int32_t>(tensor.dtype()));
  proto->set_data_location(onnx::TensorProto::EXTERNAL);
  const std::pair<std::string, std::string> entries[] = {{"location", options_.location},
                                                         {"offset", absl::StrCat(offset)},
                                                         {"length", absl::StrCat(bytes)}};
  Entries_(entries, proto->mutable_external_data());
}

void Encoder::Attribute(const std::string& name, const Attr& attr, AttributeProto* proto) {
  proto->set_name(name);
  if (const auto* ref = attr.get<Attr::Ref>()) {
    proto->set_ref_attr_name(ref->name);
    proto->set_type(TypeOf(ref->kind));
    return;
  }
  proto->set_type(TypeOf(attr.kind()));
  switch (attr.kind()) {
    case Attr::Kind::kInt:
      return proto->set_i(*attr.get<int64_t>());
    case Attr::Kind::kFloat:
      return proto->set_f(*attr.get<float>());
    case Attr::Kind::kString:
      return proto->set_s(*attr.get<std::string>());
    case Attr::Kind::kTensor:
      return EncodeTensor(*attr.get<Tensor>(), "", proto->mutable_t());
    case Attr::Kind::kType:
      return EncodeType(*attr.get<Type>(), proto->mutable_tp());
    case Attr::Kind::kInts:
      for (const int64_t v : *attr.get<std::vector<int64_t>>()) proto->add_ints(v);
      return;
    case Attr::Kind::kFloats:
      for (const float v : *attr.get<std::vector<float>>()) proto->add_floats(v);
      return;
    case Attr::Kind::kStrings:
      for (const std::string& v : *attr.get<std::vector<std::string>>()) proto->add_strings(v);
      return;
    case Attr::Kind::kTensors:
      for (const Tensor& v : *attr.get<std::vector<Tensor>>())
        EncodeTensor(v, "", proto->add_tensors());
      return;
    case Attr::Kind::kTypes:
      for (const Type& v : *attr.get<std::vector<Type>>()) EncodeType(v, proto->add_type_protos());
      return;
    case Attr::Kind::kGraph:
    case Attr::Kind::kGraphs:
    case Attr::Kind::kRef:
      return;
  }
}

void Encoder::Node(const NamedNode& node, onnx::NodeProto* proto) {
  for (const std::string& name : node.inputs) proto->add_input(name);
  for (const std::string& name : node.outputs) proto->add_output(name);
  if (!node.name.empty()) proto->set_name(node.name);
  proto->set_op_type(node.op_type);
  if (!node.domain.empty()) proto->set_domain(node.domain);
  if (!node.overload.empty()) proto->set_overload(node.overload);
  if (!node.doc.empty()) proto->set_doc_string(node.doc);
  Entries_(node.metadata, proto->mutable_metadata_props());
  for (const auto& [name, attr] : node.attrs) Attribute(name, attr, proto->add_attribute());
  for (const NamedNode::GraphAttr& attr : node.graphs) {
    auto* a = proto->add_attribute();
    a->set_name(attr.name);
    a->set_type(attr.is_list ? AttributeProto::GRAPHS : AttributeProto::GRAPH);
    for (const NamedGraph& graph : attr.graphs)
      Graph(graph, attr.name, attr.is_list ? a->add_graphs() : a->mutable_g());
  }
}

void Encoder::Graph(const NamedGraph& graph, absl::string_view default_name,
                    onnx::GraphProto* proto) {
  proto->set_name(graph.name.empty() ? std::string(default_name) : graph.name);
  if (!graph.doc.empty()) proto->set_doc_string(graph.doc);
  Entries_(graph.metadata, proto->mutable_metadata_props());
  ValueInfos(graph.inputs, proto->mutable_input());
  ValueInfos(graph.outputs, proto->mutable_output());
  if (options_.value_infos) ValueInfos(graph.value_infos, proto->mutable_value_info());
  for (const auto& [name, tensor] : graph.initializers)
    Initializer(name, tensor, proto->add_initializer());
  for (const NamedNode& node : graph.nodes) Node(node, proto->add_node());
}

void Encoder::Function(const NamedFunction& function, onnx::FunctionProto* proto) {
  proto->set_name(function.name);
  proto->set_domain(function.domain);
  if (!function.overload.empty()) proto->set_overload(function.overload);
  if (!function.body.doc.empty()) proto->set_doc_string(function.body.doc);
  Entries_(function.body.metadata, proto->mutable_metadata_props());
  for (const NamedValue& v : function.body.inputs) proto->add_input(v.name);
  for (const NamedValue& v : function.body.outputs) proto->add_output(v.name);
  for (const std::string& name : function.attributes) proto->add_attribute(name);
  for (const auto& [name, attr] : function.defaults)
    Attribute(name, attr, proto->add_attribute_proto());
  Imports(function.opset_imports, proto->mutable_opset_import());
  if (options_.value_infos) {
    ValueInfos(function.body.value_infos, proto->mutable_value_info());
  }
  for (const NamedNode& node : function.body.nodes) Node(node, proto->add_node());
}

void Encoder::Model(const NamedModel& model, onnx::ModelProto* proto) {
  proto->set_producer_name(model.producer_name.empty() ? "graphrun" : model.producer_name);
  if (!model.producer_version.empty()) proto->set_producer_version(model.producer_version);
  if (!model.domain.empty()) proto->set_domain(model.domain);
  if (model.model_version != 0) proto->set_model_version(model.model_version);
  if (!model.doc.empty()) proto->set_doc_string(model.doc);
  Entries_(model.metadata, proto->mutable_metadata_props());
  std::map<std::string, int> imports = model.opset_imports;
  if (imports.empty()) imports[""] = 1;
  Imports(imports, proto->mutable_opset_import());
  Graph(model.graph, "graph", proto->mutable_graph());
  for (const NamedFunction& f : model.functions) Function(f, proto->add_functions());
  for (const NamedTraining& t : model.training) {
    auto* info = proto->add_training_info();
    if (!t.initialization_bindings.empty())
      Graph(t.initialization, "initialization", info->mutable_initialization());
    Graph(t.algorithm, "algorithm", info->mutable_algorithm());
    Entries_(t.initialization_bindings, info->mutable_initialization_binding());
    Entries_(t.updates, info->mutable_update_binding());
  }
  proto->set_ir_version(LowestIrVersion(*proto));
}

// IR versions that first hold an element type, and that first came with an operator set.
int64_t IrVersionOf(int32_t dtype) {
  switch (static_cast<DType>(dtype)) {
    case DType::kFloat8E4M3FN:
    case DType::kFloat8E4M3FNUZ:
    case DType::kFloat8E5M2:
    case DType::kFloat8E5M2FNUZ:
      return 9;
    case DType::kUInt4:
    case DType::kInt4:
      return 10;
    case DType::kFloat4E2M1:
      return 11;
    case DType::kFloat8E8M0:
      return 12;
    case DType::kUInt2:
    case DType::kInt2:
      return 13;
    default:
      return 4;
  }
}

int64_t IrVersionOfOpset(const std::string& domain, int64_t opset) {
  constexpr std::pair<int64_t, int64_t> kFirst[] = {{25, 13}, {24, 12}, {23, 11}, {21, 10}, {19, 9},
                                                    {15, 8},  {12, 7},  {11, 6},  {10, 5}};
  for (const auto& [first, ir] : kFirst) {
    if (domain.empty() && opset >= first) return ir;
  }
  return domain == "ai.onnx.preview.training" ? 7 : 4;
}

class IrVersion {
 public:
  int64_t lowest = 4;

  void Need(int64_t version) { lowest = std::max(lowest, version); }
  void Tensor(const onnx::TensorProto& t) { Need(IrVersionOf(t.data_type())); }
  void Type(const onnx::TypeProto& t) {
    if (t.has_tensor_type()) Need(IrVersionOf(t.tensor_type().elem_type()));
    if (t.has_sparse_tensor_type() || t.has_optional_type()) Need(8);
    if (t.has_optional_type()) Type(t.optional_type().elem_type());
    if (t.has_sequence_type()) Type(t.sequence_type().elem_type());
    if (t.has_map_type()) Type(t.map_type().value_type());
  }
  void Attribute(const AttributeProto& a) {
    if (a.has_t()) Tensor(a.t());
    if (a.has_g()) Graph(a.g());
    if (a.has_tp()) Type(a.tp());
    for (const auto& t : a.tensors()) Tensor(t);
    for (const auto& g : a.graphs()) Graph(g);
    for (const auto& t : a.type_protos()) Type(t);
  }
  template <typename Nodes>
  void Nodes_(const Nodes& nodes) {
    for (const auto& n : nodes) {
      if (n.has_overload() || n.metadata_props_size() > 0) Need(10);
      for (const auto& a : n.attribute()) Attribute(a);
    }
  }
  void Graph(const onnx::GraphProto& g) {
    for (const auto& t : g.initializer()) Tensor(t);
    for (const auto& v : g.input()) Type(v.type());
    for (const auto& v : g.output()) Type(v.type());
    for (const auto& v : g.value_info()) Type(v.type());
    if (g.metadata_props_size() > 0) Need(10);
    Nodes_(g.node());
  }
};

int64_t Bytes(const Tensor& t) {
  if (t.dtype() != DType::kString) return PackedSize(t);
  int64_t bytes = 0;
  for (const std::string& s : t.span<std::string>()) bytes += static_cast<int64_t>(s.size());
  return bytes;
}

int64_t Bytes(const NamedGraph& graph) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : graph.initializers) bytes += Bytes(tensor);
  for (const NamedNode& node : graph.nodes) {
    for (const auto& [name, attr] : node.attrs) {
      if (const auto* t = attr.get<Tensor>()) bytes += Bytes(*t);
    }
    for (const NamedNode::GraphAttr& attr : node.graphs) {
      for (const NamedGraph& nested : attr.graphs) bytes += Bytes(nested);
    }
  }
  return bytes;
}

}  // namespace

std::vector<ExternalTensor> EncodeModel(const NamedModel& model, const EncodeOptions& options,
                                        onnx::ModelProto* proto) {
  Encoder encoder(options);
  encoder.Model(model, proto);
  return std::move(encoder.external);
}

int64_t WeightBytes(const NamedModel& model) {
  int64_t bytes = Bytes(model.graph);
  for (const NamedTraining& t : model.training)
    bytes += Bytes(t.algorithm) + Bytes(t.initialization);
  for (const NamedFunction& f : model.functions) bytes += Bytes(f.body);
  return bytes;
}

int64_t LowestIrVersion(const onnx::ModelProto& proto) {
  IrVersion v;
  for (const auto& import : proto.opset_import())
    v.Need(IrVersionOfOpset(import.domain(), import.version()));
  v.Graph(proto.graph());
  for (const auto& t : proto.training_info()) {
    v.Need(7);
    v.Graph(t.initialization());
    v.Graph(t.algorithm());
  }
  for (const auto& f : proto.functions()) {
    v.Need(8);
    if (f.attribute_proto_size() > 0) v.Need(9);
    if (f.has_overload() || f.value_info_size() > 0 || f.metadata_props_size() > 0) v.Need(10);
    for (const auto& import : f.opset_import())
      v.Need(IrVersionOfOpset(import.domain(), import.version()));
    for (const auto& a : f.attribute_proto()) v.Attribute(a);
    v.Nodes_(f.node());
  }
  return v.lowest;
}

}  // namespace graphrun
