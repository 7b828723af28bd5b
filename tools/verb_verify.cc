#include <chrono>
#include <cstdio>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/report/json.h"
#include "tools/output.h"
#include "tools/pattern.h"
#include "tools/registry.h"
#include "tools/verbs.h"
#include "tools/verify_case.h"
#include "tools/worker.h"

namespace graphrun::cli {
namespace {

// kRandom: the model draws random numbers; types and sizes agree.
enum class Verdict { kPass, kFail, kError, kCrash, kTimeout, kRandom };
constexpr const char* kVerdicts[] = {"pass", "FAIL", "error", "CRASH", "timeout", "random"};
constexpr const char* kJsonVerdicts[] = {"pass", "fail", "error", "crash", "timeout", "random"};

struct Row {
  std::string name;
  Verdict verdict = Verdict::kPass;
  std::string message;
  double seconds = 0;
};

// What a worker sends: the error's kind, a blank, the message.
std::string Encode(const absl::StatusOr<bool>& result) {
  const absl::Status& status = result.status();
  if (result.ok() && !*result) {
    return "-1 draws random numbers: only types and sizes were compared, and agree";
  }
  return absl::StrCat(static_cast<int>(KindOf(status)), " ", std::string(status.message()));
}

Row Decode(const std::string& name, const JobResult& result) {
  Row row{name, Verdict::kPass, result.text, result.seconds};
  if (result.state == JobResult::State::kTimeout) {
    row.verdict = Verdict::kTimeout;
  } else if (result.state == JobResult::State::kCrashed) {
    row.verdict = Verdict::kCrash;
  } else {
    const size_t blank = result.text.find(' ');
    int kind = static_cast<int>(ErrorKind::kInternal);
    if (blank == std::string::npos || !absl::SimpleAtoi(result.text.substr(0, blank), &kind)) {
      kind = static_cast<int>(ErrorKind::kInternal);
    }
    row.message = blank == std::string::npos ? "" : result.text.substr(blank + 1);
    row.verdict = kind < 0                                        ? Verdict::kRandom
                  : kind == static_cast<int>(ErrorKind::kNone)    ? Verdict::kPass
                  : kind == static_cast<int>(ErrorKind::kNumeric) ? Verdict::kFail
                                                                  : Verdict::kError;
  }
  return row;
}

std::string Milliseconds(double seconds) { return absl::StrFormat("%.1f ms", seconds * 1e3); }

void PrintRow(const Row& row) {
  Print(absl::StrFormat("%-7s %s", kVerdicts[static_cast<int>(row.verdict)], row.name));
  if (row.verdict == Verdict::kPass) {
    Print("  ", Milliseconds(row.seconds), "\n");
  } else {
    Print("\n        ", absl::StrReplaceAll(row.message, {{"\n", "\n        "}}), "\n");
  }
}

std::string XmlText(absl::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\t' ? '?' : c;
    }
  }
  return out;
}

std::string JUnit(const std::vector<Row>& rows, const std::vector<int>& counts, double seconds) {
  std::string xml = absl::StrFormat(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"graphrun verify\" "
      "tests=\"%d\" "
      "failures=\"%d\" errors=\"%d\" time=\"%.3f\">\n",
      rows.size(), counts[1], counts[2] + counts[3] + counts[4], seconds);
  for (const Row& row : rows) {
    const std::string folder = FolderOf(row.name);
    absl::StrAppend(&xml, "  <testcase classname=\"", XmlText(folder), "\" name=\"",
                    XmlText(BaseName(row.name)), "\" time=\"", absl::StrFormat("%.6f", row.seconds),
                    "\"");
    if (row.verdict == Verdict::kPass || row.verdict == Verdict::kRandom) {
      xml += "/>\n";
      continue;
    }
    const char* element = row.verdict == Verdict::kFail ? "failure" : "error";
    absl::StrAppend(&xml, "><", element, " type=\"", kJsonVerdicts[static_cast<int>(row.verdict)],
                    "\" message=\"", XmlText(row.message), "\"/></testcase>\n");
  }
  return xml + "</testsuite>\n";
}

std::string Report(const std::vector<Row>& rows, const std::vector<int>& counts, double seconds) {
  JsonWriter json(2);
  json.BeginObject().Key("cases").BeginArray();
  for (const Row& row : rows) {
    json.BeginObject()
        .Field("name", row.name)
        .Field("result", kJsonVerdicts[static_cast<int>(row.verdict)]);
    if (row.verdict != Verdict::kPass) json.Field("message", row.message);
    json.Field("seconds", row.seconds).EndObject();
  }
  json.EndArray().Field("total", rows.size());
  for (size_t i = 0; i < counts.size(); ++i) json.Field(kJsonVerdicts[i], counts[i]);
  return json.Field("seconds", seconds).EndObject().Finish() + "\n";
}

