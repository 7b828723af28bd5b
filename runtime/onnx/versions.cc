#include "runtime/onnx/versions.h"

#include <algorithm>
#include <functional>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"

namespace graphrun {
namespace {

constexpr char kDomain[] = "ai.graphrun.versions";

void ForEachNode(NamedGraph* graph, const std::function<void(NamedNode&)>& f) {
  for (NamedNode& node : graph->nodes) {
    f(node);
    for (NamedNode::GraphAttr& attr : node.graphs) {
      for (NamedGraph& nested : attr.graphs) ForEachNode(&nested, f);
    }
  }
}

void ForEachNode(NamedModel* model, const std::function<void(NamedNode&)>& f) {
  ForEachNode(&model->graph, f);
  for (NamedTraining& t : model->training) {
    ForEachNode(&t.initialization, f);
    ForEachNode(&t.algorithm, f);
  }
}

// Attributes of ai.onnx, or values of them, that came later than the declarations that serve them.
struct LaterAttribute {
  const char* name;
  int since;
  const char* value = nullptr;  // null: any
};
constexpr LaterAttribute kLaterAttributes[] = {{"start", 15},
                                               {"end", 15},
                                               {"value_int", 12},
                                               {"value_ints", 12},
                                               {"value_float", 12},
                                               {"value_floats", 12},
                                               {"value_string", 12},
                                               {"value_strings", 12},
                                               {"allowzero", 14},
                                               {"batch_dims", 12},
                                               {"saturate", 19},
                                               {"reduction", 16, "add"},
                                               {"reduction", 16, "mul"},
                                               {"reduction", 18, "max"},
                                               {"reduction", 18, "min"}};

// The oldest version at which the node has its meaning with all of its attributes, as far as that
// is known.
int OldestVersion(const NamedNode& node) {
  return std::max(node.opset, VersionOfAttributes(node.domain, node.attrs));
}

bool SameMeaning(const OpRegistry* registry, const NamedNode& node, int version) {
  if (registry != nullptr) {
    const OpDef* own = registry->Find(node.domain, node.op_type, node.opset);
    if (own != nullptr) {
      return version >= VersionOfAttributes(node.domain, node.attrs) &&
             own == registry->Find(node.domain, node.op_type, version);
    }
  }
  return node.opset <= version;
}

// A function of one node with the inputs, outputs and attributes of `node`.
NamedFunction Wrapper(const NamedNode& node) {
  NamedFunction f;
  f.domain = kDomain;
  f.opset_imports[node.domain] = node.opset;
  NamedNode inner;
  inner.domain = node.domain;
  inner.op_type = node.op_type;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    inner.inputs.push_back(absl::StrCat("x", i));
    f.body.inputs.push_back({inner.inputs.back(), Type()});
  }
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    inner.outputs.push_back(absl::StrCat("y", i));
    f.body.outputs.push_back({inner.outputs.back(), Type()});
  }
  for (const auto& [name, attr] : node.attrs) {
    f.attributes.push_back(name);
    inner.attrs.emplace(name, Attr::Ref{name, attr.kind()});
  }
  f.body.nodes.push_back(std::move(inner));
  return f;
}

// True for functions as Wrapper makes them, whoever wrote the file.
bool IsWrapper(const NamedFunction& f) {
  if (f.domain != kDomain || f.body.nodes.size() != 1 || !f.defaults.empty()) return false;
  const NamedNode& inner = f.body.nodes[0];
  const auto same = [](const std::string& name, const NamedValue& v) { return name == v.name; };
  return inner.graphs.empty() && inner.domain != kDomain &&
         std::equal(inner.inputs.begin(), inner.inputs.end(), f.body.inputs.begin(),
                    f.body.inputs.end(), same) &&
         std::equal(inner.outputs.begin(), inner.outputs.end(), f.body.outputs.begin(),
                    f.body.outputs.end(), same) &&
         std::all_of(inner.attrs.begin(), inner.attrs.end(), [](const auto& a) {
           const auto* ref = a.second.template get<Attr::Ref>();
           return ref != nullptr && ref->name == a.first;
         });
}

// Two nodes of one signature share a function.
std::string Signature(const NamedNode& node) {
  std::string key = absl::StrCat(node.domain, "|", node.op_type, "|", node.opset, "|",
                                 node.inputs.size(), "|", node.outputs.size());
  for (const auto& [name, attr] : node.attrs)
    absl::StrAppend(&key, "|", name, ":", AttrKindName(attr.kind()));
  return key;
}

}  // namespace

