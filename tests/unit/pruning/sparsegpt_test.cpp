#include "pare/pruning/sparsegpt.hpp"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/pruning/selection.hpp"
#include "pare/quantization/gptq.hpp"
#include "support/catch.hpp"
#include "support/kernel_formats.hpp"
#include "support/random_matrix.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace pare;
using namespace pare::test;

const SafetensorsReader& sparsegpt_oracle() {
  static const auto file =
      SafetensorsReader::open(std::string(PARE_TEST_DATA_DIR) + "/pruning.safetensors");
  return file;
}

/// tr(dW H dWᵀ) in double.
double loss(const Matrix<float>& w, const Matrix<float>& v, const Matrix<float>& h) {
  double sum = 0.0;
  for (Index r = 0; r < w.rows(); ++r)
    for (Index i = 0; i < w.cols(); ++i) {
      const double di = static_cast<double>(w(r, i)) - static_cast<double>(v(r, i));
      for (Index j = 0; j < w.cols(); ++j)
        sum += di * static_cast<double>(h(i, j)) *
               (static_cast<double>(w(r, j)) - static_cast<double>(v(r, j)));
    }
  return sum;
}

/// The Hessian as the sweep's formulas have it, of one token.
Hessian hessian_of(const Matrix<float>& h) { return Hessian::from_matrix(h, 1); }

Index zeros(const Matrix<float>& w) { return w.size() - nonzero_mask(w).kept(); }

}  // namespace

TEST_CASE("the loss is that of the authors' code, and of N:M the weights, too") {
  const Matrix<float> w = sparsegpt_oracle().read_matrix("sparsegpt.weight"),
                      h = sparsegpt_oracle().read_matrix("sparsegpt.hessian");
  const Hessian hessian = hessian_of(h);
  const struct {
    const char* name;
    ObsMaskOptions mask;
  } cases[] = {{"sparsegpt.0.5", {.sparsity = 0.5}},
               {"sparsegpt.0.7", {.sparsity = 0.7}},
               {"sparsegpt.2:4", {.keep = 2, .of = 4}},
               {"sparsegpt.4:8", {.keep = 4, .of = 8}},
               {"sparsegpt.1:4", {.keep = 1, .of = 4}}};
  for (const auto& c : cases) {
    CAPTURE(c.name);
    const PruneResult result = sparsegpt(w, hessian, {.mask = c.mask});
    const Matrix<float> expected = sparsegpt_oracle().read_matrix(std::string(c.name) + ".result");
    const double own = loss(w, result.weight, h), theirs = loss(w, expected, h);
    // They remove one weight more in each block.
    CHECK(own < 1.005 * theirs);
    CHECK(own > 0.9 * theirs);
    CHECK(result.report.loss == Approx(own).epsilon(2e-3));
    CHECK(result.report.dead_inputs == 1);
    if (c.mask.of != 0) {
      CHECK(result.mask.is_n_of_m(c.mask.keep, c.mask.of));
      CHECK(max_difference(result.weight, expected) < 1e-4);
    } else {
      // Blocks of 128 and 32 columns count by themselves.
      CHECK(result.mask.removed() ==
            removed_count(12 * 128, c.mask.sparsity) + removed_count(12 * 32, c.mask.sparsity));
    }
    for (Index i = 0; i < w.rows(); ++i)
      for (Index j = 0; j < w.cols(); ++j)
        if (!result.mask(i, j)) CHECK(result.weight(i, j) == 0.0f);
  }
}

TEST_CASE("weights by hand, with the authors' counts") {
  const Matrix<float> w(MatrixView<const float>(
      std::vector{0.5f, -1.0f, 0.25f, 2.0f, 1.0f, 0.3f, -0.7f, -0.2f}, {2, 4}));
  Hessian h(4);
  h.add(MatrixView<const float>(
      std::vector{1.0f, 0.0f, 2.0f, 1.0f,  0.0f, 1.0f, 1.0f, -1.0f, 2.0f,  1.0f,
                  0.0f, 1.0f, 1.0f, -1.0f, 1.0f, 0.0f, 0.5f, 2.0f,  -1.0f, 1.0f},
      {5, 4}));
  const auto check = [&](const SparseGptOptions& options, const std::vector<float>& expected) {
    const PruneResult result = sparsegpt(w, h, options);
    CHECK(max_difference(result.weight, MatrixView<const float>(expected, {2, 4})) < 1e-5);
  };
  check({.mask = {.keep = 2, .of = 4}},
        {0.0f, -0.910667f, 0.0f, 2.386968f, 1.0f, 0.0f, -0.784978f, 0.0f});
  // floor(8 / 2) + 1 of a block of four columns, floor(4 / 2) + 1 of one of two.
  check({.mask = {.sparsity = 5.0 / 8.0}},
        {0.0f, -0.910667f, 0.0f, 2.386968f, 0.0f, 0.0f, -0.430902f, 0.0f});
  check({.mask = {.sparsity = 3.0 / 4.0}, .block_size = 2},
        {0.0f, -0.910667f, 0.0f, 2.386968f, 0.0f, 0.0f, 0.0f, 0.0f});
  check({.mask = {.sparsity = 3.0 / 8.0}}, {0.5f, -1.0f, 0.0f, 2.0f, 1.0f, 0.0f, -0.784978f, 0.0f});
}

