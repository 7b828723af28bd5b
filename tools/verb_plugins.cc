#include "absl/strings/str_join.h"
#include "runtime/base/status.h"
#include "runtime/plugin/find.h"
#include "runtime/report/json.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

void ToJson(const Plugin& plugin, JsonWriter* json) {
  json->BeginObject().Field("name", plugin.name).Field("version", plugin.version);
  json->Field("doc", plugin.doc).Field("path", plugin.path);
  json->Field("abi", absl::StrCat(plugin.abi_major, ".", plugin.abi_minor));
  for (const auto& [what, names] : plugin.Offers()) {
    json->Key(what).BeginArray();
    for (const std::string& name : *names) json->String(name);
    json->EndArray();
  }
  json->EndObject();
}

void ToText(const Plugin& plugin) {
  Print(plugin.name, plugin.version.empty() ? "" : " ", plugin.version, " (", plugin.path, ")\n");
  if (!plugin.doc.empty()) Print("  ", plugin.doc, "\n");
  for (const auto& [what, names] : plugin.Offers()) {
    if (!names->empty()) Print("  ", what, ": ", absl::StrJoin(*names, ", "), "\n");
  }
}

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const Registries registries, MakeRegistries(flags, flags.arguments()));
  if (flags.On("json")) {
    JsonWriter json(2);
    json.BeginArray();
    for (const Plugin& plugin : registries.plugins) ToJson(plugin, &json);
    PrintText(json.EndArray().Finish() + "\n");
    return absl::OkStatus();
  }
  for (const Plugin& plugin : registries.plugins) ToText(plugin);
  if (registries.plugins.empty()) {
    const std::vector<std::string> there = PluginNames(PluginFolders());
    Print("no plugins: name some with --plugin or in GRAPHRUN_PLUGINS",
          there.empty() ? "\n" : absl::StrCat("; there are ", absl::StrJoin(there, ", "), "\n"));
  }
  return absl::OkStatus();
}

}  // namespace

Verb PluginsVerb() {
  return {
      "plugins",
      "[LIBRARY.so...]",
      "lists the plugins that are loaded and what each offers",
      "Plugins are shared libraries. Every verb loads those that GRAPHRUN_PLUGINS (separated by "
      "\":\") and --plugin\nname, by a path or, without slash and dot, as one of those that came "
      "with graphrun; a model never loads\none. With "
      "GRAPHRUN_PLUGIN_GUARD=1 their kernels run on copies, and one\nthat writes where it may "
      "not is named (slow).",
      "graphrun plugins kan build/mine.so\n"
      "GRAPHRUN_PLUGINS=optimizers:kan graphrun plugins --json",
      {{"json", "", "as JSON"}},
      0,
      -1,
      Run};
}

}  // namespace graphrun::cli