int VersionOfAttributes(absl::string_view domain, const AttrMap& attrs) {
  int version = 0;
  for (const LaterAttribute& later : kLaterAttributes) {
    const auto it = domain.empty() ? attrs.find(later.name) : attrs.end();
    if (it == attrs.end()) continue;
    const auto* text = it->second.get<std::string>();
    if (later.value == nullptr || (text != nullptr && *text == later.value)) {
      version = std::max(version, later.since);
    }
  }
  return version;
}

absl::Status WrapVersions(const OpRegistry* registry, NamedModel* model) {
  std::map<std::string, std::map<int, std::vector<const NamedNode*>>> by_domain;  // then by version
  ForEachNode(model, [&](NamedNode& node) {
    if (node.opset > 0) by_domain[node.domain][node.opset].push_back(&node);
  });
  for (const auto& [domain, versions] : by_domain) {
    const auto import = model->opset_imports.find(domain);
    std::vector<int> candidates;
    if (import != model->opset_imports.end()) candidates.push_back(import->second);
    for (const auto& [version, nodes] : versions) {
      if (registry == nullptr && !candidates.empty()) break;
      candidates.push_back(version);
      for (const NamedNode* node : nodes) candidates.push_back(OldestVersion(*node));
    }
    std::sort(candidates.begin() + (import == model->opset_imports.end() ? 0 : 1),
              candidates.end());
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    size_t fewest = SIZE_MAX;
    for (const int candidate : candidates) {
      size_t wrapped = 0;
      for (const auto& [version, nodes] : versions) {
        wrapped +=
            static_cast<size_t>(std::count_if(nodes.begin(), nodes.end(), [&](const NamedNode* n) {
              return !SameMeaning(registry, *n, candidate);
            }));
      }
      if (wrapped >= fewest) continue;
      fewest = wrapped;
      model->opset_imports[domain] = candidate;
    }
  }
  std::map<std::string, std::string> names;  // signature -> function
  std::set<std::string> taken;
  absl::Status status;
  ForEachNode(model, [&](NamedNode& node) {
    if (node.opset == 0 || SameMeaning(registry, node, model->opset_imports.at(node.domain)))
      return;
    if (!node.graphs.empty()) {
      status = ModelError(
          "node \"", node.name, "\" (", node.op_type, ") has the meaning of version ", node.opset,
          " but the rest of the model imports version ", model->opset_imports.at(node.domain),
          "; convert the model to one version first");
      return;
    }
    node.opset = OldestVersion(node);
    std::string& name = names[Signature(node)];
    if (name.empty()) {
      const std::string stem = absl::StrCat(node.op_type, "_", node.opset);
      name = stem;
      for (int i = 2; !taken.insert(name).second; ++i) name = absl::StrCat(stem, "_", i);
      model->functions.push_back(Wrapper(node));
      model->functions.back().name = name;
      model->opset_imports[kDomain] = 1;
    }
    node.domain = kDomain;
    node.op_type = name;
    node.opset = 1;
  });
  return status;
}

void UnwrapVersions(NamedModel* model) {
  absl::flat_hash_map<std::string, NamedFunction> wrappers;
  std::vector<NamedFunction> others;
  for (NamedFunction& f : model->functions) {
    if (IsWrapper(f)) {
      std::string name = f.name;
      wrappers.emplace(std::move(name), std::move(f));
    } else {
      others.push_back(std::move(f));
    }
  }
  model->functions = std::move(others);
  if (wrappers.empty()) return;
  const auto unwrap = [&](NamedNode& node) {
    const auto it = node.domain == kDomain ? wrappers.find(node.op_type) : wrappers.end();
    if (it == wrappers.end()) return;
    const NamedNode& inner = it->second.body.nodes[0];
    const auto import = it->second.opset_imports.find(inner.domain);
    node.opset = import == it->second.opset_imports.end() ? 1 : import->second;
    node.domain = inner.domain;
    node.op_type = inner.op_type;
  };
  ForEachNode(model, unwrap);
  for (NamedFunction& f : model->functions) ForEachNode(&f.body, unwrap);
  model->opset_imports.erase(kDomain);
}

}  // namespace graphrun
