#include "runtime/report/svg_image.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "runtime/base/status.h"
#include "runtime/report/raster.h"
#include "runtime/report/stroke_font.h"

namespace graphrun {
namespace {

using Attributes = std::map<std::string, std::string>;
using Point = Raster::Point;

constexpr double kMaxPixels = 64e6;

std::string Unescaped(absl::string_view text) {
  return absl::StrReplaceAll(
      text, {{"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}, {"&amp;", "&"}});
}

// A start or end tag, or the text up to the next one.
struct Token {
  std::string name;  // "" for text
  bool end = false, closed = false;
  Attributes attributes;
  absl::string_view text;
};

class Reader {
 public:
  explicit Reader(absl::string_view text) : rest_(text) {}
  bool AtEnd() const { return rest_.empty(); }

  absl::StatusOr<Token> Next() {
    Token token;
    if (rest_[0] != '<') {
      const size_t end = std::min(rest_.find('<'), rest_.size());
      token.text = rest_.substr(0, end);
      rest_.remove_prefix(end);
      return token;
    }
    rest_.remove_prefix(1);
    token.end = absl::ConsumePrefix(&rest_, "/");
    token.name = std::string(TakeName());
    while (!rest_.empty()) {
      rest_ = absl::StripLeadingAsciiWhitespace(rest_);
      token.closed = absl::ConsumePrefix(&rest_, "/") || token.closed;
      if (absl::ConsumePrefix(&rest_, ">")) return token;
      const std::string key(TakeName());
      if (key.empty() || !absl::ConsumePrefix(&rest_, "=\"")) break;
      const size_t quote = rest_.find('"');
      if (quote == absl::string_view::npos) break;
      token.attributes[key] = std::string(rest_.substr(0, quote));
      rest_.remove_prefix(quote + 1);
    }
    return DataError("the drawing is no SVG of graphrun: element <", token.name, "> is broken");
  }

 private:
  absl::string_view TakeName() {
    size_t n = 0;
    while (n < rest_.size() && (absl::ascii_isalnum(static_cast<unsigned char>(rest_[n])) ||
                                rest_[n] == '-' || rest_[n] == ':')) {
      ++n;
    }
    const absl::string_view name = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return name;
  }

  absl::string_view rest_;
};

class Painter {
 public:
  explicit Painter(double scale) : scale_(scale) {}

  absl::Status Draw(absl::string_view svg) {
    Reader reader(svg);
    int depth = 0, titles = 0;
    while (!reader.AtEnd()) {
      GR_ASSIGN_OR_RETURN(const Token token, reader.Next());
      if (token.name == "title") {
        titles += token.end ? -1 : 1;
      } else if (token.name == "svg") {
        GR_RETURN_IF_ERROR(token.end ? Leave(--depth) : Enter(depth++, token.attributes));
      } else if (token.name == "text") {
        text_ = token.end ? Attributes() : token.attributes;
      } else if (token.name.empty()) {
        if (titles == 0 && !text_.empty()) Letters(Unescaped(token.text));
      } else if (!token.end) {
        GR_RETURN_IF_ERROR(Shape(token.name, token.attributes));
      }
    }
    return absl::OkStatus();
  }

  const Raster* raster() const { return raster_.get(); }

 private:
  static std::string Text(const Attributes& a, const char* name, const char* otherwise) {
    const auto it = a.find(name);
    return it == a.end() ? otherwise : it->second;
  }
  static double Plain(const Attributes& a, const char* name, double otherwise = 0) {
    double value;
    return absl::SimpleAtod(Text(a, name, ""), &value) && std::isfinite(value) ? value : otherwise;
  }
  double Scaled(const Attributes& a, const char* name, double otherwise = 0) const {
    return scale_ * Plain(a, name, otherwise);
  }

  absl::Status Enter(int depth, const Attributes& a) {
    const double width = Scaled(a, "width"), height = Scaled(a, "height");
    if (depth == 0) {
      if (!(width >= 1) || !(height >= 1) || width * height > kMaxPixels)
        return LimitError("an image of ", width, " x ", height, " pixels is asked for; at most ",
                          kMaxPixels, " pixels are drawn");
      raster_ = std::make_unique<Raster>(static_cast<int>(std::lround(width)),
                                         static_cast<int>(std::lround(height)));
    } else if (raster_ != nullptr) {
      const double x = Scaled(a, "x"), y = Scaled(a, "y");
      raster_->SetClip(x, y, x + width, y + height);
    }
    return absl::OkStatus();
  }

  absl::Status Leave(int depth) {
    if (depth > 0 && raster_ != nullptr)
      raster_->SetClip(0, 0, raster_->width(), raster_->height());
    return absl::OkStatus();
  }

  // "#rrggbb" or "#rgb"; false for "none" and what is not there.
  static bool ReadColor(const Attributes& a, const char* name, const char* opacity, Paint* paint) {
    std::string text = Text(a, name, "");
    if (text.size() == 4 && text[0] == '#')
      text = {'#', text[1], text[1], text[2], text[2], text[3], text[3]};
    if (text.size() != 7 || text[0] != '#') return false;
    const unsigned long value = std::strtoul(text.c_str() + 1, nullptr, 16);
    paint->color = {static_cast<uint8_t>(value >> 16 & 0xff),
                    static_cast<uint8_t>(value >> 8 & 0xff), static_cast<uint8_t>(value & 0xff)};
    paint->opacity = Plain(a, opacity, 1);
    return paint->opacity > 0;
  }

  void StrokeOf(const Attributes& a, absl::Span<const Point> points) {
    Paint paint;
    if (!ReadColor(a, "stroke", "stroke-opacity", &paint)) return;
    std::vector<double> dashes;
    for (const absl::string_view part :
         absl::StrSplit(Text(a, "stroke-dasharray", ""), ' ', absl::SkipEmpty())) {
      double dash = 0;
      if (absl::SimpleAtod(part, &dash)) dashes.push_back(dash * scale_);
    }
    raster_->Stroke(points, Scaled(a, "stroke-width", 1), paint, dashes);
  }

  void Area(const Attributes& a, std::vector<Raster::Contour> contours) {
    Paint paint;
    if (ReadColor(a, "fill", "fill-opacity", &paint)) raster_->Fill(contours, paint);
    for (Raster::Contour& contour : contours) {
      if (contour.empty()) continue;
      contour.push_back(contour[0]);
      StrokeOf(a, contour);
    }
  }

  static Raster::Contour Box(double x, double y, double width, double height) {
    return {{x, y}, {x + width, y}, {x + width, y + height}, {x, y + height}};
  }

  // "x,y x,y"
  std::vector<Point> Points(const Attributes& a) const {
    std::vector<Point> points;
    const std::string text = Text(a, "points", "");
    for (const absl::string_view part : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
      const std::pair<absl::string_view, absl::string_view> xy = absl::StrSplit(part, ',');
      double x = 0, y = 0;
      if (absl::SimpleAtod(xy.first, &x) && absl::SimpleAtod(xy.second, &y))
        points.emplace_back(x * scale_, y * scale_);
    }
    return points;
  }

  // "Mx yhWvHh-Wz" again and again.
  std::vector<Raster::Contour> Boxes(const Attributes& a) const {
    std::vector<Raster::Contour> boxes;
    const std::string path = Text(a, "d", "");
    for (const absl::string_view part : absl::StrSplit(path, 'z', absl::SkipEmpty())) {
      double n[5] = {};
      size_t i = 0;
      for (const absl::string_view number :
           absl::StrSplit(part, absl::ByAnyChar("M hv"), absl::SkipEmpty())) {
        if (i < 5 && absl::SimpleAtod(number, &n[i])) n[i++] *= scale_;
      }
      if (i >= 4) boxes.push_back(Box(n[0], n[1], n[2], n[3]));
    }
    return boxes;
  }

  absl::Status Shape(const std::string& name, const Attributes& a) {
    if (raster_ == nullptr) return DataError("the drawing does not begin with <svg>");
    if (name == "rect") {
      Area(a, {Box(Scaled(a, "x"), Scaled(a, "y"), Scaled(a, "width"), Scaled(a, "height"))});
    } else if (name == "circle") {
      Raster::Contour circle;
      const double r = Scaled(a, "r");
      constexpr int kCorners = 32;
      for (int i = 0; i < kCorners; ++i) {
        const double angle = 2 * M_PI * i / kCorners;
        circle.emplace_back(Scaled(a, "cx") + r * std::cos(angle),
                            Scaled(a, "cy") + r * std::sin(angle));
      }
      Area(a, {circle});
    } else if (name == "line") {
      const Point ends[] = {{Scaled(a, "x1"), Scaled(a, "y1")}, {Scaled(a, "x2"), Scaled(a, "y2")}};
      StrokeOf(a, ends);
    } else if (name == "polyline") {
      StrokeOf(a, Points(a));
    } else if (name == "polygon") {
      Area(a, {Points(a)});
    } else if (name == "path") {
      Area(a, Boxes(a));
    } else {
      return DataError("the drawing has an element <", name, ">, which is not drawn as an image");
    }
    return absl::OkStatus();
  }

  void Letters(const std::string& text) {
    if (raster_ == nullptr) return;
    const double size = Scaled(text_, "font-size", 12);
    const StrokeText letters = StrokeLetters(text, size);
    const std::string anchor = Text(text_, "text-anchor", "start");
    const double shift = anchor == "middle" ? letters.width / 2
                         : anchor == "end"  ? letters.width
                                            : 0;
    double angle = 0;
    const std::string transform = Text(text_, "transform", "");
    if (absl::StartsWith(transform, "rotate("))
      angle = std::strtod(transform.c_str() + 7, nullptr) * M_PI / 180;
    const double x = Scaled(text_, "x"), y = Scaled(text_, "y");
    const double across = std::cos(angle), up = std::sin(angle);
    Paint paint, edge;
    const bool halo = ReadColor(text_, "stroke", "stroke-opacity", &edge);
    if (!ReadColor(text_, "fill", "fill-opacity", &paint)) return;
    const double weight = size * (Text(text_, "font-weight", "").empty() ? 0.085 : 0.13);
    for (const auto& line : letters.lines) {
      std::vector<Point> points;
      for (const Point& p : line) {
        const double dx = p.first - shift, dy = p.second;
        points.emplace_back(x + dx * across - dy * up, y + dx * up + dy * across);
      }
      raster_->Stroke(points, weight + (halo ? Scaled(text_, "stroke-width", 1) : 0), paint);
    }
  }

  double scale_;
  std::unique_ptr<Raster> raster_;
  Attributes text_;  // of the <text> that is open
};

}  // namespace

absl::StatusOr<std::string> SvgToPng(absl::string_view svg, double scale) {
  Painter painter(scale);
  GR_RETURN_IF_ERROR(painter.Draw(svg));
  if (painter.raster() == nullptr) return DataError("the drawing is empty");
  return painter.raster()->ToPng();
}

}  // namespace graphrun