TEST_CASE("with uncorrelated inputs nothing moves, and magnitude decides") {
  const Matrix<float> w = random_matrix(9, 40);
  Matrix<float> identity({40, 40});
  for (Index i = 0; i < 40; ++i) identity(i, i) = 1.0f;
  const PruneResult result = sparsegpt(w, hessian_of(identity), {.mask = {.sparsity = 0.6}});
  Matrix<float> magnitude = w;
  for (Index i = 0; i < w.size(); ++i) magnitude.data()[i] = std::fabs(w.data()[i]);
  CHECK(result.mask == select(magnitude, {.sparsity = 0.6}));
  for (Index i = 0; i < 9; ++i)
    for (Index j = 0; j < 40; ++j)
      if (result.mask(i, j)) CHECK(result.weight(i, j) == w(i, j));
}

TEST_CASE("any N of M, whole groups in every strip and block") {
  for (const auto& [keep, of] :
       {std::pair<Index, Index>{1, 3}, {2, 5}, {3, 6}, {5, 20}, {7, 10}, {0, 4}, {4, 4}, {1, 60}}) {
    CAPTURE(keep, of);
    const Index n = 120;
    const Matrix<float> w = random_matrix(19, n, 3);
    Hessian h(n);
    h.add(random_matrix(300, n, 4));
    const PruneResult result =
        sparsegpt(w, h, {.mask = {.keep = keep, .of = of}, .block_size = 32});
    CHECK(result.mask.is_n_of_m(keep, of));
    CHECK(result.mask.kept() == 19 * n / of * keep);
    // Column by column, in double: the same choices, the same weights.
    const ObsFactor factor(h);
    const Matrix<float>& upper = factor.inverse().upper;
    Matrix<double> v(w.view());
    Mask mask(19, n);
    for (Index j = 0; j < n; ++j)
      for (Index r = 0; r < 19; ++r) {
        const auto cost = [&](Index k) {
          return std::pow(v(r, k) / static_cast<double>(upper(k, k)), 2);
        };
        if (j % of == 0)
          for (Index gone = 0; gone < of - keep; ++gone) {
            Index cheapest = -1;
            for (Index k = j; k < j + of; ++k)
              if (mask(r, k) && (cheapest < 0 || cost(k) <= cost(cheapest))) cheapest = k;
            mask.set(r, cheapest, false);
          }
        const double error = mask(r, j) ? 0.0 : v(r, j) / static_cast<double>(upper(j, j));
        for (Index k = j + 1; k < n; ++k) v(r, k) -= error * static_cast<double>(upper(j, k));
        if (!mask(r, j)) v(r, j) = 0.0;
      }
    CHECK(result.mask == mask);
    CHECK(max_difference(result.weight, Matrix<float>(v.view())) < 1e-4);
  }
}

TEST_CASE("what is removed stays removed, and a support is taken as it is") {
  const Matrix<float> w = random_matrix(8, 64);
  Hessian h(64);
  h.add(random_matrix(200, 64, 5));
  Mask half(8, 64);
  for (Index i = 0; i < 8; ++i)
    for (Index j = i % 2; j < 64; j += 2) half.set(i, j, false);
  const PruneResult kept = sparsegpt(w, h, {.mask = {.sparsity = 0.25, .within = &half}});
  CHECK(kept.mask == half);
  const PruneResult more = sparsegpt(w, h, {.mask = {.sparsity = 0.75, .within = &half}});
  CHECK((more.mask & half) == more.mask);
  CHECK(more.mask.removed() == 8 * 48);
  const PruneResult fixed = sparsegpt(w, h, {.mask = {.support = &half}});
  CHECK(fixed.mask == half);
  CHECK(zeros(fixed.weight) == 8 * 32);
  const PruneResult ordered =
      sparsegpt(w, h, {.mask = {.sparsity = 0.5}, .factor = {.act_order = true}});
  CHECK(ordered.mask.removed() == 8 * 32);
  CHECK(nonzero_mask(ordered.weight) == ordered.mask);
}

