// SQLite tables as data: format "sqlite". Options (data.option.NAME=VALUE): table (the only one
// where there is one), or query, an SQL statement that gives the rows. Columns of numbers are
// features; the target is the column that the recipe names, or one called label, target, class or
// y, else the last. A target of text or whole numbers is a class.
#include <sqlite3.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "sdk/graphrun.hpp"

namespace {

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
};
struct Finalize {
  void operator()(sqlite3_stmt* s) const { sqlite3_finalize(s); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;
using Statement = std::unique_ptr<sqlite3_stmt, Finalize>;

Database OpenDatabase(const std::string& path) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READONLY, nullptr);
  Database db(raw);
  if (code != SQLITE_OK)
    throw gr::BadInput(path + ": " + (raw ? sqlite3_errmsg(raw) : "out of memory"));
  return db;
}

Statement Compile(sqlite3* db, const std::string& path, const std::string& sql) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(db, sql.c_str(), -1, &raw, nullptr) != SQLITE_OK)
    throw gr::BadInput(path + ": " + sqlite3_errmsg(db));
  if (raw == nullptr) throw gr::BadInput(path + ": the query is empty");
  return Statement(raw);
}

std::string Quoted(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + "\"";
}

// The statement that the options ask for.
std::string QueryOf(sqlite3* db, const gr::DatasetRequest& request) {
  std::string table;
  for (const auto& [name, value] : request.options) {
    if (name == "query") return value;
    if (name != "table")
      throw gr::BadInput("sqlite has no option \"" + name + "\"; it takes table and query");
    table = value;
  }
  const Statement s = Compile(db, request.path,
                              "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') "
                              "AND name NOT LIKE 'sqlite_%' ORDER BY name");
  std::string all;
  int count = 0;
  bool found = false;
  while (sqlite3_step(s.get()) == SQLITE_ROW) {
    const std::string name(reinterpret_cast<const char*>(sqlite3_column_text(s.get(), 0)));
    if (table.empty() && count == 0) found = true;
    found = found || name == table;
    all += (count++ == 0 ? "" : ", ") + name;
  }
  if (!found || (table.empty() && count > 1)) {
    throw gr::BadInput(request.path + ": has the tables " + (count == 0 ? "(none)" : all) +
                       "; say which by data.option.table=NAME" +
                       (table.empty() ? "" : ", not \"" + table + "\""));
  }
  return "SELECT * FROM " + Quoted(table.empty() ? all : table);
}

std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    words.push_back(text.substr(begin, comma - begin));
    begin = comma + 1;
  }
  return words;
}

class Table : public gr::Rows {
 public:
  explicit Table(const gr::DatasetRequest& request) : path_(request.path) {
    const Database db = OpenDatabase(path_);
    const Statement s = Compile(db.get(), path_, QueryOf(db.get(), request));
    for (int c = 0; c < sqlite3_column_count(s.get()); ++c)
      names_.emplace_back(sqlite3_column_name(s.get(), c));
    if (names_.empty()) throw gr::BadInput(path_ + ": the query gives no rows");
    ChooseColumns(request);
    Read(db.get(), s.get());
    Describe();
  }
  const void* Column(size_t i) const override {
    if (i == 0) return features_.data();
    return classes_ ? static_cast<const void*>(labels_.data()) : targets_.data();
  }

