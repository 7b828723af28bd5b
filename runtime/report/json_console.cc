#include "runtime/report/json_console.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "runtime/report/json.h"

namespace graphrun {
namespace {

JsonWriter Event(absl::string_view name) {
  JsonWriter w;
  w.BeginObject().Field("event", name);
  return w;
}

template <typename Pairs>
void Object(absl::string_view key, const Pairs& pairs, JsonWriter* w) {
  w->Key(key).BeginObject();
  for (const auto& pair : pairs) w->Field(pair.first, pair.second);
  w->EndObject();
}

void Send(const Terminal& terminal, JsonWriter w) {
  w.EndObject();
  terminal.Write(absl::StrCat(w.Finish(), "\n"));
}

}  // namespace

void JsonConsole::Header(absl::string_view title, absl::Span<const NamedText> rows) {
  JsonWriter w = Event("begin");
  w.Field("title", title);
  Object("rows", rows, &w);
  Send(terminal_, std::move(w));
}

void JsonConsole::BeginEpoch(int64_t epoch, int64_t epochs, int64_t steps, int64_t done) {
  StartCounting(epoch, epochs, steps, done);
}

void JsonConsole::Show(const StepInfo& info) {
  Shown();
  JsonWriter w = Event("progress");
  w.Field("epoch", epoch_).Field("epochs", epochs_).Field("step", steps_done_);
  w.Field("steps", steps_).Field("loss", info.loss).Field("lr", info.learning_rate);
  w.Field("gradient_norm", info.gradient_norm).Field("samples_per_second", SamplesPerSecond());
  w.Field("seconds_left", SecondsLeft());
  Send(terminal_, std::move(w));
}

void JsonConsole::EndEpoch(absl::Span<const NamedNumber> values) {
  JsonWriter w = Event("epoch");
  w.Field("epoch", epoch_).Field("seconds", EpochSeconds()).Field("samples", samples_done_);
  Object("values", values, &w);
  Send(terminal_, std::move(w));
}

void JsonConsole::Validation(absl::Span<const NamedNumber> values, absl::string_view monitored,
                             bool best) {
  JsonWriter w = Event("validation");
  w.Field("epoch", epoch_);
  Object("values", values, &w);
  w.Field("monitored", monitored).Field("best", best);
  Send(terminal_, std::move(w));
}

void JsonConsole::Warning(absl::string_view name, absl::string_view text) {
  JsonWriter w = Event("warning");
  w.Field("name", name).Field("text", text);
  Send(terminal_, std::move(w));
}

void JsonConsole::Note(absl::string_view text) {
  JsonWriter w = Event("note");
  w.Field("text", text);
  Send(terminal_, std::move(w));
}

void JsonConsole::Finish(absl::Span<const NamedText> rows) {
  JsonWriter w = Event("end");
  Object("rows", rows, &w);
  Send(terminal_, std::move(w));
}

}  // namespace graphrun
