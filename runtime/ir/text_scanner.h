// TextScanner: the words of the text syntax (text.h), with line and column.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace graphrun {

// Reads from the front of a text; white space and comments between words are skipped. The text must
// outlive the scanner.
class TextScanner {
 public:
  explicit TextScanner(absl::string_view text) : text_(text) { Skip(); }

  bool AtEnd() const { return at_ == text_.size(); }
  // The next character, 0 at the end.
  char Peek() const { return AtEnd() ? '\0' : text_[at_]; }
  // True where the next characters are `word`; Accept also steps behind them.
  bool Sees(absl::string_view word) const { return text_.substr(at_, word.size()) == word; }
  bool Accept(absl::string_view word);
  // An error that says what was found instead.
  absl::Status Expect(absl::string_view word);

  // A plain identifier ahead, "" where there is none; does not step.
  absl::string_view PeekWord() const;
  // An identifier, or any characters in quotes.
  absl::StatusOr<std::string> Name();
  // What stands in quotes.
  absl::StatusOr<std::string> String();
  // A number as it is written; "inf" and "nan" are numbers.
  absl::StatusOr<std::string> Number();
  absl::StatusOr<int64_t> Int();

  int line() const;
  // "line 3, column 7: message. Found \"...\"."
  absl::Status Error(absl::string_view message) const;

 private:
  void Skip();

  absl::string_view text_;
  size_t at_ = 0;
  mutable size_t counted_ = 0;  // line_ is the line there
  mutable int line_ = 1;
};

}  // namespace graphrun
