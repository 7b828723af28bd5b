// Kernels whose neighbours lay tensors out in other ways give what row-major ones give, and take
// the layouts that arrive where they can.
#include <gtest/gtest.h>

#include "ops/onednn.h"
#include "ops/ops.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

// What a planner would say: given layouts for the inputs.
class Neighbours : public PrepareContext {
 public:
  Neighbours(const Node& node, const OpDef& def, std::vector<Layout> layouts)
      : PrepareContext(node, def), layouts_(std::move(layouts)) {}
  const Tensor* constant(int i) const override {
    return node().input(i)->is_constant() ? &node().input(i)->initializer() : nullptr;
  }
  Layout input_layout(int i) const override { return layouts_[static_cast<size_t>(i)]; }
  int threads() const override { return 1; }
  absl::StatusOr<std::unique_ptr<SubgraphRunner>> Subgraph(absl::string_view) override {
    return InternalError("no graphs here");
  }

 private:
  std::vector<Layout> layouts_;
};

enum class Kind { kRowMajor, kChannelsLast, kBlocks };

Layout LayoutFor(Kind kind, const Dims& dims) {
  if (kind == Kind::kRowMajor || dims.size() < 3) return Layout();
  if (kind == Kind::kBlocks && dims[1] % 16 != 0) return Layout();
  if (kind == Kind::kBlocks) return *onednn::LayoutOf(onednn::ChannelBlocks(DType::kFloat32, dims));
  return *onednn::LayoutOf(onednn::ChannelsLast(DType::kFloat32, dims));
}

// [C, 1, H, W] with the positions of a window outside of blocks of channels, as C / 16 blocks.
Layout WeightBlocks(const Dims& dims) {
  Dims padded = dims;
  padded[0] = (dims[0] + 15) / 16 * 16;
  return Layout::Blocked(dims, {16, 1, dims[3] * padded[0], padded[0]}, padded, {{0, 16}});
}

struct Case {
  std::string op, domain, kernel;
  std::vector<Dims> inputs;
  AttrMap attrs;
  int outputs = 1;
  std::vector<bool> activation;  // inputs that carry the layout under test
  DType dtype = DType::kFloat32;
  int places = -1;           // the input that holds kernel elements of a 2 x 2 window in bytes
  int constant = -1;         // the input that is known when the plan is made
  bool takes_blocks = true;  // false: their sizes do not divide into whole blocks
  int weights = -1;          // the input that lies in blocks of sixteen of its first axis
};

class LayoutTest : public testing::TestWithParam<Case> {
 protected:
  LayoutTest() { RegisterOps(registry_); }

  Tensor Move(const Tensor& x, const Dims& dims, const Layout& from, const Layout& to) {
    if (from == to) return x;
    auto kernel = registry_.reorder()(x.dtype(), dims, from, to);
    EXPECT_TRUE(kernel.ok()) << kernel.status().message();
    Tensor memory = Tensor::Zeros(DType::kUInt8, {to.ByteSize(x.dtype(), dims)});
    Datum in(Tensor::View(x.dtype(), dims, const_cast<void*>(x.raw()), x.owner()));
    Datum out(Tensor::View(x.dtype(), dims, memory.mutable_raw(), memory.owner()));
    const Datum* ins[] = {&in};
    Datum* outs[] = {&out};
    RunContext run(ins, 1, outs, 1, nullptr, 0, 0);
    EXPECT_TRUE((*kernel)->Run(run).ok());
    return out.tensor;
  }

  OpRegistry registry_;
};

