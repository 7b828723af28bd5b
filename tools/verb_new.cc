#include "runtime/base/status.h"
#include "runtime/base/text.h"
#include "runtime/onnx/export.h"
#include "tools/new_spec.h"
#include "tools/output.h"
#include "tools/registry.h"
#include "tools/verbs.h"

namespace graphrun::cli {
namespace {

absl::Status Run(const Flags& flags) {
  if (!flags.Has("output")) return UsageError("-o FILE.onnx says where to write the model");
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<OpRegistry> registry, MakeRegistry(flags));
  GR_ASSIGN_OR_RETURN(const std::unique_ptr<Graph> graph, MakeNewModel(flags, *registry));
  ExportOptions options;
  options.registry = registry.get();
  const std::string path = flags.Get("output");
  GR_RETURN_IF_ERROR(ExportOnnx(*graph, path, options));
  int64_t parameters = 0;
  for (const Value* v : graph->initializers())
    if (IsFloat(v->dtype())) parameters += v->initializer().num_elements();
  Print(path, ": ", flags.argument(0), " ", graph->inputs()[0]->type().ToString(), " -> ",
        graph->outputs()[0]->type().ToString(), ", ", graph->num_nodes(), " nodes, ",
        HumanCount(static_cast<double>(parameters)), " parameters\n");
  return absl::OkStatus();
}

}  // namespace

Verb NewVerb() {
  return {"new",
          "mlp|cnn|resnet|transformer|lstm",
          "writes a model of a common form, with fresh weights",
          "ONNX operator set 17. The first axis of input and output is the batch, of any size.",
          "graphrun new mlp --in 64 --layers 64,64 --out 10 --activation leakyrelu --dropout 0.2 "
          "-o mlp.onnx\n"
          "graphrun new cnn --in 1,28,28 --channels 32,64 --layers 128 --out 10 --batchnorm -o "
          "cnn.onnx\n"
          "graphrun new resnet --in 3,32,32 --stages 2,2,2 --width 16 --out 10 -o resnet.onnx\n"
          "graphrun new transformer --in 32 --vocab 5000 --dim 128 --heads 4 --blocks 2 --out 2 -o "
          "t.onnx\n"
          "graphrun new lstm --in 50,8 --hidden 64 --bidirectional --out 3 -o lstm.onnx",
          {{"output", "FILE", "where to write the model", false, 'o'},
           {"in", "D,D", "sizes of one sample"},
           {"out", "N", "outputs: classes, or numbers"},
           {"layers", "N,N", "widths of hidden linear layers (lstm: of the recurrent ones)"},
           {"activation", "NAME,NAME",
            "relu, leakyrelu, sigmoid, tanh, elu, selu, softplus, softsign, silu, gelu, hardswish, "
            "none; "
            "one for all or one for each layer"},
           {"last", "NAME", "behind the last layer: none, softmax, sigmoid, tanh, ..."},
           {"batchnorm", "", "batch normalisation in front of activations"},
           {"dropout", "RATIO", "behind hidden layers (0)"},
           {"bias", "", "--no-bias: linear layers and convolutions without"},
           {"init", "KIND", "he, glorot, normal, keep (zeros)"},
           {"seed", "N", "of the weights (1)"},
           {"channels", "N,N", "cnn: of the convolutions (32,64)"},
           {"kernel", "N", "cnn: width of the windows (3)"},
           {"pool", "N", "cnn: max-pooling behind each convolution (2; 1: none)"},
           {"global-pool", "", "cnn: average over the image instead of flattening"},
           {"stages", "N,N", "resnet: blocks of two convolutions in each stage (2,2,2,2)"},
           {"width", "N", "resnet: channels of the first stage (64)"},
           {"vocab", "N", "transformer, lstm: the input is numbers of words below N"},
           {"dim", "N", "transformer: width (64); lstm: of words"},
           {"heads", "N", "transformer (4)"},
           {"blocks", "N", "transformer (2)"},
           {"hidden", "N", "lstm: units (64)"},
           {"bidirectional", "", "lstm: both directions"},
           {"cell", "KIND", "lstm, gru, rnn"}},
          1,
          1,
          Run};
}

}  // namespace graphrun::cli
