#include "engine/block_graph.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "engine/checkpoint.hpp"
#include "engine/config_changes.hpp"
#include "example/oracle_models.hpp"
#include "pare/core/random.hpp"
#include "pare/io/json.hpp"
#include "support/catch.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace pare;
using namespace pare::test;

using engine::HeadUnit;

/// What leaves the last block.
Matrix<float> pass(const engine::ModelConfig& config, const std::vector<engine::Block>& blocks) {
  const engine::BlockRunner runner(config, {});
  constexpr Index length = 9;
  Random random(3);
  Matrix<float> x({2 * length, config.hidden_size});
  for (Index i = 0; i < x.size(); ++i) x.data()[i] = random.normal();
  for (const engine::Block& block : blocks) runner.prefill(block, x, length);
  return x;
}

/// Every third channel, or one head.
std::vector<Index> some_channels(const ChannelGroup& group) {
  if (!group.run_of.empty()) {  // one of each run
    std::set<Index> seen;
    std::vector<Index> channels;
    for (Index c = 0; c < group.channels(); ++c)
      if (seen.insert(group.run_of[static_cast<std::size_t>(c)]).second) channels.push_back(c);
    return channels;
  }
  std::vector<Index> channels;
  for (Index c = 1; c < group.channels(); c += 3) channels.push_back(c);
  return channels;
}

bool removes_all(const ChannelGroup& group, const std::vector<Index>& channels) {
  return channels.empty() || std::ssize(channels) == group.channels();
}

/// Zeroes what reads the channels in `masked`, removes them from `sliced`. Returns how many groups
/// lost some.
int remove(const engine::ModelConfig& config, HeadUnit unit, bool heads, engine::Block& masked,
           engine::Block& sliced) {
  DependencyGraph graph = engine::block_graph(config, sliced, unit);
  const auto& linears = sliced.description.linears;
  int groups = 0;
  for (std::size_t i = 0; i < linears.size(); ++i) {
    const auto kind = linears[i].site.kind;
    const bool is_consumer = heads ? kind == engine::Site::Kind::attention_output
                                   : kind == engine::Site::Kind::feed_forward_hidden;
    if (!is_consumer) continue;
    const AxisName axis{heads ? engine::heads_axis : engine::feed_forward_axis(linears[i].expert)};
    const ChannelGroup group = graph.group_of(axis);
    CHECK(group.root() == axis);
    const std::vector<Index> channels = some_channels(group);
    if (removes_all(group, channels)) continue;
    Matrix<float>& weight = masked.linears[i].dense();
    for (const Index c : channels)
      for (const Index j : group.find({linears[i].name, "in"})->of(c))
        for (Index r = 0; r < weight.rows(); ++r) weight(r, j) = 0.0f;
    (void)graph.remove(group, channels);
    ++groups;
  }
  engine::slice_block(graph, sliced);
  return groups;
}

struct Case {
  const char* name;
  bool heads = false;
  HeadUnit unit = HeadUnit::key_value_heads;
};

void check(const OracleModel& oracle, const Case& c) {
  CAPTURE(oracle.name, c.name);
  const engine::Model model = engine::Checkpoint(directory_of(oracle)).load();
  std::vector<engine::Block> masked = model.blocks, sliced = model.blocks;
  int groups = 0;
  for (std::size_t b = 0; b < sliced.size(); ++b)
    groups += remove(model.config, c.unit, c.heads, masked[b], sliced[b]);
  if (groups == 0) return;  // there is but one head
  std::vector<engine::BlockDescription> descriptions;
  for (const engine::Block& block : sliced) descriptions.push_back(block.description);
  const engine::ModelConfig smaller = engine::resize(model.config, descriptions);
  // A norm of all heads at once sees fewer of them.
  if (c.heads && model.config.query_key_norm == engine::QueryKeyNorm::whole_row) {
    CHECK(pass(smaller, sliced).rows() > 0);
    return;
  }
  CHECK(max_difference(pass(model.config, masked), pass(smaller, sliced)) < 2e-5);
  CHECK(smaller.head_dim == model.config.head_dim);
  if (c.heads) CHECK(smaller.heads < model.config.heads);
}

}  // namespace

