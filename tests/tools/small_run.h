// Words of a small training run.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/file.h"
#include "tests/tools/command.h"

namespace graphrun {

// Rows of two clusters that a line parts.
inline std::string WriteData(int rows = 40) {
  std::string csv = "a,b,kind\n";
  for (int i = 0; i < rows; ++i) {
    const int c = i % 2;
    absl::StrAppend(&csv, (i % 7) * 0.1 + c * 2, ",", (i % 5) * 0.1 - c * 2, ",", c, "\n");
  }
  const std::string path = TempPath("data.csv");
  EXPECT_TRUE(WriteFileAtomic(path, csv).ok());
  return path;
}

inline std::vector<std::string> TrainWords(const std::string& run) {
  const std::string model = TempPath("m.onnx");
  EXPECT_EQ(RunGraphrun({"new", "mlp", "--in", "2", "--layers", "8", "--out", "2", "-o", model})
                .exit_code,
            0);
  return {"train",     model,      "--data",     WriteData(),   "--target", "kind", "--val-split",
          "0.2",       "--epochs", "30",         "--optimizer", "adam",     "--lr", "0.05",
          "--threads", "1",        "--progress", "plain",       "--out",    run};
}

}  // namespace graphrun
