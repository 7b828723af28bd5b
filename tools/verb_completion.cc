#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"
#include "tools/output.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

std::string FlagWords(const Verb& verb) {
  std::string out;
  for (const FlagSpec& f : verb.flags) absl::StrAppend(&out, "--", f.name, " ");
  for (const FlagSpec& f : CommonFlags()) absl::StrAppend(&out, "--", f.name, " ");
  out.pop_back();
  return out;
}

std::string VerbWords() {
  std::string out;
  for (const Verb& v : Verbs()) absl::StrAppend(&out, out.empty() ? "" : " ", v.name);
  return out;
}

// "it's" within single quotes of a shell.
std::string Quoted(absl::string_view text) {
  std::string out;
  for (const char c : text) c == '\'' ? absl::StrAppend(&out, "'\\''") : out.push_back(c);
  return out;
}

std::string Bash() {
  std::string out = absl::StrCat(
      "_graphrun() {\n  local word=${COMP_WORDS[COMP_CWORD]} words=\n  if ((COMP_CWORD == 1)); "
      "then\n"
      "    words='",
      VerbWords(),
      " help --help --version'\n"
      "  elif [[ $word == -* ]]; then\n    case ${COMP_WORDS[1]} in\n");
  for (const Verb& v : Verbs())
    absl::StrAppend(&out, "      ", v.name, ") words='", FlagWords(v), "' ;;\n");
  return out +
         "    esac\n  fi\n  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
         "complete -o default -o bashdefault -F _graphrun graphrun\n";
}

std::string Zsh() {
  std::string out = "#compdef graphrun\n_graphrun() {\n  local -a verbs\n  verbs=(\n";
  for (const Verb& v : Verbs())
    absl::StrAppend(&out, "    '", v.name, ":", Quoted(v.summary), "'\n");
  out +=
      "  )\n  if ((CURRENT == 2)); then\n    _describe verb verbs\n    return\n  fi\n  case "
      "$words[2] in\n";
  for (const Verb& v : Verbs())
    absl::StrAppend(&out, "    ", v.name, ") compadd -- ", FlagWords(v), " ;;\n");
  return out + "  esac\n  _files\n}\ncompdef _graphrun graphrun\n";
}

std::string Fish() {
  std::string out;
  for (const Verb& v : Verbs()) {
    absl::StrAppend(&out, "complete -c graphrun -n __fish_use_subcommand -a ", v.name, " -d '",
                    Quoted(v.summary), "'\n");
    for (const FlagSpec& f : v.flags) {
      absl::StrAppend(&out, "complete -c graphrun -n '__fish_seen_subcommand_from ", v.name,
                      "' -l ", f.name, f.value[0] ? " -r" : "", " -d '", Quoted(f.help), "'\n");
    }
  }
  return out;
}

absl::Status Run(const Flags& flags) {
  const std::string& shell = flags.argument(0);
  if (shell != "bash" && shell != "zsh" && shell != "fish") {
    return UsageError("there are completions for bash, zsh and fish, not for \"", shell, "\"");
  }
  PrintText(shell == "bash" ? Bash() : shell == "zsh" ? Zsh() : Fish());
  return absl::OkStatus();
}

}  // namespace

Verb CompletionVerb() {
  return {"completion",
          "bash|zsh|fish",
          "prints what makes a shell complete verbs and flags",
          "",
          "source <(graphrun completion bash)\n"
          "graphrun completion zsh > ~/.zfunc/_graphrun\n"
          "graphrun completion fish > ~/.config/fish/completions/graphrun.fish",
          {},
          1,
          1,
          Run};
}

}  // namespace graphrun::cli
