#include "runtime/train/recipe.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/message.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/report/json.h"
#include "runtime/train/part_table.h"

namespace graphrun {
namespace {

namespace pb = google::protobuf;

std::vector<std::string> FieldNames(const pb::Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i) names.emplace_back(type.field(i)->name());
  return names;
}

// Names as they stand in recipes: lower case.
std::vector<std::string> EnumNames(const pb::EnumDescriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.value_count(); ++i)
    names.push_back(absl::AsciiStrToLower(std::string(type.value(i)->name())));
  return names;
}

absl::Status NoField(const pb::Descriptor& type, absl::string_view name) {
  const std::vector<std::string> names = FieldNames(type);
  return UsageError("there is no field \"", name, "\".", DidYouMean(name, names),
                    " Fields here: ", absl::StrJoin(names, ", "));
}

// ---- one scalar

absl::Status BadValue(const pb::FieldDescriptor& field, absl::string_view takes,
                      absl::string_view value) {
  return UsageError(std::string(field.name()), " takes ", takes, ", not \"", value, "\"");
}

absl::Status SetScalar(pb::Message* message, const pb::FieldDescriptor* field,
                       absl::string_view value) {
  const pb::Reflection& r = *message->GetReflection();
  const bool add = field->is_repeated();
  switch (field->cpp_type()) {
    case pb::FieldDescriptor::CPPTYPE_STRING: {
      const std::string text(value);
      add ? r.AddString(message, field, text) : r.SetString(message, field, text);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_DOUBLE: {
      double number;
      if (!absl::SimpleAtod(value, &number)) return BadValue(*field, "a number", value);
      add ? r.AddDouble(message, field, number) : r.SetDouble(message, field, number);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_INT32: {
      int32_t number;
      if (!absl::SimpleAtoi(value, &number)) return BadValue(*field, "a whole number", value);
      add ? r.AddInt32(message, field, number) : r.SetInt32(message, field, number);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_INT64: {
      int64_t number;
      if (!absl::SimpleAtoi(value, &number)) return BadValue(*field, "a whole number", value);
      add ? r.AddInt64(message, field, number) : r.SetInt64(message, field, number);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_UINT64: {
      uint64_t number;
      if (!absl::SimpleAtoi(value, &number)) {
        return BadValue(*field, "a whole number of at least 0", value);
      }
      add ? r.AddUInt64(message, field, number) : r.SetUInt64(message, field, number);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_BOOL: {
      bool flag;
      if (!absl::SimpleAtob(value, &flag)) return BadValue(*field, "true or false", value);
      add ? r.AddBool(message, field, flag) : r.SetBool(message, field, flag);
      return absl::OkStatus();
    }
    case pb::FieldDescriptor::CPPTYPE_ENUM: {
      const pb::EnumValueDescriptor* number =
          field->enum_type()->FindValueByName(absl::AsciiStrToUpper(value));
      const std::vector<std::string> names = EnumNames(*field->enum_type());
      if (number == nullptr) {
        return UsageError(std::string(field->name()), " takes one of ", absl::StrJoin(names, ", "),
                          ", not \"", value, "\".", DidYouMean(value, names));
      }
      add ? r.AddEnum(message, field, number) : r.SetEnum(message, field, number);
      return absl::OkStatus();
    }
    default:
      return InternalError("field ", std::string(field->full_name()), " has no text form");
  }
}

// The kind "plugin" of a message, a PluginOptimizer for instance; null where it has none.
const pb::FieldDescriptor* PluginKind(const pb::Descriptor& type) {
  const pb::FieldDescriptor* field = type.FindFieldByName("plugin");
  return field != nullptr && field->containing_oneof() != nullptr ? field : nullptr;
}

// Names the part of a plugin; the numbers of another one are forgotten. Whether there is such a
// part is known once plugins are loaded (TrainRegistry).
absl::Status ChoosePlugin(pb::Message* plugin, absl::string_view name) {
  const pb::Reflection& r = *plugin->GetReflection();
  const pb::FieldDescriptor* field = plugin->GetDescriptor()->FindFieldByName("name");
  if (name.empty()) return UsageError("a name is missing");
  if (r.GetString(*plugin, field) != std::string(name)) {
    r.ClearField(plugin, plugin->GetDescriptor()->FindFieldByName("number"));
    r.SetString(plugin, field, std::string(name));
  }
  return absl::OkStatus();
}

// Sets a number in the field "number" of a message.
absl::Status SetNumber(pb::Message* message, absl::string_view name, absl::string_view value) {
  const pb::FieldDescriptor* numbers = message->GetDescriptor()->FindFieldByName("number");
  pb::Message* entry = message->GetReflection()->AddMessage(message, numbers);
  GR_RETURN_IF_ERROR(SetScalar(entry, numbers->message_type()->map_key(), name));
  return Annotate(SetScalar(entry, numbers->message_type()->map_value(), value), name);
}

// What a path may say of a part that is none of the built-in ones: "optimizer.lion.beta1",
// "regularizer.orthogonal" (its strength), "loss.focal.gamma"; and "optimizer.plugin.beta1". False
// where the path is none of these.
absl::StatusOr<bool> SetOfPlugin(pb::Message* message, absl::Span<const std::string> path,
                                 absl::string_view value) {
  const pb::Descriptor& type = *message->GetDescriptor();
  if (path.size() > 2 || path[0].empty() || path[0] == "*" ||
      type.FindFieldByName(path[0]) != nullptr) {
    return false;
  }
  const pb::FieldDescriptor* name = type.FindFieldByName("name");
  const bool numbers = type.FindFieldByName("number") != nullptr;
  if (const pb::FieldDescriptor* plugin = PluginKind(type); plugin != nullptr) {
    const bool strength = path.size() == 1 && type.FindFieldByName("parameters") != nullptr;
    if (path.size() == 1 && !strength) return false;
    pb::Message* part = message->GetReflection()->MutableMessage(message, plugin);
    GR_RETURN_IF_ERROR(ChoosePlugin(part, path[0]));
    GR_RETURN_IF_ERROR(SetNumber(part, strength ? kStrength : path[1], value));
    return true;
  }
  if (!numbers || name == nullptr) return false;
  if (path.size() == 1 && type.field_count() == 2) {
    GR_RETURN_IF_ERROR(SetNumber(message, path[0], value));
    return true;
  }
  if (path.size() != 2) return false;
  GR_RETURN_IF_ERROR(ChoosePlugin(message, path[0]));
  GR_RETURN_IF_ERROR(SetNumber(message, path[1], value));
  return true;
}

// Chooses the kind of a message by its name: "adam" of an Optimizer.
absl::Status ChooseKind(pb::Message* message, const pb::FieldDescriptor* owner,
                        absl::string_view value) {
  const pb::Descriptor& type = *message->GetDescriptor();
  std::vector<std::string> kinds;
  for (int i = 0; i < type.field_count(); ++i) {
    const pb::FieldDescriptor* f = type.field(i);
    if (f->containing_oneof() == nullptr || f->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) {
      continue;
    }
    if (absl::EqualsIgnoreCase(std::string(f->name()), value)) {
      if (!message->GetReflection()->HasField(*message, f))
        message->GetReflection()->MutableMessage(message, f);
      return absl::OkStatus();
    }
    kinds.emplace_back(f->name());
  }
  const std::string name(owner->name());
  if (const pb::FieldDescriptor* plugin = PluginKind(type); plugin != nullptr) {
    return ChoosePlugin(message->GetReflection()->MutableMessage(message, plugin), value);
  }
  if (kinds.empty()) {
    return UsageError(name, " holds fields of its own: set one of ",
                      absl::StrJoin(FieldNames(type), ", "), " as ", name, ".FIELD=...");
  }
  return UsageError(name, " takes one of ", absl::StrJoin(kinds, ", "), ", not \"", value, "\".",
                    DidYouMean(value, kinds));
}

// The field that a word of a path names in `message`; "*" is the chosen kind.
absl::StatusOr<const pb::FieldDescriptor*> FindField(const pb::Message& message,
                                                     absl::string_view name) {
  const pb::Descriptor& type = *message.GetDescriptor();
  if (name != "*") {
    const pb::FieldDescriptor* field = type.FindFieldByName(std::string(name));
    if (field == nullptr) return NoField(type, name);
    return field;
  }
  std::vector<std::string> kinds;
  for (int i = 0; i < type.field_count(); ++i) {
    const pb::FieldDescriptor* field = type.field(i);
    if (field->containing_oneof() == nullptr ||
        field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) {
      continue;
    }
    if (message.GetReflection()->HasField(message, field)) return field;
    kinds.emplace_back(field->name());
  }
  return UsageError("no kind is chosen yet; choose one of ", absl::StrJoin(kinds, ", "));
}

absl::Status SetField(pb::Message* message, absl::Span<const std::string> path,
                      absl::string_view value) {
  std::string name = path[0];
  int index = -1;
  if (const size_t bracket = name.find('['); bracket != std::string::npos) {
    if (name.back() != ']' ||
        !absl::SimpleAtoi(name.substr(bracket + 1, name.size() - bracket - 2), &index) ||
        index < 0) {
      return UsageError("\"", name, "\": an element of a list is NAME[0], NAME[1], ...");
    }
    name.resize(bracket);
  }
  if (index < 0) {
    GR_ASSIGN_OR_RETURN(const bool done, SetOfPlugin(message, path, value));
    if (done) return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const pb::FieldDescriptor* field, FindField(*message, name));
  const pb::Reflection& r = *message->GetReflection();
  const bool is_message = field->cpp_type() == pb::FieldDescriptor::CPPTYPE_MESSAGE;
  if (index >= 0 && (!field->is_repeated() || !is_message)) {
    return UsageError(name, " is no list of messages: write it without [", index, "]");
  }
  if (!is_message) {
    if (path.size() > 1) return UsageError(name, " is a value; it has no field \"", path[1], "\"");
    return SetScalar(message, field, value);
  }
  if (field->is_map()) {
    if (path.size() != 2) return UsageError(name, " takes a name: ", name, ".NAME=...");
    pb::Message* entry = r.AddMessage(message, field);
    GR_RETURN_IF_ERROR(SetScalar(entry, field->message_type()->map_key(), path[1]));
    return SetScalar(entry, field->message_type()->map_value(), value);
  }
  pb::Message* inner;
  if (!field->is_repeated()) {
    inner = r.MutableMessage(message, field);
  } else if (index < 0) {
    inner = r.AddMessage(message, field);
  } else if (index < r.FieldSize(*message, field)) {
    inner = r.MutableRepeatedMessage(message, field, index);
  } else {
    return UsageError(name, " has ", r.FieldSize(*message, field), " elements, and so no [", index,
                      "]");
  }
  if (path.size() == 1) return ChooseKind(inner, field, value);
  return SetField(inner, path.subspan(1), value);
}

// ---- the text format

// What protobuf's parser says, with the nearest name behind it.
std::string WithSuggestion(absl::string_view message) {
  std::vector<absl::string_view> quoted = absl::StrSplit(message, '"');
  const pb::DescriptorPool& pool = *recipe::Recipe::descriptor()->file()->pool();
  if (absl::StrContains(message, "has no field named") && quoted.size() >= 4) {
    const pb::Descriptor* type = pool.FindMessageTypeByName(std::string(quoted[1]));
    if (type != nullptr) return std::string(NoField(*type, quoted[3]).message());
  }
  if (absl::StartsWith(message, "Unknown enumeration value") && quoted.size() >= 4) {
    const pb::FileDescriptor& file = *recipe::Recipe::descriptor()->file();
    for (int i = 0; i < file.message_type_count(); ++i) {
      const pb::FieldDescriptor* f = file.message_type(i)->FindFieldByName(std::string(quoted[3]));
      if (f == nullptr || f->cpp_type() != pb::FieldDescriptor::CPPTYPE_ENUM) continue;
      std::vector<std::string> names;
      for (int k = 0; k < f->enum_type()->value_count(); ++k)
        names.emplace_back(f->enum_type()->value(k)->name());
      return absl::StrCat(quoted[3], " takes one of ", absl::StrJoin(names, ", "), ", not \"",
                          quoted[1], "\".", DidYouMean(quoted[1], names));
    }
  }
  return std::string(message);
}

class FirstError : public pb::io::ErrorCollector {
 public:
#if GOOGLE_PROTOBUF_VERSION >= 4022000
  void RecordError(int line, pb::io::ColumnNumber column, absl::string_view message) override {
    Note(line, column, std::string(message));
  }
#else
  void AddError(int line, pb::io::ColumnNumber column, const std::string& message) override {
    Note(line, column, message);
  }
#endif
  // "line 3, column 7: ..."; "" where there was none.
  const std::string& text() const { return text_; }

 private:
  void Note(int line, int column, const std::string& message) {
    if (!text_.empty()) return;
    text_ = line < 0 ? WithSuggestion(message)
                     : absl::StrCat("line ", line + 1, ", column ", column + 1, ": ",
                                    WithSuggestion(message));
  }
  std::string text_;
};

// ---- JSON

// Where a key stands in the text: the first one behind `*at`, which moves there.
std::string PlaceOfKey(const std::string& text, const std::string& key, size_t* at) {
  const size_t found = text.find(JsonQuote(key), *at);
  if (found == std::string::npos) return "";
  *at = found;
  const auto lines =
      std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(found), '\n');
  const size_t start = found == 0 ? std::string::npos : text.rfind('\n', found - 1);
  const size_t column = start == std::string::npos ? found + 1 : found - start;
  return absl::StrCat("line ", lines + 1, ", column ", column, ": ");
}

std::string ScalarText(const JsonValue& value) {
  switch (value.kind()) {
    case JsonValue::Kind::kString:
      return value.AsString();
    case JsonValue::Kind::kBool:
      return value.AsBool() ? "true" : "false";
    case JsonValue::Kind::kNumber:
      return value.is_int() ? absl::StrCat(value.AsInt()) : ShortestNumber(value.AsNumber());
    default:
      return "";
  }
}

absl::Status ReadObject(const JsonValue& object, const std::string& text, size_t* at,
                        pb::Message* message);

absl::Status ReadMember(const JsonValue& value, const std::string& text, size_t* at,
                        const pb::FieldDescriptor* field, pb::Message* message) {
  const pb::Reflection& r = *message->GetReflection();
  if (field->is_map()) {
    for (const auto& [name, number] : value.members()) {
      pb::Message* entry = r.AddMessage(message, field);
      GR_RETURN_IF_ERROR(SetScalar(entry, field->message_type()->map_key(), name));
      GR_RETURN_IF_ERROR(SetScalar(entry, field->message_type()->map_value(), ScalarText(number)));
    }
    return absl::OkStatus();
  }
  if (value.is_array()) {
    if (!field->is_repeated()) {
      return UsageError(std::string(field->name()), " takes one value, not a list");
    }
    for (const JsonValue& item : value.items()) {
      if (item.is_array()) return UsageError(std::string(field->name()), ": a list within a list");
      GR_RETURN_IF_ERROR(ReadMember(item, text, at, field, message));
    }
    return absl::OkStatus();
  }
  if (field->cpp_type() != pb::FieldDescriptor::CPPTYPE_MESSAGE) {
    if (value.is_object() || value.is_null()) {
      return UsageError(std::string(field->name()), " takes a value, not ",
                        value.is_null() ? "null" : "an object");
    }
    return SetScalar(message, field, ScalarText(value));
  }
  pb::Message* inner =
      field->is_repeated() ? r.AddMessage(message, field) : r.MutableMessage(message, field);
  if (value.is_object()) return ReadObject(value, text, at, inner);
  return ChooseKind(inner, field, ScalarText(value));
}

// A member that is no field: {"lion": {"beta1": 0.9}} of an optimizer, {"orthogonal": 0.1} of a
// regularizer.
absl::Status ReadPluginMember(const std::string& name, const JsonValue& value,
                              pb::Message* message) {
  const auto set = [&](const std::vector<std::string>& path, const JsonValue& number) {
    auto done = SetOfPlugin(message, path, ScalarText(number));
    if (!done.ok()) return done.status();
    return *done ? absl::OkStatus() : NoField(*message->GetDescriptor(), name);
  };
  if (!value.is_object()) return set({name}, value);
  if (value.members().empty() && PluginKind(*message->GetDescriptor()) != nullptr) {
    const pb::FieldDescriptor* plugin = PluginKind(*message->GetDescriptor());
    return ChoosePlugin(message->GetReflection()->MutableMessage(message, plugin), name);
  }
  if (value.members().empty()) return NoField(*message->GetDescriptor(), name);
  for (const auto& [word, number] : value.members()) GR_RETURN_IF_ERROR(set({name, word}, number));
  return absl::OkStatus();
}

absl::Status ReadObject(const JsonValue& object, const std::string& text, size_t* at,
                        pb::Message* message) {
  for (const auto& [name, value] : object.members()) {
    const std::string place = PlaceOfKey(text, name, at);
    const pb::FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(name);
    absl::Status status = field == nullptr ? ReadPluginMember(name, value, message)
                                           : ReadMember(value, text, at, field, message);
    if (!status.ok() && !absl::StartsWith(status.message(), "line ")) {
      status = UsageError(place, std::string(status.message()));
    }
    GR_RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<recipe::Recipe> ParseRecipe(const std::string& text, absl::string_view where,
                                           bool json) {
  recipe::Recipe recipe;
  if (json) {
    const auto value = JsonValue::Parse(text);
    if (!value.ok()) return UsageError(where, ": ", std::string(value.status().message()));
    if (!value->is_object()) return UsageError(where, ": a recipe is an object: { \"data\": ... }");
    size_t at = 0;
    GR_RETURN_IF_ERROR(Annotate(ReadObject(*value, text, &at, &recipe), where));
    return recipe;
  }
  FirstError errors;
  pb::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  if (!parser.ParseFromString(text, &recipe)) {
    return UsageError(where, ": ", errors.text().empty() ? "is no recipe" : errors.text());
  }
  return recipe;
}

absl::StatusOr<recipe::Recipe> LoadRecipe(const std::string& path) {
  constexpr int64_t kMostBytes = int64_t{1} << 24;
  GR_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMostBytes));
  return ParseRecipe(text, path, absl::EndsWithIgnoreCase(path, ".json"));
}

absl::Status SetRecipeField(recipe::Recipe* recipe, absl::string_view path,
                            absl::string_view value) {
  const std::vector<std::string> words = absl::StrSplit(path, '.');
  return Annotate(SetField(recipe, words, value), path);
}

absl::Status ApplyAssignment(recipe::Recipe* recipe, absl::string_view assignment) {
  const size_t equals = assignment.find('=');
  if (equals == absl::string_view::npos || equals == 0) {
    return UsageError("\"", assignment, "\" is no assignment; write optimizer.adam.beta1=0.95");
  }
  return SetRecipeField(recipe, assignment.substr(0, equals), assignment.substr(equals + 1));
}

std::string PrintRecipe(const recipe::Recipe& recipe) {
  std::string text;
  pb::TextFormat::Printer printer;
  printer.SetUseShortRepeatedPrimitives(true);
  printer.PrintToString(recipe, &text);
  return text;
}

}  // namespace graphrun
