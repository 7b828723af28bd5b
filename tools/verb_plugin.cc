#include <algorithm>

#include "absl/strings/str_join.h"
#include "runtime/base/file.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "tools/output.h"
#include "tools/plugin_skeleton.h"
#include "tools/plugin_test.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

absl::Status New(const Flags& flags) {
  const std::string name = flags.argument(1);
  std::string kind;
  for (const std::string& k : SkeletonKinds()) {
    if (!flags.On(k)) continue;
    if (!kind.empty()) return UsageError("--", kind, " and --", k, ": one of them at a time");
    kind = k;
  }
  if (kind.empty()) kind = "op";
  const absl::StatusOr<std::string> choice = flags.Choice("language", "c++", {"c", "c++"});
  GR_RETURN_IF_ERROR(choice.status());
  const Language language = *choice == "c" ? Language::kC : Language::kCxx;
  GR_ASSIGN_OR_RETURN(const auto files, PluginSkeleton(name, kind, language));
  const std::string folder = flags.Get("output", name);
  if (FileExists(folder) && !flags.On("force")) {
    return UsageError(folder, " is there already; -o says another folder, --force writes into it");
  }
  GR_RETURN_IF_ERROR(CreateDirs(folder));
  for (const auto& [file, text] : files) {
    const std::string path = JoinPath(folder, file);
    GR_RETURN_IF_ERROR(WriteFileAtomic(path, text));
    Print(path, "\n");
  }
  return absl::OkStatus();
}

absl::Status Run(const Flags& flags) {
  const std::vector<std::string> words = {"new", "test"};
  const std::string& what = flags.argument(0);
  if (what == "test") return TestPlugin(flags.argument(1), flags.On("verbose"));
  if (what == "new") return New(flags);
  return UsageError("graphrun plugin ", what, ": there are ", absl::StrJoin(words, " and "), ".",
                    DidYouMean(what, words));
}

}  // namespace

Verb PluginVerb() {
  return {
      "plugin",
      "new NAME | test PLUGIN",
      "writes the skeleton of a plugin, or tests a plugin",
      "new: a folder with source, CMakeLists.txt and README.md that builds against an installed "
      "graphrun.\ntest: every operator on its samples: inference, kernels against each other, "
      "function body, gradient\nagainst differences; optimizers, regularizers and losses on a "
      "small problem.",
      "graphrun plugin new swish --op\n"
      "graphrun plugin new my_optimizer --optimizer --language c -o plugins/my_optimizer\n"
      "graphrun plugin test build/swish.so",
      {{"op", "", "an operator with its gradient (what is taken where nothing is said)"},
       {"optimizer", "", "an optimizer"},
       {"regularizer", "", "a regularizer"},
       {"dataset", "", "a data format"},
       {"transform", "", "an augmentation"},
       {"language", "c|c++", "new: what it is written in (c++)"},
       {"output", "FOLDER", "where the skeleton goes (a folder of the plugin's name)", false, 'o'},
       {"force", "", "write into a folder that is there"},
       {"verbose", "", "test: a line for every check"}},
      2,
      2,
      Run};
}

}  // namespace graphrun::cli
