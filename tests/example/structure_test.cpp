#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "example/oracle_models.hpp"
#include "pare/io/json.hpp"
#include "pare/io/safetensors_collection.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "support/catch.hpp"
#include "support/killed_run.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

struct StructureFixture {
  TemporaryDirectory directory;
  std::string source = path("m");

  explicit StructureFixture(const TinyModelOptions& options = {.layers = 3}) {
    TinyModel(options).write(source);
  }
  [[nodiscard]] std::string path(const std::string& name) const {
    return (directory / name).string();
  }
  [[nodiscard]] std::vector<std::string> command(const std::string& out,
                                                 const std::vector<std::string>& more) const {
    std::vector<std::string> words{"prune", source, "--out", path(out), "--threads", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  std::string prune(const std::string& out, const std::vector<std::string>& more) const {
    return output_of(command(out, more));
  }
  [[nodiscard]] Matrix<float> matrix(const std::string& model, const std::string& tensor) const {
    return SafetensorsCollection::open(path(model)).read_matrix(tensor);
  }
  [[nodiscard]] nlohmann::json config(const std::string& model) const {
    return read_json(fs::path(path(model)) / "config.json");
  }
};

std::vector<Index> lowest(std::vector<double> scores, std::size_t count) {
  std::vector<Index> order(scores.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    return scores[static_cast<std::size_t>(a)] < scores[static_cast<std::size_t>(b)];
  });
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

double squares_of_row(const Matrix<float>& w, Index i) {
  double sum = 0.0;
  for (Index j = 0; j < w.cols(); ++j)
    sum += static_cast<double>(w(i, j)) * static_cast<double>(w(i, j));
  return sum;
}
double squares_of_column(const Matrix<float>& w, Index j) {
  double sum = 0.0;
  for (Index i = 0; i < w.rows(); ++i)
    sum += static_cast<double>(w(i, j)) * static_cast<double>(w(i, j));
  return sum;
}

std::vector<std::string> shards_of(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory))
    if (entry.path().extension() == ".safetensors") names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

void check_same_model(const std::string& a, const std::string& b) {
  const auto names = shards_of(a);
  CHECK(names == shards_of(b));
  for (const std::string& name : names)
    CHECK(read_text(a + "/" + name) == read_text(b + "/" + name));
  for (const char* name : {"config.json", "pare_edits.json"})
    CHECK(read_text(a + "/" + name) == read_text(b + "/" + name));
}

}  // namespace

TEST_CASE("channels with the smallest weights go, in every block as many, and nothing else") {
  const StructureFixture fixture;
  const std::string printed = fixture.prune(
      "p", {"--structure", "mlp", "--ratio", "0.3", "--multiple", "8", "--score", "magnitude"});
  CHECK_THAT(printed,
             ContainsSubstring("30.0 % asked for, 25.0 % removed: 72 of 288 in 3 groups") &&
                 ContainsSubstring("times faster"));
  CHECK(fixture.config("p")["intermediate_size"] == 72);
  const auto edits = read_json(fs::path(fixture.path("p")) / "pare_edits.json");
  REQUIRE(edits["edits"].size() == 3);
  for (int block = 0; block < 3; ++block) {
    const std::string mlp = "model.layers." + std::to_string(block) + ".mlp.";
    const auto gate = fixture.matrix("m", mlp + "gate_proj.weight"),
               up = fixture.matrix("m", mlp + "up_proj.weight"),
               down = fixture.matrix("m", mlp + "down_proj.weight");
    std::vector<double> scores;
    for (Index c = 0; c < 96; ++c)
      scores.push_back(squares_of_row(gate, c) + squares_of_row(up, c) +
                       squares_of_column(down, c));
    const std::vector<Index> gone = lowest(scores, 24);
    CHECK(edits["edits"][static_cast<std::size_t>(block)]["indices"] == gone);
    const auto small_up = fixture.matrix("p", mlp + "up_proj.weight"),
               small_down = fixture.matrix("p", mlp + "down_proj.weight");
    REQUIRE(small_up.shape() == Shape<2>{72, 64});
    REQUIRE(small_down.shape() == Shape<2>{64, 72});
    Index k = 0;
    for (Index c = 0; c < 96; ++c) {
      if (std::find(gone.begin(), gone.end(), c) != gone.end()) continue;
      CHECK(std::equal(&up(c, 0), &up(c, 0) + 64, &small_up(k, 0)));
      for (Index i = 0; i < 64; ++i) CHECK(down(i, c) == small_down(i, k));
      ++k;
    }
  }
  // The same from the list of edits, from the recipe, and by other threads.
  fixture.prune("replayed", {"--replay", fixture.path("p") + "/pare_edits.json"});
  check_same_model(fixture.path("p"), fixture.path("replayed"));
  fixture.prune("again", {"--recipe", fixture.path("p") + "/pare_recipe.json"});
  check_same_model(fixture.path("p"), fixture.path("again"));
}

