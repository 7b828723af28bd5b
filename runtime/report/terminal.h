// Terminal: what the other end of a file descriptor can show, and the pieces drawn on it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace graphrun {

struct Terminal {
  int fd = 2;
  bool interactive = false;  // a terminal that understands control sequences (TERM is not "dumb")
  bool color = false;        // interactive, and NO_COLOR is unset or empty
  bool utf8 = false;         // the locale's characters are UTF-8; drawn in ASCII otherwise
  int fixed_columns = 0;     // for tests and logs; 0: ask the terminal each time

  // Looks at the descriptor and at TERM, NO_COLOR, LC_ALL, LC_CTYPE and LANG.
  static Terminal Detect(int fd);
  // The width now (TIOCGWINSZ); 80 where there is none. Between 20 and 1000.
  int Columns() const;
  // Writes all of it in one go where the system takes it; what cannot be written is dropped, since
  // a display must not stop a run.
  void Write(absl::string_view text) const;
};

enum class Paint { kPlain, kBold, kDim, kRed, kGreen, kYellow, kBlue, kCyan };

// `text` in a colour, or as it is where the terminal has none.
std::string Painted(const Terminal& terminal, Paint paint, absl::string_view text);

// A bar of `columns` characters, filled to `fraction` of [0, 1].
std::string ProgressBar(const Terminal& terminal, double fraction, int columns);

// The course of `values` in at most `columns` characters, each the mean of its share; values that
// are not finite are left blank.
std::string Sparkline(const Terminal& terminal, absl::Span<const double> values, int columns);

// A table of two columns, names and values, with a line above and below.
std::string PairTable(const Terminal& terminal,
                      absl::Span<const std::pair<std::string, std::string>> rows);

// `text` cut to `columns` characters, the last of them an ellipsis where something was lost.
std::string Clipped(const Terminal& terminal, absl::string_view text, int columns);

// Four or so digits for people: "0.2341", "12.35", "1.234e-05", "nan".
std::string HumanNumber(double value);

}  // namespace graphrun
