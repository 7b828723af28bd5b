// The gradients of whole models against differences in float64.

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "tests/tools/command.h"

namespace graphrun {
namespace {

class GradcheckModelsTest : public testing::TestWithParam<std::string> {};

TEST_P(GradcheckModelsTest, AgreeWithDifferences) {
  const CommandResult r = RunGraphrun(
      {"gradcheck", absl::StrCat(GRAPHRUN_SOURCE_DIR, "/models/", GetParam()), "--batch", "2"});
  EXPECT_EQ(r.exit_code, 0) << r.out << r.err;
}

std::vector<std::string> Models() {
  const std::filesystem::path folder = std::string(GRAPHRUN_SOURCE_DIR) + "/models";
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() == ".onnx")
      names.push_back(std::filesystem::relative(entry.path(), folder).string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(Bundled, GradcheckModelsTest, testing::ValuesIn(Models()),
                         [](const auto& info) {
                           std::string name;
                           for (const char c : info.param)
                             name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

TEST(GradcheckNewTest, EveryKindThatNewWritesAgrees) {
  const std::vector<std::vector<std::string>> kinds = {
      {"mlp", "--in", "5", "--layers", "7,6", "--out", "3", "--activation", "gelu", "--batchnorm"},
      {"cnn", "--in", "2,8,8", "--channels", "3,4", "--layers", "6", "--out", "3", "--activation",
       "tanh"},
      {"resnet", "--in", "3,8,8", "--stages", "1,1", "--width", "4", "--out", "3", "--activation",
       "silu"},
      {"transformer", "--in", "6,4", "--dim", "8", "--heads", "2", "--blocks", "2", "--out", "3"},
      {"transformer", "--in", "6", "--vocab", "11", "--dim", "8", "--heads", "2", "--blocks", "1",
       "--out", "3"},
      {"lstm", "--in", "5,4", "--hidden", "6", "--bidirectional", "--out", "3"},
      {"lstm", "--in", "5,4", "--hidden", "6", "--cell", "gru", "--out", "2"}};
  for (std::vector<std::string> words : kinds) {
    const std::string path = TempPath("kind.onnx");
    words.insert(words.begin(), "new");
    words.insert(words.end(), {"-o", path});
    ASSERT_EQ(RunGraphrun(words).exit_code, 0) << words[1];
    const CommandResult r = RunGraphrun({"gradcheck", path, "--batch", "2"});
    EXPECT_EQ(r.exit_code, 0) << words[1] << "\n" << r.out << r.err;
  }
}

}  // namespace
}  // namespace graphrun