TEST_CASE("heads go with their keys, values and queries") {
  const StructureFixture fixture({.layers = 2, .heads = 6, .kv_heads = 3});
  fixture.prune("p", {"--structure", "heads", "--ratio", "0.34", "--score", "magnitude"});
  const auto config = fixture.config("p");
  CHECK(config["num_attention_heads"] == 4);
  CHECK(config["num_key_value_heads"] == 2);
  CHECK(config["head_dim"] == 16);
  CHECK(config["hidden_size"] == 64);
  const auto edits = read_json(fs::path(fixture.path("p")) / "pare_edits.json");
  const Index gone = edits["edits"][0]["indices"][0];
  const std::string name = "model.layers.0.self_attn.";
  const auto k = fixture.matrix("m", name + "k_proj.weight"),
             small_k = fixture.matrix("p", name + "k_proj.weight"),
             o = fixture.matrix("m", name + "o_proj.weight"),
             small_o = fixture.matrix("p", name + "o_proj.weight");
  REQUIRE(small_k.shape() == Shape<2>{32, 64});
  REQUIRE(small_o.shape() == Shape<2>{64, 64});
  for (Index h = 0, left = 0; h < 3; ++h) {
    if (h == gone) continue;
    CHECK(std::equal(&k(h * 16, 0), &k(h * 16, 0) + 16 * 64, &small_k(left * 16, 0)));
    for (Index j = 0; j < 32; ++j) CHECK(o(5, h * 32 + j) == small_o(5, left * 32 + j));
    ++left;
  }
  fixture.prune("q", {"--structure", "query-heads", "--ratio", "0.5", "--score", "magnitude"});
  CHECK(fixture.config("q")["num_attention_heads"] == 3);
  CHECK(fixture.config("q")["num_key_value_heads"] == 3);
  CHECK(fixture.matrix("q", name + "k_proj.weight") == k);
}

TEST_CASE("what removed channels gave on average goes into a bias") {
  const StructureFixture fixture({.layers = 1});
  const auto bias_of = [&](const char* update) {
    fixture.prune("p", {"--structure", "mlp", "--ratio", "0.5", "--score", "wanda-sp", "--update",
                        update, "--window", "32", "--force"});
    CHECK(fixture.config("p")["mlp_bias"] == true);
    auto tensors = SafetensorsCollection::open(fixture.path("p"));
    const auto gate = tensors.read_vector("model.layers.0.mlp.gate_proj.bias");
    CHECK(gate.size() == 48);
    CHECK(std::all_of(gate.data(), gate.data() + 48, [](float b) { return b == 0.0f; }));
    return tensors.read_vector("model.layers.0.mlp.down_proj.bias");
  };
  const auto bias = bias_of("bias"), refitted = bias_of("refit");
  CHECK(std::any_of(bias.data(), bias.data() + bias.size(), [](float b) { return b != 0.0f; }));
  CHECK(bias != refitted);
  // The weights that stay are as they were, or refitted.
  fixture.prune("none",
                {"--structure", "mlp", "--ratio", "0.5", "--score", "wanda-sp", "--window", "32"});
  CHECK_FALSE(fixture.config("none").contains("mlp_bias"));
  CHECK(fixture.matrix("none", "model.layers.0.mlp.down_proj.weight") !=
        fixture.matrix("p", "model.layers.0.mlp.down_proj.weight"));
}

