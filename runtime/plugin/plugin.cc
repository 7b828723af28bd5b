#include "runtime/plugin/plugin.h"

#include <climits>
#include <cstdlib>

#include "absl/strings/str_split.h"
#include "plugins/graphrun_plugin.h"
#include "runtime/plugin/call.h"
#include "runtime/plugin/handles.h"
#include "runtime/plugin/kernel.h"
#include "runtime/plugin/library.h"
#include "runtime/plugin/memory.h"
#include "runtime/plugin/operator.h"
#include "runtime/plugin/parts.h"
#include "runtime/plugin/pass.h"

namespace graphrun {
namespace {

struct KernelFor {
  std::string domain, op_type;
  OpDef::NamedKernel kernel;
};

// Everything that a plugin offers, read and checked, before any of it is registered.
struct Offer {
  std::vector<OpDef> operators;
  std::vector<KernelFor> kernels;
  std::vector<Rewrite> passes;
};

absl::Status ReadOperators(const gr_plugin& table, const std::string& who,
                           const PluginOptions& options, const OpRegistry& ops,
                           const std::map<std::string, std::string>& owner, Offer* offer,
                           Plugin* plugin) {
  GR_ASSIGN_OR_RETURN(auto list,
                      TableReader::List(table.operators, table.num_operators,
                                        GR_THROUGH(gr_operator, num_samples), who + ": operators"));
  for (const gr_operator& op : list) {
    GR_ASSIGN_OR_RETURN(OpDef def, ReadOperator(op, who, options.guard));
    // In any version: another plugin's next version would take over the models of the first.
    const std::string name = def.Describe();
    if (const OpDef* known = ops.Find(def.domain(), def.name(), 0); known != nullptr) {
      const auto other = owner.find(known->Describe());
      return PluginError(who, ": operator ", name, " is there already (",
                         other == owner.end() ? "built in" : other->second, ")");
    }
    for (const std::string& mine : plugin->operators) {
      if (mine == name) return PluginError(who, ": operator ", name, " is declared twice");
    }
    plugin->operators.push_back(name);
    offer->operators.push_back(std::move(def));
  }
  return absl::OkStatus();
}

absl::Status ReadKernels(const gr_plugin& table, const std::string& who,
                         const PluginOptions& options, const OpRegistry& ops, Offer* offer,
                         Plugin* plugin) {
  GR_ASSIGN_OR_RETURN(
      auto list, TableReader::List(table.kernels, table.num_kernels, GR_THROUGH(gr_kernel, destroy),
                                   who + ": kernels"));
  for (const gr_kernel& k : list) {
    KernelFor found;
    GR_ASSIGN_OR_RETURN(found.op_type,
                        TableReader::Name(k.op_type, "_", who + ": kernels: op_type"));
    GR_ASSIGN_OR_RETURN(found.domain, TableReader::Text(k.domain, 128, who + ": kernels: domain"));
    if (found.domain == "ai.onnx") found.domain.clear();
    const std::string where = absl::StrCat(who, ": for operator ", found.domain,
                                           found.domain.empty() ? "" : ".", found.op_type);
    if (ops.Find(found.domain, found.op_type, 0) == nullptr) {
      return PluginError(where, ": there is no such operator to add a kernel to");
    }
    GR_ASSIGN_OR_RETURN(found.kernel, ReadKernel(k, where, options.guard));
    plugin->kernels.push_back(absl::StrCat(found.domain, found.domain.empty() ? "" : ".",
                                           found.op_type, ": ", found.kernel.name));
    offer->kernels.push_back(std::move(found));
  }
  return absl::OkStatus();
}

absl::Status ReadPasses(const gr_plugin& table, const std::string& who,
                        const std::map<std::string, std::string>& owner, Offer* offer,
                        Plugin* plugin) {
  GR_ASSIGN_OR_RETURN(auto list, TableReader::List(table.passes, table.num_passes,
                                                   GR_THROUGH(gr_pass, run), who + ": passes"));
  for (const gr_pass& p : list) {
    GR_ASSIGN_OR_RETURN(Rewrite pass, ReadPass(p, who));
    const auto other = owner.find("pass " + pass.name);
    bool twice = other != owner.end();
    for (const std::string& mine : plugin->passes) twice = twice || mine == pass.name;
    if (twice) {
      return PluginError(who, ": pass ", pass.name, " is there already (",
                         other == owner.end() ? who : other->second, ")");
    }
    plugin->passes.push_back(pass.name);
    offer->passes.push_back(std::move(pass));
  }
  return absl::OkStatus();
}

// One kind of part: reads the list and adds each to `parts`.
template <typename T>
absl::Status ReadParts(const T* first, size_t count, size_t required, const char* what,
                       const std::string& who,
                       absl::Status (*add)(const T&, const std::string&, TrainRegistry*),
                       TrainRegistry* parts, std::vector<std::string>* names) {
  GR_ASSIGN_OR_RETURN(auto list,
                      TableReader::List(first, count, required, absl::StrCat(who, ": ", what)));
  for (const T& table : list) {
    GR_RETURN_IF_ERROR(add(table, who, parts));
    names->emplace_back(table.name);
  }
  return absl::OkStatus();
}

absl::Status ReadTrainParts(const gr_plugin& t, const std::string& who, TrainRegistry* parts,
                            Plugin* plugin) {
  GR_RETURN_IF_ERROR(ReadParts(t.losses, t.num_losses, GR_THROUGH(gr_loss, emit), "losses", who,
                               AddLoss, parts, &plugin->losses));
  GR_RETURN_IF_ERROR(ReadParts(t.optimizers, t.num_optimizers, GR_THROUGH(gr_optimizer, emit),
                               "optimizers", who, AddOptimizer, parts, &plugin->optimizers));
  GR_RETURN_IF_ERROR(ReadParts(t.regularizers, t.num_regularizers,
                               GR_THROUGH(gr_regularizer, after_update), "regularizers", who,
                               AddRegularizer, parts, &plugin->regularizers));
  GR_RETURN_IF_ERROR(ReadParts(t.schedules, t.num_schedules, GR_THROUGH(gr_schedule, emit),
                               "schedules", who, AddSchedule, parts, &plugin->schedules));
  GR_RETURN_IF_ERROR(ReadParts(t.datasets, t.num_datasets, GR_THROUGH(gr_dataset, close),
                               "datasets", who, AddDataset, parts, &plugin->datasets));
  GR_RETURN_IF_ERROR(ReadParts(t.transforms, t.num_transforms, GR_THROUGH(gr_transform, apply),
                               "transforms", who, AddTransform, parts, &plugin->transforms));
  return ReadParts(t.metrics, t.num_metrics, GR_THROUGH(gr_metric, destroy), "metrics", who,
                   AddMetric, parts, &plugin->metrics);
}

std::string RealPath(const std::string& path) {
  char buffer[PATH_MAX];
  return realpath(path.c_str(), buffer) == nullptr ? path : buffer;
}

}  // namespace

std::vector<std::pair<const char*, const std::vector<std::string>*>> Plugin::Offers() const {
  return {{"operators", &operators},   {"kernels", &kernels},           {"losses", &losses},
          {"optimizers", &optimizers}, {"regularizers", &regularizers}, {"schedules", &schedules},
          {"datasets", &datasets},     {"transforms", &transforms},     {"metrics", &metrics},
          {"passes", &passes}};
}

absl::Status Plugins::Load(const std::string& path) {
  Plugin plugin;
  plugin.path = RealPath(path);
  for (const Plugin& other : loaded_) {
    if (other.path == plugin.path) return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(const gr_entry* entry, OpenLibrary(path));
  plugin.abi_major = static_cast<int>(entry->abi_major);
  plugin.abi_minor = static_cast<int>(entry->abi_minor);
  const gr_plugin* given = nullptr;
  GR_RETURN_IF_ERROR(Call(absl::StrCat("plugin ", path, ": init"), Blame::kPlugin,
                          [&] { return entry->init(HostTable(), &given); }));
  if (given == nullptr) return PluginError("plugin ", path, ": init gave no gr_plugin");
  GR_ASSIGN_OR_RETURN(const gr_plugin table,
                      TableReader::One(given, GR_THROUGH(gr_plugin, doc),
                                       absl::StrCat("plugin ", path, ": its gr_plugin")));
  GR_ASSIGN_OR_RETURN(plugin.name,
                      TableReader::Name(table.name, "_-", absl::StrCat("plugin ", path, ": name")));
  const std::string who = absl::StrCat("plugin ", plugin.name);
  for (const Plugin& other : loaded_) {
    if (other.name == plugin.name) {
      return PluginError(who, " of ", path, ": a plugin of that name is loaded already, from ",
                         other.path);
    }
  }
  GR_ASSIGN_OR_RETURN(plugin.version, TableReader::Text(table.version, 128, who + ": version"));
  GR_ASSIGN_OR_RETURN(plugin.doc, TableReader::Text(table.doc, 65536, who + ": doc"));
  Offer offer;
  TrainRegistry parts = *parts_;
  GR_RETURN_IF_ERROR(ReadOperators(table, who, options_, *ops_, owner_, &offer, &plugin));
  GR_RETURN_IF_ERROR(ReadKernels(table, who, options_, *ops_, &offer, &plugin));
  GR_RETURN_IF_ERROR(ReadPasses(table, who, owner_, &offer, &plugin));
  GR_RETURN_IF_ERROR(ReadTrainParts(table, who, &parts, &plugin));

  *parts_ = std::move(parts);
  for (OpDef& def : offer.operators) {
    owner_[def.Describe()] = who;
    ops_->Add(std::move(def));
  }
  for (KernelFor& k : offer.kernels) {
    GR_RETURN_IF_ERROR(ops_->AddKernel(k.domain, k.op_type, std::move(k.kernel)));
  }
  for (Rewrite& pass : offer.passes) {
    owner_["pass " + pass.name] = who;
    ops_->AddRewrite(std::move(pass));
  }
  loaded_.push_back(std::move(plugin));
  return absl::OkStatus();
}

std::vector<std::string> SplitPluginPaths(absl::string_view variable) {
  return absl::StrSplit(variable, ':', absl::SkipEmpty());
}

}  // namespace graphrun
