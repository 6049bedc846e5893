#include "pare/formats/block_shape.hpp"

#include <map>
#include <string>
#include <vector>

#include "pare/formats/all.hpp"
#include "pare/kernels/matmul.hpp"
#include "pare/kernels/pack.hpp"
#include "pare/kernels/unpack.hpp"
#include "pare/quantization/gptq.hpp"
#include "pare/quantization/quantize.hpp"
#include "support/catch.hpp"
#include "support/own_formats.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

struct Case {
  Index rows, cols;
  BlockShape blocks;
  std::size_t count;
};

const Case cases[] = {{7, 12, BlockShape::tensor(), 1},     {1, 1, BlockShape::tensor(), 1},
                      {5, 33, BlockShape::tiles(2, 16), 9}, {33, 65, BlockShape::tiles(16, 32), 9},
                      {4, 8, BlockShape::tiles(4, 1), 8},   {6, 10, BlockShape::tiles(-1, 4), 3},
                      {6, 10, BlockShape::tiles(3, -1), 2}, {3, 64, BlockShape::runs(32), 6},
                      {9, 48, BlockShape::runs(64), 7},     {3, 7, BlockShape::runs(5), 5},
                      {17, 40, BlockShape::runs(128), 6},   {4, 9, BlockShape::runs(-1), 1}};

/// The block of weight [i, j], from the definition.
Index block_of(const Case& c, Index i, Index j) {
  if (c.blocks.flat) return c.blocks.cols == -1 ? 0 : (i * c.cols + j) / c.blocks.cols;
  const Index height = c.blocks.rows == -1 ? c.rows : c.blocks.rows;
  const Index width = c.blocks.cols == -1 ? c.cols : c.blocks.cols;
  return i / height * c.cols + j / width;
}

/// The parameters of each block, from its weights alone.
template <Format F>
std::map<Index, typename F::Parameters> parameters_of(const Case& c, const Matrix<float>& w,
                                                      const RangeOptions& range,
                                                      ScaleType scale_type) {
  std::map<Index, std::vector<float>> weights;
  for (Index i = 0; i < c.rows; ++i)
    for (Index j = 0; j < c.cols; ++j) weights[block_of(c, i, j)].push_back(w(i, j));
  detail::TensorParameters<F> tensor{};
  if constexpr (HasTensorParameters<F>)
    tensor = F::fit_tensor(range_of(w.data(), w.size()), {.scale_type = scale_type});
  std::map<Index, typename F::Parameters> parameters;
  for (const auto& [block, values] : weights)
    parameters[block] = block_parameters<F>(values.data(), static_cast<Index>(values.size()), 1,
                                            range, scale_type, tensor);
  CHECK(parameters.size() == c.count);
  return parameters;
}

template <Format F>
void check_blocks(const Case& c, const RangeOptions& range) {
  CAPTURE(F::name, c.rows, c.cols, c.blocks.rows, c.blocks.cols, c.blocks.flat);
  const Matrix<float> w = test::random_matrix(c.rows, c.cols, 5);
  const auto q = quantize<F>(w, {.blocks = c.blocks, .scale_type = ScaleType::f16, .range = range});
  const auto parameters = parameters_of<F>(c, w, range, q.scale_type());
  CHECK(q.block_grid()[0] * q.block_grid()[1] == static_cast<Index>(c.count));
  for (Index i = 0; i < c.rows; ++i)
    for (Index j = 0; j < c.cols; ++j) {
      const auto& p = parameters.at(block_of(c, i, j));
      REQUIRE(q.parameters()(i, q.group_of(j)) == p);
      REQUIRE(q.code(i, j) == F::encode(w(i, j), p));
    }
  const Index parameter_bytes = ceil_div(
      static_cast<Index>(c.count) * parameter_bits<F>(ScaleType::f16) + tensor_parameter_bits<F>(),
      8);
  CHECK(q.bytes() == ceil_div(c.rows * c.cols * F::code_bits, 8) + parameter_bytes);
  const test::Strided<float> strided(w);
  CHECK(quantize<F>(strided.view(),
                    {.blocks = c.blocks, .scale_type = q.scale_type(), .range = range}) == q);

  const Matrix<float> values = dequantize(q);
  CHECK(dequantize(unpack(pack(q))) == values);
  const Matrix<float> x = test::random_matrix(3, c.cols, 6);
  Matrix<float> y({3, c.rows});
  matmul(x, pack(q), y);
  for (Index t = 0; t < 3; ++t)
    for (Index n = 0; n < c.rows; ++n) {
      double sum = 0.0, size = 0.0;
      for (Index k = 0; k < c.cols; ++k) {
        sum += double{x(t, k)} * double{values(n, k)};
        size += std::abs(double{x(t, k)} * double{values(n, k)});
      }
      REQUIRE(std::abs(double{y(t, n)} - sum) <= 1e-5 * size);
    }
}

}  // namespace

