#include "runtime/report/run_report.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"
#include "runtime/report/html_page.h"
#include "runtime/report/metrics_log.h"
#include "tests/report/folder.h"

namespace graphrun {
namespace {

RunSummary Summary() {
  RunSummary s;
  s.name = "a <run>";
  s.status = "finished";
  s.monitored = "val_accuracy";
  s.best_value = 0.9612;
  s.best_step = 20;
  s.best_epoch = 2;
  s.best_model = "best.onnx";
  s.steps = 30;
  s.epochs = 3;
  s.seconds = 187;
  s.results = {{"test_accuracy", 0.5}, {"test_loss", std::numeric_limits<double>::quiet_NaN()}};
  s.facts = {{"model", "mlp.onnx & more"}};
  s.warnings = {{"dead-relu", "conv1"}};
  s.class_names = {"cat", "dog"};
  s.confusion = {{5, 1}, {0, 4}};
  return s;
}

class RunReportTest : public FolderTest {
 protected:
  void WriteRun() {
    auto log = *MetricsLog::Open(folder_, {"loss", "val_loss", "val_accuracy", "lr"}, {});
    for (int epoch = 1; epoch <= 3; ++epoch) {
      ASSERT_TRUE(log->Write(10 * epoch, epoch,
                             {{"loss", 1.0 / epoch},
                              {"val_loss", 1.5 / epoch},
                              {"val_accuracy", 0.9 + 0.03 * epoch},
                              {"lr", 0.1}})
                      .ok());
    }
    ASSERT_TRUE(WriteFileAtomic(Path("summary.json"), Summary().ToJson()).ok());
    ASSERT_TRUE(
        WriteFileAtomic(Path("env.json"), R"({"one_dnn": "2.6.3", "args": ["a", 1]})").ok());
    ASSERT_TRUE(WriteFileAtomic(Path("recipe.txtpb"), "epochs: 3 # <all>\n").ok());
  }
};

TEST_F(RunReportTest, ASummaryComesBackFromItsJson) {
  const auto s = RunSummary::FromJson(Summary().ToJson());
  ASSERT_TRUE(s.ok()) << s.status();
  EXPECT_EQ(s->ToJson(), Summary().ToJson());
  EXPECT_EQ(s->confusion, Summary().confusion);
  EXPECT_EQ(s->warnings, Summary().warnings);
  EXPECT_TRUE(std::isnan(s->results[1].second));
}

TEST_F(RunReportTest, ABrokenSummaryIsRefused) {
  for (const char* text :
       {"[]", "{", R"({"confusion": [[1, 2], [3]]})", R"({"confusion": [[-1]]})",
        R"({"confusion": [[9007199254740992, 1], [0, 0]]})", R"({"results": [{"name": "a"}]})"}) {
    EXPECT_EQ(KindOf(RunSummary::FromJson(text).status()), ErrorKind::kData) << text;
  }
  EXPECT_TRUE(RunSummary::FromJson("{}").ok());
}

TEST_F(RunReportTest, EachMetricHasOneChartWhereValidationJoinsTraining) {
  WriteRun();
  const auto report = RunReport::Read(folder_);
  ASSERT_TRUE(report.ok()) << report.status();
  std::vector<std::string> names;
  for (const auto& chart : report->Charts()) names.push_back(chart.name);
  EXPECT_EQ(names, (std::vector<std::string>{"loss", "accuracy", "lr", "confusion", "classes"}));
  EXPECT_TRUE(absl::StrContains(report->Charts()[0].svg, ">validation<"));
  EXPECT_TRUE(absl::StrContains(report->Charts()[1].svg, ">best 0.9612<"));
}

TEST_F(RunReportTest, TheGradientsOfAllLayersShareOneChartOnALogarithmicAxis) {
  ASSERT_TRUE(
      WriteFileAtomic(Path("metrics.jsonl"),
                      "{\"step\":1,\"epoch\":1,\"gradient_norm\":1,\"gradient_norm/a.weight\":"
                      "1e-6,\"gradient_norm/b.weight\":1}\n")
          .ok());
  const auto charts = RunReport::Read(folder_)->Charts();
  ASSERT_EQ(charts.size(), 2u);
  EXPECT_EQ(charts[0].name, "gradient_norm");
  EXPECT_EQ(charts[1].name, "gradient_norm_by_layer");
  EXPECT_TRUE(absl::StrContains(charts[1].svg, ">a.weight<"));
  EXPECT_TRUE(absl::StrContains(charts[1].svg, ">b.weight<"));
  EXPECT_TRUE(absl::StrContains(charts[1].svg, ">1e-5<")) << charts[1].svg;
}

TEST_F(RunReportTest, MetricsOfACsvFileServeWhereThereIsNoOther) {
  ASSERT_TRUE(WriteFileAtomic(Path("metrics.csv"),
                              "step,epoch,loss,\"f1[a,\"\"b\"\"]\",val_loss\n"
                              "2,1,0.5,1,\n4,2,nan,0.5,0.25\n6,3,0.1")
                  .ok());
  const auto report = RunReport::Read(folder_);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->metrics.size(), 2u);
  EXPECT_EQ(report->metrics[0].Find("f1[a,\"b\"]")->AsNumber(), 1);
  EXPECT_EQ(report->metrics[0].Find("val_loss"), nullptr);
  EXPECT_EQ(report->metrics[1].Find("val_loss")->AsNumber(), 0.25);
  EXPECT_EQ(report->Charts()[0].name, "loss");
}

TEST_F(RunReportTest, ThePageHoldsEverythingAndLoadsNothing) {
  WriteRun();
  const auto report = RunReport::Read(folder_);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_TRUE(report->Write(folder_, /*plots=*/true).ok());
  const std::string html = Text("report.html");
  for (const char* piece :
       {"<title>a &lt;run&gt;</title>", ">0.9612<", ">dead-relu<", "mlp.onnx &amp; more",
        "epochs: 3 # &lt;all&gt;", ">one dnn<", ">2.6.3<", ">a, 1<", "<svg ", ">3:07<", ">epoch 2<",
        "<td class=\"number\">0.3333</td>"}) {
    EXPECT_TRUE(absl::StrContains(html, piece)) << piece;
  }
  for (const char* piece : {"<script", "src=", "href=", "@import", "url("}) {
    EXPECT_FALSE(absl::StrContains(html, piece)) << piece;
  }
  EXPECT_EQ(*ListFolder(Path("plots")),
            (std::vector<std::string>{"accuracy.png", "accuracy.svg", "classes.png", "classes.svg",
                                      "confusion.png", "confusion.svg", "loss.png", "loss.svg",
                                      "lr.png", "lr.svg"}));
}

TEST_F(RunReportTest, AnEmptyFolderStillMakesAPage) {
  const auto report = RunReport::Read(folder_);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(absl::StrContains(report->ToHtml(), BaseName(folder_)));
  EXPECT_EQ(KindOf(RunReport::Read(Path("none")).status()), ErrorKind::kIo);
}

TEST_F(RunReportTest, ABrokenFileIsNamedWithItsPlaceButATornLastLineIsNot) {
  WriteRun();
  const std::string rows = Text("metrics.jsonl");
  ASSERT_TRUE(WriteFileAtomic(Path("metrics.jsonl"), rows + "{\"step\":").ok());
  EXPECT_EQ(RunReport::Read(folder_)->metrics.size(), 3u);
  ASSERT_TRUE(WriteFileAtomic(Path("metrics.jsonl"), "{}\n{\"a\" 1}\n").ok());
  const absl::Status status = RunReport::Read(folder_).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kData);
  EXPECT_TRUE(absl::StrContains(status.message(), "metrics.jsonl: line 2, column 6")) << status;
}

