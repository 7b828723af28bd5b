// Plugins that were loaded and misbehave afterwards: an error that names them, never worse.
#include "runtime/autodiff/gradients.h"
#include "runtime/op/evaluate.h"
#include "runtime/op/infer.h"
#include "tests/plugin/loaded.h"

namespace graphrun {
namespace {

using testing::HasSubstr;

struct Fault {
  const char* name;   // the operator's attribute
  const char* words;  // what the error says
  ErrorKind kind = ErrorKind::kPlugin;
};
void PrintTo(const Fault& fault, std::ostream* out) { *out << fault.name; }

std::string NodeText(const std::string& op, const std::string& fault) {
  return absl::StrCat(
      "<opset_import: [\"\" : 17, \"test.faulty\" : 1]> (float[2, 3] x) => (y) { "
      "t = Neg(x)  y = test.faulty.",
      op, "<fault = \"", fault, "\">(t) }");
}

class FaultTest : public testing::TestWithParam<Fault> {};

TEST_P(FaultTest, IsAnErrorThatNamesThePlugin) {
  PluginOptions options;
  options.guard = true;
  Loaded loaded(options);
  ASSERT_TRUE(loaded.Load("faulty/faulty").ok());
  const auto result =
      loaded.Run(NodeText("Fault", GetParam().name), {Tensor::Zeros(DType::kFloat32, {2, 3})});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(KindOf(result.status()), GetParam().kind) << result.status().message();
  EXPECT_THAT(std::string(result.status().message()), HasSubstr(GetParam().words));
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("plugin faulty"));
}

INSTANTIATE_TEST_SUITE_P(
    All, FaultTest,
    testing::Values(
        Fault{"infer throws", "infer has enough"}, Fault{"infer fails", "cannot infer"},
        Fault{"infer refuses", "x must be blue", ErrorKind::kModel},
        Fault{"infer says nothing", "set_output(0) was not called"},
        Fault{"infer: a negative size", "the size of an axis is -7"},
        Fault{"infer: sizes too large", "set_output(0)"}, Fault{"infer: rank 99", "rank 99"},
        Fault{"infer: no such type", "element type 77"}, Fault{"infer: output 5", "no such output"},
        Fault{"infer: sizes out of nowhere", "cannot be read"},
        Fault{"prepare throws", "threw something"}, Fault{"prepare fails", "cannot prepare"},
        Fault{"scratch of -1 bytes", "set_scratch(-1)"}, Fault{"run throws", "run has enough"},
        Fault{"run fails", "cannot run"},
        Fault{"run refuses", "an index is 12 of 4", ErrorKind::kModel},
        Fault{"a thread throws", "a thread has enough"},
        Fault{"never resizes", "never said the sizes of output 0"},
        Fault{"resizes to another rank", "its sizes are [1, 1] but inference said [?]"},
        Fault{"another shape than inferred", "its sizes are [1, 1] but inference said [2, 3]"},
        Fault{"writes past its output", "wrote output 0 (24 bytes) past its end"},
        Fault{"writes before its output", "wrote output 0 (24 bytes) before its begin"},
        Fault{"writes into its input", "wrote into input 0"},
        Fault{"writes past its scratch", "wrote its scratch memory past its end"},
        Fault{"changes the tensor", "changed the gr_tensor of output 0"},
        Fault{"moves the tensor", "changed the gr_tensor of output 0"}));

TEST(FaultyPluginTest, WithoutAFaultRuns) {
  for (const bool guard : {false, true}) {
    PluginOptions options;
    options.guard = guard;
    Loaded loaded(options);
    ASSERT_TRUE(loaded.Load("faulty/faulty").ok());
    const auto result = loaded.Run(NodeText("Fault", ""), {Tensor::Zeros(DType::kFloat32, {2, 3})});
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result->AsDouble(0), 1);
  }
}

TEST(FaultyPluginTest, WhoseKernelDeclinesSaysThatThereIsNone) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("faulty/faulty").ok());
  const auto result =
      loaded.Run(NodeText("Fault", "declines"), {Tensor::Zeros(DType::kFloat32, {2, 3})});
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("Fault"));
}

class FaultyGradientTest : public testing::TestWithParam<Fault> {};

