#include <gtest/gtest.h>
#include <sqlite3.h>

#include <cstdio>

#include "absl/strings/match.h"
#include "runtime/base/status.h"
#include "runtime/data/open.h"
#include "tests/plugins/loaded.h"

namespace graphrun {
namespace {

// A database file with what the statements make.
std::string Database(const std::string& name, const std::string& sql) {
  const std::string path = testing::TempDir() + "/" + name + ".db";
  std::remove(path.c_str());
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  char* message = nullptr;
  EXPECT_EQ(sqlite3_exec(db, sql.c_str(), nullptr, nullptr, &message), SQLITE_OK) << message;
  sqlite3_close(db);
  return path;
}

class SqliteTest : public testing::Test {
 protected:
  absl::StatusOr<std::shared_ptr<const Dataset>> Open(const std::string& path,
                                                      DataOptions options = {}) {
    return OpenDataset(path, options, loaded_.parts.formats());
  }
  void ExpectRefusal(const std::string& path, const DataOptions& options, const char* words) {
    const absl::Status status = Open(path, options).status();
    EXPECT_FALSE(status.ok());
    EXPECT_TRUE(absl::StrContains(status.message(), words)) << status.message();
  }
  static std::vector<double> Row(const Dataset& d, int64_t row) {
    std::vector<Tensor> out;
    for (const Field& f : d.fields()) out.push_back(Tensor(f.dtype, f.dims));
    EXPECT_TRUE(d.Get(row, absl::MakeSpan(out)).ok());
    std::vector<double> values;
    for (const Tensor& t : out)
      for (int64_t i = 0; i < t.num_elements(); ++i) values.push_back(t.AsDouble(i));
    return values;
  }
  Loaded loaded_{{"sqlite"}};
};

const char kFlowers[] =
    "CREATE TABLE flowers (length REAL, width REAL, species TEXT);"
    "INSERT INTO flowers VALUES (5.1, 3, 'rose'), (4, 2.5, 'aster'), (6, 1, 'rose');";

TEST_F(SqliteTest, ATableWithTextAsItsLastColumnHasClasses) {
  const auto d = Open(Database("flowers", kFlowers));
  ASSERT_TRUE(d.ok()) << d.status().message();
  EXPECT_EQ((*d)->size(), 3);
  ASSERT_EQ((*d)->fields().size(), 2u);
  EXPECT_EQ((*d)->fields()[0].dims, Dims{2});
  EXPECT_EQ((*d)->fields()[1].classes, (std::vector<std::string>{"aster", "rose"}));
  EXPECT_EQ(Row(**d, 1), (std::vector<double>{4, 2.5, 0}));
}

TEST_F(SqliteTest, TheTargetAndTheFeaturesCanBeNamed) {
  DataOptions options;
  options.target = "length";
  options.features = "width";
  const auto d = Open(Database("named", kFlowers), options);
  ASSERT_TRUE(d.ok()) << d.status().message();
  EXPECT_EQ((*d)->fields()[1].dtype, DType::kFloat32);
  EXPECT_EQ(Row(**d, 2), (std::vector<double>{1, 6}));
}

TEST_F(SqliteTest, AQueryChoosesTheRows) {
  DataOptions options;
  options.extra["query"] = "SELECT width, 2 * length AS y FROM flowers WHERE species = 'rose'";
  const auto d = Open(Database("query", kFlowers), options);
  ASSERT_TRUE(d.ok()) << d.status().message();
  EXPECT_EQ((*d)->size(), 2);
}

TEST_F(SqliteTest, WhatIsWrongIsSaidWithItsPlace) {
  const std::string path = Database("wrong", std::string(kFlowers) +
                                                 "CREATE TABLE empty (a REAL, b REAL);"
                                                 "CREATE TABLE holes (a REAL, b INTEGER);"
                                                 "INSERT INTO holes VALUES (1, 2), (NULL, 3);");
  ExpectRefusal(path, {}, "empty, flowers, holes");
  DataOptions options;
  options.extra["table"] = "flower";
  ExpectRefusal(path, options, "not \"flower\"");
  options.extra["table"] = "empty";
  ExpectRefusal(path, options, "there are no rows");
  options.extra["table"] = "holes";
  ExpectRefusal(path, options, "row 2, column \"a\"");
  options.extra["table"] = "flowers";
  options.target = "colour";
  ExpectRefusal(path, options, "length, width, species");
  options.extra["tabel"] = "flowers";
  ExpectRefusal(path, options, "no option \"tabel\"");
}

TEST_F(SqliteTest, WhatIsNoDatabaseIsRefused) {
  const std::string path = testing::TempDir() + "/text.db";
  std::FILE* file = std::fopen(path.c_str(), "w");
  std::fputs("this is text, and more of it than a header takes, so that SQLite looks at it\n",
             file);
  std::fclose(file);
  DataOptions options;
  options.format = "sqlite";
  ExpectRefusal(path, options, "text.db");
}

}  // namespace
}  // namespace graphrun
