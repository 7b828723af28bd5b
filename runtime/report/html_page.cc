#include "runtime/report/html_page.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/report/svg.h"

namespace graphrun {
namespace {

constexpr char kStyle[] = R"(
:root { --ink: #1f2937; --muted: #6b7280; --line: #e5e7eb; --paper: #ffffff; --ground: #f3f5f8; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  "Liberation Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 36px 24px 64px; }
h1 { font-size: 26px; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 40px 0 14px; }
.subtitle { color: var(--muted); margin: 4px 0 0; }
.tiles { display: grid; gap: 14px; margin-top: 24px;
  grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); }
.tile, .chart, .box { background: var(--paper); border: 1px solid var(--line);
  border-radius: 10px; }
.tile { padding: 14px 18px; min-width: 0; }
.tile .name { color: var(--muted); font-size: 13px; }
.tile .value { font-size: 22px; font-weight: 600; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
.tile .long { font-size: 15px; padding-top: 6px; }
.charts { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(460px, 1fr));
  align-items: start; }
.chart { padding: 6px; overflow-x: auto; text-align: center; }
.chart svg { max-width: 100%; height: auto; display: block; margin: 0 auto; }
.box { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 8px 18px; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; }
tr:last-child td { border-bottom: 0; }
th { color: var(--muted); font-weight: 600; white-space: nowrap; }
td.number, th.number { text-align: right; }
td.name { color: var(--muted); white-space: nowrap; width: 1%; }
td.value { overflow-wrap: anywhere; }
.warning { background: #fffbeb; border: 1px solid #fde68a; border-radius: 10px;
  padding: 10px 18px; margin: 0 0 10px; }
.warning b { color: #92400e; margin-right: 8px; }
details { margin-top: 14px; }
summary { cursor: pointer; padding: 12px 18px; font-weight: 600; }
details pre { margin: 0; padding: 4px 18px 16px; overflow-x: auto; font-size: 13px;
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
@media (max-width: 560px) { main { padding: 20px 12px; } .charts { grid-template-columns: 1fr; } }
@media print { body { background: #fff; } .tile, .chart, .box { break-inside: avoid; } }
)";

bool IsNumber(absl::string_view cell) {
  double value;
  absl::ConsumeSuffix(&cell, "%");
  return absl::SimpleAtod(cell, &value);
}

}  // namespace

HtmlPage::HtmlPage(absl::string_view title, absl::string_view subtitle) {
  html_ = absl::StrCat("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
                       "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
                       "<title>", XmlEscape(title), "</title>\n<style>", kStyle,
                       "</style>\n</head>\n<body>\n<main>\n<h1>", XmlEscape(title), "</h1>\n");
  if (!subtitle.empty()) {
    absl::StrAppend(&html_, "<p class=\"subtitle\">", XmlEscape(subtitle), "</p>\n");
  }
}

void HtmlPage::Section(absl::string_view heading) {
  absl::StrAppend(&html_, "<h2>", XmlEscape(heading), "</h2>\n");
}

void HtmlPage::Tiles(absl::Span<const std::pair<std::string, std::string>> tiles) {
  if (tiles.empty()) return;
  absl::StrAppend(&html_, "<div class=\"tiles\">\n");
  for (const auto& tile : tiles) {
    absl::StrAppend(&html_, "<div class=\"tile\"><div class=\"name\">", XmlEscape(tile.first),
                    "</div><div class=\"value", tile.second.size() > 16 ? " long" : "", "\">",
                    XmlEscape(tile.second), "</div></div>\n");
  }
  absl::StrAppend(&html_, "</div>\n");
}

void HtmlPage::Warning(absl::string_view name, absl::string_view text) {
  absl::StrAppend(&html_, "<div class=\"warning\"><b>", XmlEscape(name), "</b>", XmlEscape(text),
                  "</div>\n");
}

void HtmlPage::Pairs(absl::Span<const std::pair<std::string, std::string>> rows) {
  if (rows.empty()) return;
  absl::StrAppend(&html_, "<div class=\"box\"><table>\n");
  for (const auto& row : rows) {
    absl::StrAppend(&html_, "<tr><td class=\"name\">", XmlEscape(row.first),
                    "</td><td class=\"value\">", XmlEscape(row.second), "</td></tr>\n");
  }
  absl::StrAppend(&html_, "</table></div>\n");
}

void HtmlPage::Table(absl::Span<const std::string> header,
                     absl::Span<const std::vector<std::string>> rows) {
  absl::StrAppend(&html_, "<div class=\"box\"><table>\n<tr>");
  for (size_t i = 0; i < header.size(); ++i) {
    bool numbers = !rows.empty();
    for (const auto& row : rows) numbers = numbers && i < row.size() && IsNumber(row[i]);
    absl::StrAppend(&html_, numbers ? "<th class=\"number\">" : "<th>", XmlEscape(header[i]),
                    "</th>");
  }
  absl::StrAppend(&html_, "</tr>\n");
  for (const auto& row : rows) {
    absl::StrAppend(&html_, "<tr>");
    for (const std::string& cell : row) {
      absl::StrAppend(&html_, IsNumber(cell) ? "<td class=\"number\">" : "<td>", XmlEscape(cell),
                      "</td>");
    }
    absl::StrAppend(&html_, "</tr>\n");
  }
  absl::StrAppend(&html_, "</table></div>\n");
}

void HtmlPage::Charts(absl::Span<const std::string> svgs) {
  if (svgs.empty()) return;
  absl::StrAppend(&html_, "<div class=\"charts\">\n");
  for (const std::string& svg : svgs) {
    absl::StrAppend(&html_, "<div class=\"chart\">", svg, "</div>\n");
  }
  absl::StrAppend(&html_, "</div>\n");
}

void HtmlPage::Text(absl::string_view text) {
  absl::StrAppend(&html_, "<p>", XmlEscape(text), "</p>\n");
}

void HtmlPage::Folded(absl::string_view summary, absl::string_view text) {
  absl::StrAppend(&html_, "<details class=\"box\"><summary>", XmlEscape(summary), "</summary><pre>",
                  XmlEscape(text), "</pre></details>\n");
}

std::string HtmlPage::Finish() {
  absl::StrAppend(&html_, "</main>\n</body>\n</html>\n");
  return std::move(html_);
}

}  // namespace graphrun
