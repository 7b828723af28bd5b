#include "runtime/report/terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/report/utf8.h"

namespace graphrun {
namespace {

absl::string_view Environment(const char* name) {
  const char* value = getenv(name);
  return value == nullptr ? absl::string_view() : absl::string_view(value);
}

bool LocaleIsUtf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = absl::AsciiStrToLower(Environment(name));
    if (value.empty()) continue;
    return absl::StrContains(value, "utf-8") || absl::StrContains(value, "utf8");
  }
  return false;
}

std::string Repeated(absl::string_view piece, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) absl::StrAppend(&text, piece);
  return text;
}

}  // namespace

Terminal Terminal::Detect(int fd) {
  Terminal t;
  t.fd = fd;
  const absl::string_view term = Environment("TERM");
  t.interactive = isatty(fd) == 1 && term != "dumb" && !term.empty();
  t.color = t.interactive && Environment("NO_COLOR").empty();
  t.utf8 = LocaleIsUtf8();
  return t;
}

int Terminal::Columns() const {
  int columns = fixed_columns;
  winsize size{};
  if (columns == 0 && ioctl(fd, TIOCGWINSZ, &size) == 0) columns = size.ws_col;
  return columns <= 0 ? 80 : std::clamp(columns, 20, 1000);
}

void Terminal::Write(absl::string_view text) const {
  while (!text.empty()) {
    const ssize_t wrote = write(fd, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return;
    text.remove_prefix(static_cast<size_t>(wrote));
  }
}

std::string Painted(const Terminal& terminal, Paint paint, absl::string_view text) {
  constexpr std::array<const char*, 8> kCodes = {"0", "1", "2", "31", "32", "33", "34", "36"};
  if (!terminal.color || paint == Paint::kPlain || text.empty()) return std::string(text);
  return absl::StrCat("\x1b[", kCodes[static_cast<size_t>(paint)], "m", text, "\x1b[0m");
}

std::string ProgressBar(const Terminal& terminal, double fraction, int columns) {
  const double clamped = fraction >= 0 ? std::min(fraction, 1.0) : 0;
  if (!terminal.utf8) {
    const int inner = std::max(columns - 2, 1);
    const int full = static_cast<int>(clamped * inner);
    const int head = full < inner && clamped > 0 ? 1 : 0;
    return absl::StrCat("[", Repeated("=", full), Repeated(">", head),
                        Repeated(" ", inner - full - head), "]");
  }
  // Half characters double the resolution.
  const int halves = static_cast<int>(clamped * columns * 2);
  const int full = halves / 2, half = halves % 2;
  return absl::StrCat(
      Painted(terminal, Paint::kCyan, absl::StrCat(Repeated("━", full), half ? "╸" : "")),
      Painted(terminal, Paint::kDim, Repeated(terminal.color ? "━" : "┄", columns - full - half)));
}

std::string Sparkline(const Terminal& terminal, absl::Span<const double> values, int columns) {
  constexpr std::array<const char*, 8> kBlocks = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  constexpr std::array<const char*, 8> kAscii = {"_", ".", ",", "-", "~", "=", "*", "#"};
  if (columns <= 0 || values.empty()) return "";
  const size_t cells = std::min(values.size(), static_cast<size_t>(columns));
  std::vector<double> means(cells);
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (size_t i = 0; i < cells; ++i) {
    const size_t begin = values.size() * i / cells, end = values.size() * (i + 1) / cells;
    double sum = 0;
    for (size_t j = begin; j < end; ++j) sum += values[j];
    means[i] = sum / static_cast<double>(end - begin);
    if (!std::isfinite(means[i])) continue;
    low = std::min(low, means[i]);
    high = std::max(high, means[i]);
  }
  std::string text;
  for (const double mean : means) {
    if (!std::isfinite(mean)) {
      text += ' ';
      continue;
    }
    const double height = high > low ? (mean - low) / (high - low) : 0.5;
    const auto level = static_cast<size_t>(std::clamp(height * 8, 0.0, 7.0));
    text += terminal.utf8 ? kBlocks[level] : kAscii[level];
  }
  return text;
}

std::string PairTable(const Terminal& terminal,
                      absl::Span<const std::pair<std::string, std::string>> rows) {
  int names = 0, values = 0;
  for (const auto& row : rows) {
    names = std::max(names, TextColumns(row.first));
    values = std::max(values, TextColumns(row.second));
  }
  const int width = std::min(names + values + 4, terminal.Columns());
  const std::string rule = absl::StrCat(
      Painted(terminal, Paint::kDim, Repeated(terminal.utf8 ? "─" : "-", width)), "\n");
  std::string text = rule;
  for (const auto& row : rows) {
    absl::StrAppend(&text, " ", Painted(terminal, Paint::kDim, row.first),
                    std::string(static_cast<size_t>(names - TextColumns(row.first) + 2), ' '),
                    row.second, "\n");
  }
  return absl::StrCat(text, rule);
}

std::string Clipped(const Terminal& terminal, absl::string_view text, int columns) {
  if (TextColumns(text) <= columns) return std::string(text);
  std::string cut;
  for (int i = 1; i < columns; ++i) {
    const auto length = static_cast<size_t>(std::max(Utf8Length(text), 1));
    absl::StrAppend(&cut, text.substr(0, length));
    text.remove_prefix(length);
  }
  return absl::StrCat(cut, columns > 0 ? (terminal.utf8 ? "…" : "~") : "");
}

std::string HumanNumber(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  const double magnitude = std::fabs(value);
  if (magnitude != 0 && magnitude < 1e-3) return absl::StrFormat("%.3e", value);
  if (magnitude < 10) return absl::StrFormat("%.4f", value);
  if (magnitude < 1e5) return absl::StrFormat("%.*f", magnitude < 100 ? 2 : 1, value);
  return absl::StrFormat("%.3e", value);
}

}  // namespace graphrun
