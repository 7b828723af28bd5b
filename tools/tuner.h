// Tuner: trains a recipe at many points of a space and ranks them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "proto/recipe.pb.h"
#include "runtime/op/op_registry.h"
#include "tools/registry.h"
#include "tools/search_space.h"

namespace graphrun::cli {

struct Trial {
  int64_t number = 0;  // from 1
  Point point;
  // "waiting", "paused" (between rounds), "finished", "stopped early", "diverged", "dropped".
  std::string status = "waiting";
  double score = 0;  // the best of the monitored value; NaN: none
  int64_t epochs = 0, best_epoch = 0;
  double seconds = 0;
  std::string folder;

  bool measured() const { return score == score && epochs > 0; }
};

struct TuneOptions {
  std::vector<Dimension> space;
  enum class Search { kRandom, kGrid, kHalving } search = Search::kRandom;
  int64_t trials = 20;  // random, halving
  int64_t eta = 3;      // halving: one of so many goes on to the next round, so many times longer
  uint64_t seed = 1;
  std::string folder;
  bool resume = false, force = false;
  bool quiet = false;  // no line a trial
};

class Tuner {
 public:
  // The recipe's model is a file, or the words of `graphrun new` ("mlp --in 64 --out 10"), whose
  // flags may then be varied, as well as "depth" and "neurons" (hidden layers, and units of each).
  Tuner(recipe::Recipe recipe, const Registries& registries, TuneOptions options);

  // Trains. What is done stands in FOLDER/trials.jsonl, from which `resume` goes on. A trial that
  // diverges is a bad trial; any other failure ends the search. Returns the signal that stopped it,
  // 0 for none. Errors: those of Train; kUsage for names that nothing has; kCheckpoint where
  // trials.jsonl is of another search.
  absl::StatusOr<int> Run();

  // Best first; those without a score last.
  std::vector<const Trial*> Ranked() const;
  const std::vector<Trial>& trials() const { return trials_; }
  const std::string& monitored() const { return monitored_; }
  bool higher_is_better() const { return higher_; }
  const TuneOptions& options() const { return options_; }
  // The recipe of a trial, to be trained again: without an output folder.
  absl::StatusOr<recipe::Recipe> RecipeOf(const Trial& trial) const;

 private:
  absl::Status Draw();
  absl::Status ReadDone();
  absl::Status WriteDone(const Trial& trial) const;
  // One round: the given trials, up to `epochs` each.
  absl::StatusOr<int> Round(const std::vector<Trial*>& trials, int64_t epochs);
  absl::StatusOr<int> Halve();
  absl::Status TrainOne(Trial* trial, int64_t epochs, int* signal);
  // The model's file where the recipe's model is the words of `new`.
  absl::Status WriteModelOf(const Trial& trial) const;
  absl::StatusOr<std::vector<std::string>> NewWords(const Trial& trial) const;
  bool Better(const Trial& a, const Trial& b) const;
  std::string Folder(const std::string& name) const { return options_.folder + "/" + name; }

  recipe::Recipe recipe_;
  const OpRegistry& registry_;
  const TrainRegistry& parts_;
  TuneOptions options_;
  std::vector<Trial> trials_;
  std::string monitored_;
  bool higher_ = false;
  bool is_new_ = false;         // the model is the words of `new`
  std::vector<bool> of_model_;  // for each dimension: it is a flag of `new`
};

}  // namespace graphrun::cli
