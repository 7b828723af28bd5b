// NodeContext: what every author's function sees of the node it serves: its attributes, with the
// declared defaults.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "runtime/base/status.h"
#include "runtime/ir/graph.h"

namespace graphrun {

class OpDef;

class NodeContext {
 public:
  NodeContext(const Node& node, const OpDef& def) : node_(node), def_(def) {}

  const Node& node() const { return node_; }
  const OpDef& def() const { return def_; }
  int num_inputs() const { return node_.num_inputs(); }
  int num_outputs() const { return node_.num_outputs(); }
  bool has_input(int i) const { return node_.has_input(i); }
  bool has_output(int i) const { return node_.has_output(i); }

  // An attribute of the node, else its declared default, else null.
  const Attr* attr(absl::string_view name) const;
  bool has_attr(absl::string_view name) const { return attr(name) != nullptr; }
  // Their values; `fallback` where neither the node nor the declaration has one. A wrong kind was
  // refused before.
  int64_t Int(absl::string_view name, int64_t fallback = 0) const;
  float Float(absl::string_view name, float fallback = 0) const;
  std::string String(absl::string_view name, absl::string_view fallback = "") const;
  std::vector<int64_t> Ints(absl::string_view name, std::vector<int64_t> fallback = {}) const;
  std::vector<float> Floats(absl::string_view name, std::vector<float> fallback = {}) const;
  std::vector<std::string> Strings(absl::string_view name) const;
  const Tensor* TensorAttr(absl::string_view name) const;  // null where absent
  Attr::GraphPtr GraphAttr(absl::string_view name) const;  // null where absent

  // A model error that starts with the node's description.
  template <typename... Parts>
  absl::Status Error(const Parts&... parts) const {
    return ModelError(node_.Describe(), ": ", parts...);
  }

 private:
  const Node& node_;
  const OpDef& def_;
};

}  // namespace graphrun
