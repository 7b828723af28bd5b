#include "runtime/report/svg_image.h"

#include <gtest/gtest.h>
#include <png.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"
#include "runtime/report/plot.h"
#include "runtime/report/raster.h"
#include "runtime/report/stroke_font.h"
#include "runtime/report/svg.h"

namespace graphrun {
namespace {

// A PNG file as libpng reads it.
struct Picture {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;
  std::array<int, 3> At(int x, int y) const {
    const size_t i =
        3 * (static_cast<size_t>(y) * static_cast<size_t>(width) + static_cast<size_t>(x));
    return {rgb[i], rgb[i + 1], rgb[i + 2]};
  }
};

Picture Read(const std::string& png) {
  Picture picture;
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  EXPECT_TRUE(png_image_begin_read_from_memory(&image, png.data(), png.size())) << image.message;
  image.format = PNG_FORMAT_RGB;
  picture.width = static_cast<int>(image.width);
  picture.height = static_cast<int>(image.height);
  picture.rgb.resize(PNG_IMAGE_SIZE(image));
  EXPECT_TRUE(png_image_finish_read(&image, nullptr, picture.rgb.data(), 0, nullptr))
      << image.message;
  return picture;
}

Picture Draw(Svg* svg, double scale = 1) {
  const auto png = SvgToPng(svg->Finish(), scale);
  EXPECT_TRUE(png.ok()) << png.status();
  return png.ok() ? Read(*png) : Picture();
}

constexpr std::array<int, 3> kWhite = {255, 255, 255}, kRed = {255, 0, 0}, kBlue = {0, 0, 255};

TEST(SvgImageTest, ShapesStandWhereTheDrawingSays) {
  Svg svg(40, 20);
  svg.Rect(2, 3, 10, 5, "fill=\"#ff0000\"", "a <tip>");
  svg.Circle(30, 10, 5, "fill=\"#00f\"");
  svg.Line(0, 15, 40, 15, "stroke=\"#00f\" stroke-width=\"2\"");
  const Picture p = Draw(&svg);
  ASSERT_EQ(p.width, 40);
  ASSERT_EQ(p.height, 20);
  EXPECT_EQ(p.At(2, 3), kRed);
  EXPECT_EQ(p.At(11, 7), kRed);
  EXPECT_EQ(p.At(12, 7), kWhite);
  EXPECT_EQ(p.At(11, 8), kWhite);
  EXPECT_EQ(p.At(30, 10), kBlue);
  EXPECT_EQ(p.At(20, 14), kBlue);
  EXPECT_EQ(p.At(20, 16), kWhite);
}

TEST(SvgImageTest, AnEdgeThroughAPixelIsMixed) {
  Svg svg(4, 4);
  svg.Rect(0, 0, 1.5, 4, "fill=\"#000000\"");
  const Picture p = Draw(&svg);
  EXPECT_NEAR(p.At(1, 1)[0], 128, 2);
}

TEST(SvgImageTest, TheScaleMultipliesEverything) {
  Svg svg(40, 20);
  svg.Rect(2, 3, 10, 5, "fill=\"#ff0000\"");
  const Picture p = Draw(&svg, 2);
  ASSERT_EQ(p.width, 80);
  EXPECT_EQ(p.At(4, 6), kRed);
  EXPECT_EQ(p.At(24, 6), kWhite);
}

TEST(SvgImageTest, OverlappingPiecesOfALineDoNotLightenEachOther) {
  Svg svg(40, 20);
  svg.Polyline(std::vector<Svg::Point>{{5, 5}, {30, 5}, {5, 6}},
               "stroke=\"#00f\" stroke-width=\"4\"");
  EXPECT_EQ(Draw(&svg).At(15, 5), kBlue);
}

TEST(SvgImageTest, DashesLeaveGaps) {
  Svg svg(40, 9);
  svg.Line(0, 4.5, 40, 4.5, "stroke=\"#00f\" stroke-width=\"1\" stroke-dasharray=\"6 6\"");
  const Picture p = Draw(&svg);
  EXPECT_EQ(p.At(3, 4), kBlue);
  EXPECT_EQ(p.At(9, 4), kWhite);
  EXPECT_EQ(p.At(15, 4), kBlue);
}

TEST(SvgImageTest, NothingIsDrawnOutsideAClip) {
  Svg svg(40, 20);
  svg.BeginClip(10, 5, 10, 10);
  svg.Rect(0, 0, 40, 20, "fill=\"#ff0000\"");
  svg.EndClip();
  svg.Rect(30, 0, 10, 20, "fill=\"#00f\"");
  const Picture p = Draw(&svg);
  EXPECT_EQ(p.At(9, 10), kWhite);
  EXPECT_EQ(p.At(10, 10), kRed);
  EXPECT_EQ(p.At(15, 4), kWhite);
  EXPECT_EQ(p.At(35, 2), kBlue);
}

TEST(SvgImageTest, EveryPrintableLetterHasLinesAndTextEndsWhereItsAnchorSays) {
  for (char c = '!'; c <= '~'; ++c) {
    EXPECT_FALSE(StrokeLetters(std::string(1, c), 12).lines.empty()) << c;
  }
  EXPECT_GT(StrokeLetters("mmm", 12).width, StrokeLetters("iii", 12).width);
  Svg svg(100, 40);
  svg.Text(50, 30, "HH", {.size = 20, .color = "#ff0000", .anchor = Anchor::kEnd});
  const Picture p = Draw(&svg);
  int left = 100, right = 0;
  for (int y = 0; y < 40; ++y) {
    for (int x = 0; x < 100; ++x) {
      if (p.At(x, y) == kWhite) continue;
      left = std::min(left, x);
      right = std::max(right, x);
    }
  }
  EXPECT_NEAR(right, 50, 2);
  EXPECT_NEAR(left, 50 - StrokeLetters("HH", 20).width, 2);
}

TEST(SvgImageTest, WhatSvgDoesNotWriteIsRefused) {
  EXPECT_EQ(KindOf(SvgToPng("").status()), ErrorKind::kData);
  EXPECT_EQ(KindOf(SvgToPng("<rect/>").status()), ErrorKind::kData);
  EXPECT_EQ(KindOf(SvgToPng("<svg width=\"9\" height=\"9\"><video/></svg>").status()),
            ErrorKind::kData);
  EXPECT_EQ(KindOf(SvgToPng("<svg width=\"9").status()), ErrorKind::kData);
  EXPECT_EQ(KindOf(SvgToPng("<svg width=\"1e9\" height=\"1e9\">").status()), ErrorKind::kLimit);
  EXPECT_EQ(KindOf(SvgToPng("<svg width=\"0\" height=\"9\">").status()), ErrorKind::kLimit);
}

TEST(SvgImageTest, EveryChartBecomesAnImage) {
  LineChart line;
  line.frame = {"Loss <&>", "epoch", "loss", "a note", 640, 400};
  line.series = {{"train", {1, 2, 3}, {3, 1e300, 1}, false, false, {}},
                 {"validation", {1, 2, 3}, {2, 1, 2}, true, false, LineChart::Mark{2, 1, "best"}}};
  BarChart bars;
  bars.labels = {"a", "b"};
  bars.series = {{"one", {1, 2}}, {"two", {3, -1}}};
  ScatterChart scatter;
  scatter.groups = {{"0", {0, 1}, {0, 1}}, {"1", {1, 0}, {0, 1}}};
  scatter.regions = ScatterChart::Regions{2, 2, 0, 1, 0, 1, {0, 1, 1, 0}, {}};
  HeatMap heat;
  heat.row_labels = heat.column_labels = {"x", "y"};
  heat.values = {1, 2, 3, 4};
  const std::vector<double> numbers = {1, 2, 2, 3};
  for (const std::string& svg : {line.ToSvg(), bars.ToSvg(), scatter.ToSvg(), heat.ToSvg(),
                                 Histogram::Of(absl::Span<const double>(numbers)).ToSvg()}) {
    const auto png = SvgToPng(svg);
    ASSERT_TRUE(png.ok()) << png.status() << svg;
    const Picture p = Read(*png);
    EXPECT_GT(p.width, 300);
    EXPECT_NE(std::count(p.rgb.begin(), p.rgb.end(), 255), static_cast<int64_t>(p.rgb.size()));
  }
}

}  // namespace
}  // namespace graphrun
