#include "runtime/train/part_table.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"

namespace graphrun {
namespace {

namespace pb = google::protobuf;

std::string RangeText(const HyperParameter& p) {
  if (std::isinf(p.high) && std::isinf(p.low)) return "a number";
  if (std::isinf(p.high))
    return p.low_open ? absl::StrCat("above ", p.low) : absl::StrCat(p.low, " or more");
  if (std::isinf(p.low))
    return p.high_open ? absl::StrCat("below ", p.high) : absl::StrCat(p.high, " or less");
  return absl::StrCat("in ", p.low_open ? "(" : "[", p.low, ", ", p.high, p.high_open ? ")" : "]");
}

bool Contains(const HyperParameter& p, double v) {
  return (p.low_open ? v > p.low : v >= p.low) && (p.high_open ? v < p.high : v <= p.high);
}

// A name as a recipe's path and a command line can say it.
bool IsWord(absl::string_view name) {
  return !name.empty() && name.size() <= 64 && (absl::ascii_isalpha(name[0]) || name[0] == '_') &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '_' || c == '-'; });
}

// A field's value as a number; false where it is none.
bool NumberOf(const pb::Message& m, const pb::FieldDescriptor* f, double* value) {
  const pb::Reflection& r = *m.GetReflection();
  if (f->is_repeated()) return false;
  switch (f->cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_DOUBLE:
      *value = r.GetDouble(m, f);
      return true;
    case pb::FieldDescriptor::CPPTYPE_INT64:
      *value = static_cast<double>(r.GetInt64(m, f));
      return true;
    case pb::FieldDescriptor::CPPTYPE_INT32:
      *value = r.GetInt32(m, f);
      return true;
    case pb::FieldDescriptor::CPPTYPE_ENUM:
      *value = r.GetEnumValue(m, f);
      return true;
    default:
      return false;
  }
}

PartChoice PluginChoice(const pb::Message& plugin) {
  PartChoice choice;
  const pb::Reflection& r = *plugin.GetReflection();
  const pb::Descriptor& type = *plugin.GetDescriptor();
  choice.name = r.GetString(plugin, type.FindFieldByName("name"));
  const pb::FieldDescriptor* numbers = type.FindFieldByName("number");
  for (int i = 0; i < r.FieldSize(plugin, numbers); ++i) {
    const pb::Message& entry = r.GetRepeatedMessage(plugin, numbers, i);
    const pb::Reflection& e = *entry.GetReflection();
    choice.numbers[e.GetString(entry, numbers->message_type()->map_key())] =
        e.GetDouble(entry, numbers->message_type()->map_value());
  }
  return choice;
}

}  // namespace

HyperParameter HyperParameter::Decay(std::string name, double initial) {
  return {std::move(name), initial, 0, 1, false, true};
}
HyperParameter HyperParameter::Positive(std::string name, double initial) {
  return {std::move(name), initial, 0, std::numeric_limits<double>::infinity(), true, true};
}
HyperParameter HyperParameter::NotNegative(std::string name, double initial) {
  return {std::move(name), initial, 0, std::numeric_limits<double>::infinity(), false, true};
}
HyperParameter HyperParameter::Any(std::string name, double initial) {
  return {std::move(name), initial};
}

PartChoice ChoiceOf(const pb::Message& recipe) {
  PartChoice choice;
  const pb::Reflection& r = *recipe.GetReflection();
  const pb::OneofDescriptor* kinds = recipe.GetDescriptor()->FindOneofByName("kind");
  if (kinds == nullptr || !r.HasOneof(recipe, kinds)) return choice;
  const pb::FieldDescriptor* kind = r.GetOneofFieldDescriptor(recipe, kinds);
  choice.name = std::string(kind->name());
  double value = 0;
  if (kind->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) {
    if (NumberOf(recipe, kind, &value)) choice.numbers[kStrength] = value;
    return choice;
  }
  const pb::Message& message = r.GetMessage(recipe, kind);
  if (choice.name == "plugin") return PluginChoice(message);
  const pb::Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    if (NumberOf(message, type.field(i), &value))
      choice.numbers[std::string(type.field(i)->name())] = value;
  }
  return choice;
}

absl::StatusOr<std::vector<double>> ResolveNumbers(const PartInfo& part, absl::string_view path,
                                                   const std::map<std::string, double>& given) {
  std::vector<std::string> names;
  for (const HyperParameter& p : part.parameters) names.push_back(p.name);
  for (const auto& [name, value] : given) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    if (names.empty()) return UsageError(path, " takes no numbers, so no \"", name, "\"");
    std::vector<std::string> with_values;
    for (const HyperParameter& p : part.parameters)
      with_values.push_back(absl::StrCat(p.name, " (", p.initial, ")"));
    return UsageError(path, " has no number \"", name, "\".", DidYouMean(name, names), " It takes ",
                      absl::StrJoin(with_values, ", "));
  }
  std::vector<double> values;
  for (const HyperParameter& p : part.parameters) {
    const auto it = given.find(p.name);
    values.push_back(it == given.end() ? p.initial : it->second);
    if (Contains(p, values.back())) continue;
    return UsageError(path, p.name == kStrength ? "" : absl::StrCat(".", p.name), " is ",
                      values.back(), " but must be ", RangeText(p));
  }
  return values;
}

absl::Status NoSuchPart(absl::string_view field, absl::string_view name,
                        const std::vector<std::string>& names) {
  return UsageError("there is no ", field, " \"", name, "\".", DidYouMean(name, names),
                    " There are ", absl::StrJoin(names, ", "),
                    "; others come from plugins (--plugin PATH)");
}

absl::Status CheckNewPart(absl::string_view field, const PartInfo& part, const PartInfo* taken) {
  if (!IsWord(part.name)) {
    return PluginError(field, " \"", part.name,
                       "\": a name is a word of up to 64 letters, digits, _ and -");
  }
  if (taken != nullptr) {
    return PluginError(field, " \"", part.name, "\" is there already (",
                       taken->provider.empty() ? "built in" : taken->provider, ")");
  }
  std::set<std::string> names;
  for (const HyperParameter& p : part.parameters) {
    if (!IsWord(p.name) || !names.insert(p.name).second) {
      return PluginError(field, " \"", part.name, "\": the name of its number \"", p.name, "\" is ",
                         IsWord(p.name) ? "there twice" : "no word");
    }
    if (!Contains(p, p.initial)) {
      return PluginError(field, " \"", part.name, "\": ", p.name, " is ", p.initial,
                         " at first but must be ", RangeText(p));
    }
  }
  return absl::OkStatus();
}

}  // namespace graphrun
