// RingsTest: a small run for tests of the trainer to change and to train.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_split.h"
#include "ops/ops.h"
#include "proto/recipe.pb.h"
#include "runtime/base/file.h"
#include "runtime/base/rng.h"
#include "runtime/ir/text.h"
#include "runtime/onnx/export.h"
#include "runtime/onnx/import.h"
#include "runtime/train/trainer.h"

namespace graphrun {

// Two classes on rings around the origin: no line divides them.
class RingsTest : public testing::Test {
 protected:
  void SetUp() override {
    RegisterOps(registry_);
    dir_ = testing::TempDir() + "/" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
    ASSERT_TRUE(CreateDirs(dir_).ok());
    std::ofstream csv(dir_ + "/rings.csv");
    csv << "x,y,label\n";
    Rng rng(5);
    for (int i = 0; i < 331; ++i) {
      const int label = i % 2;
      const double radius = label + 1 + 0.1 * rng.Normal(), angle = rng.Uniform(0, 6.2831853);
      csv << radius * std::cos(angle) << "," << radius * std::sin(angle) << "," << label << "\n";
    }
    WriteModel("Tanh", "d = Dropout(a, ratio)", "d");
    recipe_.mutable_model()->set_path(dir_ + "/model.onnx");
    recipe_.mutable_data()->set_path(dir_ + "/rings.csv");
    recipe_.mutable_data()->set_val_split(0.2);
    recipe_.mutable_data()->set_normalize(recipe::Data::ZSCORE);
    recipe_.mutable_data()->set_batch(32);
    recipe_.mutable_optimizer()->mutable_adam();
    recipe_.mutable_optimizer()->set_lr(0.02);
    recipe_.mutable_loop()->set_epochs(25);
    recipe_.mutable_loop()->set_threads(1);
    recipe_.mutable_output()->set_dir(dir_ + "/run");
  }

  // Two layers; `between` are the nodes between the first layer's activation a and the last layer's
  // input `hidden`.
  void WriteModel(const std::string& activation, const std::string& between,
                  const std::string& hidden) {
    numbers_ = Rng(9);
    auto graph = ParseGraph(R"(<ir_version: 8, opset_import: ["" : 17]>
agraph (float[N, 2] x) => (float[N, 2] y)
<float[16, 2] w1 = {)" + Numbers(32) +
                            R"(}, float[16] b1 = {)" + Numbers(16) + R"(},
 float[2, 16] w2 = {)" + Numbers(32) +
                            R"(}, float[2] b2 = {0, 0}, float ratio = {0.1}>
{
  h = Gemm <transB = 1> (x, w1, b1)
  a = )" + activation + "(h)\n" +
                            between + R"(
  l = Gemm <transB = 1> ()" +
                            hidden + R"(, w2, b2)
  y = Softmax(l)
})");
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    ASSERT_TRUE(ExportOnnx(**graph, dir_ + "/model.onnx").ok());
  }

  std::string Numbers(int n) {
    std::string text;
    for (int i = 0; i < n; ++i) absl::StrAppend(&text, i ? ", " : "", numbers_.Normal() * 0.5);
    return text;
  }

  static double Result(const TrainResult& result, const std::string& name) {
    for (const auto& [key, value] : result.summary.results) {
      if (key == name) return value;
    }
    return -1;
  }

  // The column of that name in a run's metrics.csv; "" where nothing was measured.
  static std::vector<std::string> Column(const std::string& run, const std::string& name) {
    std::vector<std::string> values;
    size_t column = 0;
    bool first = true;
    for (const absl::string_view line :
         absl::StrSplit(ReadFile(run + "/metrics.csv").value_or(""), '\n', absl::SkipEmpty())) {
      const std::vector<std::string> cells = absl::StrSplit(line, ',');
      if (first) {
        column = static_cast<size_t>(std::find(cells.begin(), cells.end(), name) - cells.begin());
        EXPECT_LT(column, cells.size()) << name;
        first = false;
      } else if (column < cells.size()) {
        values.push_back(cells[column]);
      }
    }
    return values;
  }

  static std::vector<std::string> Warnings(const TrainResult& result) {
    std::vector<std::string> names;
    for (const auto& [name, text] : result.summary.warnings) names.push_back(name);
    return names;
  }

  OpRegistry registry_;
  Rng numbers_{9};
  std::string dir_;
  recipe::Recipe recipe_;
};

}  // namespace graphrun
