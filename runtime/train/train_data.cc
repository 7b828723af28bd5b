#include "runtime/train/train_data.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "proto/recipe.pb.h"
#include "runtime/base/rng.h"
#include "runtime/base/text.h"
#include "runtime/data/labels.h"
#include "runtime/data/open.h"
#include "runtime/data/transform.h"
#include "runtime/train/train_registry.h"

namespace graphrun {
namespace {

std::vector<std::string> FieldNames(const Dataset& dataset) {
  std::vector<std::string> names;
  for (const Field& f : dataset.fields()) names.push_back(f.name);
  return names;
}

// What a folder of images is to become.
absl::Status ReadImageOptions(const recipe::Data& data, DataOptions* options) {
  const auto& given = data.option();
  if (const auto size = given.find("image_size"); size != given.end()) {
    const std::vector<std::string> sides = absl::StrSplit(size->second, 'x');
    options->resize = true;
    if (sides.size() > 2 || !absl::SimpleAtoi(sides.front(), &options->height) ||
        !absl::SimpleAtoi(sides.back(), &options->width) || options->height < 1 ||
        options->width < 1) {
      return UsageError("data.option.image_size is \"", size->second,
                        "\" but must be one size or two, height and width: 32 or 24x32");
    }
  }
  if (const auto channels = given.find("image_channels"); channels != given.end()) {
    if (!absl::SimpleAtoi(channels->second, &options->channels))
      return UsageError("data.option.image_channels is \"", channels->second,
                        "\" but must be 1 or 3");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Dataset>> Open(const recipe::Data& data,
                                                    const std::string& path,
                                                    const std::vector<std::string>& classes,
                                                    const std::string& part,
                                                    const TrainRegistry& parts) {
  DataOptions options;
  options.format = data.format() == "auto" ? "" : data.format();
  options.target = data.target();
  options.features = absl::StrJoin(data.features(), ",");
  options.classes = classes;
  options.part = part;
  for (const std::string& binding : data.input()) {
    const std::pair<std::string, std::string> words =
        absl::StrSplit(binding, absl::MaxSplits('=', 1));
    if (words.first.empty() || words.second.empty()) {
      return UsageError("data.input is \"", binding, "\" but must be NAME=COLUMN");
    }
    options.inputs.push_back(words);
  }
  GR_RETURN_IF_ERROR(ReadImageOptions(data, &options));
  options.extra.insert(data.option().begin(), data.option().end());
  return OpenDataset(path, options, parts.formats());
}

// The sizes that the model wants of one sample, unknown axes from the field.
absl::StatusOr<Dims> SampleDims(const std::string& dataset, const Value& input,
                                const Field& field) {
  const Shape& shape = input.shape();
  if (!shape.has_rank() || shape.rank() < 1) return field.dims;
  Dims dims;
  int64_t known = 1;
  int unknown = -1, unknowns = 0;
  for (int a = 1; a < shape.rank(); ++a) {
    dims.push_back(shape[a].is_number() ? shape[a].value() : -1);
    if (shape[a].is_number()) {
      known *= shape[a].value();
    } else {
      unknown = a - 1;
      ++unknowns;
    }
  }
  const int64_t have = Product(field.dims);
  if (unknowns > 0 && dims.size() == field.dims.size()) {
    for (size_t a = 0; a < dims.size(); ++a) {
      if (dims[a] < 0) dims[a] = field.dims[a];
    }
  } else if (unknowns == 1 && known > 0 && have % known == 0) {
    dims[static_cast<size_t>(unknown)] = have / known;
  }
  if (std::count(dims.begin(), dims.end(), -1) > 0 || Product(dims) != have) {
    return DataError(dataset, ": field \"", field.name, "\" has samples ", DimsToString(field.dims),
                     " (", have, " numbers), but input \"", input.name(), "\" of the model takes ",
                     shape.ToString(), ", the first axis being the batch");
  }
  return dims;
}

absl::Status Bind(const std::vector<Value*>& inputs, TrainData* data) {
  const Dataset& dataset = *data->train;
  std::vector<int> features;
  for (size_t f = 0; f < dataset.fields().size(); ++f) {
    if (dataset.fields()[f].role == Role::kTarget) {
      data->target = static_cast<int>(f);
    } else {
      features.push_back(static_cast<int>(f));
    }
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    int field = -1;
    for (const int f : features) {
      if (dataset.fields()[static_cast<size_t>(f)].name == inputs[i]->name()) field = f;
    }
    if (field < 0 && inputs.size() == 1 && features.size() == 1) field = features[0];
    if (field < 0) {
      const std::vector<std::string> names = FieldNames(dataset);
      return DataError(dataset.name(), ": no field feeds input \"", inputs[i]->name(),
                       "\" of the model; the data has ", absl::StrJoin(names, ", "),
                       DidYouMean(inputs[i]->name(), names), ". Say which by --input NAME=COLUMN");
    }
    GR_ASSIGN_OR_RETURN(Dims sample, SampleDims(dataset.name(), *inputs[i],
                                                dataset.fields()[static_cast<size_t>(field)]));
    data->inputs.push_back({inputs[i]->name(), field, std::move(sample), inputs[i]->dtype()});
  }
  if (data->target >= 0) {
    const Field& target = dataset.fields()[static_cast<size_t>(data->target)];
    data->class_target = IsInteger(target.dtype) && Product(target.dims) == 1;
    data->class_names = target.classes;
  }
  return absl::OkStatus();
}

absl::Status CountClasses(TrainData* data) {
  if (!data->class_target) return absl::OkStatus();
  GR_ASSIGN_OR_RETURN(const std::vector<int64_t> labels, ReadLabels(*data->train, data->target));
  // Below 0 these are numbers to be learnt, not classes.
  const auto negative =
      std::find_if(labels.begin(), labels.end(), [](int64_t label) { return label < 0; });
  if (negative != labels.end()) {
    data->class_target = false;
    data->negative_row = negative - labels.begin();
    return absl::OkStatus();
  }
  GR_ASSIGN_OR_RETURN(data->classes, NumClasses(*data->train, data->target));
  data->histogram = ClassHistogram(labels, data->classes);
  return absl::OkStatus();
}

absl::Status SplitValidation(const recipe::Recipe& recipe, TrainData* data) {
  const double share = recipe.data().val_split();
  if (share == 0 || !recipe.data().val().empty()) return absl::OkStatus();
  Split split;
  if (data->class_target) {
    GR_ASSIGN_OR_RETURN(const std::vector<int64_t> labels, ReadLabels(*data->train, data->target));
    GR_ASSIGN_OR_RETURN(split, StratifiedSplit(labels, share, Mix(recipe.loop().seed(), 11)));
  } else {
    GR_ASSIGN_OR_RETURN(split,
                        SplitRows(data->train->size(), share, Mix(recipe.loop().seed(), 11)));
  }
  GR_ASSIGN_OR_RETURN(data->validation,
                      SubsetDataset::Create(data->train, std::move(split.validation)));
  GR_ASSIGN_OR_RETURN(data->train, SubsetDataset::Create(data->train, std::move(split.train)));
  return absl::OkStatus();
}

absl::Status Reduce(const recipe::Recipe& recipe, TrainData* data) {
  if (recipe.data().fraction() != 1) {
    GR_ASSIGN_OR_RETURN(
        std::vector<int64_t> rows,
        TakeFraction(data->train->size(), recipe.data().fraction(), Mix(recipe.loop().seed(), 12)));
    GR_ASSIGN_OR_RETURN(data->train, SubsetDataset::Create(data->train, std::move(rows)));
  }
  if (recipe.loop().overfit() > 0) {
    std::vector<int64_t> rows(
        static_cast<size_t>(std::min(recipe.loop().overfit(), data->train->size())));
    std::iota(rows.begin(), rows.end(), int64_t{0});
    GR_ASSIGN_OR_RETURN(data->train, SubsetDataset::Create(data->train, std::move(rows)));
  }
  return absl::OkStatus();
}

absl::Status Normalize(const recipe::Recipe& recipe, TrainData* data) {
  const auto kind = static_cast<Normalization>(recipe.data().normalize());
  for (const InputBinding& binding : data->inputs) {
    Normalizer normalizer;
    if (kind != Normalization::kNone && IsFloat(binding.dtype)) {
      GR_ASSIGN_OR_RETURN(normalizer,
                          FitNormalizer(*data->train, binding.field, kind, binding.sample));
    }
    data->normalizers.push_back(std::move(normalizer));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrainData> OpenEvaluationData(const recipe::Data& data, const std::string& path,
                                             const std::vector<Value*>& inputs,
                                             bool target_required, const TrainRegistry& parts) {
  TrainData result;
  GR_ASSIGN_OR_RETURN(result.train, Open(data, path, {}, "test", parts));
  GR_RETURN_IF_ERROR(Bind(inputs, &result));
  if (target_required && result.target < 0) {
    return DataError(path, ": has no target. Say which column it is by --target");
  }
  GR_RETURN_IF_ERROR(CountClasses(&result));
  result.normalizers.resize(result.inputs.size());
  return result;
}

absl::StatusOr<TrainData> OpenTrainData(const recipe::Recipe& recipe,
                                        const std::vector<Value*>& inputs,
                                        const TrainRegistry& parts) {
  TrainData data;
  if (recipe.data().path().empty()) return UsageError("no training data is given. Use --data PATH");
  GR_ASSIGN_OR_RETURN(data.train, Open(recipe.data(), recipe.data().path(), {}, "train", parts));
  GR_RETURN_IF_ERROR(Bind(inputs, &data));
  if (data.target < 0) {
    return DataError(recipe.data().path(),
                     ": has no target to learn. Say which column it is by --target");
  }
  if (!recipe.data().val().empty()) {
    GR_ASSIGN_OR_RETURN(data.validation,
                        Open(recipe.data(), recipe.data().val(), data.class_names, "test", parts));
    if (data.validation->fields().size() != data.train->fields().size()) {
      return DataError(recipe.data().val(), ": has ", data.validation->fields().size(),
                       " fields, but ", recipe.data().path(), " has ", data.train->fields().size());
    }
  }
  GR_RETURN_IF_ERROR(SplitValidation(recipe, &data));
  GR_RETURN_IF_ERROR(Reduce(recipe, &data));
  GR_RETURN_IF_ERROR(CountClasses(&data));
  GR_RETURN_IF_ERROR(Normalize(recipe, &data));
  return data;
}

absl::StatusOr<std::unique_ptr<DataLoader>> MakeLoader(const TrainData& data,
                                                       std::shared_ptr<const Dataset> dataset,
                                                       const recipe::Recipe& recipe, bool training,
                                                       const TrainRegistry& parts) {
  const uint64_t seed = recipe.loop().seed();
  std::shared_ptr<const Sampler> sampler = SequentialSampler(dataset->size());
  if (training && recipe.data().sampler() == recipe::Data::BALANCED) {
    if (!data.class_target)
      return UsageError("data.sampler balanced needs class labels as the target");
    GR_ASSIGN_OR_RETURN(const std::vector<int64_t> labels, ReadLabels(*dataset, data.target));
    sampler = BalancedSampler(labels, Mix(seed, 13));
  } else if (training && recipe.data().shuffle()) {
    sampler = ShuffledSampler(dataset->size(), Mix(seed, 14));
  }
  LoaderOptions options;
  options.batch_size =
      training ? recipe.data().batch() : std::max<int64_t>(recipe.data().batch(), 256);
  if (training && recipe.data().batch() < 0) {
    return UsageError("data.batch is ", recipe.data().batch(),
                      " but must be 1 or more, or 0 (full) for all rows");
  }
  options.workers = recipe.data().has_workers() ? recipe.data().workers() : LoaderOptions::kAuto;
  options.seed = Mix(seed, 15);
  if (training && !recipe.data().augment().empty()) {
    GR_ASSIGN_OR_RETURN(Augmentation all,
                        ParseAugmentation(recipe.data().augment(), 1, parts.transforms()));
    options.transforms = std::move(all.transforms);
    options.batch_transforms = std::move(all.batch_transforms);
  }
  options.formats.resize(dataset->fields().size());
  for (size_t f = 0; f < options.formats.size(); ++f)
    options.formats[f].skip = static_cast<int>(f) != data.target;
  for (const InputBinding& binding : data.inputs) {
    FieldFormat& format = options.formats[static_cast<size_t>(binding.field)];
    format.skip = false;
    format.dtype = binding.dtype;
    format.view = binding.sample;
    format.dims = binding.sample;
  }
  if (data.target >= 0) {
    FieldFormat& format = options.formats[static_cast<size_t>(data.target)];
    format.dtype = data.class_target ? DType::kInt64 : DType::kFloat32;
    if (data.class_target) {
      format.dims = Dims();
    } else {
      format.dims = data.target_sample;
    }
  }
  return DataLoader::Create(std::move(dataset), std::move(sampler), std::move(options));
}

void ArrangeBatch(const TrainData& data, const Batch& batch, std::vector<Tensor>* arguments) {
  arguments->clear();
  for (const InputBinding& binding : data.inputs) {
    arguments->push_back(batch.fields[static_cast<size_t>(binding.field)]);
  }
  if (data.target >= 0) arguments->push_back(batch.fields[static_cast<size_t>(data.target)]);
}

}  // namespace graphrun
