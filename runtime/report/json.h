// JSON (RFC 8259): a streaming writer and a strict reader.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace graphrun {

// The quotes, escapes and contents of a JSON string. Bytes that are not UTF-8 become U+FFFD.
std::string JsonQuote(absl::string_view text);

// The shortest digits that read back as the same double. REQUIRES: finite.
std::string ShortestNumber(double value);

// Builds one JSON text. Wrong nesting is a bug of the caller and aborts.
//   JsonWriter w;
//   w.BeginObject().Field("step", 3).Key("loss").Number(0.5).EndObject();
class JsonWriter {
 public:
  // JSON has no NaN and no infinities.
  enum class NonFinite {
    kNull,    // null: what most readers of tables expect
    kString,  // "nan", "inf", "-inf", which JsonValue::AsNumber reads back
  };
  // `indent` spaces a level; 0 writes one line without spaces.
  explicit JsonWriter(int indent = 0, NonFinite non_finite = NonFinite::kNull)
      : indent_(indent), non_finite_(non_finite) {}

  JsonWriter& BeginObject() { return Open('{'); }
  JsonWriter& EndObject() { return Close('{', '}'); }
  JsonWriter& BeginArray() { return Open('['); }
  JsonWriter& EndArray() { return Close('[', ']'); }
  JsonWriter& Key(absl::string_view key);
  JsonWriter& String(absl::string_view value);
  JsonWriter& Int(int64_t value);
  JsonWriter& Uint(uint64_t value);
  JsonWriter& Number(double value);
  JsonWriter& Bool(bool value);
  JsonWriter& Null();
  // A value that is JSON already.
  JsonWriter& Raw(absl::string_view json);

  // The writer for a C++ type: bool, integers, floats, anything that is text, and spans of these.
  template <typename T>
  JsonWriter& Value(const T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      return Bool(value);
    } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
      return Int(value);
    } else if constexpr (std::is_integral_v<T>) {
      return Uint(value);
    } else if constexpr (std::is_floating_point_v<T>) {
      return Number(static_cast<double>(value));
    } else if constexpr (std::is_convertible_v<const T&, absl::string_view>) {
      return String(value);
    } else {
      BeginArray();
      for (const auto& item : value) Value(item);
      return EndArray();
    }
  }
  template <typename T>
  JsonWriter& Field(absl::string_view key, const T& value) {
    return Key(key).Value(value);
  }

  // The text. REQUIRES: everything that was begun is ended.
  std::string Finish();

 private:
  JsonWriter& Open(char bracket);
  JsonWriter& Close(char open, char close);
  JsonWriter& Put(absl::string_view json);
  void NewLine();

  int indent_;
  NonFinite non_finite_;
  std::string text_;
  std::string open_;  // brackets not yet closed
  bool after_key_ = false;
  bool first_ = true;  // nothing yet in the innermost bracket
};

// A JSON value read from text.
class JsonValue {
 public:
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };
  static constexpr int kMaxDepth = 64;  // arrays and objects nested in each other

  // Reads exactly one value. Strict: no comments, no trailing commas, no key twice in an object,
  // UTF-8 and escapes checked. Errors: kData, "line 3, column 7: ..." (columns count characters).
  static absl::StatusOr<JsonValue> Parse(absl::string_view text);
  // One value a line, as in metrics.jsonl; empty lines are skipped.
  static absl::StatusOr<std::vector<JsonValue>> ParseLines(absl::string_view text);

  Kind kind() const { return kind_; }
  bool is_null() const { return kind_ == Kind::kNull; }
  bool is_bool() const { return kind_ == Kind::kBool; }
  bool is_number() const { return kind_ == Kind::kNumber; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_array() const { return kind_ == Kind::kArray; }
  bool is_object() const { return kind_ == Kind::kObject; }

  bool AsBool(bool otherwise = false) const { return is_bool() ? bool_ : otherwise; }
  // Also the strings "nan", "inf", "-inf"; null is NaN; `otherwise` for everything else.
  double AsNumber(double otherwise = 0) const;
  // A number written without fraction and exponent that fits; otherwise `otherwise`.
  int64_t AsInt(int64_t otherwise = 0) const { return is_int_ ? int_ : otherwise; }
  bool is_int() const { return is_int_; }
  const std::string& AsString() const { return string_; }  // "" unless a string
  // Elements of an array, none otherwise.
  absl::Span<const JsonValue> items() const { return items_; }
  // Members of an object in the order of the text, none otherwise.
  absl::Span<const std::pair<std::string, JsonValue>> members() const { return members_; }
  // The member of that key; nullptr where there is none.
  const JsonValue* Find(absl::string_view key) const;

 private:
  friend class JsonReader;
  Kind kind_ = Kind::kNull;
  bool bool_ = false;
  bool is_int_ = false;
  double number_ = 0;
  int64_t int_ = 0;
  std::string string_;
  std::vector<JsonValue> items_;
  std::vector<std::pair<std::string, JsonValue>> members_;
};

}  // namespace graphrun