TEST_CASE("zeros and removal give the same output in every family") {
  for (const OracleModel& oracle : oracle_models)
    for (const Case& c : {Case{"feed-forward"}, Case{"heads", true},
                          Case{"query heads", true, HeadUnit::query_heads}})
      check(oracle, c);
}

TEST_CASE("a configuration says sizes that its family can say, and refuses others") {
  const struct {
    const char* model;
    bool heads, query_heads, biases;  // what config.json can say
  } cases[] = {
      {"llama", true, true, true},        {"mistral", true, true, false},
      {"qwen2", true, true, false},       {"qwen3", true, true, false},
      {"gemma2", true, true, false},      {"phi3", true, true, false},
      {"granite", true, true, true},      {"gpt2", false, false, true},
      {"gpt_neox", false, false, true},   {"stablelm", false, false, false},
      {"starcoder2", true, true, true},   {"bert", false, false, true},
      {"vit", false, false, true},        {"distilbert", false, false, true},
      {"mixtral", true, true, false},     {"qwen3_moe", true, true, false},
      {"qwen2_moe", true, true, false},   {"olmo2", true, true, false},
      {"cohere", true, true, false},      {"smollm3", true, true, true},
      {"gemma3_text", true, true, false}, {"phi", true, true, true},
  };
  for (const auto& c : cases) {
    CAPTURE(c.model);
    const engine::Checkpoint checkpoint(directory_of({c.model, ""}));
    const engine::ModelConfig& config = checkpoint.config();
    std::vector<Index> all;
    for (Index i = 0; i < config.layers; ++i) all.push_back(i);
    const auto spell = [&](const Case& how) {
      std::vector<engine::BlockDescription> blocks;
      int groups = 0;
      for (Index i = 0; i < config.layers; ++i) {
        engine::Block masked = checkpoint.block(i), sliced = masked;
        groups += remove(config, how.unit, how.heads, masked, sliced);
        blocks.push_back(sliced.description);
      }
      REQUIRE(groups > 0);
      return engine::config_json(checkpoint.json(), config, engine::resize(config, blocks), all);
    };
    CHECK_NOTHROW(spell({"feed-forward"}));
    if (config.kv_heads > 1 && c.heads) CHECK_NOTHROW(spell({"heads", true}));
    if (config.kv_heads > 1 && !c.heads)
      CHECK_THROWS_WITH(spell({"heads", true}), ContainsSubstring("cannot say"));

    engine::ModelConfig biased = config;
    for (engine::BlockDescription& block : biased.blocks)
      for (engine::LinearDescription& linear : block.linears)
        if (linear.parts.front().role == engine::Role::down ||
            linear.parts.front().role == engine::Role::up ||
            linear.parts.front().role == engine::Role::gate)
          linear.bias = true;
    if (c.biases)
      CHECK_NOTHROW(engine::config_json(checkpoint.json(), config, biased, all));
    else
      CHECK_THROWS_WITH(engine::config_json(checkpoint.json(), config, biased, all),
                        ContainsSubstring("cannot say"));
  }
}

TEST_CASE("a configuration without some blocks describes those that are left") {
  for (const char* name : {"llama", "gemma2", "gemma3_text", "qwen2_window", "smollm3", "qwen3_moe",
                           "gpt2", "bert", "vit", "mistral"}) {
    CAPTURE(name);
    const engine::Checkpoint checkpoint(directory_of({name, ""}));
    const engine::ModelConfig& config = checkpoint.config();
    for (Index gone = 0; gone < config.layers; ++gone) {
      std::vector<Index> kept;
      std::vector<engine::BlockDescription> blocks;
      for (Index i = 0; i < config.layers; ++i)
        if (i != gone) {
          kept.push_back(i);
          blocks.push_back(config.block(i));
        }
      const engine::ModelConfig smaller = engine::resize(config, blocks);
      const engine::ModelConfig read =
          engine::parse_config(engine::config_json(checkpoint.json(), config, smaller, kept));
      CHECK(read.blocks == blocks);
      CHECK(read.not_computed.empty());
    }
  }
}