TEST_CASE("pruning and quantization make up for each other in one sweep") {
  const Matrix<float> w = sparsegpt_oracle().read_matrix("sparsegpt.weight"),
                      h = sparsegpt_oracle().read_matrix("sparsegpt.hessian");
  const Hessian hessian = hessian_of(h);
  const auto check = [&]<class F>(TypeTag<F>, const std::string& name, const ObsMaskOptions& how,
                                  RangeMethod range = RangeMethod::min_max) {
    CAPTURE(name);
    const ObsFactor factor(hessian);
    ObsMask mask(w.rows(), factor, how);
    const Matrix<float> expected = sparsegpt_oracle().read_matrix(name + ".result");
    const Matrix<float> own = dequantize(gptq<F>(
        w, factor, {.scale_type = ScaleType::f32, .range = {.method = range}, .mask = &mask}));
    CHECK(loss(w, own, h) < 1.01 * loss(w, expected, h));
    if (how.of != 0) CHECK(mask.mask().is_n_of_m(how.keep, how.of));
    for (Index i = 0; i < w.rows(); ++i)
      for (Index j = 0; j < w.cols(); ++j)
        if (!mask.mask()(i, j)) CHECK(own(i, j) == 0.0f);
  };
  const ObsMaskOptions pairs{.keep = 2, .of = 4}, fours{.keep = 4, .of = 8}, half{.sparsity = 0.5};
  check(TypeTag<UInt<4>>{}, "sparsegpt.2:4.int4asym", pairs);
  check(TypeTag<UInt<4>>{}, "sparsegpt.4:8.int4asym", fours);
  check(TypeTag<UInt<4>>{}, "sparsegpt.0.5.int4asym", half);
  check(TypeTag<Int<4>>{}, "sparsegpt.2:4.int4sym", pairs);
  check(TypeTag<Int<4>>{}, "sparsegpt.4:8.int4sym", fours);
  check(TypeTag<Int<4>>{}, "sparsegpt.0.5.int4sym", half);
  check(TypeTag<UInt<3>>{}, "sparsegpt.2:4.int3asymmse", pairs, RangeMethod::mse_clip);
}

TEST_CASE("zeros stay zeros in every format, with groups and scales that do not fit") {
  Matrix<float> w = random_matrix(6, 96);
  for (Index j = 0; j < 96; ++j) w(2, j) *= 1e6f;  // beyond F16
  Hessian h(96);
  h.add(random_matrix(300, 96, 7));
  const ObsFactor factor(h);
  for_each_type(KernelFormats{}, [&]<class F>(TypeTag<F>) {
    CAPTURE(F::name);
    ObsMask mask(6, factor, {.keep = 2, .of = 4});
    const auto q = gptq<F>(w, factor, {.group_size = 32, .mask = &mask});
    CHECK(mask.mask().is_n_of_m(2, 4));
    CHECK(mask.mask().kept() == 6 * 48);
    for (Index i = 0; i < 6; ++i)
      for (Index j = 0; j < 96; ++j)
        if (!mask.mask()(i, j)) CHECK(q.value(i, j) == 0.0f);
  });
}

TEST_CASE("the result does not depend on the number of threads") {
  const Matrix<float> w = random_matrix(70, 200);
  Hessian h(200);
  h.add(random_matrix(400, 200, 9));
  for (const ObsMaskOptions& mask : {ObsMaskOptions{.sparsity = 0.6}, {.keep = 2, .of = 4}}) {
    const PruneResult serial = sparsegpt(w, h, {.mask = mask});
    for (const int threads : {2, 5}) {
      const PruneResult other =
          sparsegpt(w, h, {.mask = mask}, {.parallel_for = OpenMpFor(threads)});
      CHECK(other.mask == serial.mask);
      CHECK(other.weight == serial.weight);
    }
  }
}

TEST_CASE("what makes no sense is refused") {
  const Matrix<float> w = random_matrix(4, 24);
  Hessian h(24);
  h.add(random_matrix(50, 24));
  const Mask other(4, 25);
  for (const ObsMaskOptions& bad : {ObsMaskOptions{.sparsity = 1.2},
                                    {.sparsity = -0.1},
                                    {.keep = 5, .of = 4},
                                    {.keep = 2, .of = 7},
                                    {.keep = -1, .of = 4}})
    CHECK_THROWS_AS(sparsegpt(w, h, {.mask = bad}), ArgumentError);
  CHECK_THROWS_AS(sparsegpt(w, h, {.mask = {.within = &other}}), ShapeError);
  CHECK_THROWS_AS(sparsegpt(w, h, {.mask = {.support = &other}}), ShapeError);
  CHECK_THROWS_AS(sparsegpt(w, h, {.block_size = 0}), ArgumentError);
  CHECK_THROWS_WITH(sparsegpt(w, h, {.mask = {.keep = 2, .of = 4}, .factor = {.act_order = true}}),
                    ContainsSubstring("act_order"));
  CHECK_THROWS_AS(sparsegpt(w, Hessian(25)), ShapeError);
  Matrix<float> nan = w;
  nan(1, 2) = std::nanf("");
  CHECK_THROWS_WITH(sparsegpt(nan, h), ContainsSubstring("[1, 2]"));
}
