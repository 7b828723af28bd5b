// OpDef: everything about one version of one operator, in one chained declaration.
//
//   ops.Add(OpDef("Sigmoid", 6).Input("X", "T").Output("Y", "T").Types("T", kFloats)
//       .Infer(SameAsInput)
//       .Kernel("native", ...)
//       .Gradient([](GradContext& g) { g.dx(0, g.dy() * g.y() * (1.0 - g.y())); })
//       .InPlace(0, 0)
//       .Try(Sample().In({2, 3})));
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/op/dtype_set.h"
#include "runtime/op/grad_context.h"
#include "runtime/op/infer_context.h"
#include "runtime/op/kernel.h"
#include "runtime/op/sample.h"

namespace graphrun {

enum class Arity { kSingle, kOptional, kVariadic };

// Output = f(inputs) element by element with broadcasting. The f32 block functions let chains of
// such operators run as one loop: bool values travel as 0 and 1.
struct Pointwise {
  // output[i] = f(inputs[0][i], ...), i < n; blocks are aligned to 64 bytes; output may be one of
  // the inputs.
  using Block = void (*)(const float* const* inputs, int num_inputs, float* output, int64_t n,
                         const float* params);
  Block block = nullptr;
  // Numbers from the node's attributes that the block function needs.
  std::function<std::vector<float>(const NodeContext&)> params;
};

// The activation that an operator applies to what a loss may take instead (logits).
enum class OutputLink { kNone, kSoftmax, kLogSoftmax, kSigmoid };

// What a trained tensor is to its operator. Regularizers leave biases and normalisation parameters
// out unless named.
enum class ParameterKind { kWeight, kBias, kNormalization, kStatistic };
struct ParameterRole {
  ParameterKind kind = ParameterKind::kWeight;
  int unit_axis = 0;  // the axis that counts output units (rows of an (out, in) matrix: 0)
};

class OpDef {
 public:
  using InferFn = std::function<absl::Status(InferContext&)>;
  using GradientFn = std::function<void(GradContext&)>;
  using BodyFn = std::function<void(BodyContext&)>;

  struct Argument {
    std::string name,
        type;  // type: a type variable of Types(), or an element type's name, or "any"
    Arity arity;
  };
  struct AttrSpec {
    std::string name;
    graphrun::Attr::Kind kind;
    absl::optional<graphrun::Attr> fallback;
    bool required;
  };
  struct NamedKernel {
    std::string name;
    KernelFactory factory;
  };

  // The declaration serves versions from `since` up to the next declaration of the same operator.
  explicit OpDef(std::string name, int since = 1, std::string domain = "")
      : name_(std::move(name)), domain_(std::move(domain)), since_(since) {}

  OpDef& Input(std::string name, std::string type, Arity arity = Arity::kSingle);
  OpDef& Output(std::string name, std::string type, Arity arity = Arity::kSingle);
  // An attribute with a default, or (given a kind) optional without one.
  OpDef& Attr(std::string name, graphrun::Attr fallback);
  OpDef& Attr(std::string name, graphrun::Attr::Kind kind);
  OpDef& RequiredAttr(std::string name, graphrun::Attr::Kind kind);
  OpDef& Types(std::string variable, DTypeSet dtypes);
  OpDef& Infer(InferFn fn);
  // Kernels are asked in the order of declaration.
  OpDef& Kernel(std::string name, KernelFactory factory);
  void PrependKernel(NamedKernel kernel) { kernels_.insert(kernels_.begin(), std::move(kernel)); }
  OpDef& Gradient(GradientFn fn);
  // There is no gradient, and why: "integer result", "random", ...
  OpDef& NotDifferentiable(std::string why);
  // Gradients are not asked through input i (indices, shapes, masks, statistics).
  OpDef& NoGradientFor(std::vector<int> inputs);
  OpDef& Body(BodyFn fn);
  // Output `output` may take the memory of input `input` where sizes and layouts agree.
  OpDef& InPlace(int input, int output);
  // The same for a number of inputs and outputs that depends on the node: (input, output) pairs.
  using InPlaceFn = std::function<std::vector<std::pair<int, int>>(const Node&)>;
  OpDef& InPlace(InPlaceFn pairs);
  // Output 0 is input 0's elements in the same order under other sizes (Reshape, Flatten, ...):
  // where the input is row-major the plan lets both share memory and runs nothing.
  OpDef& View();
  // Says for which nodes output 0 simply is one of the inputs (Identity, Dropout in inference, a
  // Cast to the same type): the input's index, or -1. Asked when types are inferred; other outputs
  // must be unused.
  OpDef& NoOp(std::function<int(const NodeContext&)> same_as);
  // What the node becomes while its model is trained (Dropout draws, BatchNormalization takes the
  // batch's statistics); a function that does not Return leaves the node as it is.
  OpDef& Training(std::function<void(TrainingContext&)> fn);
  // What a node in training form becomes for inference; the same rule for no change.
  OpDef& Inference(BodyFn fn);
  OpDef& Link(OutputLink link);
  // Says what input i is when an initializer feeds it; rank decides where nothing is said (above 1:
  // a weight).
  OpDef& Parameter(int input, ParameterKind kind,
                   std::function<int(const NodeContext&)> unit_axis = nullptr);
  // Kernels read only the sizes of input i.
  OpDef& ShapeOnly(int input);
  OpDef& PointwiseBlock(Pointwise::Block block,
                        std::function<std::vector<float>(const NodeContext&)> params = nullptr);
  // Multiply-adds of a node whose sizes are known; undeclared: none that count beside those of
  // products. Asked after inference, never by a kernel.
  OpDef& MultiplyAdds(std::function<double(const NodeContext&)> count);
  // Every run gives other numbers, or it has an effect: not folded, not merged with an equal node.
  OpDef& Random();
  OpDef& Try(Sample sample);
  // Versions of the operator set at which the standard changed something that this declaration
  // covers.
  OpDef& Versions(std::vector<int> versions);
  // A page or paper.
  OpDef& Source(std::string source);

