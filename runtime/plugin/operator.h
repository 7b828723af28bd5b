// Operators of plugins.
#pragma once

#include <string>

#include "plugins/graphrun_plugin.h"
#include "runtime/op/op_def.h"

namespace graphrun {

// The declaration that a plugin's table makes. `plugin`: "plugin kan", for messages. `guard`: see
// ReadKernel. Errors: kPlugin, saying which part of which operator is wrong.
absl::StatusOr<OpDef> ReadOperator(const gr_operator& op, const std::string& plugin, bool guard);

// A body in the text syntax of functions as a function. `attrs`: the operator's attributes.
// Errors: kPlugin.
absl::StatusOr<OpDef::BodyFn> ReadBodyText(const std::string& text, const OpDef& def,
                                           const std::string& where);

// Refuses ai.onnx, ai.graphrun and what looks like them.
absl::Status CheckDomain(const std::string& domain, const std::string& where);

}  // namespace graphrun