 private:
  size_t Find(const std::string& name) const {
    const auto it = std::find(names_.begin(), names_.end(), name);
    if (it != names_.end()) return static_cast<size_t>(it - names_.begin());
    std::string all;
    for (const std::string& n : names_) all += (all.empty() ? "" : ", ") + n;
    throw gr::BadInput(path_ + ": has no column \"" + name + "\"; it has " + all);
  }
  void ChooseColumns(const gr::DatasetRequest& request) {
    if (request.target == "none") {
      has_target_ = false;
    } else if (!request.target.empty()) {
      target_ = Find(request.target);
    } else {
      target_ = names_.size() - 1;
      for (const char* usual : {"y", "class", "target", "label"}) {
        const auto it = std::find(names_.begin(), names_.end(), usual);
        if (it != names_.end()) target_ = static_cast<size_t>(it - names_.begin());
      }
    }
    for (const std::string& name : Words(request.features)) columns_.push_back(Find(name));
    for (size_t c = 0; columns_.empty() && c < names_.size(); ++c)
      if (!has_target_ || c != target_) features_of_all_.push_back(c);
    if (columns_.empty()) columns_ = features_of_all_;
    if (columns_.empty()) throw gr::BadInput(path_ + ": no column is left for the features");
  }
  [[noreturn]] void Wrong(size_t column, const char* what) const {
    throw gr::BadInput(path_ + ": row " + std::to_string(num_rows + 1) + ", column \"" +
                       names_[column] + "\": " + what);
  }
  void Read(sqlite3* db, sqlite3_stmt* s) {
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
      for (const size_t c : columns_) {
        const int type = sqlite3_column_type(s, static_cast<int>(c));
        if (type != SQLITE_INTEGER && type != SQLITE_FLOAT)
          Wrong(c, type == SQLITE_NULL ? "is NULL, not a number" : "is no number");
        features_.push_back(static_cast<float>(sqlite3_column_double(s, static_cast<int>(c))));
      }
      if (has_target_) ReadTarget(s);
      ++num_rows;
    }
    if (code != SQLITE_DONE) throw gr::BadInput(path_ + ": " + sqlite3_errmsg(db));
    if (num_rows == 0) throw gr::BadInput(path_ + ": there are no rows");
  }
  void ReadTarget(sqlite3_stmt* s) {
    const int c = static_cast<int>(target_), type = sqlite3_column_type(s, c);
    if (type == SQLITE_NULL || type == SQLITE_BLOB)
      Wrong(target_, "is NULL or bytes, not a target");
    if (type == SQLITE_TEXT) any_text_ = true;
    if (type == SQLITE_FLOAT) any_float_ = true;
    texts_.emplace_back(reinterpret_cast<const char*>(sqlite3_column_text(s, c)));
    targets_.push_back(static_cast<float>(sqlite3_column_double(s, c)));
    labels_.push_back(sqlite3_column_int64(s, c));
  }
  void Describe() {
    gr::Field x;
    x.name = "features";
    x.dims = {static_cast<int64_t>(columns_.size())};
    fields.push_back(x);
    if (!has_target_) return;
    gr::Field y;
    y.name = names_[target_];
    y.role = GR_TARGET;
    classes_ = any_text_ || !any_float_;
    if (any_text_) {
      const std::set<std::string> sorted(texts_.begin(), texts_.end());
      y.classes.assign(sorted.begin(), sorted.end());
      for (size_t i = 0; i < texts_.size(); ++i)
        labels_[i] =
            std::lower_bound(y.classes.begin(), y.classes.end(), texts_[i]) - y.classes.begin();
    }
    y.dtype = classes_ ? GR_INT64 : GR_FLOAT32;
    if (!classes_) y.dims = {1};
    fields.push_back(y);
  }

  std::string path_;
  std::vector<std::string> names_, texts_;
  std::vector<size_t> columns_, features_of_all_;
  size_t target_ = 0;
  bool has_target_ = true, any_text_ = false, any_float_ = false, classes_ = false;
  std::vector<float> features_, targets_;
  std::vector<int64_t> labels_;
};

void Declare(gr::Plugin& plugin) {
  plugin.Add(gr::Dataset("sqlite", ".db,.sqlite,.sqlite3")
                 .Doc("a table or a query of an SQLite database; options table, query")
                 .Open([](const gr::DatasetRequest& r) -> std::unique_ptr<gr::Rows> {
                   return std::make_unique<Table>(r);
                 }));
}

}  // namespace

GR_CPP_PLUGIN("sqlite", "1.0.0", "SQLite tables as data", Declare);
