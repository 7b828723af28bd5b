#include "tools/layers.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tools/new_model.h"

namespace graphrun::cli {
namespace {

struct ActivationRow {
  const char* name;
  const char* op;
};
constexpr ActivationRow kActivations[] = {
    {"relu", "Relu"},
    {"leakyrelu", "LeakyRelu"},
    {"sigmoid", "Sigmoid"},
    {"tanh", "Tanh"},
    {"elu", "Elu"},
    {"selu", "Selu"},
    {"softplus", "Softplus"},
    {"softsign", "Softsign"},
    {"hardswish", "HardSwish"},
    {"softmax", "Softmax"},
    {"logsoftmax", "LogSoftmax"},
    {"silu", ""},
    {"gelu", ""},
};

}  // namespace

std::vector<std::string> ActivationNames() {
  std::vector<std::string> names = {"none"};
  for (const ActivationRow& row : kActivations) names.emplace_back(row.name);
  return names;
}

bool IsOperatorOfDomain(const std::string& activation) {
  const size_t colons = activation.find("::");
  return colons != std::string::npos && colons > 0 && colons + 2 < activation.size();
}

LayerWriter::LayerWriter(const std::string& name) : graph_(std::make_unique<Graph>()) {
  graph_->name = name;
  graph_->ir_version = 8;
  graph_->opset_imports[""] = kNewOpset;
  graph_->producer_name = "graphrun";
}

Value* LayerWriter::Input(const std::string& name, DType dtype,
                          const std::vector<int64_t>& sample) {
  Shape shape(std::vector<Dim>{Dim::Symbol("N")});
  for (const int64_t d : sample) shape.Append(Dim(d));
  return graph_->AddInput(name, Type::Tensor(dtype, shape));
}

Value* LayerWriter::Node(const std::string& op, std::vector<Value*> inputs, AttrMap attrs,
                         const std::string& name, const std::string& domain) {
  Graph::NodeSpec spec;
  spec.op_type = op;
  spec.domain = domain;
  spec.inputs = std::move(inputs);
  spec.attrs = std::move(attrs);
  spec.name = name.empty() ? graph_->UniqueName(op) : name;
  spec.outputs = {absl::StrCat(spec.name, "_out")};
  spec.opset = domain.empty() ? kNewOpset : 1;
  return graph_->AddNode(std::move(spec))->output(0);
}

Value* LayerWriter::Weight(const std::string& name, Dims dims, float value) {
  Tensor t(DType::kFloat32, std::move(dims));
  std::fill_n(t.mutable_data<float>(), t.num_elements(), value);
  return graph_->AddInitializer(name, std::move(t));
}

Value* LayerWriter::Ints(const std::string& name, const std::vector<int64_t>& values) {
  return graph_->AddInitializer(name, Tensor::Int64s(values));
}

Value* LayerWriter::Linear(Value* x, int64_t in, int64_t out, bool bias, const std::string& name) {
  std::vector<Value*> inputs = {x, Weight(name + ".weight", {out, in})};
  if (bias) inputs.push_back(Weight(name + ".bias", {out}));
  return Node("Gemm", inputs, {{"transB", 1}}, name);
}

Value* LayerWriter::Project(Value* x, int64_t in, int64_t out, const std::string& name) {
  Value* product = Node("MatMul", {x, Weight(name + ".weight", {in, out})}, {}, name);
  return Node("Add", {product, Weight(name + ".bias", {out})}, {}, name + ".add");
}

Value* LayerWriter::Conv(Value* x, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                         bool bias, const std::string& name) {
  const int64_t pad = (kernel - 1) / 2, end = kernel - 1 - pad;
  std::vector<Value*> inputs = {x, Weight(name + ".weight", {out, in, kernel, kernel})};
  if (bias) inputs.push_back(Weight(name + ".bias", {out}));
  return Node("Conv", inputs,
              {{"kernel_shape", std::vector<int64_t>{kernel, kernel}},
               {"strides", std::vector<int64_t>{stride, stride}},
               {"pads", std::vector<int64_t>{pad, pad, end, end}}},
              name);
}

Value* LayerWriter::BatchNorm(Value* x, int64_t channels, const std::string& name) {
  return Node("BatchNormalization",
              {x, Weight(name + ".scale", {channels}, 1), Weight(name + ".bias", {channels}),
               Weight(name + ".mean", {channels}), Weight(name + ".var", {channels}, 1)},
              {}, name);
}

Value* LayerWriter::LayerNorm(Value* x, int64_t features, const std::string& name) {
  return Node("LayerNormalization",
              {x, Weight(name + ".scale", {features}, 1), Weight(name + ".bias", {features})}, {},
              name);
}

Value* LayerWriter::Dropout(Value* x, double ratio, const std::string& name) {
  if (ratio <= 0) return x;
  Value* r =
      graph_->AddInitializer(name + ".ratio", Tensor::Scalar<float>(static_cast<float>(ratio)));
  return Node("Dropout", {x, r}, {}, name);
}

Value* LayerWriter::Activation(Value* x, const std::string& activation, const std::string& name) {
  if (activation == "none") return x;
  if (activation == "silu")
    return Node("Mul", {x, Node("Sigmoid", {x}, {}, name + ".sigmoid")}, {}, name);
  if (activation == "gelu") {
    // x / 2 (1 + erf(x / sqrt 2)): the operator itself is younger than set 17.
    const auto scalar = [&](const char* what, float v) {
      return graph_->AddInitializer(absl::StrCat(name, ".", what), Tensor::Scalar<float>(v));
    };
    Value* scaled = Node("Mul", {x, scalar("root_half", 0.70710678f)}, {}, name + ".scale");
    Value* erf = Node("Erf", {scaled}, {}, name + ".erf");
    Value* sum = Node("Add", {erf, scalar("one", 1)}, {}, name + ".add");
    Value* half = Node("Mul", {x, scalar("half", 0.5f)}, {}, name + ".half_x");
    return Node("Mul", {half, sum}, {}, name);
  }
  if (IsOperatorOfDomain(activation)) {
    const std::pair<std::string, std::string> words =
        absl::StrSplit(activation, absl::MaxSplits("::", 1));
    graph_->opset_imports[words.first] = 1;
    return Node(words.second, {x}, {}, name, words.first);
  }
  for (const ActivationRow& row : kActivations) {
    if (activation != row.name) continue;
    AttrMap attrs;
    if (activation == "softmax" || activation == "logsoftmax") attrs.emplace("axis", Attr(1));
    return Node(row.op, {x}, std::move(attrs), name);
  }
  return x;
}

absl::StatusOr<std::unique_ptr<Graph>> LayerWriter::Finish(Value* value, const std::string& name) {
  graph_->Rename(value, name);
  graph_->AddOutput(value);
  GR_RETURN_IF_ERROR(graph_->Sort());
  return std::move(graph_);
}

}  // namespace graphrun::cli