TEST_P(LayoutTest, GivesWhatRowMajorGives) {
  const Case& test = GetParam();
  Graph graph;
  Graph::NodeSpec spec;
  spec.op_type = test.op;
  spec.domain = test.domain;
  spec.attrs = test.attrs;
  spec.outputs.assign(static_cast<size_t>(test.outputs), "");
  std::vector<Datum> tensors;
  for (size_t i = 0; i < test.inputs.size(); ++i) {
    const bool places = static_cast<int>(i) == test.places;
    Tensor t(places ? DType::kUInt8 : test.dtype, test.inputs[i]);
    for (int64_t e = 0; e < t.num_elements(); ++e) {
      const int64_t number = e * 37 + static_cast<int64_t>(i) * 11;
      const float v = static_cast<float>(number % 61 - 30) / 32;
      if (places) {
        t.mutable_data<uint8_t>()[e] = static_cast<uint8_t>(number % 5 < 4 ? number % 5 : 255);
      } else if (test.dtype == DType::kBFloat16) {
        t.mutable_data<BFloat16>()[e] = BFloat16(v);
      } else {
        t.mutable_data<float>()[e] = v;
      }
    }
    spec.inputs.push_back(
        static_cast<int>(i) == test.constant
            ? graph.AddInitializer("", t)
            : graph.AddInput("", Type::Tensor(t.dtype(), Shape::Of(test.inputs[i]))));
    tensors.push_back(Datum(t));
  }
  spec.opset = registry_.Find(test.domain, test.op, 0)->since();
  Node* node = graph.AddNode(spec);
  ASSERT_TRUE(InferTypes(graph, registry_).ok());
  const auto want = EvaluateNode(*node, registry_, tensors);
  ASSERT_TRUE(want.ok()) << want.status().message();

  const OpDef& def = *registry_.Find(*node);
  for (const Kind kind : {Kind::kRowMajor, Kind::kChannelsLast, Kind::kBlocks}) {
    std::vector<Layout> layouts;
    for (size_t i = 0; i < test.inputs.size(); ++i) {
      layouts.push_back(test.activation[i] ? LayoutFor(kind, test.inputs[i]) : Layout());
      if (static_cast<int>(i) == test.weights) layouts.back() = WeightBlocks(test.inputs[i]);
    }
    for (const auto& named : def.kernels()) {
      if (named.name != test.kernel) continue;
      Neighbours context(*node, def, layouts);
      auto kernel = named.factory(context);
      ASSERT_TRUE(kernel.ok()) << kernel.status().message();
      // kernels on lanes of channels leave row-major tensors to others
      const bool in_lanes = !layouts[0].is_row_major() && test.inputs[0][1] % 16 == 0;
      if (*kernel == nullptr && !in_lanes && named.name == "lanes") continue;
#if !defined(__AVX512F__)
      if (*kernel == nullptr && (named.name == "groups" || named.name == "tiles")) continue;
#endif
      ASSERT_NE(*kernel, nullptr);
      std::vector<Datum> ins, outs(want->size());
      std::vector<const Datum*> in_pointers;
      std::vector<Datum*> out_pointers;
      for (size_t i = 0; i < tensors.size(); ++i) {
        const Layout wanted = context.wanted(static_cast<int>(i));
        if (kind == Kind::kBlocks && test.takes_blocks && test.activation[i] &&
            !def.is_shape_only(static_cast<int>(i))) {
          EXPECT_TRUE(wanted == layouts[i]) << "input " << i << ": " << wanted.ToString(4)
                                            << " instead of " << layouts[i].ToString(4);
        }
        ins.push_back(Datum(Move(tensors[i].tensor, test.inputs[i], Layout(), wanted)));
      }
      for (size_t o = 0; o < outs.size(); ++o) {
        const Dims dims = (*want)[o].tensor.dims();
        const DType dtype = (*want)[o].tensor.dtype();
        const int64_t bytes = context.made(static_cast<int>(o)).ByteSize(dtype, dims);
        Tensor memory = Tensor::Zeros(DType::kUInt8, {bytes});
        outs[o] = Datum(Tensor::View(dtype, dims, memory.mutable_raw(), memory.owner()));
      }
      for (const Datum& d : ins) in_pointers.push_back(&d);
      for (Datum& d : outs) out_pointers.push_back(&d);
      Tensor scratch(DType::kUInt8, {context.scratch_bytes()});
      RunContext run(in_pointers.data(), static_cast<int>(ins.size()), out_pointers.data(),
                     static_cast<int>(outs.size()), scratch.mutable_raw(), 0, 0);
      // twice: the second run uses memory objects that the first one made
      for (int repeat = 0; repeat < 2; ++repeat) {
        const absl::Status ran = (*kernel)->Run(run);
        ASSERT_TRUE(ran.ok()) << ran.message();
      }
      for (size_t o = 0; o < outs.size(); ++o) {
        const Tensor& w = (*want)[o].tensor;
        const Tensor got =
            Move(outs[o].tensor, w.dims(), context.made(static_cast<int>(o)), Layout());
        const double tolerance = test.dtype == DType::kBFloat16 ? 1e-2 : 2e-5;
        double scale = 0;
        for (int64_t e = 0; e < w.num_elements(); ++e)
          scale = std::max(scale, std::abs(w.AsDouble(e)));
        for (int64_t e = 0; e < w.num_elements(); ++e) {
          ASSERT_NEAR(got.AsDouble(e), w.AsDouble(e), tolerance * scale)
              << "layout " << static_cast<int>(kind) << ", output " << o << ", element " << e
              << ", kernel " << (*kernel)->info();
        }
      }
    }
  }
}