TEST_CASE("blocks that are left are renumbered, byte by byte") {
  const StructureFixture fixture({.layers = 4});
  const std::string printed = fixture.prune(
      "p", {"--structure", "blocks", "--ratio", "0.5", "--score", "influence", "--window", "32"});
  const auto edits = read_json(fs::path(fixture.path("p")) / "pare_edits.json");
  const std::vector<Index> gone = edits["edits"][0]["indices"];
  REQUIRE(gone.size() == 2);
  CHECK_THAT(printed, ContainsSubstring("removed blocks " + std::to_string(gone[0]) + ", " +
                                        std::to_string(gone[1])));
  CHECK(fixture.config("p")["num_hidden_layers"] == 2);
  auto before = SafetensorsCollection::open(fixture.source),
       after = SafetensorsCollection::open(fixture.path("p"));
  Index left = 0;
  for (Index b = 0; b < 4; ++b) {
    if (std::find(gone.begin(), gone.end(), b) != gone.end()) continue;
    for (const char* tensor : {"input_layernorm.weight", "self_attn.k_proj.weight"})
      CHECK(std::ranges::equal(
          before.info("model.layers." + std::to_string(b) + "." + tensor).bytes,
          after.info("model.layers." + std::to_string(left) + "." + tensor).bytes));
    ++left;
  }
  CHECK_FALSE(after.contains("model.layers.2.input_layernorm.weight"));
  fixture.prune("replayed", {"--replay", fixture.path("p") + "/pare_edits.json"});
  check_same_model(fixture.path("p"), fixture.path("replayed"));
  // Neighbours go together by the angle of the last token.
  fixture.prune("angular", {"--structure", "blocks", "--ratio", "0.5", "--score", "angular",
                            "--window", "32"});
  const std::vector<Index> run =
      read_json(fs::path(fixture.path("angular")) / "pare_edits.json")["edits"][0]["indices"];
  CHECK(run[1] == run[0] + 1);
}

TEST_CASE("a model of each family becomes smaller and runs") {
  for (const OracleModel& model : oracle_models) {
    CAPTURE(model.name);
    const std::string source = directory_of(model).string();
    const TemporaryDirectory directory;
    const std::string out = (directory / "p").string();
    std::vector<std::vector<std::string>> ways{{"--structure", "mlp", "--score", "random"}};
    const auto config = read_json(fs::path(source) / "config.json");
    const std::string family = model.family;
    const bool has_experts = family == "mixtral" || family == "qwen2_moe" || family == "qwen3_moe";
    if (has_experts)
      ways.push_back({"--structure", "experts", "--score", "random", "--ratio", "0.25"});
    ways.push_back({"--structure", "blocks", "--score", "magnitude"});
    ways.push_back({"--structure", "heads", "--score", "magnitude"});
    for (const auto& way : ways) {
      CAPTURE(way);
      std::vector<std::string> command{"prune", source, "--out", out, "--force", "--threads", "1"};
      command.insert(command.end(), way.begin(), way.end());
      const Outcome outcome = run_pare(command);
      CAPTURE(outcome.err);
      const bool sizes_heads = model.name != std::string("phi3_longrope") && family != "gpt2" &&
                               family != "gpt_neox" && family != "stablelm" && !model.is_encoder;
      if (way[1] == "heads" && outcome.status != 0) {
        CHECK_THAT(outcome.err, ContainsSubstring(sizes_heads ? "but one" : "cannot say"));
        continue;
      }
      REQUIRE(outcome.status == 0);
      const std::string inputs = source + "/expected.safetensors";
      CHECK(run_pare({"logits", out, "--inputs", inputs, "--out", out + ".safetensors"}).status ==
            0);
      fs::remove(out + ".safetensors");
    }
  }
}

