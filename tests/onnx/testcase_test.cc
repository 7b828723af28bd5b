#include "runtime/onnx/testcase.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/base/file.h"
#include "runtime/ir/text.h"
#include "runtime/onnx/datum_file.h"
#include "runtime/onnx/export.h"
#include "tests/onnx/temp_folder.h"

namespace graphrun {
namespace {

using ::testing::HasSubstr;

class TestCaseTest : public ::testing::Test {
 protected:
  void WriteModel(const std::string& name, absl::string_view text) {
    Write(name, *ExportOnnxBytes(**ParseGraph(text)));
  }
  void Write(const std::string& name, const std::string& bytes) {
    ASSERT_TRUE(CreateDirs(FolderOf(folder_.File(name))).ok());
    ASSERT_TRUE(WriteFileAtomic(folder_.File(name), bytes).ok());
  }
  void WriteValue(const std::string& name, float value, absl::string_view value_name) {
    Write(name, *DatumToBytes(Tensor::Scalar(value), value_name));
  }

  TempFolder folder_;
};

TEST_F(TestCaseTest, ValuesAreMatchedByNameOrElseByOrder) {
  WriteModel("case/model.onnx", "g (float x, float y) => (float z) { z = Sub(x, y) }");
  for (const auto& [set, first, second] : {std::tuple("0", "y", "x"), std::tuple("1", "a", "b")}) {
    const std::string dir = std::string("case/test_data_set_") + set;
    WriteValue(dir + "/input_0.pb", 1, first);
    WriteValue(dir + "/input_1.pb", 2, second);
    WriteValue(dir + "/output_0.pb", 3, "z");
  }
  Write("case/data.json", "{\"rtol\": 0.01,\n \"atol\": 1e-5}");
  ASSERT_TRUE(IsTestCase(folder_.File("case")));
  const auto test = LoadTestCase(folder_.File("case"));
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ(test->name, "case");
  EXPECT_EQ(test->rtol, 0.01);
  EXPECT_EQ(test->atol, 1e-5);
  ASSERT_EQ(test->data_sets.size(), 2u);
  EXPECT_EQ(test->data_sets[0].inputs[0].tensor.data<float>()[0], 2);
  EXPECT_EQ(test->data_sets[1].inputs[0].tensor.data<float>()[0], 1);
  EXPECT_EQ(test->data_sets[1].outputs[0].tensor.data<float>()[0], 3);
}

TEST_F(TestCaseTest, InputsWithoutAFileAreOfUnknownKind) {
  WriteModel("case/model.onnx", "g (float x, float y = {2}) => (float z) { z = Sub(x, y) }");
  WriteValue("case/test_data_set_0/input_0.pb", 1, "x");
  const auto test = LoadTestCase(folder_.File("case"));
  ASSERT_TRUE(test.ok()) << test.status();
  ASSERT_EQ(test->data_sets[0].inputs.size(), 2u);
  EXPECT_EQ(test->data_sets[0].inputs[1].kind, Type::Kind::kUnknown);
}

TEST_F(TestCaseTest, MoreInputsThanTheModelHasAreRefused) {
  WriteModel("case/model.onnx", "g (float x) => (float z) { z = Neg(x) }");
  for (const char* i : {"0", "1"})
    WriteValue(std::string("case/test_data_set_0/input_") + i + ".pb", 1, "");
  const auto test = LoadTestCase(folder_.File("case"));
  EXPECT_EQ(KindOf(test.status()), ErrorKind::kData);
  EXPECT_THAT(std::string(test.status().message()), HasSubstr("only 1 inputs"));
}

TEST_F(TestCaseTest, LightModelsLieBesideAndTheirInputsFollowTheRule) {
  WriteModel("light/light_m.onnx", "g (float[2, 2] x) => (float[2, 2] z) { z = Neg(x) }");
  WriteValue("light/light_m_output_0.pb", 7, "");
  Write("real/test_m/data.json",
        "{\"rtol\": 0.002, \"url\": \"onnx/backend/test/data/light/light_m.onnx\"}");
  ASSERT_TRUE(IsTestCase(folder_.File("real/test_m")));
  const auto test = LoadTestCase(folder_.File("real/test_m"));
  ASSERT_TRUE(test.ok()) << test.status();
  EXPECT_EQ(test->rtol, 0.002);
  EXPECT_EQ(test->data_sets[0].inputs[0].tensor.ToString(), "float32[2, 2] {0, 0.25, 0.5, 0.75}");
  EXPECT_EQ(test->data_sets[0].outputs[0].tensor.data<float>()[0], 7);
}

TEST_F(TestCaseTest, AFolderThatIsNoCaseIsToldSo) {
  EXPECT_FALSE(IsTestCase(folder_.path()));
  EXPECT_THAT(std::string(LoadTestCase(folder_.path()).status().message()),
              HasSubstr("not a test case"));
}

}  // namespace
}  // namespace graphrun
