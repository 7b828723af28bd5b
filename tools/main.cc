// The graphrun command: finds the verb, reads its flags, runs it, and turns its status into an exit
// code.

#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "runtime/base/cpu.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/report/json.h"
#include "tools/flags.h"
#include "tools/output.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

constexpr char kExitCodes[] =
    "Exit codes: 0 ok, 1 a bug of graphrun, 2 usage, 3 model, 4 data, 5 checkpoint, 6 input or "
    "output,\n"
    "7 memory or a limit, 8 numeric (diverged), 9 locked, 10 plugin, 130 and 143 stopped by a "
    "signal.\n";

std::string Overview(const std::vector<Verb>& verbs) {
  std::string out =
      "graphrun VERB ... runs, trains and examines ONNX models.\n\nVerbs (graphrun VERB --help "
      "says "
      "more):\n";
  for (const Verb& v : verbs) {
    std::string name = v.name;
    name.resize(14, ' ');
    absl::StrAppend(&out, "  ", name, v.summary, "\n");
  }
  return absl::StrCat(out, "\n", kExitCodes);
}

const Verb* FindVerb(const std::vector<Verb>& verbs, absl::string_view name) {
  for (const Verb& v : verbs)
    if (name == v.name) return &v;
  return nullptr;
}

absl::Status UnknownVerb(const std::vector<Verb>& verbs, const std::string& name) {
  std::vector<std::string> names;
  for (const Verb& v : verbs) names.emplace_back(v.name);
  return UsageError("there is no verb \"", name, "\".", DidYouMean(name, names),
                    " graphrun --help lists them.");
}

int Fail(const absl::Status& status, bool json) {
  const ErrorKind kind = KindOf(status);
  const std::string message(status.message());
  if (json) {
    JsonWriter w(2);
    w.BeginObject().Key("error").BeginObject();
    w.Field("kind", ErrorKindName(kind)).Field("message", message);
    WarnText(w.EndObject().EndObject().Finish() + "\n");
  } else {
    Warn(kind == ErrorKind::kInternal ? "this is a bug of graphrun: " : "", message);
  }
  return static_cast<int>(kind);
}

// Threads that sleep between steps make small models several times slower.
void WarnOfSleepingThreads(const Verb& verb) {
  const char* policy = std::getenv("OMP_WAIT_POLICY");
  if (policy == nullptr || !absl::EqualsIgnoreCase(policy, "passive") || NumThreads() == 1) return;
  for (const FlagSpec& flag : verb.flags) {
    if (absl::string_view(flag.name) != "threads") continue;
    Warn(
        "OMP_WAIT_POLICY=passive lets threads sleep between steps, which makes small models "
        "several times slower: unset it, or take --threads 1");
  }
}

int Main(const std::vector<std::string>& words) {
  const std::vector<Verb> verbs = Verbs();
  const std::string first = words.empty() ? "" : words[0];
  if (first.empty()) {
    WarnText(Overview(verbs));
    return static_cast<int>(ErrorKind::kUsage);
  }
  absl::Status status;
  bool json = false;
  if (first == "--help" || first == "-h" || (first == "help" && words.size() == 1)) {
    PrintText(Overview(verbs));
  } else if (first == "--version") {
    Print("graphrun ", GRAPHRUN_VERSION, "\n");
  } else {
    const std::string& name = first == "help" ? words[1] : first;
    const Verb* verb = FindVerb(verbs, name);
    if (verb == nullptr) {
      status = UnknownVerb(verbs, name);
    } else if (first == "help") {
      PrintText(HelpText(*verb));
    } else {
      auto flags = Flags::Parse(*verb, {words.begin() + 1, words.end()});
      status = flags.status();
      if (flags.ok() && flags->Has("help")) {
        PrintText(HelpText(*verb));
      } else if (flags.ok()) {
        json = flags->On("json");
        WarnOfSleepingThreads(*verb);
        status = verb->run(*flags);
      }
    }
  }
  const absl::Status written = FlushOutput();
  if (const int code = SignalExitCode(status); code != 0) return code;
  if (!status.ok()) return Fail(status, json);
  if (!written.ok()) return Fail(written, json);
  return 0;
}

}  // namespace
}  // namespace graphrun::cli

int main(int argc, char** argv) {
  if (const char* missing = graphrun::MissingCpuFeature()) {
    fprintf(
        stderr,
        "graphrun: this program was compiled for processors with %s, which this one lacks; "
        "compile it here, or with -DGRAPHRUN_MARCH=x86-64-v3 or another that this machine has\n",
        missing);
    return static_cast<int>(graphrun::ErrorKind::kUsage);
  }
  try {
    return graphrun::cli::Main({argv + 1, argv + argc});
  } catch (const std::bad_alloc&) {
    fprintf(stderr, "graphrun: out of memory\n");
    return static_cast<int>(graphrun::ErrorKind::kLimit);
  }
}
