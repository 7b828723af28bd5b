// A folder of its own for each test, removed afterwards.
#pragma once

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/base/file.h"

namespace graphrun {

class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = absl::StrCat(testing::TempDir(), "/graphrun-report-XXXXXX");
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { (void)!system(absl::StrCat("rm -rf '", folder_, "'").c_str()); }
  std::string Path(absl::string_view name) const { return JoinPath(folder_, name); }
  std::string Text(absl::string_view name) const {
    const auto text = ReadFile(Path(name));
    return text.ok() ? *text : std::string(text.status().message());
  }
  std::string folder_;
};

}  // namespace graphrun
