#include "runtime/train/chrome_trace.h"

#include <algorithm>

#include "runtime/report/json.h"

namespace graphrun {

std::string ChromeTrace(const Profile& profile, absl::string_view model) {
  JsonWriter json;
  json.BeginObject().Field("displayTimeUnit", "ns").Key("traceEvents").BeginArray();
  json.BeginObject().Field("name", "process_name").Field("ph", "M").Field("pid", 1);
  json.Key("args").BeginObject().Field("name", model).EndObject().EndObject();
  for (const Profile::Event& event : profile.events) {
    const Profile::Row& row = profile.rows[event.row];
    json.BeginObject().Field("name", row.label).Field("cat", row.op).Field("ph", "X");
    json.Field("ts", event.start * 1e6).Field("dur", (event.end - event.start) * 1e6);
    json.Field("pid", 1).Field("tid", 1).Key("args").BeginObject();
    json.Field("op", row.op).Field("kernel", row.kernel).Field("info", row.info);
    json.Field("step", event.row);
    if (row.multiply_adds > 0) {
      json.Field("gflops", 2e-9 * row.multiply_adds / std::max(event.end - event.start, 1e-12));
    }
    json.EndObject().EndObject();
  }
  return json.EndArray().EndObject().Finish() + "\n";
}

}  // namespace graphrun