TEST_CASE("experts that add least go, and their rows of the router") {
  const OracleModel model{"mixtral", "mixtral"};
  const std::string source = directory_of(model).string();
  const TemporaryDirectory directory;
  const std::string out = (directory / "p").string(), tokens = (directory / "ids.bin").string();
  std::string bytes;
  for (const std::int64_t id :
       SafetensorsReader::open(source + "/expected.safetensors").read_as<std::int64_t>("input_ids"))
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(id >> shift & 255);
  write_text(tokens, bytes);
  (void)output_of({"prune", source, "--out", out, "--structure", "experts", "--ratio", "0.25",
                   "--calib-tokens", tokens, "--window", "8"});
  auto before = SafetensorsCollection::open(source), after = SafetensorsCollection::open(out);
  const auto edits = read_json(fs::path(out) / "pare_edits.json")["edits"];
  const Index experts = edits[0]["extent"];
  CHECK(read_json(fs::path(out) / "config.json")["num_local_experts"] ==
        experts - std::ssize(edits[0]["indices"]));
  for (const auto& edit : edits) {
    const std::string block = "model.layers." + edit["block"].dump() + ".block_sparse_moe.";
    const std::vector<Index> gone = edit["indices"];
    const auto router = before.read_matrix(block + "gate.weight"),
               smaller = after.read_matrix(block + "gate.weight");
    Index left = 0;
    for (Index e = 0; e < experts; ++e) {
      if (std::find(gone.begin(), gone.end(), e) != gone.end()) continue;
      CHECK(std::equal(&router(e, 0), &router(e, 0) + router.cols(), &smaller(left, 0)));
      CHECK(before.read_matrix(block + "experts." + std::to_string(e) + ".w2.weight") ==
            after.read_matrix(block + "experts." + std::to_string(left) + ".w2.weight"));
      ++left;
    }
    CHECK(smaller.rows() == left);
  }
}

TEST_CASE("where nothing enters there is nothing to fit") {
  const TemporaryDirectory directory;
  const std::string source = (directory / "m").string(), out = (directory / "p").string();
  TinyModel model;
  model.change("model.layers.0.mlp.up_proj.weight", [](float) { return 0.0f; });
  model.write(source);
  for (const std::vector<std::string>& how :
       {std::vector<std::string>{"--structure", "mlp", "--update", "refit"},
        {"--update", "refit"},
        {"--update", "obc"},
        {"--update", "alps"}}) {
    CAPTURE(how);
    std::vector<std::string> command{"prune", source, "--out", out, "--force", "--window", "32"};
    command.insert(command.end(), how.begin(), how.end());
    const Outcome outcome = run_pare(command);
    CAPTURE(outcome.err);
    CHECK(outcome.status == 0);
  }
}

TEST_CASE("after a kill structured pruning goes on") {
  const StructureFixture fixture;
  const std::vector<std::string> how{"--structure", "mlp",   "--score",  "flap",
                                     "--update",    "refit", "--window", "32"};
  const auto command = fixture.command("killed", how);
  const bool killed = killed_run(command, fixture.path("killed"), ".safetensors", 1);
  if (killed) CHECK(run_pare(command).status == 0);
  auto whole = fixture.command("whole", how);
  whole[5] = "2";  // threads
  REQUIRE(run_pare(whole).status == 0);
  check_same_model(fixture.path("killed"), fixture.path("whole"));
}

