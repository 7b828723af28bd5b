// Models in training form, as other frameworks export them: trained here, then exported.

#include <gtest/gtest.h>

#include "runtime/exec/session.h"
#include "tests/train/rings.h"

namespace graphrun {
namespace {

class ForeignFormTest : public RingsTest {
 protected:
  // Batch normalisation with training_mode, its running statistics as further outputs that nobody
  // reads; Dropout whose ratio and training_mode are inputs; weights listed as inputs of the graph
  // too; numbers for names.
  void WriteForeign() {
    numbers_ = Rng(9);
    auto graph =
        ParseGraph(R"(<ir_version: 8, opset_import: ["" : 15]>
main_graph (float[batch, 2] input, float[16, 2] "0.weight", float[16] "0.bias")
=> (float[batch, 2] "20")
<float[16, 2] "0.weight" = {)" +
                   Numbers(32) + R"(}, float[16] "0.bias" = {)" + Numbers(16) + R"(},
 float[16] "1.weight" = {)" +
                   Repeat("1", 16) + R"(}, float[16] "1.bias" = {)" + Repeat("0", 16) + R"(},
 float[16] "1.running_mean" = {)" +
                   Repeat("0", 16) + R"(}, float[16] "1.running_var" = {)" + Repeat("1", 16) + R"(},
 float[2, 16] "4.weight" = {)" +
                   Numbers(32) +
                   R"(}, float[2] "4.bias" = {0, 0}, float ratio = {0.1}, bool mode = {1}>
{
  "10" = Gemm <transB = 1> (input, "0.weight", "0.bias")
  "11", "12", "13" = BatchNormalization <training_mode = 1, momentum = 0.9>
    ("10", "1.weight", "1.bias", "1.running_mean", "1.running_var")
  "14" = Relu("11")
  "15", "16" = Dropout("14", ratio, mode)
  "20" = Gemm <transB = 1> ("15", "4.weight", "4.bias")
})");
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    ASSERT_TRUE(ExportOnnx(**graph, dir_ + "/model.onnx").ok());
  }

  static std::string Repeat(const std::string& text, int n) {
    std::string all = text;
    for (int i = 1; i < n; ++i) all += ", " + text;
    return all;
  }
};

TEST_F(ForeignFormTest, ATrainingFormIsTrainedAndItsExportIsForInference) {
  WriteForeign();
  recipe_.mutable_data()->set_normalize(recipe::Data::NONE);
  auto result = Train(recipe_, registry_, {});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_GE(Result(*result, "val_accuracy"), 0.95);
  auto before = ImportOnnx(dir_ + "/model.onnx"), after = ImportOnnx(dir_ + "/run/last.onnx");
  ASSERT_TRUE(before.ok() && after.ok());
  for (const auto& node : (*after)->nodes()) {
    EXPECT_NE(node->op_type(), "Dropout");
    if (node->op_type() != "BatchNormalization") continue;
    EXPECT_TRUE(node->attr("training_mode") == nullptr ||
                *node->attr("training_mode")->get<int64_t>() == 0);
    EXPECT_EQ(node->num_outputs(), 1);
  }
  EXPECT_EQ((*after)->inputs().size(), 1u);
  EXPECT_EQ((*after)->outputs()[0]->name(), "20");
  // Weights and statistics have moved, under their names.
  for (const char* name : {"0.weight", "1.weight", "1.running_mean", "1.running_var", "4.bias"}) {
    const Value *a = (*before)->FindValue(name), *b = (*after)->FindValue(name);
    ASSERT_TRUE(a != nullptr && b != nullptr) << name;
    bool moved = false;
    for (int64_t i = 0; i < a->initializer().num_elements(); ++i)
      moved |= a->initializer().AsDouble(i) != b->initializer().AsDouble(i);
    EXPECT_TRUE(moved) << name;
  }
}

TEST_F(ForeignFormTest, TheExportComputesARowWithoutItsBatch) {
  WriteForeign();
  recipe_.mutable_data()->set_normalize(recipe::Data::NONE);
  recipe_.mutable_loop()->set_epochs(2);
  ASSERT_TRUE(Train(recipe_, registry_, {}).ok());
  auto model = ImportOnnx(dir_ + "/run/last.onnx");
  ASSERT_TRUE(model.ok());
  auto session = Session::Create(std::shared_ptr<Graph>(*std::move(model)), &registry_);
  ASSERT_TRUE(session.ok());
  const std::vector<Tensor> both = {Tensor::Of<float>({2, 2}, {0.5f, -1, 2, 1})};
  ASSERT_TRUE((*session)->Run(absl::Span<const Tensor>(both)).ok());
  const double first = (*session)->output(0).tensor.AsDouble(0);
  const std::vector<Tensor> one = {Tensor::Of<float>({1, 2}, {0.5f, -1})};
  ASSERT_TRUE((*session)->Run(absl::Span<const Tensor>(one)).ok());
  EXPECT_NEAR((*session)->output(0).tensor.AsDouble(0), first, 1e-6);
}

}  // namespace
}  // namespace graphrun
