// One version of each operator set for a whole model.
//
// In a Graph every node has a version of its own; a file imports one version a domain. Nodes that
// mean something else at that version are written as calls of functions, which import versions of
// their own: domain "ai.graphrun.versions", a body of that one node. Reading undoes it.
// ONNX's checker (1.12 and later) refuses functions whose operators differ from the model's version
// of them: a model for other tools is converted to one version first, and then nothing is wrapped.
#pragma once

#include "absl/status/status.h"
#include "runtime/ir/named.h"
#include "runtime/op/op_registry.h"

namespace graphrun {

// Chooses the versions at which most nodes keep their meaning (the imported ones where equal) and
// wraps the rest. `registry` knows what changed between versions; without it a node is taken to
// keep its meaning at every later version. Errors: kModel where a node with nested graphs would
// have to be wrapped.
absl::Status WrapVersions(const OpRegistry* registry, NamedModel* model);

// The version of the domain that brought the newest of a node's attributes, where one came later
// than the declaration that serves it (a size asked for by `start` and `end`: 15); else 0.
int VersionOfAttributes(absl::string_view domain, const AttrMap& attrs);

// Turns calls of such functions into the nodes that they stand for, and drops the functions.
void UnwrapVersions(NamedModel* model);

}  // namespace graphrun
