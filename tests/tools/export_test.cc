// What graphrun export, and grad write.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/report/json.h"
#include "tests/tools/small_run.h"

namespace graphrun {
namespace {

using testing::HasSubstr;

std::string NewModel(const std::string& name, const std::vector<std::string>& more = {}) {
  const std::string path = TempPath(name);
  std::vector<std::string> words = {"new",   "mlp", "--in",      "6",   "--layers", "16,16",
                                    "--out", "3",   "--dropout", "0.2", "-o",       path};
  words.insert(words.end(), more.begin(), more.end());
  const CommandResult r = RunGraphrun(words);
  EXPECT_EQ(r.exit_code, 0) << r.err;
  return path;
}

TEST(ExportTest, WeightsOfFewerBitsHalveTheFileAndComputeAlmostTheSame) {
  const std::string model = NewModel("m.onnx", {"--layers", "256,256"}), out = TempPath("h.onnx");
  for (const char* precision : {"f16", "bf16"}) {
    const CommandResult r =
        RunGraphrun({"export", model, "-o", out, "--precision", precision, "--verify"});
    EXPECT_EQ(r.exit_code, 0) << r.err;
    EXPECT_THAT(r.out, HasSubstr("same    y"));
    EXPECT_LT(*FileSize(out), *FileSize(model) * 6 / 10);
    EXPECT_EQ(RunGraphrun({"check", out}).exit_code, 0);
  }
  EXPECT_THAT(RunGraphrun({"export", model, "-o", out, "--precision", "fp16"}).err,
              HasSubstr("Did you mean \"f16\"?"));
}

TEST(ExportTest, AnotherOperatorSetIsWrittenAndComputesTheSame) {
  const std::string model = NewModel("m.onnx"), out = TempPath("old.onnx");
  const CommandResult r = RunGraphrun({"export", model, "-o", out, "--opset", "11", "--verify"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(RunGraphrun({"inspect", out}).out, HasSubstr("11"));
  const CommandResult both =
      RunGraphrun({"export", model, "-o", out, "--opset", "11", "--precision", "bf16"});
  EXPECT_EQ(both.exit_code, 3);
  EXPECT_THAT(both.err, HasSubstr("--opset 13"));
}

TEST(ExportTest, AnOperatorSetThatIsNotThereIsRefused) {
  const CommandResult r =
      RunGraphrun({"export", NewModel("m.onnx"), "-o", TempPath("new.onnx"), "--opset", "99"});
  EXPECT_EQ(r.exit_code, 2);
  EXPECT_THAT(r.err, HasSubstr("there is no version 99"));
}

// The gradients of convolution and pooling are written for one size of the batch.
TEST(ExportTest, ATrainingStepOfAConvolutionalNetworkIsPlainOnnxForTheRunsBatch) {
  const std::string model = TempPath("c.onnx"), run = TempPath("conv"), out = TempPath("step.onnx");
  ASSERT_EQ(RunGraphrun({"new", "cnn", "--in", "1,1,2", "--channels", "2", "--pool", "1",
                         "--kernel", "1", "--layers", "4", "--out", "2", "-o", model})
                .exit_code,
            0);
  std::vector<std::string> words = TrainWords(run);
  words[1] = model;
  words.insert(words.end(), {"--batch", "8", "--max-steps", "2"});
  ASSERT_EQ(RunGraphrun(words).exit_code, 0);
  CommandResult r = RunGraphrun({"export", run, "--train-step", "-o", out});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_THAT(r.err, HasSubstr("batches of 8"));
  r = RunGraphrun({"run", out, "--random", "--input", "target=0,1,0,1,0,1,0,1"});
  EXPECT_EQ(r.exit_code, 0) << r.err;
  r = RunGraphrun({"export", run + "/train.onnx", "--train-step", "-o", out});
  EXPECT_EQ(r.exit_code, 3);
  EXPECT_THAT(r.err, HasSubstr("--batch N"));
  r = RunGraphrun({"export", run + "/train.onnx", "--train-step", "--batch", "4", "-o", out});
  EXPECT_EQ(r.exit_code, 0) << r.err;
}

TEST(ExportTest, SafetensorsHoldEveryWeightByName) {
  const std::string model = NewModel("m.onnx"), out = TempPath("m.safetensors");
  const CommandResult r = RunGraphrun({"export", model, "--safetensors", "-o", out});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  const std::string bytes = *ReadFile(out);
  ASSERT_GE(bytes.size(), 8u);
  uint64_t size = 0;
  for (int b = 7; b >= 0; --b)
    size = size << 8 | static_cast<uint8_t>(bytes[static_cast<size_t>(b)]);
  EXPECT_EQ(size % 8, 0u);
  const auto header = JsonValue::Parse(absl::string_view(bytes).substr(8, size));
  ASSERT_TRUE(header.ok()) << header.status().message();
  const JsonValue* weight = header->Find("fc1.weight");
  ASSERT_NE(weight, nullptr);
  EXPECT_EQ(weight->Find("dtype")->AsString(), "F32");
  EXPECT_EQ(weight->Find("shape")->items()[0].AsInt() * weight->Find("shape")->items()[1].AsInt(),
            96);
  int64_t end = 0;
  for (const auto& [name, entry] : header->members()) {
    if (name == "__metadata__") continue;
    const auto offsets = entry.Find("data_offsets")->items();
    EXPECT_EQ(offsets[0].AsInt(), end) << name;
    end = offsets[1].AsInt();
  }
  EXPECT_EQ(8 + size + static_cast<uint64_t>(end), bytes.size());
}

TEST(GradTest, TheGradientsOfALossAreOutputsOfAPlainModel) {
  const std::string model = NewModel("m.onnx"), out = TempPath("g.onnx");
  const CommandResult r = RunGraphrun({"grad", model, "-o", out, "--loss", "ce"});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  EXPECT_EQ(RunGraphrun({"check", out}).exit_code, 0);
  const CommandResult run =
      RunGraphrun({"run", out, "--random", "--batch", "2", "--input", "target=1,2"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  for (const char* name : {"d_fc1.weight", "d_fc1.bias", "d_fc3.weight"})
    EXPECT_THAT(run.out, HasSubstr(name));
}

TEST(GradTest, AConvolutionsGradientsAreWrittenForABatchOfOneSize) {
  const std::string model = TempPath("conv.onnx"), out = TempPath("g.onnx");
  ASSERT_EQ(
      RunGraphrun({"new", "cnn", "--in", "1,4,4", "--channels", "2", "--out", "2", "-o", model})
          .exit_code,
      0);
  CommandResult r = RunGraphrun({"grad", model, "--loss", "ce", "-o", out});
  EXPECT_EQ(r.exit_code, 3);
  EXPECT_THAT(r.err, HasSubstr("--batch N"));
  r = RunGraphrun({"grad", model, "--loss", "ce", "--batch", "3", "-o", out});
  ASSERT_EQ(r.exit_code, 0) << r.err;
  r = RunGraphrun({"run", out, "--random", "--input", "target=0,1,0"});
  EXPECT_EQ(r.exit_code, 0) << r.err;
}

TEST(GradTest, TheSeedInputWeighsAnOutputsElementsAndWrtChooses) {
  const std::string model = NewModel("m.onnx"), out = TempPath("g.onnx");
  ASSERT_EQ(RunGraphrun({"grad", model, "-o", out, "--seed-input", "--inputs"}).exit_code, 0);
  const std::string outputs = RunGraphrun({"inspect", out}).out;
  EXPECT_THAT(outputs, HasSubstr("d_x"));
  EXPECT_THAT(outputs, HasSubstr("d_y"));
  ASSERT_EQ(RunGraphrun({"grad", model, "-o", out, "--wrt", "fc2"}).exit_code, 0);
  EXPECT_THAT(RunGraphrun({"run", out, "--random"}).out, testing::Not(HasSubstr("d_fc1")));
  const CommandResult none = RunGraphrun({"grad", model, "-o", out, "--wrt", "conv"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, HasSubstr("fc1.weight"));
}

}  // namespace
}  // namespace graphrun