TEMPLATE_TEST_CASE("blocks of any shape share parameters", "[quantize]", Int<4>, UInt<3>, NF4,
                   Ternary, test::Fp8, test::Levels, test::Signs, test::TwoLevels) {
  for (const Case& c : cases) check_blocks<TestType>(c, {});
}

TEST_CASE("blocks of any shape may be clipped", "[quantize]") {
  for (const Case& c : cases) check_blocks<UInt<4>>(c, {.method = RangeMethod::mse_clip});
}

TEMPLATE_TEST_CASE("gptq finds shared parameters before its sweep", "[gptq]", Int<4>, UInt<4>, NF4,
                   test::TwoLevels) {
  using F = TestType;
  for (const Case& c : cases)
    for (const bool act_order : {false, true}) {
      CAPTURE(c.rows, c.cols, act_order);
      const Matrix<float> w = test::random_matrix(c.rows, c.cols, 5);
      // Inputs without correlation: the sweep has nothing to make up for.
      Matrix<float> inputs({c.cols, c.cols});
      for (Index j = 0; j < c.cols; ++j) inputs(j, j) = 1.0f + static_cast<float>(j % 3);
      Hessian h(c.cols);
      h.add(inputs);
      CHECK(gptq<F>(w, h, {.blocks = c.blocks, .act_order = act_order}) ==
            quantize<F>(w, {.blocks = c.blocks}));
      // With correlation codes change, parameters do not.
      Hessian correlated(c.cols);
      correlated.add(test::random_matrix(3, c.cols, 8));
      const auto q = gptq<F>(w, correlated, {.blocks = c.blocks, .act_order = act_order});
      const auto nearest = quantize<F>(w, {.blocks = c.blocks});
      for (Index i = 0; i < c.rows; ++i)
        for (Index g = 0; g < q.groups(); ++g)
          REQUIRE(q.parameters()(i, g) == nearest.parameters()(i, g));
    }
}

TEST_CASE("blocks do not depend on the number of threads", "[quantize]") {
  const Matrix<float> w = test::random_matrix(33, 65, 9);
  const BlockShape blocks = BlockShape::tiles(4, 16);
  const auto backwards = [](Index count, const ParallelFor::Body& body) {
    for (Index i = count; i-- > 0;) body(i);
  };
  CHECK(quantize<UInt<4>>(w, {.blocks = blocks}, {.parallel_for = backwards}) ==
        quantize<UInt<4>>(w, {.blocks = blocks}));
}

TEST_CASE("blocks that a matrix cannot have are refused", "[quantize]") {
  const Matrix<float> w = test::random_matrix(4, 6);
  const auto with = [&](const BlockShape& blocks) {
    return quantize<Int<4>>(w, {.blocks = blocks});
  };
  for (const BlockShape& blocks :
       {BlockShape::tiles(0, 2), BlockShape::tiles(5, 2), BlockShape::tiles(-2, 2),
        BlockShape::tiles(2, 0), BlockShape::tiles(2, 7), BlockShape::runs(0), BlockShape::runs(25),
        BlockShape::runs(-2), BlockShape{2, 3, true}})
    CHECK_THROWS_AS(with(blocks), ArgumentError);
  CHECK_THROWS_WITH(quantize<Int<4>>(w, {.group_size = 2, .blocks = BlockShape::tensor()}),
                    ContainsSubstring("contradicts"));
  CHECK(quantize<Int<4>>(w, {.group_size = 2, .blocks = BlockShape::groups(2)}) ==
        quantize<Int<4>>(w, {.group_size = 2}));

  auto q = with(BlockShape::runs(8));
  CHECK_THROWS_WITH(q.set_group_index(std::vector<std::int32_t>(6)), ContainsSubstring("runs"));
  Matrix<float> bad = w;
  bad(3, 5) = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_WITH(quantize<Int<4>>(bad, {.blocks = BlockShape::tensor()}),
                    ContainsSubstring("[3, 5]"));
  // A scale that F16 cannot hold is kept in F32, as anywhere.
  Matrix<float> large = w;
  large(0, 0) = 1e9f;
  const auto wide =
      quantize<Int<4>>(large, {.blocks = BlockShape::tensor(), .scale_type = ScaleType::f16});
  CHECK(wide.scale_type() == ScaleType::f32);
  // No weights, no blocks.
  for (const BlockShape& blocks : {BlockShape::tensor(), BlockShape::runs(-1)}) {
    CHECK(quantize<Int<4>>(Matrix<float>({0, 6}), {.blocks = blocks}).codes().empty());
    CHECK(quantize<Int<4>>(Matrix<float>({6, 0}), {.blocks = blocks}).codes().empty());
  }
}
