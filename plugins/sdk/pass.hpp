// Graph passes: rewrites of graphs whose types are inferred, in every plan that is made.
//
//   plugin.Add(gr::Pass("exp-of-log", GR_PASS_CANONICAL).Run([](gr::Graph& g) {
//     for (int i = 0; i < g.num_nodes(); ++i) {
//       const gr::GraphNode exp = g.node(i), log = exp.producer(0);
//       if (!exp.Is("Exp") || !log.Is("Log")) continue;
//       gr::Place at = g.Before(exp);
//       at.Replace(exp, 0, Identity(at.Input(log, 0)));
//     }
//   }));
#pragma once

#include <functional>

#include "expr.hpp"

namespace gr {

// A node of the graph, or none: then only exists() and Is() may be asked.
class GraphNode : public Node {
 public:
  GraphNode(gr_graph* graph, const gr_node* node) : Node(node), graph_(graph) {}
  bool exists() const { return node_ != nullptr; }
  // Whether it is there and of that operator; domain "": ai.onnx.
  bool Is(const char* type, const char* of_domain = "") const {
    return exists() && op_type() == type && domain() == of_domain;
  }
  // The node that makes input i, and the number of its output; none for inputs of the graph and
  // for constants.
  GraphNode producer(int i, int32_t* output = nullptr) const {
    return {graph_, exists() ? host().graph->producer(graph_, node_, i, output) : nullptr};
  }
  // Input i's elements; null where they are not known.
  const gr_tensor* constant(int i) const { return host().graph->constant(graph_, get(), i); }
  // How many read output i; outputs of the graph count.
  int num_uses(int i = 0) const { return host().graph->num_uses(graph_, get(), i); }

 private:
  gr_graph* graph_;
};

// In front of a node: what is built here may use its inputs and what was made before it.
class Place {
 public:
  explicit Place(gr_builder* builder) : builder_(builder) {}
  gr_builder* builder() const { return builder_; }
  Expr Input(const GraphNode& node, int i) const {
    return {builder_, host().graph->input(builder_, node.get(), i)};
  }
  Expr Output(const GraphNode& node, int i = 0) const {
    return {builder_, host().graph->output(builder_, node.get(), i)};
  }
  // Everybody who reads output i of the node reads `with` from now on. Nodes that nobody reads any
  // more are removed.
  void Replace(const GraphNode& node, int i, Expr with) const {
    Check(host().graph->replace(builder_, node.get(), i, with.id()));
  }

 private:
  gr_builder* builder_;
};

// The nodes that there were when the pass began, producers first.
class Graph {
 public:
  explicit Graph(gr_graph* graph) : graph_(graph) {}
  int num_nodes() const { return host().graph->num_nodes(graph_); }
  GraphNode node(int i) const { return {graph_, host().graph->node(graph_, i)}; }
  Place Before(const GraphNode& node) const {
    return Place(host().graph->before(graph_, node.get()));
  }

 private:
  gr_graph* graph_;
};

class Pass : public Declaration<Pass, gr_pass> {
 public:
  // `phase`: GR_PASS_CANONICAL, GR_PASS_FUSE or GR_PASS_POINTWISE.
  Pass(const char* name, int32_t phase) : Declaration(name) { raw_.phase = phase; }
  Pass& Run(std::function<void(Graph&)> f) {
    run_ = std::move(f);
    return *this;
  }
  // The table for the host; the declaration must stay where it is from now on.
  gr_pass Freeze() {
    raw_.self = this;
    if (run_) {
      raw_.run = [](void* self, gr_graph* graph) {
        return Guard([&] {
          Graph g(graph);
          static_cast<Pass*>(self)->run_(g);
        });
      };
    }
    return raw_;
  }

 private:
  std::function<void(Graph&)> run_;
};

}  // namespace gr
