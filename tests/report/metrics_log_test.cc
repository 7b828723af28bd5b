#include "runtime/report/metrics_log.h"

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "runtime/base/status.h"
#include "runtime/report/json.h"
#include "tests/report/folder.h"

namespace graphrun {
namespace {

class MetricsLogTest : public FolderTest {
 protected:
  std::unique_ptr<MetricsLog> Open(absl::optional<int64_t> resume) {
    MetricsLogOptions options;
    options.tensorboard = true;
    options.resume_step = resume;
    auto log = MetricsLog::Open(folder_, {"loss", "val_accuracy"}, options);
    EXPECT_TRUE(log.ok()) << log.status();
    return log.ok() ? *std::move(log) : nullptr;
  }
  static void Train(MetricsLog* log, int64_t begin, int64_t end) {
    for (int64_t step = begin; step < end; ++step) {
      std::vector<std::pair<std::string, double>> values = {{"loss", 1.0 / (1.0 + step)}};
      if (step % 2 == 0) values.emplace_back("val_accuracy", 0.1 * static_cast<double>(step));
      ASSERT_TRUE(log->Write(step, step / 4, values).ok());
    }
  }
};

TEST_F(MetricsLogTest, WritesAHeaderAndLeavesAbsentNumbersEmpty) {
  auto log = Open(absl::nullopt);
  Train(log.get(), 1, 3);
  EXPECT_EQ(Text("metrics.csv"),
            "step,epoch,loss,val_accuracy\n"
            "1,0,0.5,\n"
            "2,0,0.3333333333333333,0.2\n");
  EXPECT_EQ(Text("metrics.jsonl"),
            "{\"step\":1,\"epoch\":0,\"loss\":0.5}\n"
            "{\"step\":2,\"epoch\":0,\"loss\":0.3333333333333333,\"val_accuracy\":0.2}\n");
}

TEST_F(MetricsLogTest, AResumedRunLeavesTheFilesOfAnUninterruptedOne) {
  Train(Open(absl::nullopt).get(), 1, 20);
  const std::string csv = Text("metrics.csv"), jsonl = Text("metrics.jsonl");
  for (const int64_t checkpoint : {7, 0, 19, 3}) {
    Train(Open(checkpoint).get(), checkpoint + 1, 20);
    EXPECT_EQ(Text("metrics.csv"), csv) << checkpoint;
    EXPECT_EQ(Text("metrics.jsonl"), jsonl) << checkpoint;
  }
}

TEST_F(MetricsLogTest, ATornLastLineIsDroppedOnResume) {
  Train(Open(absl::nullopt).get(), 1, 4);
  const std::string csv = Text("metrics.csv"), jsonl = Text("metrics.jsonl");
  ASSERT_TRUE(WriteFileAtomic(Path("metrics.csv"), csv + "4,1,0.1").ok());
  ASSERT_TRUE(WriteFileAtomic(Path("metrics.jsonl"), jsonl + "{\"step\":4,\"ep").ok());
  Open(100);
  EXPECT_EQ(Text("metrics.csv"), csv);
  EXPECT_EQ(Text("metrics.jsonl"), jsonl);
  ASSERT_TRUE(WriteFileAtomic(Path("metrics.csv"), "step,ep").ok());
  Train(Open(0).get(), 1, 4);
  EXPECT_EQ(Text("metrics.csv"), csv);
}

TEST_F(MetricsLogTest, WithoutResumeTheOldFilesAreReplaced) {
  Train(Open(absl::nullopt).get(), 1, 4);
  Open(absl::nullopt);
  EXPECT_EQ(Text("metrics.csv"), "step,epoch,loss,val_accuracy\n");
  EXPECT_EQ(Text("metrics.jsonl"), "");
}

TEST_F(MetricsLogTest, OtherColumnsAreNotContinued) {
  ASSERT_TRUE(WriteFileAtomic(Path("metrics.csv"), "step,epoch,loss\n1,0,2\n").ok());
  MetricsLogOptions options;
  options.resume_step = 1;
  const absl::Status status = MetricsLog::Open(folder_, {"mse"}, options).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kCheckpoint);
  EXPECT_TRUE(absl::StrContains(status.message(), "there: step,epoch,loss\n")) << status;
  EXPECT_EQ(Text("metrics.csv"), "step,epoch,loss\n1,0,2\n") << "untouched";
}

TEST_F(MetricsLogTest, NonFiniteNumbersStayVisible) {
  auto log = Open(absl::nullopt);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  ASSERT_TRUE(log->Write(1, 0, {{"loss", nan}, {"val_accuracy", -inf}}).ok());
  EXPECT_TRUE(absl::EndsWith(Text("metrics.csv"), "\n1,0,nan,-inf\n"));
  EXPECT_EQ(Text("metrics.jsonl"),
            "{\"step\":1,\"epoch\":0,\"loss\":null,\"val_accuracy\":null}\n");
}

TEST_F(MetricsLogTest, ANameNotAnnouncedIsRefused) {
  auto log = Open(absl::nullopt);
  EXPECT_EQ(KindOf(log->Write(1, 0, {{"los", 1}})), ErrorKind::kInternal);
}

TEST_F(MetricsLogTest, HeaderCellsAreQuotedWhereNeeded) {
  auto log = CsvLog::Open(Path("a.csv"), {"step", "f1[a,\"b\"]"}, absl::nullopt);
  ASSERT_TRUE(log.ok());
  EXPECT_EQ(Text("a.csv"), "step,\"f1[a,\"\"b\"\"]\"\n");
  EXPECT_EQ(KindOf((*log)->Append(1, {})), ErrorKind::kInternal);
  EXPECT_TRUE((*log)->Append(1, {1e-7}).ok());
  EXPECT_TRUE((*CsvLog::Open(Path("a.csv"), {"step", "f1[a,\"b\"]"}, 1))->Append(2, {0.1}).ok());
  EXPECT_TRUE(absl::EndsWith(Text("a.csv"), "\n1,1e-07\n2,0.1\n"));
}

TEST_F(MetricsLogTest, AMissingFolderIsAnErrorOfTheSystem) {
  const absl::Status status = MetricsLog::Open(Path("none"), {"loss"}, {}).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kIo);
}

}  // namespace
}  // namespace graphrun
