#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "engine/checkpoint.hpp"
#include "example/prune_fixture.hpp"
#include "pare/formats/mask.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_collection.hpp"
#include "pare/pruning/scores/snip.hpp"
#include "support/catch.hpp"
#include "support/killed_run.hpp"
#include "training/gradient_statistics.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

}  // namespace

TEST_CASE("a pruned model is an ordinary one with zeros, as many as were asked for") {
  const PruneFixture fixture;
  const struct {
    std::vector<std::string> options;
    Index kept;  // of the layer's 64 x 96
    Index keep = 0, of = 0;
  } cases[] = {
      {{"--score", "magnitude", "--sparsity", "0.3"}, 64 * 96 - 1843},
      {{"--score", "wanda", "--sparsity", "0.3"}, 64 * (96 - 28)},
      {{"--score", "ria", "--sparsity", "0.5", "--scope", "row"}, 64 * 48},
      {{"--score", "magnitude", "--pattern", "2:4"}, 64 * 48, 2, 4},
      {{"--pattern", "4:8"}, 64 * 48, 4, 8},
      {{"--score", "magnitude", "--pattern", "blocks-4x4", "--sparsity", "0.25"}, 48 * 96},
      {{"--update", "sparsegpt", "--sparsity", "0.5"}, 64 * 48},
      {{"--update", "sparsegpt", "--pattern", "1:4"}, 64 * 24, 1, 4},
      {{"--update", "alps", "--sparsity", "0.7"}, 1843},
      {{"--update", "alps", "--pattern", "2:4"}, 64 * 48, 2, 4},
      {{"--update", "refit", "--score", "lamp", "--sparsity", "0.5"}, 64 * 48},
      {{"--update", "refit", "--pattern", "2:4"}, 64 * 48, 2, 4},
      {{"--update", "obc", "--sparsity", "0.5"}, 64 * 48},
      {{"--update", "sparsegpt", "--allocate", "owl", "--owl-lambda", "0"}, 64 * 48},
      {{"--score", "taylor", "--sparsity", "0.5"}, 64 * 48},
      {{"--score", "fisher", "--pattern", "2:4"}, 64 * 48, 2, 4},
      {{"--score", "grasp", "--update", "refit", "--sparsity", "0.5"}, 64 * 48},
  };
  for (const auto& c : cases) {
    CAPTURE(c.options);
    const std::string printed = output_of(fixture.prune("p", c.options));
    CHECK_THAT(printed, ContainsSubstring("14 layers") && ContainsSubstring("simulated"));
    const Mask mask = nonzero_mask(fixture.weight("p", PruneFixture::layer));
    CHECK(mask.kept() == c.kept);
    if (c.of != 0) CHECK(mask.is_n_of_m(c.keep, c.of));
    CHECK(read_text(fixture.path("p") + "/config.json") ==
          read_text(fixture.source + "/config.json"));
    auto before = SafetensorsCollection::open(fixture.source),
         after = SafetensorsCollection::open(fixture.path("p"));
    CHECK(before.names() == after.names());
    for (const char* same : {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"})
      CHECK(std::ranges::equal(before.info(same).bytes, after.info(same).bytes));
    // The recipe does the same again.
    (void)output_of({"prune", fixture.source, "--out", fixture.path("again"), "--recipe",
                     fixture.path("p") + "/pare_recipe.json", "--calib", fixture.path("calib.txt"),
                     "--threads", "2"});
    CHECK(fixture.weight("again", PruneFixture::layer) == fixture.weight("p", PruneFixture::layer));
    for (const char* made : {"p", "again"}) fs::remove_all(fixture.path(made));
  }
}

TEST_CASE("where all layers compete the lowest of all weights go") {
  const PruneFixture fixture;
  (void)output_of(
      fixture.prune("p", {"--score", "magnitude", "--scope", "global", "--sparsity", "0.4"}));
  const auto tensors = SafetensorsCollection::open(fixture.path("p"));
  Index zeros = 0, weights = 0;
  float largest_removed = 0.0f, smallest_kept = 1e9f;
  for (const std::string& name : tensors.names()) {
    if (name.find("proj") == std::string::npos) continue;
    const std::string own = name.substr(0, name.rfind('.'));
    const Matrix<float> before = fixture.weight("m", own), after = fixture.weight("p", own);
    for (Index i = 0; i < before.size(); ++i) {
      const float w = std::fabs(before.data()[i]);
      if (after.data()[i] == 0.0f)
        largest_removed = std::max(largest_removed, w);
      else
        smallest_kept = std::min(smallest_kept, w);
      zeros += after.data()[i] == 0.0f;
      ++weights;
    }
  }
  CHECK(zeros == static_cast<Index>(0.4 * static_cast<double>(weights) + 0.5));
  CHECK(largest_removed <= smallest_kept);
}

TEST_CASE("what gradients score is what goes") {
  const PruneFixture fixture;
  (void)output_of(
      fixture.prune("p", {"--score", "snip", "--scope", "global", "--sparsity", "0.9"}));
  const engine::Model model = engine::Checkpoint(fixture.source).load();
  std::vector<std::int32_t> ids;
  for (const char c : read_text(fixture.path("calib.txt")))
    ids.push_back(static_cast<std::int32_t>(static_cast<unsigned char>(c)));
  const auto gradients = training::mean_gradients(model, {ids, 32}, {});
  double largest_removed = 0.0, smallest_kept = 1e9;
  Index zeros = 0, weights = 0;
  for (const auto& [name, gradient] : gradients) {
    const Matrix<float> before = fixture.weight("m", name), after = fixture.weight("p", name);
    const Matrix<float> scores = snip_scores(before, gradient);
    for (Index i = 0; i < scores.size(); ++i) {
      const bool is_gone = after.data()[i] == 0.0f;
      const auto score = static_cast<double>(scores.data()[i]);
      if (is_gone)
        largest_removed = std::max(largest_removed, score);
      else
        smallest_kept = std::min(smallest_kept, score);
      zeros += is_gone;
      ++weights;
    }
  }
  CHECK(largest_removed <= smallest_kept);
  CHECK(static_cast<double>(zeros) == Approx(0.9 * static_cast<double>(weights)).margin(1.0));
}

TEST_CASE("layers share the sparsity by a rule or a file") {
  const PruneFixture fixture;
  const auto sparsities = [&](const std::string& allocate) {
    std::vector<std::string> how{"--score", "magnitude", "--allocate", allocate, "--force"};
    if (!allocate.ends_with(".json")) how.insert(how.end(), {"--sparsity", "0.6"});
    (void)output_of(fixture.prune("p", how));
    std::vector<double> found;
    Index zeros = 0, weights = 0;
    auto tensors = SafetensorsCollection::open(fixture.path("p"));
    for (const std::string& name : tensors.names()) {
      if (name.find("proj") == std::string::npos) continue;
      const Mask mask = nonzero_mask(tensors.read_matrix(name));
      found.push_back(mask.sparsity());
      zeros += mask.removed();
      weights += mask.size();
    }
    found.push_back(static_cast<double>(zeros) / static_cast<double>(weights));
    return found;
  };
  const auto erk = sparsities("erk");
  CHECK(erk.back() == Approx(0.6).margin(1e-3));
  CHECK(*std::max_element(erk.begin(), erk.end()) > 0.62);
  nlohmann::json table;
  for (const char* block : {"0", "1"})
    for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                             "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
      table[std::string("model.layers.") + block + "." + name] = *block == '0' ? 0.25 : 0.75;
  write_json(fixture.path("table.json"), table);
  const auto by_file = sparsities(fixture.path("table.json"));
  CHECK(by_file.front() == 0.25);
  CHECK(by_file.back() == Approx(0.5).margin(1e-6));
  const auto refusal = [&] {
    write_json(fixture.path("table.json"), table);
    return run_pare(fixture.prune(
                        "x", {"--score", "magnitude", "--allocate", fixture.path("table.json")}))
        .err;
  };
  table["model.layers.0.mlp.up_proj"] = 1.0;
  CHECK_THAT(refusal(), ContainsSubstring("model.layers.0.mlp.up_proj is 1.0, outside [0, 1)"));
  table.erase("model.layers.0.mlp.up_proj");
  CHECK_THAT(refusal(), ContainsSubstring("there is no sparsity of model.layers.0.mlp.up_proj"));
  table["other"] = 0.5;
  CHECK_THAT(refusal(), ContainsSubstring("\"other\" is no layer"));
}

TEST_CASE("after a kill pruning goes on, and threads change no byte") {
  // In F16 what enters the second block depends on how the first one was rounded.
  const PruneFixture fixture(DType::F16);
  for (const std::vector<std::string>& how :
       {std::vector<std::string>{"--update", "sparsegpt", "--pattern", "2:4"},
        {"--score", "wanda", "--sparsity", "0.5"},
        {"--score", "wanda", "--allocate", "owl"},
        {"--update", "sparsegpt", "--sparsity", "0.5", "--save-as", "pare"}}) {
    auto command = fixture.prune("killed", how);
    const bool killed = killed_run(command, fixture.path("killed"), ".safetensors", 1);
    if (killed) CHECK(run_pare(command).status == 0);
    auto whole = fixture.prune("whole", how);
    whole[std::find(whole.begin(), whole.end(), "--threads") - whole.begin() + 1] = "2";
    REQUIRE(run_pare(whole).status == 0);
    if (killed)
      for (const char* file :
           {"model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors", "config.json"})
        CHECK(read_text(fixture.path("killed") + "/" + file) ==
              read_text(fixture.path("whole") + "/" + file));
    for (const char* made : {"killed", "whole"}) fs::remove_all(fixture.path(made));
  }
}
