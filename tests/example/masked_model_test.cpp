#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "example/prune_fixture.hpp"
#include "pare/io/json.hpp"
#include "pare/io/masked_tensor.hpp"
#include "pare/io/safetensors_collection.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/io/safetensors_writer.hpp"
#include "support/catch.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

}  // namespace

TEST_CASE("with masks in place of zeros a model answers as before and its files are smaller") {
  const TemporaryDirectory directory;
  const auto path = [&](const std::string& name) { return (directory / name).string(); };
  const fs::path models = fs::path(PARE_TEST_DATA_DIR) / "models";
  TinyModelOptions half;
  half.dtype = DType::F16;
  TinyModel(half).write(path("llama16"));
  const struct {
    fs::path source;
    const char* layer;
    bool transposed = false;
  } cases[] = {{path("llama16"), "model.layers.1.mlp.down_proj"},
               {models / "gpt2", "transformer.h.0.mlp.c_fc", true},
               {models / "mixtral", "model.layers.0.block_sparse_moe.experts.1.w2"}};
  std::string ids;
  for (int i = 0; i < 24; ++i) ids += std::string{static_cast<char>(i * i % 60), 0, 0, 0};
  write_text(path("ids.bin"), ids);
  for (const auto& c : cases) {
    CAPTURE(c.source);
    const auto prune = [&](const char* out, const char* layout) {
      return output_of({"prune", c.source.string(), "--out", path(out), "--score", "wanda",
                        "--sparsity", "0.5", "--calib-tokens", path("ids.bin"), "--window", "8",
                        "--threads", "1", "--save-as", layout});
    };
    CHECK_THAT(prune("dense", "huggingface"), ContainsSubstring("simulated"));
    CHECK_THAT(prune("masked", "pare"), ContainsSubstring("pare alone reads"));
    auto dense = SafetensorsCollection::open(path("dense")),
         masked = SafetensorsCollection::open(path("masked"));
    const std::string name = std::string(c.layer) + ".weight";
    CHECK_FALSE(masked.contains(name));
    const auto weight = unmasked_tensor(masked, name);
    CHECK(weight.shape == dense.info(name).shape);
    CHECK(std::ranges::equal(weight.data, dense.info(name).bytes));
    const auto bytes = [](SafetensorsCollection& tensors, const std::string& of) {
      std::size_t sum = 0;
      for (const std::string& tensor : tensors.names())
        if (tensor.starts_with(of)) sum += tensors.info(tensor).bytes.size();
      return sum;
    };
    // Half of the weights, a bit for each, and the shape; rows of a mask end in whole bytes.
    const auto& shape = weight.shape;
    CHECK(bytes(masked, name) ==
          bytes(dense, name) / 2 + static_cast<std::size_t>(shape[0] * ceil_div(shape[1], 8)) + 16);
    CHECK(bytes(masked, "") < bytes(dense, ""));
    std::vector<std::string> answers;
    for (const char* made : {"dense", "masked"}) {
      (void)output_of({"logits", path(made), "--tokens", path("ids.bin"), "--out",
                       path("l.safetensors"), "--threads", "1"});
      answers.push_back(read_text(path("l.safetensors")));
    }
    CHECK(answers[0] == answers[1]);
    CHECK_THAT(output_of({"inspect", path("masked")}),
               ContainsSubstring("quantization: pare, masked") && ContainsSubstring("50.0 %"));
    for (const std::vector<std::string>& command :
         {std::vector<std::string>{"quantize", path("masked"), "--method", "rtn", "--out",
                                   path("x")},
          {"prune", path("masked"), "--score", "magnitude", "--out", path("x")},
          {"pack", path("masked"), "--out", path("x")},
          {"sensitivity", path("masked")},
          {"compare", path("masked"), "--no-speed"}}) {
      CAPTURE(command);
      const Outcome outcome = run_pare(command);
      CHECK(outcome.status == 1);
      CHECK(outcome.error_lines() == 1);
      CHECK_THAT(outcome.err, ContainsSubstring("without --save-as pare"));
      CHECK_FALSE(fs::exists(path("x")));
    }
    for (const char* made : {"dense", "masked"}) fs::remove_all(path(made));
  }
}

TEST_CASE("masked tensors that are broken are refused by name") {
  const PruneFixture fixture;
  (void)output_of(fixture.prune("p", {"--score", "magnitude", "--save-as", "pare"}));
  const std::string shard = fixture.path("p") + "/model-00002-of-00003.safetensors";
  const std::string name = std::string(PruneFixture::layer) + ".weight";
  std::vector<NamedTensor> whole;
  {
    const auto reader = SafetensorsReader::open(shard);
    for (const std::string& tensor : reader.names()) {
      const TensorInfo& info = reader.info(tensor);
      whole.push_back({tensor, info.dtype, info.shape, {info.bytes.begin(), info.bytes.end()}});
    }
  }
  const std::string config = fixture.path("p") + "/config.json", intact = read_text(config);
  const auto settings = [&](const char* key, const nlohmann::json& value) {
    nlohmann::json all = nlohmann::json::parse(intact);
    if (value.is_null())
      all.erase("quantization_config");
    else
      all["quantization_config"][key] = value;
    write_json(config, all);
  };
  using Tensors = std::vector<NamedTensor>;
  const auto at = [](Tensors& tensors, const std::string& tensor) -> NamedTensor& {
    return *std::ranges::find(tensors, tensor, &NamedTensor::name);
  };
  const struct {
    std::function<void(Tensors&)> change;
    std::string tensor, reason;
  } cases[] = {
      {[&](Tensors& t) { at(t, name + "_mask").data[5] ^= std::byte{1}; }, name + "_values",
       "the mask keeps"},
      {[&](Tensors& t) { at(t, name + "_shape").data[0] ^= std::byte{1}; }, name + "_shape",
       "[65, 96]"},
      {[&](Tensors& t) {
         at(t, name + "_values").data[3] = std::byte{0x7f};
         at(t, name + "_values").data[2] = std::byte{0x80};
       },
       name, "holds NaN"},
      {[&](Tensors&) { settings("version", 2); }, "config.json", "\"version\""},
      {[&](Tensors&) { settings("layout", nullptr); }, "self_attn", "no quantization_config"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.tensor, c.reason);
    Tensors changed = whole;
    write_text(config, intact);
    c.change(changed);
    write_safetensors(shard, changed);
    const Outcome outcome = run_pare({"eval", fixture.path("p")});
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(c.tensor) && ContainsSubstring(c.reason));
  }
}
