#include <algorithm>
#include <string>

#include "example/prune_fixture.hpp"
#include "pare/formats/mask.hpp"
#include "pare/io/json.hpp"
#include "support/catch.hpp"

namespace {

using namespace pare;
using namespace pare::test;
namespace fs = std::filesystem;

}  // namespace

TEST_CASE("pruning reaches the reference quality on the demo model", "[demo]") {
  const TemporaryDirectory directory;
  const std::string report = (directory / "r.json").string();
  // Nats per byte of the authors' code, calibrated alike, and the tolerance.
  const struct {
    const char* method;
    double kl, tolerance, sparsity;
  } cases[] = {{"magnitude 50 % global", 0.03826, 0.01, 0.5},
               {"wanda 2:4", 0.11339, 0.03, 0.5},
               {"sparsegpt 2:4", 0.03936, 0.04, 0.5},
               {"sparsegpt 70 % owl", 0.21792, 0.04, 0.7},
               {"alps 2:4", 0.01196, 0.05, 0.5}};
  (void)output_of({"compare", "--no-speed", "--prune",
                   "magnitude:0.5:global,wanda:2:4,sparsegpt:2:4,sparsegpt:0.7:owl,alps:2:4",
                   "--window", "256", "--calib-stride", "4", "--report", report});
  const auto rows = read_json(report)["rows"];
  REQUIRE(rows.size() == 6);
  for (const auto& c : cases) {
    CAPTURE(c.method);
    const auto row = std::find_if(rows.begin(), rows.end(),
                                  [&](const auto& r) { return r["method"] == c.method; });
    REQUIRE(row != rows.end());
    CHECK((*row)["kl"].template get<double>() == Approx(c.kl).epsilon(c.tolerance));
    CHECK((*row)["sparsity"].template get<double>() == Approx(c.sparsity).margin(1e-3));
  }
}

TEST_CASE("owl gives the blocks of the demo model what its authors' code gives them") {
  const TemporaryDirectory directory;
  const std::string out = (directory / "p").string();
  (void)output_of({"prune", "--sparsity", "0.7", "--allocate", "owl", "--window", "256",
                   "--calib-stride", "4", "--out", out});
  const double expected[] = {0.5938, 0.7227, 0.7539, 0.7188};  // of rows of 256, rounded down
  auto tensors = SafetensorsCollection::open(out);
  for (std::size_t block = 0; block < 4; ++block) {
    CAPTURE(block);
    const Mask mask = nonzero_mask(
        tensors.read_matrix("model.layers." + std::to_string(block) + ".self_attn.q_proj.weight"));
    CHECK(mask.sparsity() == Approx(expected[block]).margin(0.5 / 256.0));
  }
}