// What a kernel of a node says about input `wanted` or output `made` (-1: the other) with channels
// last in its activations.
absl::StatusOr<Layout> Said(const OpRegistry& ops, const std::string& op, const std::string& domain,
                            const std::vector<Dims>& inputs, const std::vector<bool>& activation,
                            int wanted, int made) {
  Graph graph;
  Graph::NodeSpec spec;
  spec.op_type = op;
  spec.domain = domain;
  spec.outputs = {""};
  std::vector<Layout> layouts;
  for (size_t i = 0; i < inputs.size(); ++i) {
    spec.inputs.push_back(graph.AddInput("", Type::Tensor(DType::kFloat32, Shape::Of(inputs[i]))));
    layouts.push_back(activation[i] ? LayoutFor(Kind::kChannelsLast, inputs[i])
                                    : Layout::Undecided());
  }
  spec.opset = ops.Find(domain, op, 0)->since();
  Node* node = graph.AddNode(spec);
  GR_RETURN_IF_ERROR(InferTypes(graph, ops));
  const OpDef& def = *ops.Find(*node);
  for (const auto& named : def.kernels()) {
    if (named.name != "onednn") continue;
    Neighbours context(*node, def, layouts);
    GR_ASSIGN_OR_RETURN(const auto kernel, named.factory(context));
    if (kernel == nullptr) break;
    return wanted >= 0 ? context.wanted(wanted) : context.made(made);
  }
  return InternalError("no kernel onednn");
}

TEST(WeightLayoutTest, TrainedWeightsLiveInTheLayoutOfTheirGradient) {
  constexpr unsigned kAvx512 = static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  if ((static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & kAvx512) != kAvx512 ||
      DNNL_VERSION_MAJOR >= 3) {
    GTEST_SKIP() << "other implementations";
  }
  OpRegistry ops;
  RegisterOps(ops);
  for (const int64_t outputs : {64, 208}) {
    const Dims x = {2, 48, 14, 14}, w = {outputs, 48, 1, 1}, y = {2, outputs, 14, 14};
    const auto forward = Said(ops, "Conv", "", {x, w}, {true, false}, 1, -1);
    const auto gradient =
        Said(ops, "ConvGradWeight", "ai.graphrun", {y, x, w}, {true, true, false}, -1, 0);
    ASSERT_TRUE(forward.ok()) << forward.status().message();
    ASSERT_TRUE(gradient.ok()) << gradient.status().message();
    EXPECT_TRUE(*forward == *gradient)
        << forward->ToString(4) << " but the gradient is " << gradient->ToString(4);
  }
}

using Ints = std::vector<int64_t>;

Case WindowPerChannel(std::vector<Dims> inputs, AttrMap attrs, bool takes_blocks, int weights,
                      DType dtype) {
  return {"ConvGradWeight",
          "ai.graphrun",
          "lanes",
          std::move(inputs),
          std::move(attrs),
          2,
          {true, true, false},
          dtype,
          -1,
          -1,
          takes_blocks,
          weights};
}

