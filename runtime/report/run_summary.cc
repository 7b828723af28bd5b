#include "runtime/report/run_summary.h"

#include <limits>

#include "runtime/base/status.h"
#include "runtime/report/confusion.h"
#include "runtime/report/json.h"

namespace graphrun {
namespace {

template <typename Pairs>
void PutPairs(absl::string_view key, const Pairs& pairs, JsonWriter* w) {
  w->Key(key).BeginArray();
  for (const auto& pair : pairs) {
    w->BeginObject().Field("name", pair.first).Field("value", pair.second).EndObject();
  }
  w->EndArray();
}

absl::Status WrongField(absl::string_view key, absl::string_view wanted) {
  return DataError("field \"", key, "\" is not ", wanted);
}

void GetText(const JsonValue& object, absl::string_view key, std::string* text) {
  if (const JsonValue* v = object.Find(key)) *text = v->AsString();
}

void GetInt(const JsonValue& object, absl::string_view key, int64_t* number) {
  if (const JsonValue* v = object.Find(key)) *number = v->AsInt(*number);
}

void GetNumber(const JsonValue& object, absl::string_view key, double* number) {
  if (const JsonValue* v = object.Find(key)) *number = v->AsNumber(*number);
}

// An array of {name, value}.
template <typename Value, typename Read>
absl::Status GetPairs(const JsonValue& object, absl::string_view key, Read read,
                      std::vector<std::pair<std::string, Value>>* pairs) {
  const JsonValue* list = object.Find(key);
  if (list == nullptr) return absl::OkStatus();
  for (const JsonValue& item : list->items()) {
    const JsonValue* name = item.Find("name");
    const JsonValue* value = item.Find("value");
    if (name == nullptr || value == nullptr) {
      return WrongField(key, "a list of objects with name and value");
    }
    pairs->emplace_back(name->AsString(), read(*value));
  }
  return absl::OkStatus();
}

}  // namespace

std::string RunSummary::ToJson() const {
  JsonWriter w(2);
  w.BeginObject().Field("name", name).Field("status", status).Field("monitored", monitored);
  w.Field("higher_is_better", higher_is_better).Field("best_value", best_value);
  w.Field("best_step", best_step).Field("best_epoch", best_epoch).Field("best_model", best_model);
  w.Field("steps", steps).Field("epochs", epochs).Field("seconds", seconds);
  PutPairs("results", results, &w);
  PutPairs("facts", facts, &w);
  PutPairs("warnings", warnings, &w);
  w.Field("class_names", class_names).Field("confusion", confusion).EndObject();
  return w.Finish() + "\n";
}

absl::StatusOr<RunSummary> RunSummary::FromJson(absl::string_view text) {
  GR_ASSIGN_OR_RETURN(const JsonValue json, JsonValue::Parse(text));
  if (!json.is_object()) return DataError("a run's summary is an object");
  RunSummary s;
  GetText(json, "name", &s.name);
  GetText(json, "status", &s.status);
  GetText(json, "monitored", &s.monitored);
  if (const JsonValue* v = json.Find("higher_is_better")) s.higher_is_better = v->AsBool(true);
  s.best_value = std::numeric_limits<double>::quiet_NaN();
  GetNumber(json, "best_value", &s.best_value);
  GetInt(json, "best_step", &s.best_step);
  GetInt(json, "best_epoch", &s.best_epoch);
  GetText(json, "best_model", &s.best_model);
  GetInt(json, "steps", &s.steps);
  GetInt(json, "epochs", &s.epochs);
  GetNumber(json, "seconds", &s.seconds);
  const auto as_text = [](const JsonValue& v) { return v.AsString(); };
  const auto as_number = [](const JsonValue& v) { return v.AsNumber(); };
  GR_RETURN_IF_ERROR(GetPairs(json, "results", as_number, &s.results));
  GR_RETURN_IF_ERROR(GetPairs(json, "facts", as_text, &s.facts));
  GR_RETURN_IF_ERROR(GetPairs(json, "warnings", as_text, &s.warnings));
  if (const JsonValue* names = json.Find("class_names")) {
    for (const JsonValue& name : names->items()) s.class_names.push_back(name.AsString());
  }
  if (const JsonValue* rows = json.Find("confusion")) {
    constexpr int64_t kMostSamples = int64_t{1} << 53;
    int64_t total = 0;
    const size_t n = rows->items().size();
    if (n > static_cast<size_t>(ConfusionMatrix::kMaxClasses)) {
      return WrongField("confusion", "small enough");
    }
    for (const JsonValue& row : rows->items()) {
      std::vector<int64_t>& counts = s.confusion.emplace_back();
      for (const JsonValue& count : row.items()) counts.push_back(count.AsInt(-1));
      bool sound = counts.size() == n;
      for (const int64_t count : counts) {
        sound = sound && count >= 0 && count <= kMostSamples - total;
        total += sound ? count : 0;
      }
      if (!sound) return WrongField("confusion", "a square of counts");
    }
  }
  return s;
}

}  // namespace graphrun
