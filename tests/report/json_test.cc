#include "runtime/report/json.h"

#include <cmath>
#include <limits>
#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "runtime/base/status.h"
#include "runtime/report/utf8.h"

namespace graphrun {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

std::string ErrorOf(absl::string_view text) {
  return std::string(JsonValue::Parse(text).status().message());
}

TEST(JsonWriterTest, WritesNestedValuesOnOneLineOrIndented) {
  const auto write = [](int indent) {
    JsonWriter w(indent);
    w.BeginObject().Field("name", "a").Field("ok", true).Key("list").BeginArray();
    w.Int(-1).Number(0.5).Null().EndArray().Key("empty").BeginObject().EndObject().EndObject();
    return w.Finish();
  };
  EXPECT_EQ(write(0), R"({"name":"a","ok":true,"list":[-1,0.5,null],"empty":{}})");
  EXPECT_EQ(write(2), R"({
  "name": "a",
  "ok": true,
  "list": [
    -1,
    0.5,
    null
  ],
  "empty": {}
})");
}

TEST(JsonWriterTest, EscapesWhatJsonForbidsAndRepairsBrokenUtf8) {
  EXPECT_EQ(JsonQuote("a\"\\\n\t\x01é"), "\"a\\\"\\\\\\n\\t\\u0001é\"");
  EXPECT_EQ(JsonQuote("\xff"
                      "a\xc3"),
            "\"\xEF\xBF\xBD"
            "a\xEF\xBF\xBD\"");
}

TEST(JsonWriterTest, WritesNonFiniteNumbersByThePolicy) {
  EXPECT_EQ(JsonWriter().Number(kNan).Finish(), "null");
  JsonWriter w(0, JsonWriter::NonFinite::kString);
  w.BeginArray().Number(kNan).Number(kInf).Number(-kInf).EndArray();
  const std::string text = w.Finish();
  EXPECT_EQ(text, R"(["nan","inf","-inf"])");
  const auto value = JsonValue::Parse(text);
  EXPECT_TRUE(std::isnan(value->items()[0].AsNumber()));
  EXPECT_EQ(value->items()[2].AsNumber(), -kInf);
}

TEST(JsonWriterTest, NumbersReadBackAsTheSameDouble) {
  for (const double v : {0.1, 1.0 / 3, 1e300, -5e-324, 123456789012345680.0, -0.0}) {
    EXPECT_EQ(JsonValue::Parse(JsonWriter().Number(v).Finish())->AsNumber(7), v);
  }
  EXPECT_EQ(JsonValue::Parse("9223372036854775807")->AsInt(), INT64_MAX);
  EXPECT_FALSE(JsonValue::Parse("9223372036854775808")->is_int());
}

TEST(JsonReaderTest, ReadsWhatTheWriterWrote) {
  const auto v = JsonValue::Parse(R"( {"a": [1, {"b": "x\u00e9\ud83d\ude00\/"}], "c": -2.5e-1} )");
  ASSERT_TRUE(v.ok()) << v.status();
  EXPECT_EQ(v->Find("a")->items()[1].Find("b")->AsString(), "xé😀/");
  EXPECT_EQ(v->Find("c")->AsNumber(), -0.25);
  EXPECT_EQ(v->Find("d"), nullptr);
  EXPECT_EQ(v->members()[0].first, "a");
}

TEST(JsonReaderTest, SaysLineAndColumnOfAMistake) {
  EXPECT_EQ(ErrorOf("{\n  \"é\": x}"), "line 2, column 8: expected a value; found \"x\"");
  EXPECT_EQ(ErrorOf("[1 2]"), "line 1, column 4: expected , or ] in an array; found \"2\"");
  EXPECT_EQ(ErrorOf(""), "line 1, column 1: expected a value; the text ends here");
}

TEST(JsonReaderTest, RefusesWhatIsNotStrictlyJson) {
  for (const char* text :
       {"[1,]",        "{\"a\":1,}", "{a:1}",    "01",          "1.",
        ".5",          "+1",         "1e",       "-",           "nul",
        "tru",         "\"a",        "\"\\x\"",  "\"\\ud800\"", "\"\\udc00a\"",
        "\"\\u12g4\"", "\"\t\"",     "\"\xff\"", "1 1",         "{\"a\":1,\"a\":2}",
        "1e999",       "[1",         "{\"a\"",   "NaN",         "// x\n1"}) {
    EXPECT_EQ(KindOf(JsonValue::Parse(text).status()), ErrorKind::kData) << text;
  }
}

TEST(JsonReaderTest, StopsAtTheDepthLimitInsteadOfTheStack) {
  const auto nested = [](size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  EXPECT_TRUE(JsonValue::Parse(nested(JsonValue::kMaxDepth)).ok());
  EXPECT_TRUE(absl::StrContains(ErrorOf(nested(JsonValue::kMaxDepth + 1)), "nested deeper"));
  EXPECT_TRUE(absl::StrContains(ErrorOf(std::string(1 << 20, '[')), "nested deeper"));
}

TEST(JsonReaderTest, ReadsOneValueALineAndNamesTheWrongLine) {
  EXPECT_EQ(JsonValue::ParseLines("{\"a\":1}\n\n{\"a\":2}\r\n")->size(), 2u);
  EXPECT_EQ(JsonValue::ParseLines("1\n2\n[\n").status().message(),
            "line 3, column 2: expected a value; the text ends here");
}

TEST(Utf8Test, KnowsWellFormedCharacters) {
  EXPECT_EQ(Utf8Length("é"), 2);
  EXPECT_EQ(Utf8Length("😀"), 4);
  for (const char* bad : {"\x80", "\xc0\xaf", "\xed\xa0\x80", "\xe0\x80\x80", "\xf5\x80\x80\x80",
                          "\xf4\x90\x80\x80", "\xe2\x82", ""}) {
    EXPECT_EQ(Utf8Length(bad), 0) << bad;
  }
  EXPECT_EQ(TextColumns("a é\xff"), 4);
}

}  // namespace
}  // namespace graphrun