INSTANTIATE_TEST_SUITE_P(
    Operators, LayoutTest,
    testing::Values(
        Case{"Conv",
             "",
             "onednn",
             {{2, 32, 9, 9}, {16, 32, 3, 3}, {16}},
             {{"pads", Ints{1, 1, 1, 1}}},
             1,
             {true, false, false}},
        Case{"Conv",
             "",
             "onednn",
             {{2, 32, 6, 6}, {32, 1, 3, 3}},
             {{"group", 32}},
             1,
             {true, false}},
        Case{"Conv",
             "",
             "onednn",
             {{2, 16, 7, 7}, {32, 16, 1, 1}},
             {{"strides", Ints{2, 2}}},
             1,
             {true, false}},
        Case{"FusedConv",
             "ai.graphrun",
             "onednn",
             {{1, 32, 5, 6}, {48, 32, 3, 3}, {48}, {1, 48, 3, 3}},
             {{"pads", Ints{1, 0, 1, 1}}, {"strides", Ints{2, 2}}, {"activation", "Relu"}},
             1,
             {true, false, false, false},
             DType::kFloat32,
             -1,
             1},
        Case{"Conv",
             "",
             "onednn",
             {{2, 32, 9}, {16, 32, 4}},
             {{"dilations", Ints{2}}},
             1,
             {true, false},
             DType::kFloat32,
             -1,
             1},
        Case{"ConvGradInput",
             "ai.graphrun",
             "onednn",
             {{2, 16, 9, 9}, {16, 32, 3, 3}, {2, 32, 9, 9}},
             {{"pads", Ints{1, 1, 1, 1}}},
             1,
             {true, false, true}},
        Case{"ConvGradWeight",
             "ai.graphrun",
             "onednn",
             {{2, 16, 5, 5}, {2, 32, 9, 9}, {16, 32, 3, 3}},
             {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 2}}},
             2,
             {true, true, false}},
        Case{"Concat",
             "",
             "native",
             {{2, 16, 5, 3}, {2, 48, 5, 3}, {2, 32, 5, 3}},
             {{"axis", 1}},
             1,
             {true, true, true}},
        Case{"Concat", "", "native", {{2, 16, 5}, {2, 16, 5}}, {{"axis", -2}}, 1, {true, true}},
        Case{"Split", "", "native", {{2, 96, 5, 3}}, {{"axis", 1}, {"num_outputs", 2}}, 2, {true}},
        Case{"Split",
             "",
             "native",
             {{2, 80, 5}},
             {{"axis", 1}, {"num_outputs", 2}},
             2,
             {true},
             DType::kFloat32,
             -1,
             -1,
             false},
        Case{"Concat",
             "",
             "native",
             {{2, 16, 5}, {2, 20, 5}},
             {{"axis", 1}},
             1,
             {true, true},
             DType::kFloat32,
             -1,
             -1,
             false},
        Case{"Split", "", "native", {{3, 48, 7}}, {{"axis", -2}, {"num_outputs", 3}}, 3, {true}},
        Case{"ConvGradWeight",
             "ai.graphrun",
             "tiles",
             {{2, 48, 5, 5}, {2, 32, 9, 9}, {48, 32, 3, 3}},
             {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 2}}},
             2,
             {true, true, false}},
        Case{"ConvGradInput",
             "ai.graphrun",
             "groups",
             {{2, 32, 5, 5}, {32, 4, 3, 3}, {2, 32, 9, 9}},
             {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 2}}, {"group", 8}},
             1,
             {true, false, true}},
        Case{"ConvGradWeight",
             "ai.graphrun",
             "groups",
             {{2, 32, 5, 5}, {2, 32, 9, 9}, {32, 4, 3, 3}},
             {{"pads", Ints{1, 1, 1, 1}}, {"strides", Ints{2, 2}}, {"group", 8}},
             2,
             {true, true, false}},
        WindowPerChannel({{2, 32, 9, 9}, {2, 32, 9, 9}, {32, 1, 3, 3}},
                         {{"group", 32}, {"pads", Ints{1, 1, 1, 1}}}, true, 2, DType::kFloat32),
        WindowPerChannel({{3, 40, 4, 5}, {3, 40, 8, 9}, {40, 1, 5, 5}},
                         {{"group", 40}, {"pads", Ints{2, 2, 1, 2}}, {"strides", Ints{2, 2}}},
                         false, 2, DType::kFloat32),
        WindowPerChannel({{2, 24, 7, 8}, {2, 24, 7, 8}, {24, 1, 7, 7}},
                         {{"group", 24}, {"pads", Ints{3, 3, 3, 3}}}, false, -1, DType::kFloat32),
        WindowPerChannel({{2, 16, 45, 60}, {2, 16, 45, 60}, {16, 1, 3, 3}},
                         {{"group", 16}, {"pads", Ints{1, 1, 1, 1}}}, true, -1, DType::kFloat32),
        WindowPerChannel({{1, 16, 1, 2}, {1, 16, 9, 3}, {16, 1, 5, 3}},
                         {{"group", 16},
                          {"pads", Ints{1, 0, 0, 1}},
                          {"dilations", Ints{2, 1}},
                          {"strides", Ints{3, 1}}},
                         true, -1, DType::kFloat32),
        WindowPerChannel({{2, 48, 6}, {2, 48, 8}, {48, 1, 3}}, {{"group", 48}}, true, -1,
                         DType::kFloat32),
        WindowPerChannel({{2, 40, 6, 6}, {2, 40, 6, 6}, {40, 1, 5, 5}},
                         {{"group", 40}, {"pads", Ints{2, 2, 2, 2}}}, false, -1, DType::kBFloat16),
        Case{"MaxPool",
             "",
             "native",
             {{2, 32, 6, 6}},
             {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}},
             1,
             {true}},
        Case{"MaxPool",
             "",
             "lanes",
             {{2, 32, 7, 5}},
             {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}},
             1,
             {true}},
        Case{"MaxPool",
             "",
             "lanes",
             {{2, 32, 6, 7}},
             {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}},
             1,
             {true},
             DType::kBFloat16},
        Case{"GlobalMaxPool", "", "lanes", {{2, 32, 5, 3}}, {}, 1, {true}},
        Case{"MaxPoolPlaces",
             "ai.graphrun",
             "lanes",
             {{2, 32, 6, 8}},
             {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}},
             2,
             {true}},
        Case{"MaxPoolPlaces",
             "ai.graphrun",
             "lanes",
             {{2, 32, 7, 5}},
             {{"kernel_shape", Ints{3, 2}}, {"strides", Ints{2, 1}}, {"pads", Ints{1, 1, 1, 0}}},
             2,
             {true}},
        Case{"MaxPoolPlaces",
             "ai.graphrun",
             "lanes",
             {{3, 15, 9, 35}},
             {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}},
             2,
             {true},
             DType::kFloat32,
             -1},
        Case{"MaxPoolScatter",
             "ai.graphrun",
             "lanes",
             {{3, 15, 5, 18}, {3, 15, 5, 18}, {3, 15, 9, 35}},
             {{"kernel_shape", Ints{3, 3}}, {"strides", Ints{2, 2}}, {"pads", Ints{1, 1, 1, 1}}},
             1,
             {true, true, true},
             DType::kFloat32,
             1},
        Case{"MaxPoolPlaces",
             "ai.graphrun",
             "lanes",
             {{1, 5, 9, 20}},
             {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}},
             2,
             {true},
             DType::kFloat32,
             -1},
        Case{"MaxPoolScatter",
             "ai.graphrun",
             "lanes",
             {{1, 5, 9, 20}, {1, 5, 9, 20}, {1, 5, 9, 20}},
             {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}},
             1,
             {true, true, true},
             DType::kFloat32,
             1},
        Case{"MaxPoolPlaces",
             "ai.graphrun",
             "lanes",
             {{2, 3, 8, 23}},
             {{"kernel_shape", Ints{3, 2}},
              {"strides", Ints{2, 3}},
              {"dilations", Ints{1, 4}},
              {"ceil_mode", 1},
              {"pads", Ints{0, 0, 1, 0}}},
             2,
             {true},
             DType::kFloat32,
             -1},
        Case{"MaxPoolScatter",
             "ai.graphrun",
             "lanes",
             {{2, 3, 4, 7}, {2, 3, 4, 7}, {2, 3, 8, 23}},
             {{"kernel_shape", Ints{3, 2}},
              {"strides", Ints{2, 3}},
              {"dilations", Ints{1, 4}},
              {"ceil_mode", 1},
              {"pads", Ints{0, 0, 1, 0}}},
             1,
             {true, true, true},
             DType::kFloat32,
             1},
        Case{"MaxPoolScatter",
             "ai.graphrun",
             "lanes",
             {{2, 32, 3, 4}, {2, 32, 3, 4}, {2, 32, 6, 8}},
             {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}},
             1,
             {true, true, true},
             DType::kFloat32,
             1},
        Case{"MaxPoolScatter",
             "ai.graphrun",
             "lanes",
             {{2, 32, 3, 4}, {2, 32, 3, 4}, {2, 32, 4, 5}},
             {{"kernel_shape", Ints{2, 2}}},
             1,
             {true, true, true},
             DType::kBFloat16,
             1},
        Case{"NormReluMaxPool",
             "ai.graphrun",
             "lanes",
             {{2, 32, 6, 8}, {32}, {32}, {32}, {32}},
             {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}},
             6,
             {true, false, false, false, false}},
        Case{"NormReluMaxPoolGrad",
             "ai.graphrun",
             "lanes",
             {{2, 32, 15, 16}, {2, 32, 30, 32}, {32}, {32}, {32}, {2, 32, 15, 16}},
             {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}, {"epsilon", 2.0f}},
             3,
             {true, true, false, false, false, true},
             DType::kFloat32,
             5},
        Case{"MaxPoolGrad",
             "ai.graphrun",
             "native",
             {{2, 32, 6, 6}, {2, 32, 6, 6}},
             {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}},
             1,
             {true, true}},
        Case{"AveragePool",
             "",
             "native",
             {{2, 32, 6, 6}},
             {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}},
             1,
             {true}},
        Case{"AveragePoolGrad",
             "ai.graphrun",
             "native",
             {{2, 32, 6, 6}, {2, 32, 6, 6}},
             {{"kernel_shape", Ints{3, 3}}, {"pads", Ints{1, 1, 1, 1}}},
             1,
             {true, true}},
        Case{"GlobalAveragePool", "", "native", {{2, 32, 6, 6}}, {}, 1, {true}},
        Case{"BatchNormTraining",
             "ai.graphrun",
             "native",
             {{2, 32, 6, 6}, {32}, {32}, {32}, {32}},
             {{"activation", "Relu"}},
             5,
             {true, false, false, false, false}},
        Case{"BatchNormAgain",
             "ai.graphrun",
             "native",
             {{2, 32, 6, 6}, {32}, {32}, {32}, {32}},
             {{"activation", "Relu"}, {"epsilon", 2.0f}},
             1,
             {true, false, false, false, false}},
        Case{"BatchNormGrad",
             "ai.graphrun",
             "native",
             {{2, 32, 6, 6}, {2, 32, 6, 6}, {32}},
             {},
             3,
             {true, true, false}},
        Case{"BatchNormTraining",
             "ai.graphrun",
             "native",
             {{2, 24, 40, 31}, {24}, {24}, {24}, {24}},
             {{"activation", "Clip"}, {"activation_alpha", -0.5f}, {"activation_beta", 0.5f}},
             5,
             {true, false, false, false, false}},
        Case{"BatchNormGrad",
             "ai.graphrun",
             "native",
             {{2, 40, 5, 31}, {2, 40, 5, 31}, {40}, {40}, {40}, {40}},
             {{"activation", "Relu"}, {"epsilon", 2.0f}},
             3,
             {true, true, false, false, false, false}}),
    [](const testing::TestParamInfo<Case>& info) {
      return info.param.op + std::to_string(info.index);
    });

}  // namespace
}  // namespace graphrun
