#include "runtime/op/op_registry.h"

#include "absl/strings/str_join.h"
#include "runtime/base/text.h"

namespace graphrun {

absl::Status OpRegistry::TryAdd(OpDef def) {
  auto& versions = defs_[{def.domain(), def.name()}];
  const int since = def.since();
  if (versions.count(since) > 0) {
    return InternalError("operator ", def.Describe(), " is declared twice");
  }
  versions[since] = std::make_unique<OpDef>(std::move(def));
  return absl::OkStatus();
}

void OpRegistry::Add(OpDef def) {
  const absl::Status added = TryAdd(std::move(def));
  GR_CHECK(added.ok());
}

absl::Status OpRegistry::AddKernel(absl::string_view domain, absl::string_view name,
                                   OpDef::NamedKernel kernel) {
  const auto it = defs_.find({std::string(domain), std::string(name)});
  if (it == defs_.end())
    return PluginError("there is no operator ", domain, ".", name, " to add a kernel to");
  for (auto& [since, def] : it->second) def->PrependKernel(kernel);
  return absl::OkStatus();
}

const OpDef* OpRegistry::Find(absl::string_view domain, absl::string_view name, int opset) const {
  const auto it = defs_.find({std::string(domain == "ai.onnx" ? "" : domain), std::string(name)});
  if (it == defs_.end()) return nullptr;
  const auto& versions = it->second;
  if (opset == 0) return versions.rbegin()->second.get();
  auto next = versions.upper_bound(opset);
  if (next == versions.begin()) return nullptr;
  return std::prev(next)->second.get();
}

absl::StatusOr<const OpDef*> OpRegistry::Resolve(const Node& node) const {
  if (const OpDef* def = Find(node)) return def;
  const std::string domain = node.domain().empty() ? "ai.onnx" : node.domain();
  const auto exact = defs_.find({node.domain(), node.op_type()});
  if (exact != defs_.end()) {
    return ModelError(node.Describe(), ": the operator is supported from version ",
                      exact->second.begin()->first, " of domain ", domain,
                      " on; the model imports version ", node.opset(),
                      ". Convert the model to a newer operator set");
  }
  std::vector<std::string> names, elsewhere;
  bool domain_known = false;
  for (const auto& [key, versions] : defs_) {
    if (key.first == node.domain()) {
      names.push_back(key.second);
      domain_known = true;
    }
    if (key.second == node.op_type())
      elsewhere.push_back(key.first.empty() ? "ai.onnx" : key.first);
  }
  std::string advice;
  if (!elsewhere.empty()) {
    advice =
        absl::StrCat(". Domain ", absl::StrJoin(elsewhere, ", "), " has an operator of that name.");
  } else if (domain_known) {
    advice = absl::StrCat(".", DidYouMean(node.op_type(), names));
  } else {
    advice = ".";
  }
  return ModelError(node.Describe(), ": domain ", domain,
                    domain_known ? " has no operator " : " is not known, nor its operator ",
                    node.op_type(), advice, " If a plugin provides it, load it with --plugin PATH");
}

std::vector<const OpDef*> OpRegistry::All() const {
  std::vector<const OpDef*> all;
  for (const auto& [key, versions] : defs_) {
    for (const auto& [since, def] : versions) all.push_back(def.get());
  }
  return all;
}

}  // namespace graphrun
