#include "runtime/report/plot.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "runtime/report/axis.h"
#include "runtime/report/confusion.h"
#include "runtime/report/svg.h"
#include "runtime/report/utf8.h"

namespace graphrun {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

// "" where tags nest and text is escaped, else what is wrong.
std::string XmlFault(absl::string_view xml) {
  std::vector<std::string> open;
  while (!xml.empty()) {
    if (xml[0] != '<') {
      if (xml[0] == '>') return "a bare >";
      const int length = Utf8Length(xml);
      if (length == 0) return "not UTF-8";
      xml.remove_prefix(static_cast<size_t>(length));
      continue;
    }
    const size_t end = xml.find('>');
    if (end == absl::string_view::npos) return "a tag without end";
    const absl::string_view tag = xml.substr(1, end - 1);
    xml.remove_prefix(end + 1);
    if (absl::StrContains(tag, "<")) return absl::StrCat("a bare < in ", tag);
    if (absl::StrContains(tag, "nan") || absl::StrContains(tag, "inf")) return std::string(tag);
    if (absl::StartsWith(tag, "/")) {
      if (open.empty() || open.back() != tag.substr(1)) return absl::StrCat("stray ", tag);
      open.pop_back();
    } else if (!absl::EndsWith(tag, "/")) {
      open.emplace_back(tag.substr(0, tag.find(' ')));
    }
  }
  return open.empty() ? "" : absl::StrCat("unclosed ", open.back());
}

int Count(absl::string_view text, absl::string_view piece) {
  int count = 0;
  for (size_t at = text.find(piece); at != absl::string_view::npos;
       at = text.find(piece, at + piece.size())) {
    ++count;
  }
  return count;
}

std::vector<std::string> Labels(const std::vector<Tick>& ticks) {
  std::vector<std::string> labels;
  for (const Tick& tick : ticks) labels.push_back(tick.label);
  return labels;
}

LineChart::Series Line(std::vector<double> y) {
  LineChart::Series s;
  s.name = "s";
  for (size_t i = 0; i < y.size(); ++i) s.x.push_back(static_cast<double>(i));
  s.y = std::move(y);
  return s;
}

TEST(AxisTest, TicksStandAtRoundNumbersWithEqualDecimals) {
  using Strings = std::vector<std::string>;
  EXPECT_EQ(Labels(NiceTicks(0, 1, 5)), (Strings{"0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(Labels(NiceTicks(0.13, 0.21, 4)), (Strings{"0.14", "0.16", "0.18", "0.20"}));
  EXPECT_EQ(Labels(NiceTicks(0, 60000, 3)), (Strings{"0", "20k", "40k", "60k"}));
  EXPECT_EQ(Labels(NiceTicks(-2, 2, 4)), (Strings{"-2", "-1", "0", "1", "2"}));
  EXPECT_EQ(Labels(NiceTicks(0, 4e-7, 4)), (Strings{"0", "1e-07", "2e-07", "3e-07", "4e-07"}));
  EXPECT_TRUE(NiceTicks(1, 1, 5).empty());
  EXPECT_TRUE(NiceTicks(0, kInf, 5).empty());
  EXPECT_EQ(Labels(LogTicks(0.01, 100, 6)), (Strings{"0.01", "0.1", "1", "10", "100"}));
  EXPECT_EQ(Labels(LogTicks(1, 20, 6)), (Strings{"1", "2", "5", "10", "20"}));
}

TEST(AxisTest, MapsItsEndsToThePixelsGiven) {
  Axis axis;
  for (const double v : {3.0, kNan, 7.0, kInf}) axis.Include(v);
  axis.Settle(false, 4);
  axis.SetPixels(100, 0);
  EXPECT_DOUBLE_EQ(axis.ToPixel(3), 100);
  EXPECT_DOUBLE_EQ(axis.ToPixel(5), 50);
  Axis logarithmic(true);
  for (const double v : {1.0, 100.0, -5.0, 0.0}) logarithmic.Include(v);
  logarithmic.Settle(false, 4);
  logarithmic.SetPixels(0, 10);
  EXPECT_DOUBLE_EQ(logarithmic.ToPixel(10), 5);
  EXPECT_FALSE(logarithmic.Shows(0));
}

TEST(SvgTest, TextIsEscaped) {
  EXPECT_EQ(XmlEscape("a<b>&\"'\x01\xff"), "a&lt;b&gt;&amp;&quot;&#39;?\xEF\xBF\xBD");
  LineChart chart;
  chart.frame.title = "</svg><script>";
  EXPECT_EQ(XmlFault(chart.ToSvg()), "");
}

TEST(LineChartTest, IsWellFormedWhateverTheNumbers) {
  const std::vector<std::vector<double>> cases = {{},
                                                  {1},
                                                  {kNan},
                                                  {kInf, -kInf},
                                                  {5, 5, 5},
                                                  {0, 0},
                                                  {1e308, -1e308},
                                                  {1e-320, 2e-320},
                                                  {1, kNan, 2, kNan, 3},
                                                  {-1, -2},
                                                  {1e15, 1e15 + 1}};
  for (const auto& y : cases) {
    for (const bool log : {false, true}) {
      LineChart chart;
      chart.frame = {"t", "x", "y", "n"};
      chart.series = {Line(y)};
      chart.series[0].mark = LineChart::Mark{0, y.empty() ? 0 : y[0], "best"};
      chart.log_x = chart.log_y = log;
      EXPECT_EQ(XmlFault(chart.ToSvg()), "");
    }
  }
}

TEST(LineChartTest, AGapSplitsTheLine) {
  LineChart chart;
  chart.series = {Line({1, 2, kNan, 3, 4})};
  EXPECT_EQ(Count(chart.ToSvg(), "<polyline"), 2);
}

TEST(LineChartTest, LongSeriesAreThinnedButKeepPeaksAndDips) {
  std::vector<double> y(1000000, 1.0);
  y[123456] = 50;
  y[123457] = 0;
  LineChart chart;
  chart.series = {Line(y)};
  const std::string svg = chart.ToSvg();
  EXPECT_LT(svg.size(), 60000u);
  // The line visits the heights of the labels 50 and 0, which stand 4 pixels below them.
  for (const char* label : {">50</text>", ">0</text>"}) {
    const size_t end = svg.find(label), begin = svg.rfind(" y=\"", end) + 4;
    const double height = std::atof(svg.c_str() + begin) - 4;
    const size_t line = svg.find("<polyline");
    const std::string points = svg.substr(line, svg.find("/>", line) - line);
    EXPECT_TRUE(absl::StrContains(points, absl::StrCat(",", height, " "))) << height;
  }
}

TEST(LineChartTest, TheLegendNamesTheSeriesButNotTheFaintOnes) {
  LineChart chart;
  chart.series = {Line({1, 2}), Line({1, 3}), Line({2, 3})};
  chart.series[0].name = "raw";
  chart.series[0].faint = true;
  chart.series[1].name = "train";
  chart.series[2].name = "validation";
  const std::string svg = chart.ToSvg();
  EXPECT_FALSE(absl::StrContains(svg, ">raw<"));
  EXPECT_TRUE(absl::StrContains(svg, ">train<"));
  EXPECT_EQ(Count(svg, Palette::Series(0)), 5)
      << "legend, two lines and two points: raw has the colour of train";
}

TEST(BarChartTest, StandsForShortLabelsAndLiesForLongOnes) {
  BarChart chart;
  chart.labels = {"a", "b", "c"};
  chart.series = {{"n", {1, 2}}, {"m", {kNan, -1, 4}}};
  EXPECT_EQ(XmlFault(chart.ToSvg()), "");
  chart.labels.assign(12, "a rather long label");
  chart.series = {{"n", std::vector<double>(12, 1.0)}};
  const std::string lying = chart.ToSvg();
  EXPECT_EQ(Count(lying, ">a rather long label</text>"), 12);
  EXPECT_EQ(XmlFault(BarChart().ToSvg()), "");
}

TEST(HistogramTest, CountsEveryFiniteValueOnce) {
  const std::vector<double> values = {0, 1, 2, 3, 4, 4, 4, kNan, kInf};
  const Histogram h = Histogram::Of(absl::MakeConstSpan(values), 4);
  EXPECT_EQ(h.edges, (std::vector<double>{0, 1, 2, 3, 4}));
  EXPECT_EQ(h.counts, (std::vector<double>{1, 1, 1, 4}));
  EXPECT_EQ(h.not_finite, 2);
  EXPECT_TRUE(absl::StrContains(h.ToSvg(), "2 not finite"));
}

TEST(HistogramTest, TakesEqualHugeAndNoValues) {
  for (const auto& values : std::vector<std::vector<double>>{
           {}, {3, 3, 3}, {0}, {-1e308, 1e308, 0}, {kNan}, {1e-320, 3e-320}}) {
    const Histogram h = Histogram::Of(absl::MakeConstSpan(values));
    double total = 0;
    for (const double count : h.counts) total += count;
    EXPECT_EQ(total, static_cast<double>(values.size()) - static_cast<double>(h.not_finite));
    EXPECT_EQ(XmlFault(h.ToSvg()), "");
  }
}

TEST(HeatMapTest, AConfusionMatrixShowsItsCountsAndNames) {
  ConfusionMatrix matrix;
  ASSERT_TRUE(matrix.Grow(3).ok());
  for (int i = 0; i < 37; ++i) matrix.Add(0, 0);
  matrix.Add(0, 1);
  matrix.Add(1, 1);
  const std::string svg =
      HeatMap::Confusion(matrix, std::vector<std::string>{"cat", "dog"}).ToSvg();
  EXPECT_EQ(XmlFault(svg), "");
  EXPECT_TRUE(absl::StrContains(svg, ">37</text>"));
  EXPECT_EQ(Count(svg, ">cat</text>"), 2);
  EXPECT_EQ(Count(svg, ">2</text>"), 2) << "a class without name goes by its number";
  EXPECT_TRUE(absl::StrContains(svg, "39 samples, accuracy 97.44%"));
}

TEST(HeatMapTest, TakesNothingManyClassesAndWrongSizes) {
  EXPECT_EQ(XmlFault(HeatMap().ToSvg()), "");
  EXPECT_EQ(XmlFault(HeatMap::Confusion(ConfusionMatrix(), {}).ToSvg()), "");
  ConfusionMatrix matrix;
  ASSERT_TRUE(matrix.Grow(500).ok());
  for (int i = 0; i < 500; ++i) matrix.Add(i, i);
  const std::string svg = HeatMap::Confusion(matrix, {}).ToSvg();
  EXPECT_EQ(XmlFault(svg), "");
  EXPECT_LT(svg.size(), 200000u);
  HeatMap wrong;
  wrong.row_labels = wrong.column_labels = {"a", "b"};
  wrong.values = {1};
  EXPECT_TRUE(absl::StrContains(wrong.ToSvg(), "no data"));
  wrong.values = {kNan, kInf, 1, 1};
  EXPECT_EQ(XmlFault(wrong.ToSvg()), "");
}

TEST(ScatterChartTest, RegionsJoinEqualNeighbours) {
  ScatterChart chart;
  chart.groups = {{"a", {0, 1, kNan}, {0, 1, 2}}, {"b", {2}, {3, 4}}};
  chart.regions = ScatterChart::Regions{2, 4, 0, 1, 0, 1, {0, 0, 1, 1, 0, 0, 0, 0}, {}};
  const std::string svg = chart.ToSvg();
  EXPECT_EQ(XmlFault(svg), "");
  EXPECT_EQ(Count(svg, "<path"), 2);
  EXPECT_EQ(Count(svg, "z"), 3 + Count(svg, "size"))
      << "two runs in the first row, one in the next";
  chart.regions->classes.pop_back();
  EXPECT_EQ(Count(chart.ToSvg(), "<path"), 0) << "regions of the wrong size are left out";
}

}  // namespace
}  // namespace graphrun
