#include "pare/io/safetensors_collection.hpp"

#include <string>
#include <vector>

#include "pare/io/safetensors_shards.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using Catch::Matchers::Contains;

namespace {

NamedTensor filled(const std::string& name, Index count, int value) {
  return {name,
          DType::U8,
          {count},
          std::vector<std::byte>(static_cast<std::size_t>(count), static_cast<std::byte>(value))};
}

}  // namespace

TEST_CASE("a model in shards reads as one", "[safetensors_collection]") {
  const test::TemporaryDirectory directory;
  const std::vector<NamedTensor> tensors{filled("c", 6, 1), filled("a", 5, 2), filled("b", 20, 3),
                                         filled("e", 0, 0), filled("d", 1, 4)};
  std::vector<TensorSpec> specs;
  for (const NamedTensor& tensor : tensors) specs.push_back(tensor.spec());
  ShardedSafetensorsWriter writer(directory.path(), specs, 11, {{"origin", "test"}});
  for (const NamedTensor& tensor : tensors) writer.write(tensor);
  CHECK_THROWS_AS(writer.write("x", {}), ArgumentError);
  writer.finish();
  CHECK(directory.entries() == std::set<std::string>{"model-00001-of-00003.safetensors",
                                                     "model-00002-of-00003.safetensors",
                                                     "model-00003-of-00003.safetensors",
                                                     "model.safetensors.index.json"});
  const auto index = read_json(directory / "model.safetensors.index.json");
  CHECK(index["metadata"]["total_size"] == 32);
  CHECK(index["weight_map"]["b"] == "model-00002-of-00003.safetensors");

  for (const auto& path : {directory.path(), directory / "model.safetensors.index.json"}) {
    auto model = SafetensorsCollection::open(path);
    CHECK(model.names() == std::vector<std::string>{"a", "b", "c", "d", "e"});
    CHECK(model.metadata().at("origin") == "test");
    CHECK_FALSE(model.contains("x"));
    for (const NamedTensor& tensor : tensors) {
      const auto values = model.read_as<std::uint8_t>(tensor.name);
      CHECK(std::as_bytes(std::span(values)).size() == tensor.data.size());
      CHECK((values.empty() || values.back() == std::to_integer<int>(tensor.data.back())));
    }
    model.drop_pages();
    CHECK(model.read_as<std::uint8_t>("c").at(5) == 1);
    CHECK_THROWS_WITH(model.info("x"), Contains("index.json: no tensor named \"x\""));
  }
}

TEST_CASE("what fits in one file gets no index", "[safetensors_collection]") {
  const test::TemporaryDirectory directory;
  ShardedSafetensorsWriter writer(directory.path(), {{"t", DType::U8, {3}}}, 3);
  writer.write(filled("t", 3, 7));
  writer.finish();
  CHECK(directory.entries() == std::set<std::string>{"model.safetensors"});
  auto model = SafetensorsCollection::open(directory.path());
  CHECK(model.read_as<std::uint8_t>("t") == std::vector<std::uint8_t>{7, 7, 7});
}

TEST_CASE("shards that are not finished leave nothing", "[safetensors_collection]") {
  const test::TemporaryDirectory directory;
  {
    ShardedSafetensorsWriter writer(directory.path(),
                                    {{"t", DType::U8, {3}}, {"u", DType::U8, {3}}}, 3);
    writer.write(filled("t", 3, 7));
  }
  CHECK(directory.entries().empty());
  CHECK_THROWS_WITH(
      cut_into_shards({{"t", DType::U8, {1}}, {"s", DType::U8, {9}}, {"t", DType::U8, {1}}}, 4),
      Contains("\"t\" is reserved or given twice"));
}

TEST_CASE("the demo model opens by directory and by file", "[safetensors_collection]") {
  const std::string directory = PARE_DEMO_MODEL_DIR;
  for (const std::string& path : {directory, directory + "/model.safetensors"}) {
    auto model = SafetensorsCollection::open(path);
    CHECK(model.read_matrix("model.layers.0.mlp.down_proj.weight").shape() == Shape<2>{256, 768});
    CHECK(model.read_vector("model.norm.weight").size() == 256);
  }
}

TEST_CASE("a damaged index is refused with its reason", "[safetensors_collection]") {
  const test::TemporaryDirectory directory;
  const std::vector<NamedTensor> tensors{filled("t", 2, 1)};
  write_safetensors(directory / "s.safetensors", tensors);
  struct Case {
    std::string index;
    std::string reason;
  };
  const Case cases[] = {
      {"", "this is an empty file"},
      {"{\"weight_map\":", "no valid JSON at offset"},
      {"[]", "a JSON object is needed"},
      {"{}", "\"weight_map\" is missing"},
      {R"({"weight_map":[]})", "\"weight_map\" is missing, empty or no object"},
      {R"({"weight_map":{}})", "\"weight_map\" is missing, empty or no object"},
      {R"({"weight_map":{"t":1}})", "the file of tensor \"t\" is no string"},
      {R"({"weight_map":{"t":""}})", "shard \"\" is not the name of a file"},
      {R"({"weight_map":{"t":".."}})", "shard \"..\" is not the name of a file"},
      {R"({"weight_map":{"t":"../s.safetensors"}})", "is not the name of a file"},
      {R"({"weight_map":{"t":"/etc/passwd"}})", "is not the name of a file"},
      {R"({"weight_map":{"t":"a\\b"}})", "is not the name of a file"},
      {R"({"weight_map":{"t":"s.safetensors\u0000"}})", "is not the name of a file"},
      {R"({"weight_map":{"t":"gone.safetensors"}})", "shard \"gone.safetensors\" is missing"},
      {R"({"weight_map":{"t":"s.safetensors","u":"s.safetensors"}})",
       "index.json: tensor \"u\" is not in shard \"s.safetensors\""},
  };
  const auto index = directory / "model.safetensors.index.json";
  for (const Case& bad : cases) {
    CAPTURE(bad.index);
    test::write_text(index, bad.index);
    const auto use = [&] {
      auto model = SafetensorsCollection::open(index);
      (void)model.info("t");
    };
    CHECK_THROWS_WITH(use(), Contains(bad.reason) && Contains("model.safetensors.index.json"));
    CHECK_THROWS_AS(use(), Error);
  }
  test::write_text(directory / "x.safetensors", "{}");
  test::write_text(index, R"({"weight_map":{"t":"x.safetensors"}})");
  auto model = SafetensorsCollection::open(directory.path());
  CHECK_THROWS_WITH(model.info("t"),
                    Contains("x.safetensors: this is a JSON text, not a safetensors file"));

  const test::TemporaryDirectory empty;
  CHECK_THROWS_WITH(SafetensorsCollection::open(empty.path()),
                    Contains("holds neither model.safetensors nor"));
  CHECK_THROWS_AS(SafetensorsCollection::open(empty / "none"), IoError);
}