  const std::string& name() const { return name_; }
  const std::string& domain() const { return domain_; }
  int since() const { return since_; }
  const std::vector<Argument>& inputs() const { return inputs_; }
  const std::vector<Argument>& outputs() const { return outputs_; }
  const std::vector<AttrSpec>& attrs() const { return attrs_; }
  const AttrSpec* FindAttr(absl::string_view name) const;
  const std::vector<std::pair<std::string, DTypeSet>>& types() const { return types_; }
  const InferFn& infer() const { return infer_; }
  const std::vector<NamedKernel>& kernels() const { return kernels_; }
  const GradientFn& gradient() const { return gradient_; }
  const std::string& not_differentiable() const { return not_differentiable_; }
  bool gradient_flows_to(int input) const;
  const BodyFn& body() const { return body_; }
  // The pairs for this node, preferred ones first. An input may occur with several outputs and the
  // other way round: whoever plans memory gives each to at most one.
  std::vector<std::pair<int, int>> in_place(const Node& node) const;
  bool is_shape_only(int input) const;
  const std::function<void(TrainingContext&)>& training() const { return training_; }
  const BodyFn& inference() const { return inference_; }
  OutputLink link() const { return link_; }
  // The role of input `input` of such a node.
  ParameterRole parameter_role(const Node& node, int input) const;
  bool is_view() const { return view_; }
  const std::function<int(const NodeContext&)>& no_op() const { return no_op_; }
  const graphrun::Pointwise& pointwise() const { return pointwise_; }
  double multiply_adds(const Node& node) const;
  bool is_random() const { return random_; }
  const std::vector<Sample>& samples() const { return samples_; }
  const std::vector<int>& versions() const { return versions_; }
  const std::string& source() const { return source_; }
  // "Conv-11" or "ai.graphrun.ConvGradInput-1"
  std::string Describe() const;
  // Which declared argument input or output number i belongs to; null beyond a non-variadic end.
  const Argument* InputArgument(int i) const;
  const Argument* OutputArgument(int i) const;

 private:
  std::string name_, domain_, source_, not_differentiable_;
  int since_;
  std::vector<Argument> inputs_, outputs_;
  std::vector<AttrSpec> attrs_;
  std::vector<std::pair<std::string, DTypeSet>> types_;
  InferFn infer_;
  std::vector<NamedKernel> kernels_;
  GradientFn gradient_;
  BodyFn body_;
  std::vector<std::pair<int, int>> in_place_;
  InPlaceFn in_place_fn_;
  std::vector<int> no_gradient_for_, shape_only_;
  graphrun::Pointwise pointwise_;
  std::function<void(TrainingContext&)> training_;
  BodyFn inference_;
  OutputLink link_ = OutputLink::kNone;
  struct ParameterSpec {
    int input;
    ParameterKind kind;
    std::function<int(const NodeContext&)> unit_axis;
  };
  std::vector<ParameterSpec> parameters_;
  std::function<double(const NodeContext&)> multiply_adds_;
  bool random_ = false;
  bool view_ = false;
  std::function<int(const NodeContext&)> no_op_;
  std::vector<Sample> samples_;
  std::vector<int> versions_;
};

}  // namespace graphrun
