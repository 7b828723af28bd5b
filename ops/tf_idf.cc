// TfIdfVectorizer: counts of n-grams of a pool, weighted.
//
// Source: https://onnx.ai/onnx/operators/onnx__TfIdfVectorizer.html (9).
#include <map>

#include "ops/move.h"
#include "runtime/op/op_registry.h"

namespace graphrun {
namespace {

// Tokens are numbers: an integer itself, or a string's place in the list of pool strings.
struct Pool {
  std::map<std::vector<int64_t>, size_t> ngrams;  // -> number of the n-gram in the pool
  std::map<std::string, int64_t> words;
  bool strings = false;
  std::vector<int64_t> columns;
  std::vector<float> weights;
  int64_t shortest = 1, longest = 1, skips = 0, width = 0;
  bool truncate = false;
};

absl::StatusOr<Pool> PoolOf(const NodeContext& c) {
  Pool pool;
  pool.shortest = c.Int("min_gram_length");
  pool.longest = c.Int("max_gram_length");
  pool.skips = c.Int("max_skip_count");
  if (pool.shortest < 1 || pool.longest < pool.shortest || pool.skips < 0) {
    return c.Error("n-grams of ", pool.shortest, " to ", pool.longest, " tokens with up to ",
                   pool.skips, " skips are not possible");
  }
  const std::string mode = c.String("mode");
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF") {
    return c.Error("mode is \"", mode, "\" but must be TF, IDF or TFIDF");
  }
  pool.truncate = mode == "IDF";
  std::vector<int64_t> tokens = c.Ints("pool_int64s");
  const std::vector<std::string> words = c.Strings("pool_strings");
  if (!words.empty() && !tokens.empty())
    return c.Error("only one of pool_strings and pool_int64s may be set");
  pool.strings = !words.empty();
  for (const std::string& w : words)
    tokens.push_back(pool.words.emplace(w, static_cast<int64_t>(pool.words.size())).first->second);
  pool.columns = c.Ints("ngram_indexes");
  for (const int64_t column : pool.columns) {
    if (column < 0) return c.Error("ngram_indexes has the negative ", column);
    pool.width = std::max(pool.width, column + 1);
  }
  const std::vector<int64_t> starts = c.Ints("ngram_counts");
  size_t number = 0;
  for (size_t g = 0; g < starts.size(); ++g) {
    const int64_t end = g + 1 < starts.size() ? starts[g + 1] : static_cast<int64_t>(tokens.size());
    const auto n = static_cast<int64_t>(g) + 1;
    if (starts[g] < 0 || end < starts[g] || end > static_cast<int64_t>(tokens.size()) ||
        (end - starts[g]) % n != 0) {
      return c.Error("ngram_counts ", DimsToString(starts), " do not divide a pool of ",
                     tokens.size(), " tokens");
    }
    for (int64_t at = starts[g]; at < end; at += n) {
      const auto first = tokens.begin() + at;
      pool.ngrams.emplace(std::vector<int64_t>(first, first + n), number++);
    }
  }
  if (number != pool.columns.size()) {
    return c.Error("ngram_indexes has ", pool.columns.size(), " elements but the pool has ", number,
                   " n-grams");
  }
  if (mode != "TF") pool.weights = c.Floats("weights");
  if (!pool.weights.empty() && pool.weights.size() != number) {
    return c.Error("weights has ", pool.weights.size(), " elements but the pool has ", number,
                   " n-grams");
  }
  return pool;
}

absl::Status InferTfIdf(InferContext& c) {
  GR_ASSIGN_OR_RETURN(const Pool pool, PoolOf(c));
  const Shape& x = c.input_shape(0);
  if (c.input_dtype(0) != DType::kUndefined &&
      (c.input_dtype(0) == DType::kString) != pool.strings && !pool.ngrams.empty()) {
    return c.Error("the input is ", DTypeName(c.input_dtype(0)),
                   " but the pool holds the other kind of tokens");
  }
  if (x.has_rank() && x.rank() > 2) {
    return c.Error("the input has shape ", x.ToString(), " but must be [C] or [N, C]");
  }
  Shape y;
  if (x.has_rank()) y = x.rank() == 2 ? Shape({x[0], Dim(pool.width)}) : Shape({Dim(pool.width)});
  c.set_output(0, DType::kFloat32, std::move(y));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Kernel>> TfIdfKernel(PrepareContext& c) {
  GR_ASSIGN_OR_RETURN(Pool made, PoolOf(c));
  const auto pool = std::make_shared<const Pool>(std::move(made));
  return MakeKernel([pool](RunContext& r) -> absl::Status {
    const Tensor& x = r.input(0);
    const int64_t rows = x.rank() == 2 ? x.dim(0) : 1;
    const int64_t length = x.rank() == 0 ? 1 : x.dim(x.rank() - 1);
    std::vector<int64_t> tokens;
    if (x.dtype() == DType::kString) {
      for (int64_t i = 0; i < x.num_elements(); ++i) {
        const auto it = pool->words.find(x.data<std::string>()[i]);
        tokens.push_back(it == pool->words.end() ? -1 : it->second);
      }
    } else {
      tokens = x.AsInt64s();
    }
    Dims dims = {pool->width};
    if (x.rank() == 2) dims.insert(dims.begin(), rows);
    GR_RETURN_IF_ERROR(r.ResizeOutput(0, DType::kFloat32, dims));
    float* y = r.output(0).mutable_data<float>();
    std::fill(y, y + rows * pool->width, 0.0f);
    ParallelFor(rows, std::max<int64_t>(1024 / std::max<int64_t>(length, 1), 1),
                [&](int64_t begin, int64_t end) {
                  std::vector<int64_t> ngram;
                  for (int64_t row = begin; row < end; ++row) {
                    const int64_t* text = tokens.data() + row * length;
                    std::vector<float> counts(pool->columns.size(), 0);
                    for (int64_t n = pool->shortest; n <= std::min(pool->longest, length); ++n) {
                      // Single tokens have nothing to skip.
                      for (int64_t step = 1; step <= (n == 1 ? 1 : pool->skips + 1); ++step) {
                        for (int64_t at = 0; at + (n - 1) * step < length; ++at) {
                          ngram.clear();
                          for (int64_t k = 0; k < n; ++k) ngram.push_back(text[at + k * step]);
                          const auto it = pool->ngrams.find(ngram);
                          if (it != pool->ngrams.end()) counts[it->second] += 1;
                        }
                      }
                    }
                    for (size_t i = 0; i < counts.size(); ++i) {
                      float v = pool->truncate ? std::min(counts[i], 1.0f) : counts[i];
                      if (!pool->weights.empty()) v *= pool->weights[i];
                      y[row * pool->width + pool->columns[i]] = v;
                    }
                  }
                });
    return absl::OkStatus();
  });
}

Sample Grams(Tensor x, const char* mode) {
  using Ints = std::vector<int64_t>;
  return Sample()
      .In(std::move(x))
      .Attr("mode", mode)
      .Attr("min_gram_length", 1)
      .Attr("max_gram_length", 2)
      .Attr("max_skip_count", 1)
      .Attr("ngram_counts", Ints{0, 2})
      .Attr("ngram_indexes", Ints{0, 1, 2})
      .Attr("pool_int64s", Ints{2, 3, 5, 4});
}

}  // namespace

void RegisterTfIdfOps(OpRegistry& ops) {
  using Kind = Attr::Kind;
  const Tensor text = Tensor::Of<int64_t>({5}, {2, 2, 5, 3, 4});
  ops.Add(OpDef("TfIdfVectorizer", 9)
              .Input("X", "T")
              .Output("Y", "T1")
              .RequiredAttr("max_gram_length", Kind::kInt)
              .RequiredAttr("max_skip_count", Kind::kInt)
              .RequiredAttr("min_gram_length", Kind::kInt)
              .RequiredAttr("mode", Kind::kString)
              .RequiredAttr("ngram_counts", Kind::kInts)
              .RequiredAttr("ngram_indexes", Kind::kInts)
              .Attr("pool_int64s", Kind::kInts)
              .Attr("pool_strings", Kind::kStrings)
              .Attr("weights", Kind::kFloats)
              .Types("T", {DType::kString, DType::kInt32, DType::kInt64})
              .Types("T1", {DType::kFloat32})
              .Infer(InferTfIdf)
              .Kernel("native", TfIdfKernel)
              .NotDifferentiable("the input is discrete")
              .Try(Grams(text, "TF").Gives(Tensor::Of<float>({3}, {2, 1, 1})))
              .Try(Grams(text, "IDF")
                       .Attr("weights", std::vector<float>{3, 2, 1})
                       .Gives(Tensor::Of<float>({3}, {3, 2, 1})))
              .Try(Grams(text.Reshaped({1, 5}), "TFIDF"))
              .Try(Grams(Tensor::Of<std::string>({1}, {"a"}), "TF").Refused("other kind of tokens"))
              .Try(Grams(text, "BM25").Refused("mode is \"BM25\"")));
}

}  // namespace graphrun
