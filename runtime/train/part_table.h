// PartTable: optimizers, regularizers, losses and the like by name, each with its numbers. The
// built-in ones and those of plugins stand in the same table.
#pragma once

#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace google::protobuf {
class Message;
}

namespace graphrun {

// A number that a recipe may set: "optimizer.adam.beta1".
struct HyperParameter {
  std::string name;
  double initial = 0;  // where a recipe gives none
  // The range. A bound that is "open" lies outside it.
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false, high_open = false;
  std::string summary = "";

  static HyperParameter Decay(std::string name, double initial);     // [0, 1)
  static HyperParameter Positive(std::string name, double initial);  // above 0
  static HyperParameter NotNegative(std::string name, double initial);
  static HyperParameter Any(std::string name, double initial);
};

// The parameter that a part's name alone sets: "regularizer.l2=0.1" is
// "regularizer.l2.strength=0.1".
inline constexpr char kStrength[] = "strength";

// What a recipe says of one part.
struct PartChoice {
  std::string name;  // "" where it says nothing
  std::map<std::string, double> numbers;
};

// Reads the chosen kind of a recipe's message (the oneof "kind"): its name, and its numbers with
// the recipe's defaults; for the kind "plugin" the name and the numbers that stand in it.
PartChoice ChoiceOf(const google::protobuf::Message& recipe);

// What a table knows of a part, without how to make it.
struct PartInfo {
  std::string name;
  std::string summary;   // one line
  std::string provider;  // the plugin; "": built in
  std::vector<HyperParameter> parameters;
};

// The parameters' values in their order. `path` names the part in messages: "optimizer.adam".
// Errors: kUsage for a number out of its range, or one that the part does not have (with the
// nearest).
absl::StatusOr<std::vector<double>> ResolveNumbers(const PartInfo& part, absl::string_view path,
                                                   const std::map<std::string, double>& given);

// What to say where a table lacks a name. `field`: the recipe's field, which says what it is
// ("optimizer").
absl::Status NoSuchPart(absl::string_view field, absl::string_view name,
                        const std::vector<std::string>& names);
// Refuses names that a recipe could not say, names taken, numbers without name or named twice.
// Errors: kPlugin.
absl::Status CheckNewPart(absl::string_view field, const PartInfo& part, const PartInfo* taken);

// `Context`: what a factory needs besides the numbers.
template <typename Part, typename... Context>
class PartTable {
 public:
  using Factory = std::function<absl::StatusOr<std::unique_ptr<Part>>(
      absl::Span<const double> values, Context... context)>;
  struct Row {
    PartInfo info;
    Factory make;
  };

  // `field`: of a recipe: "optimizer".
  explicit PartTable(std::string field) : field_(std::move(field)) {}

  // Errors: kPlugin where the name is taken or a declaration makes no sense; the table is then as
  // before.
  absl::Status Add(PartInfo info, Factory make) {
    const Row* taken = Find(info.name);
    absl::Status status = CheckNewPart(field_, info, taken == nullptr ? nullptr : &taken->info);
    if (status.ok()) rows_.push_back({std::move(info), std::move(make)});
    return status;
  }

  const Row* Find(absl::string_view name) const {
    for (const Row& row : rows_)
      if (name == row.info.name) return &row;
    return nullptr;
  }

  // Errors: kUsage for names and numbers, with the nearest there is; the factory's.
  absl::StatusOr<std::unique_ptr<Part>> Make(const PartChoice& choice, Context... context) const {
    const Row* row = Find(choice.name);
    if (row == nullptr) return NoSuchPart(field_, choice.name, Names());
    auto values = ResolveNumbers(row->info, field_ + "." + choice.name, choice.numbers);
    if (!values.ok()) return values.status();
    return row->make(*values, context...);
  }

  // In the order of their addition.
  const std::vector<Row>& rows() const { return rows_; }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const Row& row : rows_) names.push_back(row.info.name);
    return names;
  }

 private:
  std::string field_;
  std::vector<Row> rows_;
};

}  // namespace graphrun
