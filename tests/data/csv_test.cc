#include "runtime/data/csv.h"

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "runtime/base/rng.h"
#include "runtime/data/open.h"
#include "tests/data/files.h"

namespace graphrun {
namespace {

using testing_files::Row;
using Doubles = std::vector<double>;

// The records of a text, each field in brackets.
std::string Records(const std::string& text, char delimiter = 0) {
  const std::string path = testing_files::Write(testing_files::NewFolder(), "t.csv", text);
  auto reader = CsvReader::Open(*OpenFileStream(path), delimiter);
  EXPECT_TRUE(reader.ok());
  std::string out;
  std::vector<absl::string_view> fields;
  while (true) {
    const auto more = (*reader)->Next(&fields);
    if (!more.ok()) {
      const std::string message(more.status().message());
      return out + "error" + message.substr(path.size());
    }
    if (!*more) return out;
    if (!out.empty()) out += " ";
    out += std::to_string((*reader)->line());
    for (const absl::string_view field : fields) absl::StrAppend(&out, "[", field, "]");
  }
}

absl::StatusOr<std::shared_ptr<const Dataset>> Open(const std::string& text,
                                                    const DataOptions& options = {},
                                                    const std::string& name = "t.csv") {
  return OpenDataset(testing_files::Write(testing_files::NewFolder(), name, text), options);
}

// The message of the error, without the path.
std::string Error(const std::string& text, const DataOptions& options = {},
                  ErrorKind kind = ErrorKind::kData) {
  const auto d = Open(text, options);
  EXPECT_FALSE(d.ok());
  EXPECT_EQ(KindOf(d.status()), kind) << d.status();
  const std::string message(d.status().message());
  const size_t name = message.find("t.csv: ");
  return name == std::string::npos ? message : message.substr(name + 7);
}

TEST(CsvReaderTest, SplitsLinesOfEveryKind) {
  EXPECT_EQ(Records("a,b\n1,2\r\n3,4"), "1[a][b] 2[1][2] 3[3][4]");
  EXPECT_EQ(Records("a,b\r1,2\r"), "1[a][b] 2[1][2]");
  EXPECT_EQ(Records("\n\na,b\n\n1,2\n\n"), "3[a][b] 5[1][2]");
  EXPECT_EQ(Records("\xEF\xBB\xBF"
                    "a,b"),
            "1[a][b]");
  EXPECT_EQ(Records("a,,b,\n"), "1[a][][b][]");
  EXPECT_EQ(Records(" a , b c \n"), "1[a][b c]");
  EXPECT_EQ(Records(""), "");
}

TEST(CsvReaderTest, QuotedFieldsHoldAnything) {
  EXPECT_EQ(Records("\"a,b\",\"say \"\"hi\"\"\"\n1,2"), "1[a,b][say \"hi\"] 2[1][2]");
  EXPECT_EQ(Records("\"a\nb\",c\nd,e"), "1[a\nb][c] 3[d][e]");
  EXPECT_EQ(Records("\"\",\" x \""), "1[][ x ]");
}

TEST(CsvReaderTest, FindsTheDelimiter) {
  EXPECT_EQ(Records("a;b\n1,5;2,5\n"), "1[a][b] 2[1,5][2,5]");
  EXPECT_EQ(Records("a\tb c\n1\t2\n"), "1[a][b c] 2[1][2]");
  EXPECT_EQ(Records("a|b\n1|2\n"), "1[a][b] 2[1][2]");
  EXPECT_EQ(Records("a\t\tb\n1\t2\t\n"), "1[a][][b] 2[1][2][]");
  EXPECT_EQ(Records("\"x;y;z\",b\n\"p;q;r\",2\n"), "1[x;y;z][b] 2[p;q;r][2]");
  EXPECT_EQ(Records("a;b,c\n", ';'), "1[a][b,c]");
}

TEST(CsvReaderTest, DamagedTextIsNamedWithItsLine) {
  EXPECT_EQ(Records("a,b\n1,\"2\n"), "1[a][b]error: line 2: a quote (\") is never closed");
  EXPECT_TRUE(absl::StartsWith(Records("a,b\n1,\"2\"3\n"),
                               "1[a][b]error: line 2: column 2: there is text after the closing"));
  EXPECT_TRUE(absl::StrContains(Records(std::string("a,\0b\n", 5)), "holds a null byte"));
}

TEST(CsvReaderTest, LongRecordsCrossTheBuffer) {
  std::string text = "first\n";
  std::string expected = "1[first] 2";
  for (int i = 0; i < 100000; ++i) {
    text += (i == 0 ? "" : ",") + std::to_string(i);
    expected += "[" + std::to_string(i) + "]";
  }
  EXPECT_EQ(Records(text + "\n", ','), expected);
}

TEST(CsvReaderTest, NumbersAreParsedInFull) {
  double v = 0;
  for (const auto& good : std::vector<std::pair<std::string, double>>{
           {"1", 1}, {"-2.5e3", -2500}, {"+7", 7}, {".5", 0.5}, {"1e-400", 0}}) {
    EXPECT_TRUE(ParseNumber(good.first, &v)) << good.first;
    EXPECT_EQ(v, good.second);
  }
  for (const char* bad : {"", "x", "1x", "1 2", "+", "+-1", "0x10", "--1", "1,5"}) {
    EXPECT_FALSE(ParseNumber(bad, &v)) << bad;
  }
}

TEST(CsvDatasetTest, ReadsFeaturesAndTheLastColumnAsLabels) {
  const auto d = Open("a,b,kind\n1,2.5,0\n3,4,2\n");
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ((*d)->size(), 2);
  EXPECT_EQ((*d)->fields()[0].dims, (Dims{2}));
  EXPECT_EQ((*d)->fields()[1].name, "kind");
  EXPECT_EQ((*d)->fields()[1].dtype, DType::kInt64);
  EXPECT_EQ(Row(**d, 0, 0), (Doubles{1, 2.5}));
  EXPECT_EQ(Row(**d, 1, 1), (Doubles{2}));
  EXPECT_TRUE((*d)->fields()[1].classes.empty());
}

TEST(CsvDatasetTest, AUsualNameMarksTheTargetWhereverItStands) {
  const auto d = Open("Label,a\n1,10\n0,20\n");
  ASSERT_TRUE(d.ok());
  EXPECT_EQ(Row(**d, 0, 0), (Doubles{10}));
  EXPECT_EQ(Row(**d, 0, 1), (Doubles{1}));
}

TEST(CsvDatasetTest, TextLabelsBecomeIndexesOfSortedNames) {
  const auto d = Open("5.1,3.5,setosa\n6,2,virginica\n5,3,setosa\n7,1,\"iris, other\"\n");
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ((*d)->size(), 4);
  EXPECT_EQ((*d)->fields()[1].classes,
            (std::vector<std::string>{"iris, other", "setosa", "virginica"}));
  EXPECT_EQ(Row(**d, 0, 1), (Doubles{1}));
  EXPECT_EQ(Row(**d, 1, 1), (Doubles{2}));
  EXPECT_EQ(Row(**d, 3, 1), (Doubles{0}));
}

TEST(CsvDatasetTest, KnownClassesKeepTheirIndexes) {
  DataOptions options;
  options.classes = {"setosa", "versicolor", "virginica"};
  const auto d = Open("5,3,virginica\n6,2,setosa\n", options);
  ASSERT_TRUE(d.ok());
  EXPECT_EQ(Row(**d, 0, 1), (Doubles{2}));
  EXPECT_EQ((*d)->fields()[1].classes.size(), 3u);
  EXPECT_EQ(Error("5,3,virginica\n6,2,setos\n", options),
            "row 1: the label \"setos\" is none of the classes setosa, versicolor, virginica. Did "
            "you mean \"setosa\"?");
}

TEST(CsvDatasetTest, NumbersThatAreNoIndexesBecomeClassesWhereClassesAreWanted) {
  DataOptions options;
  options.target_kind = TargetKind::kClass;
  const auto counted = Open("5,1\n5,3\n5,2\n", options);
  EXPECT_EQ(Row(**counted, 1, 1), (Doubles{2}));
  EXPECT_EQ((*counted)->fields()[1].classes, (std::vector<std::string>{"1", "2", "3"}));
  const auto signs = Open("5,1\n5,-1\n", options);
  EXPECT_EQ(Row(**signs, 0, 1), (Doubles{1}));
  EXPECT_EQ((*signs)->fields()[1].classes, (std::vector<std::string>{"-1", "1"}));
  // Indexes with a gap are indexes all the same: the class in the gap has no row here.
  const auto gap = Open("5,0\n5,10\n5,2\n", options);
  EXPECT_EQ(Row(**gap, 1, 1), (Doubles{10}));
  EXPECT_TRUE((*gap)->fields()[1].classes.empty());
}

TEST(CsvDatasetTest, ValuesAndSeveralTargetsAreFloats) {
  const auto one = Open("1,2.5\n3,4\n");
  EXPECT_EQ((*one)->fields()[1].dtype, DType::kFloat32);
  EXPECT_EQ((*one)->fields()[1].dims, (Dims{1}));
  EXPECT_EQ(Row(**one, 0, 1), (Doubles{2.5}));
  DataOptions options;
  options.target_kind = TargetKind::kValue;
  EXPECT_EQ((*Open("1,2\n3,4\n", options))->fields()[1].dtype, DType::kFloat32);
  options = DataOptions();
  options.target = "y1..y3";
  const auto many = Open("y1,a,y2,y3\n1,2,0,1\n", {.target = "y1,y2..y3"});
  ASSERT_TRUE(many.ok()) << many.status();
  EXPECT_EQ((*many)->fields()[1].dims, (Dims{3}));
  EXPECT_EQ(Row(**many, 0, 1), (Doubles{1, 0, 1}));
  EXPECT_EQ(Row(**many, 0, 0), (Doubles{2}));
}

TEST(CsvDatasetTest, ColumnsAreChosenByNameIndexAndRange) {
  DataOptions options;
  options.target = "0";
  options.features = "c,a";
  const std::string text = "k,a,b,c\n9,1,x,3\n";
  const auto named = Open(text, options);
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_EQ(Row(**named, 0, 0), (Doubles{3, 1}));
  options.target = "none";
  options.features = "-1";
  const auto only = Open(text, options);
  EXPECT_EQ((*only)->fields().size(), 1u);
  EXPECT_EQ(Row(**only, 0, 0), (Doubles{3}));
  options = DataOptions();
  options.target = "k";
  options.inputs = {{"left", "a"}, {"right", "c"}};
  const auto inputs = Open(text, options);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_EQ((*inputs)->fields()[1].name, "right");
  EXPECT_EQ(Row(**inputs, 0, 1), (Doubles{3}));
}

TEST(CsvDatasetTest, ColumnsThatAreNotThereAreNamedWithSuggestions) {
  const std::string text = "width,height,kind\n1,2,0\n";
  EXPECT_EQ(Error(text, {.target = "knd"}, ErrorKind::kUsage),
            "target: there is no column \"knd\"; there are 3, from \"width\" to \"kind\". Did you "
            "mean \"kind\"?");
  EXPECT_TRUE(absl::StrContains(Error(text, {.target = "3"}, ErrorKind::kUsage), "no column 3"));
  EXPECT_TRUE(absl::StrContains(Error("1,2\n", {.target = "kind"}, ErrorKind::kUsage), "no names"));
  EXPECT_TRUE(absl::StrContains(
      Error(text, {.target = "kind", .features = "width,kind"}, ErrorKind::kUsage),
      "both a feature and the target"));
  EXPECT_TRUE(
      absl::StrContains(Error(text, {.features = "width,0"}, ErrorKind::kUsage), "named twice"));
  EXPECT_TRUE(absl::StrContains(Error(text, {.features = "height..width"}, ErrorKind::kUsage),
                                "backwards"));
}

TEST(CsvDatasetTest, HeadersAreDetected) {
  EXPECT_EQ((*Open("1,2\n3,4\n"))->size(), 2);
  EXPECT_EQ((*Open("a,b\n3,4\n"))->size(), 1);
  EXPECT_EQ((*Open("0,1,target\n5,6,0\n7,8,1\n"))->size(), 2);
  EXPECT_EQ((*Open("x,kind\n5,a\n"))->fields()[1].name, "kind");
  DataOptions options;
  options.header = DataOptions::Header::kYes;
  EXPECT_EQ((*Open("1,2\n3,4\n", options))->size(), 1);
  EXPECT_EQ(Error("a,b\n", {}), "has a header, but no rows");
}

TEST(CsvDatasetTest, WhatIsWrongIsNamedWithRowAndColumn) {
  EXPECT_EQ(Error("a,b,y\n1,2,0\n1,2\n"), "row 1 (line 3) has 2 columns, but the first has 3");
  EXPECT_TRUE(absl::StartsWith(Error("a,b,y\n1,2,0\n1,red,0\n"),
                               "row 1 (line 3), column 1 \"b\": \"red\" is text where a number"));
  EXPECT_TRUE(absl::StartsWith(Error("1,2,0\n1,,0\n"),
                               "row 1 (line 2), column 1: is empty where a number"));
  EXPECT_TRUE(absl::StartsWith(Error("a,y\n1,0\nNaN,0\n"),
                               "row 1 (line 3), column 0 \"a\": \"NaN\" is a missing value where"));
  EXPECT_TRUE(absl::StartsWith(Error("a,y\n1,0\ninf,0\n"),
                               "row 1 (line 3), column 0 \"a\": inf is no finite number"));
  EXPECT_TRUE(
      absl::StrContains(Error("a,y\n1,0\n1e39,0\n"), "1e39 is no finite number of float32"));
  EXPECT_TRUE(
      absl::StartsWith(Error("a,y\n1,0\n1,x\n"), "row 1 (line 3), column 1 \"y\": \"x\" is text"));
  EXPECT_TRUE(absl::StrContains(Error("a,y\n1,x\n1,\n"), "the label is empty"));
  EXPECT_EQ(Error("\n\n"), "is empty");
  EXPECT_TRUE(absl::StrContains(Error("1\n2\n"), "none is left for the features"));
}

TEST(CsvDatasetTest, ReadsCompressedFiles) {
  const auto d =
      Open(testing_files::Gzip("a,b\n1,2\n") + testing_files::Gzip("3,4\n"), {}, "t.csv.gz");
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ((*d)->size(), 2);
  EXPECT_EQ(Row(**d, 1, 0), (Doubles{3}));
}

TEST(CsvDatasetTest, CompressedFilesCutOffAnywhereAreRefused) {
  const std::string whole = testing_files::Gzip("a,b\n1,2\n3,4\n");
  for (size_t size = 2; size < whole.size(); ++size) {
    EXPECT_FALSE(Open(whole.substr(0, size), {.format = "csv"}).ok()) << size;
  }
}

TEST(CsvDatasetTest, TextChangedAnywhereNeverCrashes) {
  const std::string whole = "a,\"b \"\"x\"\"\",kind\r\n1,2,\"red\"\r\n3,4e2,blue\r\n\n5,6,red\n";
  ASSERT_TRUE(Open(whole).ok());
  const std::string folder = testing_files::NewFolder();
  Rng rng(6);
  for (int k = 0; k < 3000; ++k) {
    std::string changed = whole.substr(0, 1 + rng.Below(whole.size()));
    for (int n = 0; n < 3; ++n) {
      constexpr char kNasty[] = "\",\n\r\t;|-+.e0\0\xff ";
      changed[rng.Below(changed.size())] = kNasty[rng.Below(sizeof(kNasty))];
    }
    OpenDataset(testing_files::Write(folder, "t.csv", changed), {.format = "csv"}).IgnoreError();
  }
}

TEST(CsvDatasetTest, MemoryIsBounded) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += "1,2\n";
  EXPECT_TRUE(absl::StrContains(Error(text, {.max_bytes = 8000}, ErrorKind::kLimit), "7.8 KiB"));
}

}  // namespace
}  // namespace graphrun
