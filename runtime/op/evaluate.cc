#include "runtime/op/evaluate.h"

#include "runtime/base/limits.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status.h"
#include "runtime/op/infer.h"

namespace graphrun {
namespace {

class EvaluateSubgraph : public SubgraphRunner {
 public:
  EvaluateSubgraph(Attr::GraphPtr graph, const OpRegistry& registry)
      : graph_(std::move(graph)), registry_(registry) {}
  absl::Status Run(absl::Span<const Datum* const> inputs, std::vector<Datum>* outputs,
                   uint64_t seed, uint64_t step) const override {
    std::unique_ptr<Graph> graph = graph_->Clone();
    absl::flat_hash_map<std::string, Datum> named;
    for (size_t i = 0; i < graph->inputs().size() && i < inputs.size(); ++i) {
      if (inputs[i] == nullptr) continue;
      graph->inputs()[i]->set_type(inputs[i]->type());
      named[graph->inputs()[i]->name()] = *inputs[i];
    }
    EvaluateOptions options;
    options.seed = seed;
    options.step = step;
    GR_ASSIGN_OR_RETURN(*outputs, EvaluateGraph(*graph, registry_, named, options));
    return absl::OkStatus();
  }

 private:
  Attr::GraphPtr graph_;
  const OpRegistry& registry_;
};

class EvaluatePrepare : public PrepareContext {
 public:
  EvaluatePrepare(const Node& node, const OpDef& def, const OpRegistry& registry,
                  const std::vector<Datum>& inputs)
      : PrepareContext(node, def), registry_(registry), inputs_(inputs) {}
  const Tensor* constant(int i) const override {
    if (!has_input(i)) return nullptr;
    const Datum& d = inputs_[static_cast<size_t>(i)];
    return d.is_tensor() && node().input(i)->is_constant() ? &d.tensor : nullptr;
  }
  Layout input_layout(int i) const override { return Layout(); }
  int threads() const override { return NumThreads(); }
  absl::StatusOr<std::unique_ptr<SubgraphRunner>> Subgraph(absl::string_view name) override {
    const Attr::GraphPtr graph = GraphAttr(name);
    if (graph == nullptr) return Error("attribute ", name, " must be a graph");
    return std::unique_ptr<SubgraphRunner>(std::make_unique<EvaluateSubgraph>(graph, registry_));
  }
  bool AllRowMajor() const {
    for (int i = 0; i < num_inputs(); ++i) {
      if (!wanted(i).is_row_major()) return false;
    }
    for (int i = 0; i < num_outputs(); ++i) {
      if (!made(i).is_row_major()) return false;
    }
    return true;
  }

