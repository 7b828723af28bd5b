// OpRegistry: the operators that a process knows. An object that is passed; filled once, then only
// read.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/op/op_def.h"

namespace graphrun {

// A graph-to-graph rewrite that an operator family brings along (a fusion, a canonical form). Says
// whether it changed anything. Runs on graphs whose types are inferred.
struct Rewrite {
  std::string name;
  // Rewrites run in order of phase, then of registration: kCanonical simplifies, kFuse makes fused
  // operators around one with a kernel of its own, kPointwise gathers the elementwise rest.
  enum class Phase { kCanonical, kFuse, kPointwise } phase = Phase::kFuse;
  std::function<absl::StatusOr<bool>(Graph&, const class OpRegistry&)> run;
  // Part of mixed precision: runs where a plan asks for that, fused or not, and nowhere else.
  bool mixed_precision = false;
  // Finds an operator (GELU, attention, a normalization) that an exporter wrote as its parts: also
  // runs before gradients are appended, so that training takes the operator's own gradient.
  bool recognizes_operator = false;
};

// Moves a tensor from one layout to another; memory of the destination that belongs to no element
// becomes zero.
using ReorderFactory = std::function<absl::StatusOr<std::unique_ptr<Kernel>>(
    DType dtype, const Dims& dims, const Layout& from, const Layout& to)>;

class OpRegistry {
 public:
  OpRegistry() = default;
  OpRegistry(const OpRegistry&) = delete;
  OpRegistry& operator=(const OpRegistry&) = delete;

  // Adds a declaration. REQUIRES: no other of the same domain, name and version (plugins use
  // TryAdd).
  void Add(OpDef def);
  absl::Status TryAdd(OpDef def);
  void AddRewrite(Rewrite rewrite) { rewrites_.push_back(std::move(rewrite)); }
  void SetReorder(ReorderFactory factory) { reorder_ = std::move(factory); }
  // Adds a kernel to every version of an operator, in front of those that it has.
  absl::Status AddKernel(absl::string_view domain, absl::string_view name,
                         OpDef::NamedKernel kernel);

  // The declaration that gives an operator its meaning at that version of its domain; null:
  // unknown. `opset` 0 asks for the newest.
  const OpDef* Find(absl::string_view domain, absl::string_view name, int opset) const;
  const OpDef* Find(const Node& node) const {
    return Find(node.domain(), node.op_type(), node.opset());
  }
  // As Find, with an error that names the node, what is missing, and the nearest thing there is.
  absl::StatusOr<const OpDef*> Resolve(const Node& node) const;
  // Every declaration, by domain, name, version.
  std::vector<const OpDef*> All() const;
  const std::vector<Rewrite>& rewrites() const { return rewrites_; }
  const ReorderFactory& reorder() const { return reorder_; }

 private:
  std::map<std::pair<std::string, std::string>, std::map<int, std::unique_ptr<OpDef>>> defs_;
  std::vector<Rewrite> rewrites_;
  ReorderFactory reorder_;
};

}  // namespace graphrun
