#include "runtime/ir/text_scanner.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

bool IsWordChar(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_'; }
bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }

}  // namespace

void TextScanner::Skip() {
  while (at_ < text_.size()) {
    if (absl::ascii_isspace(static_cast<unsigned char>(text_[at_]))) {
      ++at_;
    } else if (text_[at_] == '#') {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else {
      return;
    }
  }
}

bool TextScanner::Accept(absl::string_view word) {
  if (!Sees(word)) return false;
  at_ += word.size();
  Skip();
  return true;
}

absl::Status TextScanner::Expect(absl::string_view word) {
  return Accept(word) ? absl::OkStatus() : Error(absl::StrCat("\"", word, "\" is expected"));
}

absl::string_view TextScanner::PeekWord() const {
  if (AtEnd() || IsDigit(Peek())) return "";
  size_t end = at_;
  while (end < text_.size() && IsWordChar(text_[end])) ++end;
  return text_.substr(at_, end - at_);
}

absl::StatusOr<std::string> TextScanner::Name() {
  if (Peek() == '"') return String();
  const std::string word(PeekWord());
  if (word.empty()) return Error("a name is expected");
  at_ += word.size();
  Skip();
  return word;
}

absl::StatusOr<std::string> TextScanner::String() {
  if (Peek() != '"') return Error("a string in quotes is expected");
  std::string value;
  for (size_t i = at_ + 1; i < text_.size(); ++i) {
    if (text_[i] == '"') {
      at_ = i + 1;
      Skip();
      return value;
    }
    if (text_[i] == '\\' && i + 1 < text_.size()) {
      const char c = text_[++i];
      value += c == 'n' ? '\n' : c == 't' ? '\t' : c;
    } else {
      value += text_[i];
    }
  }
  return Error("the string has no closing quote");
}

absl::StatusOr<std::string> TextScanner::Number() {
  size_t end = at_;
  const auto at = [&](size_t i) { return i < text_.size() ? text_[i] : '\0'; };
  if (at(end) == '-' || at(end) == '+') ++end;
  const size_t digits = end;
  while (IsDigit(at(end))) ++end;
  if (at(end) == '.') ++end;
  while (IsDigit(at(end))) ++end;
  if (end > digits && (at(end) == 'e' || at(end) == 'E')) {
    size_t exponent = end + 1;
    if (at(exponent) == '-' || at(exponent) == '+') ++exponent;
    if (IsDigit(at(exponent))) {
      while (IsDigit(at(exponent))) ++exponent;
      end = exponent;
    }
  }
  if (end == digits) {
    for (const absl::string_view word : {"infinity", "inf", "nan"}) {
      if (end == digits && text_.substr(digits, word.size()) == word &&
          !IsWordChar(at(digits + word.size()))) {
        end += word.size();
      }
    }
  }
  if (end == digits) return Error("a number is expected");
  const std::string number(text_.substr(at_, end - at_));
  at_ = end;
  Skip();
  return number;
}

absl::StatusOr<int64_t> TextScanner::Int() {
  const TextScanner before = *this;
  GR_ASSIGN_OR_RETURN(const std::string number, Number());
  int64_t value = 0;
  if (!absl::SimpleAtoi(number, &value))
    return before.Error("a whole number of 64 bits is expected");
  return value;
}

int TextScanner::line() const {
  for (; counted_ < at_; ++counted_) line_ += text_[counted_] == '\n';
  return line_;
}

absl::Status TextScanner::Error(absl::string_view message) const {
  const size_t newline = at_ == 0 ? absl::string_view::npos : text_.rfind('\n', at_ - 1);
  const size_t column = newline == absl::string_view::npos ? at_ + 1 : at_ - newline;
  const std::string found =
      AtEnd()
          ? "the end"
          : absl::StrCat(
                "\"", text_.substr(at_, std::min<size_t>(text_.find_first_of("\n", at_) - at_, 20)),
                "\"");
  return ModelError("line ", line(), ", column ", column, ": ", message,
                    message.empty() || message.back() == '?' ? " " : ". ", "Found ", found);
}

}  // namespace graphrun
