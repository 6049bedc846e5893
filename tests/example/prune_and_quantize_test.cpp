#include <string>
#include <vector>

#include "example/prune_fixture.hpp"
#include "pare/formats/mask.hpp"
#include "pare/formats/uint.hpp"
#include "pare/io/json.hpp"
#include "pare/io/pare_checkpoint.hpp"
#include "support/catch.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

}  // namespace

TEST_CASE("one pass prunes and quantizes, and zeros stay zeros") {
  const PruneFixture fixture;
  for (const char* prune : {"sparsegpt:2:4", "alps:2:4", "sparsegpt:0.5"}) {
    CAPTURE(prune);
    (void)output_of({"quantize", fixture.source, "--out", fixture.path("q"), "--prune", prune,
                     "--method", "gptq", "--format", "uint4", "--group-size", "32", "--calib",
                     fixture.path("calib.txt"), "--window", "32", "--threads", "1"});
    auto tensors = SafetensorsCollection::open(fixture.path("q"));
    const auto settings =
        pare_layers(read_json(fs::path(fixture.path("q")) / "config.json")["quantization_config"]);
    const auto q =
        read_pare_layer<UInt<4>>(tensors, PruneFixture::layer, settings[PruneFixture::layer]);
    Mask mask(64, 96);
    for (Index i = 0; i < 64; ++i)
      for (Index j = 0; j < 96; ++j) mask.set(i, j, q.value(i, j) != 0.0f);
    // Rounding makes more zeros.
    CHECK(mask.kept() <= 64 * 48);
    CHECK(mask.kept() > 64 * 30);
    if (std::string(prune).ends_with("2:4")) CHECK(mask.is_n_of_m(2, 4));
    const auto recipe = read_json(fs::path(fixture.path("q")) / "pare_recipe.json");
    CHECK(recipe["steps"][0]["step"] == "prune");
    CHECK(recipe["steps"][1]["step"] == "quantize");
    fs::remove_all(fixture.path("q"));
  }
}
