#include "tools/new_model.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/base/status.h"
#include "tools/layers.h"

namespace graphrun::cli {
namespace {

// The activation behind hidden layer i of `n`.
absl::StatusOr<std::string> ActivationOf(const NewModel& m, size_t i, size_t n) {
  if (m.activations.size() == 1) return m.activations[0];
  if (m.activations.size() == n) return m.activations[i];
  return UsageError("--activation has ", m.activations.size(), " names for ", n,
                    " layers; give one for all or one for each");
}

int64_t Elements(const std::vector<int64_t>& dims) {
  int64_t n = 1;
  for (const int64_t d : dims) n *= d;
  return n;
}

// Hidden linear layers and the last one: x [N, in] -> [N, outputs].
absl::StatusOr<Value*> Head(LayerWriter* w, const NewModel& m, Value* x, int64_t in,
                            const std::vector<std::string>& activations) {
  for (size_t i = 0; i < m.layers.size(); ++i) {
    const std::string n = absl::StrCat(i + 1);
    x = w->Linear(x, in, m.layers[i], m.bias, "fc" + n);
    if (m.batchnorm) x = w->BatchNorm(x, m.layers[i], "bn_fc" + n);
    x = w->Activation(x, activations[i], "act_fc" + n);
    x = w->Dropout(x, m.dropout, "drop_fc" + n);
    in = m.layers[i];
  }
  x = w->Linear(x, in, m.outputs, m.bias, absl::StrCat("fc", m.layers.size() + 1));
  return w->Activation(x, m.last, "last");
}

absl::StatusOr<std::vector<std::string>> HeadActivations(const NewModel& m, size_t before,
                                                         size_t total) {
  std::vector<std::string> names;
  for (size_t i = 0; i < m.layers.size(); ++i) {
    GR_ASSIGN_OR_RETURN(std::string name, ActivationOf(m, before + i, total));
    names.push_back(std::move(name));
  }
  return names;
}

Value* GlobalPool(LayerWriter* w, Value* x) {
  return w->Node("Flatten", {w->Node("GlobalAveragePool", {x}, {}, "pool")}, {{"axis", 1}},
                 "flatten");
}

// conv, normalisation, activation, conv, normalisation; plus x; activation. He et al.
// (arXiv:1512.03385), figure 5 left.
Value* BasicBlock(LayerWriter* w, Value* x, int64_t in, int64_t out, int64_t stride,
                  const std::string& activation, const std::string& name) {
  Value* y = w->Conv(x, in, out, 3, stride, false, name + ".conv1");
  y = w->Activation(w->BatchNorm(y, out, name + ".bn1"), activation, name + ".act1");
  y = w->BatchNorm(w->Conv(y, out, out, 3, 1, false, name + ".conv2"), out, name + ".bn2");
  if (stride != 1 || in != out) {
    x = w->Conv(x, in, out, 1, stride, false, name + ".down");
    x = w->BatchNorm(x, out, name + ".bn_down");
  }
  return w->Activation(w->Node("Add", {y, x}, {}, name + ".add"), activation, name + ".act2");
}

// x [N, L, dim] -> the same: softmax(q k' / sqrt(dim / heads)) v. Vaswani et al.
// (arXiv:1706.03762), section 3.2.
Value* Attention(LayerWriter* w, Value* x, int64_t length, int64_t dim, int64_t heads,
                 const std::string& name) {
  const int64_t size = dim / heads;
  Value* split = w->Ints(name + ".split", {-1, length, heads, size});
  const auto part = [&](const char* which, std::vector<int64_t> perm) {
    const std::string n = absl::StrCat(name, ".", which);
    Value* y = w->Node("Reshape", {w->Project(x, dim, dim, n), split}, {}, n + ".split");
    return w->Node("Transpose", {y}, {{"perm", std::move(perm)}}, n + ".heads");
  };
  Value* q = part("query", {0, 2, 1, 3});
  Value* k = part("key", {0, 2, 3, 1});
  Value* v = part("value", {0, 2, 1, 3});
  Value* scale = w->Weight(name + ".scale", {}, 1.0f / std::sqrt(static_cast<float>(size)));
  Value* scores = w->Node("Mul", {w->Node("MatMul", {q, k}, {}, name + ".scores"), scale}, {},
                          name + ".scaled");
  Value* mixed =
      w->Node("MatMul", {w->Node("Softmax", {scores}, {{"axis", -1}}, name + ".softmax"), v}, {},
              name + ".mix");
  mixed = w->Node("Transpose", {mixed}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}},
                  name + ".unheads");
  mixed = w->Node("Reshape", {mixed, w->Ints(name + ".join", {-1, length, dim})}, {},
                  name + ".join_heads");
  return w->Project(mixed, dim, dim, name + ".out");
}

