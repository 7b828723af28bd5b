#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/charconv.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/status.h"
#include "runtime/report/json.h"
#include "runtime/report/utf8.h"

namespace graphrun {

class JsonReader {
 public:
  explicit JsonReader(absl::string_view text) : text_(text) {}

  absl::StatusOr<JsonValue> ReadAll() {
    JsonValue value;
    GR_RETURN_IF_ERROR(Read(0, &value));
    SkipSpace();
    if (at_ < text_.size()) return Error("text after the end of the value");
    return value;
  }

 private:
  absl::Status Error(absl::string_view what) const { return ErrorAt(at_, what); }

  absl::Status ErrorAt(size_t at, absl::string_view what) const {
    int64_t line = 1;
    size_t start = 0;
    for (size_t i = 0; i < at && i < text_.size(); ++i) {
      if (text_[i] != '\n') continue;
      ++line;
      start = i + 1;
    }
    const int column = TextColumns(text_.substr(start, at - start)) + 1;
    return DataError("line ", line, ", column ", column, ": ", what, Received(at));
  }

  std::string Received(size_t at) const {
    if (at >= text_.size()) return "; the text ends here";
    const absl::string_view rest = text_.substr(at);
    const int length = Utf8Length(rest);
    if (length == 0) {
      return absl::StrFormat("; found byte 0x%02x", static_cast<unsigned char>(rest[0]));
    }
    return absl::StrCat("; found ", JsonQuote(rest.substr(0, static_cast<size_t>(length))));
  }

  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void SkipSpace() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  bool Take(absl::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  absl::Status Read(int depth, JsonValue* value) {
    SkipSpace();
    switch (Peek()) {
      case '{':
        return ReadObject(depth, value);
      case '[':
        return ReadArray(depth, value);
      case '"':
        value->kind_ = JsonValue::Kind::kString;
        return ReadString(&value->string_);
      case 't':
      case 'f':
        value->kind_ = JsonValue::Kind::kBool;
        value->bool_ = Peek() == 't';
        if (Take("true") || Take("false")) return absl::OkStatus();
        return Error("expected true or false");
      case 'n':
        if (Take("null")) return absl::OkStatus();
        return Error("expected null");
      default:
        return ReadNumber(value);
    }
  }

  absl::Status CheckDepth(int depth) const {
    if (depth < JsonValue::kMaxDepth) return absl::OkStatus();
    return Error(absl::StrCat("nested deeper than ", JsonValue::kMaxDepth, " levels"));
  }

  absl::Status ReadArray(int depth, JsonValue* value) {
    GR_RETURN_IF_ERROR(CheckDepth(depth));
    value->kind_ = JsonValue::Kind::kArray;
    ++at_;
    SkipSpace();
    if (Take("]")) return absl::OkStatus();
    for (;;) {
      GR_RETURN_IF_ERROR(Read(depth + 1, &value->items_.emplace_back()));
      SkipSpace();
      if (Take("]")) return absl::OkStatus();
      if (!Take(",")) return Error("expected , or ] in an array");
    }
  }

  absl::Status ReadObject(int depth, JsonValue* value) {
    GR_RETURN_IF_ERROR(CheckDepth(depth));
    value->kind_ = JsonValue::Kind::kObject;
    ++at_;
    SkipSpace();
    if (Take("}")) return absl::OkStatus();
    absl::flat_hash_set<std::string> seen;
    for (;;) {
      SkipSpace();
      if (Peek() != '"') return Error("expected a key in quotes");
      const size_t key_at = at_;
      auto& member = value->members_.emplace_back();
      GR_RETURN_IF_ERROR(ReadString(&member.first));
      if (!seen.insert(member.first).second) {
        return ErrorAt(key_at, absl::StrCat("key ", JsonQuote(member.first), " stands here twice"));
      }
      SkipSpace();
      if (!Take(":")) return Error("expected : after a key");
      GR_RETURN_IF_ERROR(Read(depth + 1, &member.second));
      SkipSpace();
      if (Take("}")) return absl::OkStatus();
      if (!Take(",")) return Error("expected , or } in an object");
    }
  }

  absl::Status ReadString(std::string* out) {
    ++at_;
    for (;;) {
      if (at_ >= text_.size()) return Error("a string without closing quote");
      const char c = text_[at_];
      if (c == '"') {
        ++at_;
        return absl::OkStatus();
      }
      if (c == '\\') {
        GR_RETURN_IF_ERROR(ReadEscape(out));
        continue;
      }
      if (static_cast<unsigned char>(c) < 0x20) return Error("a control character in a string");
      const int length = Utf8Length(text_.substr(at_));
      if (length == 0) return Error("a string that is not UTF-8");
      out->append(text_.data() + at_, static_cast<size_t>(length));
      at_ += static_cast<size_t>(length);
    }
  }

  absl::Status ReadEscape(std::string* out) {
    constexpr absl::string_view kLetters = "\"\\/bfnrt";
    constexpr absl::string_view kMeant = "\"\\/\b\f\n\r\t";
    const size_t begin = at_++;
    const size_t letter = at_ < text_.size() ? kLetters.find(text_[at_]) : absl::string_view::npos;
    if (letter != absl::string_view::npos) {
      out->push_back(kMeant[letter]);
      ++at_;
      return absl::OkStatus();
    }
    if (Peek() != 'u') return ErrorAt(begin, "an escape that JSON does not have");
    ++at_;
    uint32_t code = 0;
    GR_RETURN_IF_ERROR(ReadHex(&code));
    if (code >= 0xD800 && code < 0xDC00) {
      uint32_t low = 0;
      if (!Take("\\u")) return ErrorAt(begin, "half of a surrogate pair");
      GR_RETURN_IF_ERROR(ReadHex(&low));
      if (low < 0xDC00 || low > 0xDFFF) return ErrorAt(begin, "half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
      return ErrorAt(begin, "half of a surrogate pair");
    }
    AppendUtf8(code, out);
    return absl::OkStatus();
  }

  absl::Status ReadHex(uint32_t* code) {
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = Peek();
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return Error("expected four hexadecimal digits after \\u");
      *code = *code * 16 + static_cast<uint32_t>(digit);
    }
    return absl::OkStatus();
  }

  size_t SkipDigits() {
    const size_t begin = at_;
    while (Peek() >= '0' && Peek() <= '9') ++at_;
    return at_ - begin;
  }

  absl::Status ReadNumber(JsonValue* value) {
    const size_t begin = at_;
    Take("-");
    if (Peek() < '0' || Peek() > '9') {
      at_ = begin;
      return Error("expected a value");
    }
    if (!Take("0")) SkipDigits();
    bool whole = true;
    if (Take(".")) {
      whole = false;
      if (SkipDigits() == 0) return Error("expected a digit after the decimal point");
    }
    if (Peek() == 'e' || Peek() == 'E') {
      whole = false;
      ++at_;
      if (Peek() == '+' || Peek() == '-') ++at_;
      if (SkipDigits() == 0) return Error("expected a digit in the exponent");
    }
    const absl::string_view digits = text_.substr(begin, at_ - begin);
    value->kind_ = JsonValue::Kind::kNumber;
    const auto read =
        absl::from_chars(digits.data(), digits.data() + digits.size(), value->number_);
    if (read.ec == std::errc::result_out_of_range && std::fabs(value->number_) > 1) {
      return ErrorAt(begin, "a number beyond the range of a double");
    }
    value->is_int_ = whole && absl::SimpleAtoi(digits, &value->int_);
    return absl::OkStatus();
  }

  absl::string_view text_;
  size_t at_ = 0;
};

absl::StatusOr<JsonValue> JsonValue::Parse(absl::string_view text) {
  return JsonReader(text).ReadAll();
}

absl::StatusOr<std::vector<JsonValue>> JsonValue::ParseLines(absl::string_view text) {
  std::vector<JsonValue> values;
  for (int64_t line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    const absl::string_view one = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (one.find_first_not_of(" \t\r") == absl::string_view::npos) continue;
    auto value = Parse(one);
    if (!value.ok()) {
      // Each line is parsed as a text of its own, so its message says "line 1".
      absl::string_view what = value.status().message();
      what.remove_prefix(absl::string_view("line 1").size());
      return DataError("line ", line, what);
    }
    values.push_back(*std::move(value));
  }
  return values;
}

double JsonValue::AsNumber(double otherwise) const {
  if (is_number()) return number_;
  if (is_null() || string_ == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (string_ == "inf") return std::numeric_limits<double>::infinity();
  if (string_ == "-inf") return -std::numeric_limits<double>::infinity();
  return otherwise;
}

const JsonValue* JsonValue::Find(absl::string_view key) const {
  for (const auto& member : members_) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

}  // namespace graphrun
