#include <charconv>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/status.h"
#include "runtime/report/json.h"
#include "runtime/report/utf8.h"

namespace graphrun {

std::string JsonQuote(absl::string_view text) {
  std::string quoted = "\"";
  quoted.reserve(text.size() + 2);
  for (const char c : ValidUtf8(text)) {
    switch (c) {
      case '"':
        quoted += "\\\"";
        break;
      case '\\':
        quoted += "\\\\";
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\r':
        quoted += "\\r";
        break;
      case '\t':
        quoted += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          quoted += absl::StrFormat("\\u%04x", static_cast<unsigned>(c));
        } else {
          quoted += c;
        }
    }
  }
  quoted += '"';
  return quoted;
}

std::string ShortestNumber(double value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  return std::string(digits, end);
}

JsonWriter& JsonWriter::Open(char bracket) {
  Put(absl::string_view(&bracket, 1));
  open_.push_back(bracket);
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::Close(char open, char close) {
  GR_CHECK(!open_.empty() && open_.back() == open && !after_key_);
  open_.pop_back();
  if (!first_) NewLine();
  text_.push_back(close);
  first_ = false;
  return *this;
}

JsonWriter& JsonWriter::Key(absl::string_view key) {
  GR_CHECK(!open_.empty() && open_.back() == '{' && !after_key_);
  if (!first_) text_.push_back(',');
  NewLine();
  absl::StrAppend(&text_, JsonQuote(key), indent_ > 0 ? ": " : ":");
  after_key_ = true;
  first_ = false;
  return *this;
}

JsonWriter& JsonWriter::Put(absl::string_view json) {
  if (after_key_) {
    after_key_ = false;
  } else {
    GR_CHECK(open_.empty() ? text_.empty() : open_.back() == '[');
    if (!first_) text_.push_back(',');
    if (!open_.empty()) NewLine();
  }
  first_ = false;
  text_.append(json.data(), json.size());
  return *this;
}

void JsonWriter::NewLine() {
  if (indent_ == 0) return;
  text_.push_back('\n');
  text_.append(open_.size() * static_cast<size_t>(indent_), ' ');
}

JsonWriter& JsonWriter::String(absl::string_view value) { return Put(JsonQuote(value)); }
JsonWriter& JsonWriter::Int(int64_t value) { return Put(absl::StrCat(value)); }
JsonWriter& JsonWriter::Uint(uint64_t value) { return Put(absl::StrCat(value)); }
JsonWriter& JsonWriter::Bool(bool value) { return Put(value ? "true" : "false"); }
JsonWriter& JsonWriter::Null() { return Put("null"); }
JsonWriter& JsonWriter::Raw(absl::string_view json) { return Put(json); }

JsonWriter& JsonWriter::Number(double value) {
  if (std::isfinite(value)) return Put(ShortestNumber(value));
  if (non_finite_ == NonFinite::kNull) return Null();
  return String(std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
}

std::string JsonWriter::Finish() {
  GR_CHECK(open_.empty() && !after_key_);
  return std::move(text_);
}

}  // namespace graphrun