TEST_P(FaultyGradientTest, IsAnErrorThatNamesThePlugin) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("faulty/faulty").ok());
  auto graph = ParseGraph(
      absl::StrCat("<opset_import: [\"\" : 17, \"test.faulty\" : 1]> (float[2, 3] x) => (z) { y = "
                   "test.faulty.Fault<fault = \"",
                   GetParam().name, "\">(x)  z = ReduceMean<keepdims = 0>(y) }"));
  ASSERT_TRUE(graph.ok());
  ASSERT_TRUE(InferTypes(**graph, loaded.ops, nullptr).ok());
  const auto gradients =
      AppendGradients(**graph, loaded.ops, (*graph)->outputs()[0], {(*graph)->inputs()[0]});
  ASSERT_FALSE(gradients.ok());
  EXPECT_EQ(KindOf(gradients.status()), GetParam().kind) << gradients.status().message();
  EXPECT_THAT(std::string(gradients.status().message()), HasSubstr(GetParam().words));
  EXPECT_THAT(std::string(gradients.status().message()),
              HasSubstr("plugin faulty: operator test.faulty.Fault: gradient: "));
}

INSTANTIATE_TEST_SUITE_P(
    All, FaultyGradientTest,
    testing::Values(Fault{"gradient throws", "the gradient has enough"},
                    Fault{"gradient fails", "cannot derive"},
                    Fault{"gradient: rubbish", "a gr_expr that this builder did not give"},
                    Fault{"gradient: no such operator", "Frobnicate"},
                    Fault{"gradient: another type", "the gradient is of int32"},
                    Fault{"gradient: input 9", "set_dx(9)"},
                    Fault{"gradient: formula", "there is no value \"dz\""},
                    Fault{"gradient: of nothing", "an operand is left out"},
                    Fault{"gradient refuses", "x is not differentiable", ErrorKind::kModel}));

TEST(FaultyBodyTest, IsAnErrorThatNamesThePlugin) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("faulty/faulty").ok());
  const Tensor x = Tensor::Of<float>({2, 3}, {1, -1, 2, -2, 3, -3});
  for (const auto& [fault, words] : std::vector<std::pair<std::string, std::string>>{
           {"body throws", "the body has enough"},
           {"body fails", "no body today"},
           {"body gives nothing", "gives no output 0"},
           {"body calls itself", "Does its body use the operator itself?"}}) {
    const auto result = loaded.Run(NodeText("FaultyBody", fault), {x});
    ASSERT_FALSE(result.ok());
    EXPECT_THAT(std::string(result.status().message()), HasSubstr(words));
    EXPECT_THAT(std::string(result.status().message()), HasSubstr("faulty"));
  }
  const auto result = loaded.Run(NodeText("FaultyBody", ""), {x});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->AsDouble(1), 1);
}

TEST(FaultyBodyTest, ThatCallsItselfEndsWhereverItIsUsed) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("faulty/faulty").ok());
  auto graph = ParseGraph(
      "<opset_import: [\"\" : 17, \"test.faulty\" : 1]> (float[2] x) => (z) { y = "
      "test.faulty.FaultyBody<fault = \"body calls itself\">(x)  z = ReduceMean<keepdims = 0>(y) "
      "}");
  ASSERT_TRUE(graph.ok());
  const auto evaluated =
      EvaluateGraph(**graph, loaded.ops, {{"x", Datum(Tensor::Zeros(DType::kFloat32, {2}))}});
  EXPECT_EQ(KindOf(evaluated.status()), ErrorKind::kLimit);
  ASSERT_TRUE(InferTypes(**graph, loaded.ops, nullptr).ok());
  const auto gradients =
      AppendGradients(**graph, loaded.ops, (*graph)->outputs()[0], {(*graph)->inputs()[0]});
  EXPECT_EQ(KindOf(gradients.status()), ErrorKind::kLimit);
}

TEST(FaultyViewTest, OfOtherElementsThanItsInputsIsRefused) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("faulty/faulty").ok());
  const Tensor x = Tensor::Zeros(DType::kFloat32, {2, 3});
  for (const auto& [fault, words] : std::vector<std::pair<std::string, std::string>>{
           {"view: more elements", "a view of float32[2, 3] cannot be float32[1000000]"},
           {"view: another type", "a view of float32[2, 3] cannot be float64[6]"}}) {
    const auto result = loaded.Run(NodeText("FaultyView", fault), {x});
    EXPECT_EQ(KindOf(result.status()), ErrorKind::kPlugin) << fault;
    EXPECT_THAT(std::string(result.status().message()), HasSubstr(words));
    EXPECT_THAT(std::string(result.status().message()), HasSubstr("plugin faulty"));
  }
  EXPECT_TRUE(loaded.Run(NodeText("FaultyView", ""), {x}).ok());
}

TEST(FaultyPassTest, ThatMakesACycleIsNamed) {
  Loaded loaded;
  ASSERT_TRUE(loaded.Load("faulty/cycle").ok());
  const auto result = loaded.Run("(float[2] x) => (y) { t = Exp(x)  y = Erf(t) }",
                                 {Tensor::Zeros(DType::kFloat32, {2})});
  EXPECT_EQ(KindOf(result.status()), ErrorKind::kPlugin);
  EXPECT_THAT(std::string(result.status().message()),
              HasSubstr("plugin test: pass test-pass: makes a cycle"));
}