TEST_CASE("structures that cannot go are refused in one line, before the work") {
  const StructureFixture fixture;
  const auto edits = [&](const char* name, const nlohmann::json& json) {
    write_json(fixture.path(name), json);
    return fixture.path(name);
  };
  const nlohmann::json good{
      {"block", 0}, {"root", "feed_forward"}, {"extent", 96}, {"indices", {1}}};
  const auto one = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json edit = good;
    edit[key] = value;
    return nlohmann::json{{"version", 1}, {"structure", "mlp"}, {"edits", {edit}}};
  };
  const struct {
    std::vector<std::string> options;
    const char* word;
  } cases[] = {
      {{"--structure", "mlp", "--ratio", "1"}, "outside [0, 1)"},
      {{"--structure", "mlp", "--ratio", "-0.1"}, "outside [0, 1)"},
      {{"--structure", "mlp", "--ratio", "0"}, "nothing would go"},
      {{"--structure", "mlp", "--multiple", "0"}, "--multiple 0"},
      {{"--structure", "mlp", "--multiple", "128"}, "multiple of 128"},
      {{"--structure", "wings"}, "mlp, heads, query-heads, experts, blocks"},
      {{"--structure", "experts"}, "the model has none"},
      {{"--structure", "mlp", "--score", "reap"}, "flap, wanda-sp, magnitude, taylor, random"},
      {{"--structure", "mlp", "--score", "wanda"}, "there are flap"},
      {{"--structure", "mlp", "--sparsity", "0.5"}, "--sparsity has no effect with --structure"},
      {{"--ratio", "0.5"}, "--ratio has no effect without --structure"},
      {{"--structure", "blocks", "--update", "refit"}, "--update has no effect"},
      {{"--structure", "blocks", "--multiple", "2"}, "--multiple has no effect"},
      {{"--structure", "mlp", "--damping", "0.5"}, "--damping has no effect"},
      {{"--replay", fixture.path("nothing.json")}, "No such file"},
      {{"--replay", edits("v.json", {{"version", 2}})}, "\"version\" is not 1"},
      {{"--replay", edits("e.json", one("extent", 64))}, "where it has 96"},
      {{"--replay", edits("i.json", one("indices", {96}))}, "the index 96 of 96"},
      {{"--replay", edits("d.json", one("indices", {1, 1}))}, "do not ascend"},
      {{"--replay", edits("r.json", one("root", "wings"))}, "has no \"wings\""},
      {{"--replay", edits("b.json", one("block", 7))}, "block 7"},
      {{"--replay", edits("one.json", one("block", 0))}, "cannot say"},
      {{"--replay", edits("one.json", one("block", 0)), "--ratio", "0.2"}, "--ratio has no effect"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.options);
    const Outcome outcome = run_pare(fixture.command("p", c.options));
    CHECK(outcome.status == 1);
    CAPTURE(outcome.err);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(c.word));
    CHECK_FALSE(fs::exists(fixture.path("p")));
    CHECK_FALSE(fs::exists(fixture.path("p.partial")));
  }
}

TEST_CASE("structured pruning reaches the reference quality on the demo model", "[demo]") {
  const TemporaryDirectory directory;
  const std::string out = (directory / "p").string(), report = (directory / "r.json").string();
  // Bits per byte of the authors' ways in PyTorch; with refit what is asked for at most.
  const struct {
    std::vector<std::string> options;
    double bits, tolerance;
  } cases[] = {
      {{"--structure", "mlp", "--ratio", "0.5", "--score", "flap", "--update", "bias"},
       1.7490,
       0.02},
      {{"--structure", "heads", "--ratio", "0.25", "--score", "flap"}, 1.9572, 0.02},
      {{"--structure", "mlp", "--ratio", "0.5", "--score", "taylor"}, 1.7685, 0.02},
      {{"--structure", "heads", "--ratio", "0.25", "--score", "taylor"}, 1.9073, 0.02},
      {{"--structure", "blocks", "--ratio", "0.25"}, 2.4636, 0.01},
  };
  for (const auto& c : cases) {
    CAPTURE(c.options);
    std::vector<std::string> command{"prune", "--out",          out, "--force", "--window",
                                     "256",   "--calib-stride", "4"};
    command.insert(command.end(), c.options.begin(), c.options.end());
    (void)output_of(command);
    (void)output_of({"eval", out, "--text", std::string(PARE_DEMO_MODEL_DIR) + "/eval.txt",
                     "--window", "256", "--no-speed", "--report", report});
    const auto result = read_json(report);
    CAPTURE(result.dump());
    const double bits = result.contains("rows") ? result["rows"][0]["bits_per_byte"].get<double>()
                                                : result["bits_per_byte"].get<double>();
    CHECK(bits == Approx(c.bits).epsilon(c.tolerance));
  }
}