// The input as [N, L, dim]: words looked up, or features as they are (`dim` is set to their
// number).
absl::StatusOr<Value*> Sequence(LayerWriter* w, const NewModel& m, int64_t* features) {
  if (m.vocabulary > 0) {
    if (m.input.size() != 1) {
      return UsageError("with --vocab, --in is the number of steps of a sequence: --in 32");
    }
    Value* ids = w->Input("x", DType::kInt64, m.input);
    *features = m.dim;
    return w->Node("Gather", {w->Weight("embedding.weight", {m.vocabulary, m.dim}), ids}, {},
                   "embedding");
  }
  if (m.input.size() != 2) {
    return UsageError("a sequence is --in STEPS,FEATURES, or --in STEPS with --vocab N");
  }
  *features = m.input[1];
  return w->Input("x", DType::kFloat32, m.input);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Graph>> NewMlp(const NewModel& m) {
  LayerWriter w("mlp");
  Value* x = w.Input("x", DType::kFloat32, m.input);
  if (m.input.size() != 1) x = w.Node("Flatten", {x}, {{"axis", 1}}, "flatten");
  GR_ASSIGN_OR_RETURN(const std::vector<std::string> activations,
                      HeadActivations(m, 0, m.layers.size()));
  GR_ASSIGN_OR_RETURN(x, Head(&w, m, x, Elements(m.input), activations));
  return w.Finish(x, "y");
}

absl::StatusOr<std::unique_ptr<Graph>> NewCnn(const NewModel& m) {
  if (m.input.size() != 3) return UsageError("an image is --in CHANNELS,HEIGHT,WIDTH");
  LayerWriter w("cnn");
  Value* x = w.Input("x", DType::kFloat32, m.input);
  int64_t in = m.input[0], height = m.input[1], width = m.input[2];
  const size_t total = m.channels.size() + m.layers.size();
  for (size_t i = 0; i < m.channels.size(); ++i) {
    const std::string n = absl::StrCat(i + 1);
    GR_ASSIGN_OR_RETURN(const std::string activation, ActivationOf(m, i, total));
    x = w.Conv(x, in, m.channels[i], m.kernel, 1, m.bias && !m.batchnorm, "conv" + n);
    if (m.batchnorm) x = w.BatchNorm(x, m.channels[i], "bn" + n);
    x = w.Activation(x, activation, "act" + n);
    in = m.channels[i];
    if (m.pool == 1) continue;
    if (height < m.pool || width < m.pool) {
      return UsageError("images of ", m.input[1], " x ", m.input[2], " are too small for ",
                        m.channels.size(), " layers with --pool ", m.pool, "; --pool 1 for none");
    }
    const std::vector<int64_t> window = {m.pool, m.pool};
    x = w.Node("MaxPool", {x}, {{"kernel_shape", window}, {"strides", window}}, "pool" + n);
    height /= m.pool;
    width /= m.pool;
  }
  if (m.global_pool) {
    x = GlobalPool(&w, x);
  } else {
    x = w.Node("Flatten", {x}, {{"axis", 1}}, "flatten");
    in *= height * width;
  }
  GR_ASSIGN_OR_RETURN(const std::vector<std::string> activations,
                      HeadActivations(m, m.channels.size(), total));
  GR_ASSIGN_OR_RETURN(x, Head(&w, m, x, in, activations));
  return w.Finish(x, "y");
}

absl::StatusOr<std::unique_ptr<Graph>> NewResnet(const NewModel& m) {
  if (m.input.size() != 3) return UsageError("an image is --in CHANNELS,HEIGHT,WIDTH");
  if (m.activations.size() != 1) return UsageError("resnet has one --activation for all layers");
  LayerWriter w("resnet");
  const std::string& activation = m.activations[0];
  Value* x = w.Input("x", DType::kFloat32, m.input);
  const bool large = std::min(m.input[1], m.input[2]) >= 96;
  x = w.Conv(x, m.input[0], m.width, large ? 7 : 3, large ? 2 : 1, false, "stem");
  x = w.Activation(w.BatchNorm(x, m.width, "stem.bn"), activation, "stem.act");
  if (large) {
    x = w.Node("MaxPool", {x},
               {{"kernel_shape", std::vector<int64_t>{3, 3}},
                {"strides", std::vector<int64_t>{2, 2}},
                {"pads", std::vector<int64_t>{1, 1, 1, 1}}},
               "stem.pool");
  }
  int64_t in = m.width;
  for (size_t s = 0; s < m.stages.size(); ++s) {
    const int64_t out = m.width << s;
    for (int64_t b = 0; b < m.stages[s]; ++b) {
      x = BasicBlock(&w, x, in, out, s > 0 && b == 0 ? 2 : 1, activation,
                     absl::StrCat("stage", s + 1, ".block", b + 1));
      in = out;
    }
  }
  x = w.Dropout(GlobalPool(&w, x), m.dropout, "drop");
  x = w.Linear(x, in, m.outputs, true, "fc");
  return w.Finish(w.Activation(x, m.last, "last"), "y");
}

absl::StatusOr<std::unique_ptr<Graph>> NewTransformer(const NewModel& m) {
  if (m.heads < 1 || m.dim % m.heads != 0) {
    return UsageError("--dim ", m.dim, " is not a multiple of --heads ", m.heads);
  }
  if (m.activations.size() != 1)
    return UsageError("transformer has one --activation for all layers");
  LayerWriter w("transformer");
  int64_t features = 0;
  GR_ASSIGN_OR_RETURN(Value * x, Sequence(&w, m, &features));
  const int64_t length = m.input[0];
  if (m.vocabulary == 0) x = w.Project(x, features, m.dim, "embedding");
  x = w.Node("Add", {x, w.Weight("position.weight", {length, m.dim})}, {}, "position");
  x = w.Dropout(x, m.dropout, "drop");
  // Normalisation in front of each part: Xiong et al. (arXiv:2002.04745).
  for (int64_t b = 0; b < m.blocks; ++b) {
    const std::string n = absl::StrCat("block", b + 1);
    Value* a = w.LayerNorm(x, m.dim, n + ".norm1");
    a = w.Dropout(Attention(&w, a, length, m.dim, m.heads, n + ".attention"), m.dropout,
                  n + ".drop1");
    x = w.Node("Add", {x, a}, {}, n + ".add1");
    Value* f = w.Project(w.LayerNorm(x, m.dim, n + ".norm2"), m.dim, 4 * m.dim, n + ".fc1");
    f = w.Project(w.Activation(f, m.activations[0], n + ".act"), 4 * m.dim, m.dim, n + ".fc2");
    x = w.Node("Add", {x, w.Dropout(f, m.dropout, n + ".drop2")}, {}, n + ".add2");
  }
  x = w.LayerNorm(x, m.dim, "norm");
  x = w.Node("ReduceMean", {x}, {{"axes", std::vector<int64_t>{1}}, {"keepdims", 0}}, "mean");
  x = w.Linear(x, m.dim, m.outputs, true, "fc");
  return w.Finish(w.Activation(x, m.last, "last"), "y");
}

absl::StatusOr<std::unique_ptr<Graph>> NewRecurrent(const NewModel& m) {
  LayerWriter w(m.cell);
  int64_t features = 0;
  GR_ASSIGN_OR_RETURN(Value * x, Sequence(&w, m, &features));
  const std::string op = m.cell == "lstm" ? "LSTM" : m.cell == "gru" ? "GRU" : "RNN";
  const int64_t gates = m.cell == "lstm" ? 4 : m.cell == "gru" ? 3 : 1;
  const int64_t directions = m.bidirectional ? 2 : 1;
  const std::vector<int64_t> layers = m.layers.empty() ? std::vector<int64_t>{m.hidden} : m.layers;
  x = w.Node("Transpose", {x}, {{"perm", std::vector<int64_t>{1, 0, 2}}}, "time_first");
  for (size_t i = 0; i < layers.size(); ++i) {
    const std::string n = absl::StrCat(m.cell, i + 1);
    const int64_t h = layers[i];
    AttrMap attrs = {{"hidden_size", h}};
    if (m.bidirectional) attrs.emplace("direction", Attr("bidirectional"));
    x = w.Node(op,
               {x, w.Weight(n + ".w", {directions, gates * h, features}),
                w.Weight(n + ".r", {directions, gates * h, h}),
                w.Weight(n + ".b", {directions, 2 * gates * h})},
               std::move(attrs), n);
    // [L, directions, N, h] -> [L, N, directions h]
    x = w.Node("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}}, n + ".order");
    features = directions * h;
    x = w.Node("Reshape", {x, w.Ints(n + ".sizes", {m.input[0], -1, features})}, {}, n + ".join");
    x = w.Dropout(x, m.dropout, n + ".drop");
  }
  x = w.Node("ReduceMean", {x}, {{"axes", std::vector<int64_t>{0}}, {"keepdims", 0}}, "mean");
  x = w.Linear(x, features, m.outputs, true, "fc");
  return w.Finish(w.Activation(x, m.last, "last"), "y");
}

}  // namespace graphrun::cli