 private:
  const OpRegistry& registry_;
  const std::vector<Datum>& inputs_;
};

// Moves `tensor` from one layout to another by the registry's reorder; row-major is a plain Tensor.
absl::StatusOr<Tensor> Relayout(const OpRegistry& registry, const Tensor& tensor, const Dims& dims,
                                const Layout& from, const Layout& to) {
  if (from == to) return tensor;
  if (!registry.reorder()) return InternalError("no reorder is registered");
  GR_ASSIGN_OR_RETURN(std::unique_ptr<Kernel> kernel,
                      registry.reorder()(tensor.dtype(), dims, from, to));
  GR_ASSIGN_OR_RETURN(Tensor memory,
                      Tensor::Allocate(DType::kUInt8, {to.ByteSize(tensor.dtype(), dims)}));
  Datum in(tensor), out(Tensor::View(tensor.dtype(), dims, memory.mutable_raw(), memory.owner()));
  const Datum* ins[] = {&in};
  Datum* outs[] = {&out};
  RunContext run(ins, 1, outs, 1, nullptr, 0, 0);
  GR_RETURN_IF_ERROR(kernel->Run(run));
  return out.tensor;
}

absl::StatusOr<std::vector<Datum>> RunPrepared(
    const Node& node, const OpDef& def, const OpRegistry& registry, const EvaluatePrepare& prepared,
    const Kernel& kernel, const std::vector<Datum>& inputs, const EvaluateOptions& options) {
  std::vector<Datum> given = inputs;
  std::vector<const Datum*> ins;
  for (size_t i = 0; i < node.inputs().size(); ++i) {
    const int index = static_cast<int>(i);
    if (node.inputs()[i] == nullptr || i >= given.size()) {
      ins.push_back(nullptr);
      continue;
    }
    if (index < node.num_inputs() && given[i].is_tensor() &&
        !prepared.wanted(index).is_row_major()) {
      GR_ASSIGN_OR_RETURN(given[i].tensor,
                          Relayout(registry, given[i].tensor, given[i].tensor.dims(), Layout(),
                                   prepared.wanted(index)));
    }
    ins.push_back(&given[i]);
  }
  std::vector<Datum> results(static_cast<size_t>(node.num_outputs()));
  std::vector<Datum*> outs;
  for (int o = 0; o < node.num_outputs(); ++o) {
    Datum& out = results[static_cast<size_t>(o)];
    if (!node.has_output(o)) {
      outs.push_back(nullptr);
      continue;
    }
    outs.push_back(&out);
    const Type& type = node.output(o)->type();
    if (!type.is_tensor() || !type.tensor.shape.is_concrete()) continue;
    const Dims dims = type.tensor.shape.ToDims();
    bool aliased = false;
    for (const auto& [input, output] : def.in_place(node)) {
      if (!options.in_place || output != o || aliased || !node.has_input(input)) continue;
      Datum& source = given[static_cast<size_t>(input)];
      if (!source.is_tensor() || source.tensor.dtype() != type.tensor.dtype ||
          source.tensor.dims() != dims)
        continue;
      source = Datum(source.tensor.Clone());
      out = source;
      aliased = true;
    }
    if (aliased) continue;
    const Layout layout = prepared.made(o);
    if (layout.is_row_major()) {
      GR_ASSIGN_OR_RETURN(Tensor t, Tensor::Allocate(type.tensor.dtype, dims));
      out = Datum(std::move(t));
    } else {
      GR_ASSIGN_OR_RETURN(
          Tensor memory,
          Tensor::Allocate(DType::kUInt8, {layout.ByteSize(type.tensor.dtype, dims)}));
      out = Datum(Tensor::View(type.tensor.dtype, dims, memory.mutable_raw(), memory.owner()));
    }
  }
  GR_ASSIGN_OR_RETURN(Tensor scratch, Tensor::Allocate(DType::kUInt8, {prepared.scratch_bytes()}));
  RunContext run(ins.data(), static_cast<int>(ins.size()), outs.data(),
                 static_cast<int>(outs.size()), scratch.mutable_raw(), options.seed, options.step);
  GR_RETURN_IF_ERROR(Annotate(kernel.Run(run), node.Describe()));
  for (int o = 0; o < node.num_outputs(); ++o) {
    Datum& out = results[static_cast<size_t>(o)];
    if (!out.is_tensor() || prepared.made(o).is_row_major()) continue;
    GR_ASSIGN_OR_RETURN(
        out.tensor, Relayout(registry, out.tensor, out.tensor.dims(), prepared.made(o), Layout()));
  }
  return results;
}

absl::StatusOr<std::vector<Datum>> EvaluateBody(const Node& node, const OpRegistry& registry,
                                                const std::vector<Datum>& inputs,
                                                const EvaluateOptions& options) {
  Graph graph;
  Graph::NodeSpec spec{node.op_type(), node.domain(), {}, {}, node.attrs(),
                       node.name(),    node.opset(),  {}, {}};
  absl::flat_hash_map<std::string, Datum> named;
  for (size_t i = 0; i < node.inputs().size(); ++i) {
    Value* v = nullptr;
    if (node.inputs()[i] != nullptr) {
      if (node.inputs()[i]->is_constant()) {
        v = graph.AddInitializer(node.inputs()[i]->name(), inputs[i].tensor);
      } else {
        v = graph.AddInput(node.inputs()[i]->name(), node.inputs()[i]->type());
        named[v->name()] = inputs[i];
      }
    }
    (static_cast<int>(i) < node.num_inputs() ? spec.inputs : spec.captures).push_back(v);
  }
  for (int o = 0; o < node.num_outputs(); ++o) {
    spec.outputs.push_back("");
    if (!node.has_output(o)) spec.omitted_outputs.push_back(o);
  }
  Node* copy = graph.AddNode(std::move(spec));
  std::vector<size_t> places;
  for (int o = 0; o < node.num_outputs(); ++o) {
    if (!node.has_output(o)) continue;
    copy->output(o)->set_type(node.output(o)->type());
    graph.AddOutput(copy->output(o));
    places.push_back(static_cast<size_t>(o));
  }
  GR_RETURN_IF_ERROR(InlineBody(graph, copy, registry));
  EvaluateOptions inner = options;
  // Bodies within bodies run within each other's evaluation, on this thread.
  thread_local int depth = 0;
  const struct Deeper {
    Deeper() { ++depth; }
    ~Deeper() { --depth; }
  } deeper;
  if (depth > kMaxInlineDepth) {
    return LimitError(node.Describe(), ": bodies of operators are nested more than ",
                      kMaxInlineDepth, " deep. Does its body use the operator itself?");
  }
  inner.use_body = false;
  inner.kernel.clear();
  GR_ASSIGN_OR_RETURN(std::vector<Datum> values, EvaluateGraph(graph, registry, named, inner));
  std::vector<Datum> results(static_cast<size_t>(node.num_outputs()));
  for (size_t i = 0; i < values.size(); ++i) results[places[i]] = std::move(values[i]);
  return results;
}

}  // namespace

absl::StatusOr<std::vector<Datum>> EvaluateNode(const Node& node, const OpRegistry& registry,
                                                const std::vector<Datum>& inputs,
                                                const EvaluateOptions& options) {
  GR_ASSIGN_OR_RETURN(const OpDef* def, registry.Resolve(node));
  if (options.use_body) return EvaluateBody(node, registry, inputs, options);
  const auto& kernels = def->kernels();
  for (size_t k = 0; k < kernels.size(); ++k) {
    const auto& candidate = options.prefer_first || !options.kernel.empty()
                                ? kernels[k]
                                : kernels[kernels.size() - 1 - k];
    if (!options.kernel.empty() && candidate.name != options.kernel) continue;
    EvaluatePrepare prepare(node, *def, registry, inputs);
    GR_ASSIGN_OR_RETURN(std::unique_ptr<Kernel> kernel, candidate.factory(prepare));
    if (kernel == nullptr) continue;
    return RunPrepared(node, *def, registry, prepare, *kernel, inputs, options);
  }
  if (options.kernel.empty() && def->body()) return EvaluateBody(node, registry, inputs, options);
  return ModelError(node.Describe(), ": no ", options.kernel.empty() ? "" : options.kernel + " ",
                    "kernel of ", def->Describe(), " takes these element types");
}

absl::StatusOr<std::vector<Datum>> EvaluateGraph(
    const Graph& graph, const OpRegistry& registry,
    const absl::flat_hash_map<std::string, Datum>& inputs, const EvaluateOptions& options,
    absl::flat_hash_map<const Value*, Datum>* all) {
  absl::flat_hash_map<const Value*, Value*> to_copy;
  std::unique_ptr<Graph> copy = graph.Clone(&to_copy);
  absl::flat_hash_map<const Value*, Datum> values;
  KnownValues known;
  for (const auto& v : copy->values()) {
    if (v->is_initializer()) values[v.get()] = Datum(v->initializer());
    const auto it = inputs.find(v->name());
    if (it != inputs.end() && v->producer() == nullptr) {
      values[v.get()] = it->second;
      v->set_type(it->second.type());
    }
  }
  GR_RETURN_IF_ERROR(copy->Sort());
  for (const auto& node : copy->nodes()) {
    // Everything computed so far is known, so that sizes are concrete where they can be.
    std::vector<Datum> arguments;
    for (const Value* in : node->inputs()) {
      const auto it = in == nullptr ? values.end() : values.find(in);
      if (in != nullptr && it == values.end()) {
        return ModelError("input \"", in->name(), "\" of ", node->Describe(),
                          " has no value. Give one");
      }
      arguments.push_back(in == nullptr ? Datum() : it->second);
      if (in != nullptr && arguments.back().is_tensor())
        known.constants[in] = arguments.back().tensor;
    }
    for (Value* out : node->outputs()) {
      if (out != nullptr) out->set_type(Type());
    }
    GR_RETURN_IF_ERROR(InferNode(*node, registry, &known));
    GR_ASSIGN_OR_RETURN(std::vector<Datum> results,
                        EvaluateNode(*node, registry, arguments, options));
    for (int o = 0; o < node->num_outputs(); ++o) {
      if (!node->has_output(o)) continue;
      Datum& result = results[static_cast<size_t>(o)];
      node->output(o)->set_type(result.type());
      values[node->output(o)] = std::move(result);
    }
  }
  std::vector<Datum> outputs;
  for (const Value* v : copy->outputs()) {
    const auto it = values.find(v);
    if (it == values.end()) return ModelError("input \"", v->name(), "\" has no value. Give one");
    outputs.push_back(it->second);
  }
  if (all != nullptr) {
    for (const auto& v : graph.values()) {
      const auto it = values.find(to_copy.at(v.get()));
      if (it != values.end()) (*all)[v.get()] = it->second;
    }
  }
  return outputs;
}

}  // namespace graphrun
