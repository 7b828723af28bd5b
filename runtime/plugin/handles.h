// What the opaque types of the plugin interface are on this side of it. Each lives for one call.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "plugins/graphrun_plugin.h"
#include "runtime/base/rng.h"
#include "runtime/op/expr.h"
#include "runtime/op/grad_context.h"
#include "runtime/op/infer_context.h"
#include "runtime/op/kernel.h"
#include "runtime/op/node_context.h"
#include "runtime/op/op_registry.h"
#include "runtime/plugin/call.h"

namespace graphrun {

// A tensor as plugins see it. Its sizes are borrowed from `tensor`.
gr_tensor TensorView(const Tensor& tensor);
gr_dim DimView(const Dim& dim);

// Errors: kPlugin for sizes, ranks and types that cannot be, and for memory that cannot be read.
absl::StatusOr<Tensor> CopyTensor(const gr_tensor* tensor, absl::string_view where);
absl::StatusOr<Attr> CopyAttr(const gr_attr& attr, absl::string_view where);
absl::StatusOr<Dims> CopyDims(int32_t rank, const int64_t* dims, absl::string_view where);
absl::StatusOr<Shape> CopyShape(int32_t rank, const gr_dim* dims, absl::string_view where);
// The kind with that number of the interface; nothing where there is none.
absl::optional<Attr::Kind> KindOfAttr(int32_t kind);
// Not undefined, not string.
bool IsPluginDType(int32_t dtype);

}  // namespace graphrun

struct gr_node {
  gr_node(const graphrun::Node& node, const graphrun::OpDef& def) : context(node, def) {}

  // Tensors that were handed out.
  const gr_tensor* Keep(const graphrun::Tensor* tensor) const {
    if (tensor == nullptr || tensor->dtype() == graphrun::DType::kString) return nullptr;
    tensors.push_back(graphrun::TensorView(*tensor));
    return &tensors.back();
  }

  graphrun::NodeContext context;
  mutable std::deque<gr_tensor> tensors;
  mutable std::deque<std::vector<const char*>> lists;
};

struct gr_infer {
  graphrun::InferContext& context;
  const gr_node& node;
  std::vector<bool> told;  // which outputs set_output was called for
  std::deque<std::vector<graphrun::Dim>> dims;
  std::deque<std::vector<gr_dim>> views;

  const gr_dim* Keep(std::vector<graphrun::Dim> list) {
    dims.push_back(std::move(list));
    views.emplace_back();
    for (const graphrun::Dim& d : dims.back()) views.back().push_back(graphrun::DimView(d));
    return views.back().data();
  }
};

struct gr_prepare {
  graphrun::PrepareContext& context;
  const gr_node& node;
  bool declined = false;
};

// Hands out numbers for values: what comes back is checked.
struct gr_builder {
  explicit gr_builder(graphrun::Builder* b)
      : builder(b), mark((reinterpret_cast<uintptr_t>(b) << 28) & 0x7fffffff00000000u) {}

  graphrun::Builder* builder;
  gr_expr mark;
  std::vector<graphrun::Expr> values;
  std::deque<std::string> symbols;
  gr_graph* graph = nullptr;  // of a pass
  bool refused = false;       // by the plugin, which said whose fault it is

  // Runs a plugin's function that emits. Its error names the plugin, and so does one of what it
  // emitted.
  template <typename F>
  void Emit(absl::string_view where, graphrun::Blame blame, F f) {
    const graphrun::Builder before = *builder;
    const absl::Status called = graphrun::Call(where, blame, f);
    if (ok()) return builder->Fail(called);
    if (!before.status().ok()) return;
    const absl::Status error =
        refused ? graphrun::Annotate(builder->status(), where)
                : graphrun::PluginError(where, ": ", builder->status().message());
    *builder = before;
    builder->Fail(error);
  }

  bool ok() const { return builder->status().ok(); }
  gr_expr Fail(absl::Status status) {
    builder->Fail(std::move(status));
    return 0;
  }
  // 0 for what is left out, and after an error.
  gr_expr Give(graphrun::Expr e) {
    if (!ok() || !e.is_defined()) return 0;
    values.push_back(e);
    return mark | values.size();
  }
  // False, and the builder failed, for a number that Give did not make. 0 is left out.
  bool Take(gr_expr handle, absl::string_view where, graphrun::Expr* e) {
    *e = graphrun::Expr();
    if (!ok()) return false;
    if (handle == 0) return true;
    const gr_expr index = handle & 0xffffffffu;
    if ((handle & ~gr_expr{0xffffffffu}) != mark || index == 0 || index > values.size()) {
      Fail(graphrun::PluginError(where, ": a gr_expr that this builder did not give"));
      return false;
    }
    *e = values[index - 1];
    return true;
  }
  // The same for one that must be there.
  bool Need(gr_expr handle, absl::string_view where, graphrun::Expr* e) {
    if (!Take(handle, where, e)) return false;
    if (e->is_defined()) return true;
    Fail(graphrun::PluginError(where, ": an operand is left out"));
    return false;
  }
};

struct gr_gradient {
  graphrun::GradContext& context;
  gr_builder& builder;
  std::string where;
};

struct gr_random {
  graphrun::Rng& rng;
};

struct gr_graph {
  gr_graph(graphrun::Graph& graph, const graphrun::OpRegistry& registry, std::string where);

  // The node that a handle stands for; null for one that this graph did not give.
  graphrun::Node* NodeOf(const gr_node* handle) const {
    const auto it = index.find(handle);
    return it == index.end() ? nullptr : nodes[static_cast<size_t>(it->second)];
  }
  void Fail(absl::Status status) {
    if (error.ok()) error = std::move(status);
  }

  struct Place {
    Place(gr_graph* g, graphrun::Node* before)
        : builder(&g->graph, &g->registry, before), handle(&builder) {
      handle.graph = g;
    }
    graphrun::Builder builder;
    gr_builder handle;
  };

  graphrun::Graph& graph;
  const graphrun::OpRegistry& registry;
  std::string where;
  absl::Status error;
  graphrun::OpDef unknown{"unknown"};
  std::vector<graphrun::Node*> nodes;
  std::deque<gr_node> handles;
  absl::flat_hash_map<const gr_node*, int> index;
  absl::flat_hash_map<const graphrun::Node*, const gr_node*> handle_of;
  std::deque<Place> places;
  bool changed = false;
};

namespace graphrun {

extern const gr_node_api kNodeApi;
extern const gr_infer_api kInferApi;
extern const gr_kernel_api kKernelApi;
extern const gr_expr_api kExprApi;
extern const gr_gradient_api kGradientApi;
extern const gr_graph_api kGraphApi;
extern const gr_random_api kRandomApi;

// The table that every plugin's init receives.
const gr_host* HostTable();

}  // namespace graphrun