TEST_F(RunReportTest, ManyNoisyStepsAreSmoothedOverTheirRawValues) {
  std::string rows;
  for (int i = 1; i <= 1000; ++i) {
    absl::StrAppend(&rows, "{\"step\":", i, ",\"epoch\":1,\"loss\":", i % 2 == 0 ? 2 : 1, "}\n");
  }
  ASSERT_TRUE(WriteFileAtomic(Path("metrics.jsonl"), rows).ok());
  const std::string svg = RunReport::Read(folder_)->Charts().at(0).svg;
  EXPECT_TRUE(absl::StrContains(svg, "stroke-opacity"));
  EXPECT_TRUE(absl::StrContains(svg, ">step<"));
}

TEST_F(RunReportTest, ComparedRunsShareOneChartAMetricByTheirValidationValues) {
  WriteRun();
  std::vector<RunReport> runs = {*RunReport::Read(folder_), *RunReport::Read(folder_)};
  runs[1].summary.name = "other";
  const auto charts = CompareRuns(runs);
  ASSERT_EQ(charts.size(), 3u);
  EXPECT_EQ(charts[0].name, "loss");
  EXPECT_TRUE(absl::StrContains(charts[0].svg, ">other<"));
  EXPECT_TRUE(absl::StrContains(charts[0].svg, "other: 1.5 at 1")) << "not the training loss";
}

TEST(HtmlPageTest, NumbersStandToTheRight) {
  HtmlPage page("t", "");
  page.Table({"name", "value"}, {{"a", "1.5"}, {"b", "97%"}, {"c", "nan"}});
  const std::string html = page.Finish();
  EXPECT_TRUE(absl::StrContains(html, "<th>name</th><th class=\"number\">value</th>"));
  EXPECT_TRUE(absl::StrContains(html, "<td>a</td><td class=\"number\">1.5</td>"));
}

}  // namespace
}  // namespace graphrun