class FaultyPartTest : public testing::Test {
 protected:
  FaultyPartTest() : builder_(&graph_, &loaded_.ops) {
    EXPECT_TRUE(loaded_.Load("faulty/faulty").ok());
  }
  Expr Input(const char* name, DType dtype, Dims dims) {
    return builder_.Use(graph_.AddInput(name, Type::Tensor(dtype, Shape::Of(dims))));
  }
  // What an optimizer without slots makes of a parameter [2].
  void EmitUpdate(const char* name) {
    const auto optimizer = loaded_.parts.optimizers.Make({name, {}});
    ASSERT_TRUE(optimizer.ok());
    (*optimizer)
        ->Emit({Input("w", DType::kFloat32, {2}),
                Input("g", DType::kFloat32, {2}),
                {},
                Input("lr", DType::kFloat32, {}),
                Input("step", DType::kFloat64, {})});
  }
  std::string Error() {
    EXPECT_EQ(KindOf(builder_.status()), ErrorKind::kPlugin);
    return std::string(builder_.status().message());
  }
  Loaded loaded_;
  Graph graph_;
  Builder builder_;
};

TEST_F(FaultyPartTest, AnOptimizerThatGivesAnotherShape) {
  const auto optimizer = loaded_.parts.optimizers.Make({"wrong_shape", {}});
  ASSERT_TRUE(optimizer.ok());
  (*optimizer)
      ->Emit({Input("w", DType::kFloat32, {2, 3}),
              Input("g", DType::kFloat32, {2, 3}),
              {},
              Input("lr", DType::kFloat32, {}),
              Input("step", DType::kFloat64, {})});
  EXPECT_EQ(Error(),
            "plugin faulty: optimizer wrong_shape: the next parameter is float32[] but must be "
            "float32[2, 3]");
}

TEST_F(FaultyPartTest, AnOptimizerThatGivesNothing) {
  EmitUpdate("nothing");
  EXPECT_THAT(Error(), HasSubstr("the next parameter was not given"));
}

TEST_F(FaultyPartTest, AnOptimizerWhoseUpdateIsIllTyped) {
  EmitUpdate("two_types");
  EXPECT_THAT(Error(), HasSubstr("plugin faulty: optimizer two_types: "));
  EXPECT_EQ(KindOf(builder_.status()), ErrorKind::kPlugin);
}

TEST_F(FaultyPartTest, ALossThatIsNoScalar) {
  const auto loss = loaded_.parts.losses.Make({"not_a_scalar", {}});
  ASSERT_TRUE(loss.ok());
  (*loss)->Emit({Input("y", DType::kFloat32, {4, 2}), Input("t", DType::kFloat32, {4, 2}), Expr()},
                false);
  EXPECT_THAT(Error(), HasSubstr("loss not_a_scalar: its value is float32[4, 2] but must be"));
}

TEST_F(FaultyPartTest, ADatasetThatCannotBeOpened) {
  const DataFormat& format = loaded_.parts.formats()[0];
  const auto error = [&](const char* path) {
    const auto dataset = format.open(path, {});
    EXPECT_FALSE(dataset.ok());
    return dataset.status();
  };
  EXPECT_THAT(std::string(error("throws").message()), HasSubstr("the disk has enough"));
  EXPECT_EQ(KindOf(error("missing")), ErrorKind::kData);
  EXPECT_THAT(std::string(error("missing").message()), HasSubstr("plugin faulty: dataset faulty"));
  EXPECT_THAT(std::string(error("nothing").message()), HasSubstr("open gave no rows"));
  EXPECT_THAT(std::string(error("no get").message()), HasSubstr("get is null"));
  EXPECT_THAT(std::string(error("unreadable").message()), HasSubstr("10 rows cannot be read"));
  EXPECT_THAT(std::string(error("between bytes").message()),
              HasSubstr("its rows are not at a multiple of 4 bytes"));
  EXPECT_THAT(std::string(error("minus one").message()), HasSubstr("has -1 rows"));
}

TEST_F(FaultyPartTest, ADatasetWhoseRowThrows) {
  const auto dataset = loaded_.parts.formats()[0].open("rows", {});
  ASSERT_TRUE(dataset.ok()) << dataset.status().message();
  Tensor row(DType::kFloat32, {4});
  const absl::Status status = (*dataset)->Get(3, absl::MakeSpan(&row, 1));
  EXPECT_EQ(KindOf(status), ErrorKind::kPlugin);
  EXPECT_THAT(std::string(status.message()), HasSubstr("row 3: threw an exception: row gone"));
}

}  // namespace
}  // namespace graphrun
