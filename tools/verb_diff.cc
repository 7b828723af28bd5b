#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_format.h"
#include "runtime/base/status.h"
#include "runtime/ir/text.h"
#include "runtime/onnx/import.h"
#include "runtime/report/json.h"
#include "tools/output.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

struct Difference {
  std::string what, name, a, b;  // "" in a or b: not there
};

void CompareTexts(const std::string& what, const std::map<std::string, std::string>& a,
                  const std::map<std::string, std::string>& b, std::vector<Difference>* out) {
  std::set<std::string> names;
  for (const auto& [name, text] : a) names.insert(name);
  for (const auto& [name, text] : b) names.insert(name);
  for (const std::string& name : names) {
    const auto x = a.find(name), y = b.find(name);
    const std::string left = x == a.end() ? "" : x->second, right = y == b.end() ? "" : y->second;
    if (left != right) out->push_back({what, name, left, right});
  }
}

std::map<std::string, std::string> Types(const std::vector<Value*>& values) {
  std::map<std::string, std::string> out;
  for (const Value* v : values) out[v->name()] = v->type().ToString();
  return out;
}

// Nodes by the name of their first output, as lines of the text syntax.
std::map<std::string, std::string> Nodes(const Graph& graph) {
  std::map<std::string, std::string> out;
  for (const auto& node : graph.nodes()) {
    std::string key = node->name();
    for (const Value* v : node->outputs()) {
      if (v == nullptr) continue;
      key = v->name();
      break;
    }
    out[key] = PrintNode(*node);
  }
  return out;
}

std::map<std::string, std::string> Versions(const Graph& graph) {
  std::map<std::string, std::string> out;
  for (const auto& [domain, version] : graph.opset_imports)
    out[domain.empty() ? "ai.onnx" : domain] = absl::StrCat(version);
  return out;
}

void CompareWeights(const Graph& a, const Graph& b, double tolerance,
                    std::vector<Difference>* out) {
  std::map<std::string, const Tensor*> left, right;
  for (const Value* v : a.initializers()) left[v->name()] = &v->initializer();
  for (const Value* v : b.initializers()) right[v->name()] = &v->initializer();
  for (const auto& [name, t] : left) {
    const auto it = right.find(name);
    if (it == right.end()) {
      out->push_back({"weight", name, t->type().ToString(), ""});
      continue;
    }
    const Tensor& u = *it->second;
    if (t->dtype() != u.dtype() || t->dims() != u.dims()) {
      out->push_back({"weight", name, t->type().ToString(), u.type().ToString()});
    } else if (!SameBits(*t, u)) {
      double most = 0, scale = 0;
      for (int64_t i = 0; t->dtype() != DType::kString && i < t->num_elements(); ++i) {
        const double d = std::fabs(t->AsDouble(i) - u.AsDouble(i));
        most = std::isnan(d) ? INFINITY : std::max(most, d);
        scale = std::max(scale, std::fabs(t->AsDouble(i)));
      }
      if (t->dtype() == DType::kString || most > tolerance) {
        out->push_back({"numbers", name, absl::StrFormat("differ by up to %.3g", most),
                        absl::StrFormat("where the largest is %.3g", scale)});
      }
    }
  }
  for (const auto& [name, t] : right)
    if (left.count(name) == 0) out->push_back({"weight", name, "", t->type().ToString()});
}

absl::Status Run(const Flags& flags) {
  GR_ASSIGN_OR_RETURN(const double tolerance, flags.Number("tolerance", 0));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> a, ImportOnnx(flags.argument(0)));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> b, ImportOnnx(flags.argument(1)));
  std::vector<Difference> differences;
  CompareTexts("operator set", Versions(*a), Versions(*b), &differences);
  CompareTexts("metadata", a->metadata, b->metadata, &differences);
  CompareTexts("input", Types(a->inputs()), Types(b->inputs()), &differences);
  CompareTexts("output", Types(a->outputs()), Types(b->outputs()), &differences);
  CompareTexts("node", Nodes(*a), Nodes(*b), &differences);
  CompareWeights(*a, *b, tolerance, &differences);
  if (flags.On("json")) {
    JsonWriter json(2);
    json.BeginArray();
    for (const Difference& d : differences) {
      json.BeginObject()
          .Field("what", d.what)
          .Field("name", d.name)
          .Field("a", d.a)
          .Field("b", d.b);
      json.EndObject();
    }
    PrintText(json.EndArray().Finish() + "\n");
    return absl::OkStatus();
  }
  for (const Difference& d : differences) {
    if (d.what == "numbers") {
      Print("~ weight ", d.name, ": ", d.a, ", ", d.b, "\n");
      continue;
    }
    if (!d.a.empty()) Print("- ", d.what, " ", d.name, ": ", d.a, "\n");
    if (!d.b.empty()) Print("+ ", d.what, " ", d.name, ": ", d.b, "\n");
  }
  Print(differences.empty() ? std::string("no difference")
                            : absl::StrCat(differences.size(), " differences"),
        "\n");
  return absl::OkStatus();
}

}  // namespace

Verb DiffVerb() {
  return {
      "diff",
      "A.onnx B.onnx",
      "says how two models differ: structure and weights",
      "Nodes are matched by the names of their outputs, weights by their own. compare runs both.",
      "graphrun diff before.onnx after.onnx\n"
      "graphrun diff a.onnx b.onnx --tolerance 1e-6",
      {{"tolerance", "X", "differences of weights up to X are not told (0)"},
       {"json", "", "print as JSON"}},
      2,
      2,
      Run};
}

}  // namespace graphrun::cli