absl::StatusOr<VerifyOptions> ReadOptions(const Flags& flags) {
  VerifyOptions options;
  GR_ASSIGN_OR_RETURN(options.session.optimize, flags.OnOff("opt", true));
  GR_ASSIGN_OR_RETURN(const int64_t threads, flags.Int("threads", 0, 0, 4096));
  options.session.threads = static_cast<int>(threads);
  if (flags.Has("rtol")) {
    GR_ASSIGN_OR_RETURN(options.rtol, flags.Number("rtol", 0));
  }
  if (flags.Has("atol")) {
    GR_ASSIGN_OR_RETURN(options.atol, flags.Number("atol", 0));
  }
  return options;
}

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const VerifyOptions options, ReadOptions(flags));
  GR_ASSIGN_OR_RETURN(const double time_limit, flags.Number("time-limit", 120));
  if (!(time_limit > 0 && time_limit < 1e6)) {
    return UsageError("--time-limit takes seconds above 0, not ", flags.Get("time-limit"));
  }
  GR_ASSIGN_OR_RETURN(const Pattern match, Pattern::Compile("match", flags.Get("match")));
  std::vector<CaseFolder> cases;
  for (const std::string& folder : flags.arguments()) {
    GR_ASSIGN_OR_RETURN(std::vector<CaseFolder> found, FindCases(folder));
    for (CaseFolder& c : found)
      if (match.Matches(c.name)) cases.push_back(std::move(c));
  }
  if (cases.empty()) {
    return UsageError("no case matches --match \"", flags.Get("match"),
                      "\"; --list shows them all");
  }
  if (flags.On("list")) {
    for (const CaseFolder& c : cases) Print(c.name, "\n");
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));

  const bool json = flags.On("json"), failures_only = flags.On("failures");
  std::vector<Row> rows;
  std::vector<int> counts(std::size(kVerdicts));
  const auto start = std::chrono::steady_clock::now();
  GR_RETURN_IF_ERROR(ForEachInWorkers(
      static_cast<int>(cases.size()), time_limit,
      [&](int i) {
        return Encode(VerifyCase(cases[static_cast<size_t>(i)].path, *registry, options));
      },
      [&](int i, const JobResult& result) {
        rows.push_back(Decode(cases[static_cast<size_t>(i)].name, result));
        const Row& row = rows.back();
        ++counts[static_cast<size_t>(row.verdict)];
        if (!json && !(failures_only && row.verdict == Verdict::kPass)) PrintRow(row);
      }));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  if (flags.Has("junit")) {
    GR_RETURN_IF_ERROR(WriteFileAtomic(flags.Get("junit"), JUnit(rows, counts, seconds)));
  }
  if (json) {
    PrintText(Report(rows, counts, seconds));
  } else {
    Print(counts[0], " of ", rows.size(), " cases pass");
    const char* words[] = {"",       " give other numbers", " end in an error",
                           " crash", " take too long",      " are random (types and sizes agree)"};
    static_assert(std::size(words) == std::size(kVerdicts));
    for (size_t i = 1; i < counts.size(); ++i)
      if (counts[i] > 0) Print(", ", counts[i], words[i]);
    Print("; ", HumanSeconds(seconds), "\n");
  }
  const size_t good = static_cast<size_t>(counts[0] + counts[5]);
  if (good == rows.size()) return absl::OkStatus();
  return ModelError(rows.size() - good, " of ", rows.size(), " cases do not pass");
}

}  // namespace

Verb VerifyVerb() {
  return {"verify",
          "DIR...",
          "runs cases in the layout of the ONNX standard's test suite and compares their outputs",
          "A case is a folder with model.onnx and test_data_set_N/input_N.pb and output_N.pb; its "
          "data.json may\ngive tolerances. Folders are searched for cases at any depth. A float "
          "passes where\n|got - expected| <= atol + rtol * |expected|; everything else must be "
          "equal. Each case runs in a\nchild process: a crash ends that case only.",
          "graphrun verify suite/node\n"
          "graphrun verify suite --match 'conv|pool' --failures\n"
          "graphrun verify my_case --opt off --threads 1 --rtol 1e-5\n"
          "graphrun verify suite --junit results.xml",
          {{"match", "REGEX", "only cases whose path matches"},
           {"list", "", "print the cases, run none"},
           {"failures", "", "print only the cases that do not pass"},
           {"rtol", "X", "relative tolerance, instead of the case's (1e-3 where it has none)"},
           {"atol", "X", "absolute tolerance, instead of the case's (1e-7 where it has none)"},
           {"opt", "on,off", "off: no rewrites and fusions"},
           {"threads", "N", "0: all"},
           {"time-limit", "SECONDS", "for one case (120)"},
           {"junit", "FILE", "write the results as JUnit's XML"},
           {"json", "", "print the results as JSON"}},
          1,
          -1,
          Run};
}

}  // namespace graphrun::cli
