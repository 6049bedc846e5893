#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "engine/checkpoint.hpp"
#include "example/oracle_models.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

namespace {

using namespace pare;
using namespace pare::test;
using engine::ModelConfig;

void add(std::string& list, const std::string& item) { list += (list.empty() ? "" : ", ") + item; }

std::string norms_of(const ModelConfig& c) {
  using Kind = engine::NormDescription::Kind;
  std::string text = c.norm.kind == Kind::layer ? "LayerNorm"
                     : c.norm.kind == Kind::rms ? "RMSNorm"
                                                : "RMSNorm of 1 + w";
  const auto has = [&](engine::NormPlace place) { return !c.block(0).norm(place).empty(); };
  if (has(engine::NormPlace::attention_input)) add(text, "before");
  if (has(engine::NormPlace::attention_output)) add(text, "behind");
  if (has(engine::NormPlace::attention_sum)) add(text, "of sums");
  if (c.query_key_norm != engine::QueryKeyNorm::none) add(text, "of queries and keys");
  return text;
}

std::string positions_of(const ModelConfig& c) {
  if (c.ropes.empty()) return "learned";
  using Kind = engine::RopeParameters::Kind;
  static const std::map<Kind, std::string> kinds{
      {Kind::plain, "rope"},           {Kind::linear, "rope linear"},
      {Kind::dynamic, "rope dynamic"}, {Kind::llama3, "rope llama3"},
      {Kind::yarn, "rope yarn"},       {Kind::longrope, "rope longrope"}};
  std::string text;
  for (const engine::RopeParameters& rope : c.ropes) {
    std::string one = kinds.at(rope.kind);
    if (rope.neighbours) one += " of neighbours";
    if (rope.rotated != c.head_dim) one += " of a part";
    if (text.find(one) == std::string::npos)
      add(text, one);
    else
      add(text, "two thetas");
  }
  for (const auto& block : c.blocks)
    if (!block.rope) {
      add(text, "none in some blocks");
      break;
    }
  return text;
}

std::string attention_of(const ModelConfig& c) {
  std::string text = c.encoder ? "both ways" : "causal";
  if (c.kv_heads != c.heads) add(text, "grouped");
  std::size_t windows = 0;
  for (const auto& block : c.blocks) windows += block.window != engine::no_window;
  if (windows > 0) add(text, windows == c.blocks.size() ? "windows" : "windows in some blocks");
  if (c.score_cap > 0.0f) add(text, "capped");
  const auto query = c.block(0).find(engine::Role::query);
  if (c.block(0).linears[query->linear].parts.size() > 1) add(text, "one matrix for q, k, v");
  return text;
}

std::string feed_forward_of(const ModelConfig& c) {
  static const char* const names[] = {"SiLU", "GELU", "GELU (tanh)", "ReLU", "tanh"};
  const auto& block = c.block(0);
  std::string text = names[static_cast<std::size_t>(c.activation)];
  const Index expert = block.experts ? 0 : engine::Site::all_tokens;
  if (block.is_gated(expert)) add(text, "gated");
  if (block.experts) add(text, "experts");
  if (block.experts && !block.experts->shared_gate.empty()) add(text, "one shared");
  if (c.parallel) add(text, "beside attention");
  return text;
}

/// The rows of the page, from what the configurations of the tested models say.
std::string table() {
  std::map<std::string, std::vector<std::string>> columns;  // by family, of all of its models
  std::map<std::string, std::string> models;
  for (const OracleModel& model : oracle_models) {
    const ModelConfig c = engine::Checkpoint(directory_of(model)).config();
    add(models[model.family], "`" + std::string(model.name) + "`");
    auto& cells = columns[model.family];
    cells.resize(4);
    const std::string own[] = {norms_of(c), positions_of(c), attention_of(c), feed_forward_of(c)};
    for (std::size_t i = 0; i < cells.size(); ++i)
      if (cells[i].find(own[i]) == std::string::npos)
        cells[i] += (cells[i].empty() ? "" : "; ") + own[i];
  }
  std::string text =
      "| `model_type` | norms | positions | attention | feed-forward | compared with transformers "
      "|\n"
      "|---|---|---|---|---|---|\n";
  for (const auto& [family, cells] : columns) {
    text += "| `" + family + "` |";
    for (const std::string& cell : cells) text += " " + cell + " |";
    text += " " + models[family] + " |\n";
  }
  return text;
}

}  // namespace

TEST_CASE("the page of families says what is tested") {
  const std::filesystem::path page =
      std::filesystem::path(PARE_DEMO_MODEL_DIR).parent_path() / "engine/families/README.md";
  const std::string text = read_text(page);
  const std::size_t begin = text.find("| `model_type`"), end = text.find("\n\n", begin);
  REQUIRE(begin != std::string::npos);
  const std::string wanted = table();
  // PARE_UPDATE_PAGES=1 writes it anew.
  if (const char* update = std::getenv("PARE_UPDATE_PAGES"); update && *update == '1')
    write_text(page, text.substr(0, begin) + wanted + text.substr(end + 1));
  else
    CHECK(text.substr(begin, end + 1 - begin) == wanted);
}
