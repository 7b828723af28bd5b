#include <map>
#include <string>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/report/json.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

std::string FullName(const OpDef& def) {
  return def.domain().empty() ? def.name() : absl::StrCat(def.domain(), ".", def.name());
}

std::string Kernels(const OpDef& def) {
  std::vector<std::string> names;
  for (const OpDef::NamedKernel& k : def.kernels()) names.push_back(k.name);
  if (def.is_view()) names.emplace_back("view");
  if (def.body()) names.emplace_back("body");
  return absl::StrJoin(names, ",");
}

std::string Gradient(const OpDef& def) {
  if (def.gradient()) return "yes";
  if (!def.not_differentiable().empty()) return absl::StrCat("no: ", def.not_differentiable());
  return def.body() ? "by its body" : "no";
}

std::string Types(const DTypeSet& set) {
  std::vector<std::string> names;
  for (int i = 1; i < kNumDTypes; ++i) {
    const DType d = static_cast<DType>(i);
    if (set.Contains(d)) names.emplace_back(DTypeName(d));
  }
  return absl::StrJoin(names, " ");
}

std::string Arguments(const std::vector<OpDef::Argument>& arguments) {
  std::vector<std::string> words;
  for (const OpDef::Argument& a : arguments) {
    const char* mark = a.arity == Arity::kOptional ? "?" : a.arity == Arity::kVariadic ? "..." : "";
    words.push_back(absl::StrCat(a.name, mark, ": ", a.type));
  }
  return absl::StrJoin(words, ", ");
}

void Detail(const OpDef& def) {
  Print(def.Describe(), " (", Arguments(def.inputs()), ") -> (", Arguments(def.outputs()), ")\n");
  for (const auto& [variable, set] : def.types()) Print("  ", variable, ": ", Types(set), "\n");
  for (const OpDef::AttrSpec& a : def.attrs()) {
    Print("  ", a.name, ": ", AttrKindName(a.kind),
          a.required   ? ", required"
          : a.fallback ? absl::StrCat(" = ", a.fallback->ToString())
                       : std::string(),
          "\n");
  }
  if (!def.versions().empty()) {
    Print("  also versions ", absl::StrJoin(def.versions(), ", "), "\n");
  }
  Print("  kernels: ", Kernels(def), "\n  gradient: ", Gradient(def), "\n");
  if (!def.source().empty()) Print("  source: ", def.source(), "\n");
}

void ToJson(const OpDef& def, JsonWriter* json) {
  json->BeginObject().Field("name", def.name()).Field("domain", def.domain());
  json->Field("since", def.since()).Field("versions", def.versions());
  json->Key("inputs").BeginArray();
  for (const OpDef::Argument& a : def.inputs()) json->String(a.name);
  json->EndArray().Key("outputs").BeginArray();
  for (const OpDef::Argument& a : def.outputs()) json->String(a.name);
  json->EndArray().Key("types").BeginObject();
  for (const auto& [variable, set] : def.types()) json->Field(variable, Types(set));
  json->EndObject().Key("kernels").BeginArray();
  for (const OpDef::NamedKernel& k : def.kernels()) json->String(k.name);
  json->EndArray()
      .Field("body", def.body() != nullptr)
      .Field("gradient", Gradient(def))
      .EndObject();
}

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  std::map<std::string, std::vector<const OpDef*>> by_name;
  for (const OpDef* def : registry->All()) by_name[FullName(*def)].push_back(def);
  std::vector<std::string> names;
  for (const auto& [name, defs] : by_name) names.push_back(name);
  const bool asked = !flags.arguments().empty();
  for (const std::string& name : flags.arguments()) {
    if (by_name.count(name) == 0) {
      return UsageError("there is no operator \"", name, "\".", DidYouMean(name, names),
                        " graphrun ops lists them.");
    }
  }
  const std::vector<std::string>& shown = asked ? flags.arguments() : names;
  if (flags.On("json")) {
    JsonWriter json(asked ? 2 : 0);
    json.BeginArray();
    for (const std::string& name : shown)
      for (const OpDef* def : by_name[name]) ToJson(*def, &json);
    PrintText(json.EndArray().Finish() + "\n");
    return absl::OkStatus();
  }
  if (asked) {
    for (const std::string& name : shown)
      for (const OpDef* def : by_name[name]) Detail(*def);
    return absl::OkStatus();
  }
  size_t declarations = 0, differentiable = 0;
  Print(absl::StrFormat("%-38s %-22s %-28s %s\n", "operator", "versions", "kernels", "gradient"));
  for (const auto& [name, defs] : by_name) {
    std::vector<std::string> versions;
    for (const OpDef* def : defs) versions.push_back(absl::StrCat(def->since()));
    const OpDef& newest = *defs.back();
    declarations += defs.size();
    differentiable += newest.gradient() || (newest.body() && newest.not_differentiable().empty());
    Print(absl::StrFormat("%-38s %-22s %-28s %s\n", name, absl::StrJoin(versions, ","),
                          Kernels(newest), Gradient(newest)));
  }
  Print(names.size(), " operators, ", declarations, " declarations, ", differentiable,
        " differentiable\n");
  return absl::OkStatus();
}

}  // namespace

Verb OpsVerb() {
  return {"ops",
          "[OPERATOR...]",
          "lists the operators: versions, kernels, gradient; or all about one",
          "Versions are those at which the meaning changes; \"body\" is a definition by other "
          "operators.",
          "graphrun ops\n"
          "graphrun ops Conv LSTM\n"
          "graphrun ops --json",
          {{"json", "", "print as JSON"}},
          0,
          -1,
          Run};
}

}  // namespace graphrun::cli
