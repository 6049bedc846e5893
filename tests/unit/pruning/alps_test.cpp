#include "pare/pruning/alps.hpp"

#include <Eigen/Cholesky>
#include <cmath>
#include <string>

#include "pare/core/eigen.hpp"
#include "pare/core/parallel_openmp.hpp"
#include "support/catch.hpp"
#include "support/pruned_layer.hpp"
#include "support/pruning_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::CorrelatedLayer;
using test::hessian_loss;

TEST_CASE("alps loses no more than the authors' code") {
  const test::PruningOracle oracle;
  const Matrix<float> w = oracle.matrix("sparsegpt.weight");
  const Hessian h = Hessian::from_matrix(oracle.matrix("sparsegpt.hessian").view(), 8);
  const AlpsProblem problem(h);
  for (const std::string name : {"0.5", "0.7", "2:4", "4:8"}) {
    const auto meta = oracle.meta("alps." + name);
    const AlpsOptions options{.selection = {.sparsity = meta.at("sparsity"),
                                            .keep = meta.at("keep"),
                                            .of = meta.at("group")}};
    const PruneResult pruned = alps(w, problem, options);
    const double loss = hessian_loss(w, pruned.weight, h.matrix());
    const double reference = meta.at("loss");
    CAPTURE(name, loss, reference, pruned.report.iterations);
    CHECK(loss <= 1.02 * reference);
    CHECK(pruned.mask.removed() == meta.at("zeros").get<Index>());
    CHECK(nonzero_mask(pruned.weight) == (nonzero_mask(pruned.weight) & pruned.mask));
    if (options.selection.of != 0)
      CHECK(pruned.mask.is_n_of_m(options.selection.keep, options.selection.of));
    CHECK(pruned.report.loss == Approx(loss).epsilon(1e-4));
    CHECK(pruned.report.loss <= pruned.report.loss_before);
    CHECK(pruned.report.dead_inputs == problem.dead_inputs());
  }
}

TEST_CASE("alps keeps exactly as many as it says") {
  for (const auto& [rows, cols] :
       {Shape<2>{1, 1}, Shape<2>{3, 17}, Shape<2>{5, 64}, Shape<2>{7, 65}, Shape<2>{33, 130}}) {
    const CorrelatedLayer layer(rows, cols);
    const AlpsProblem problem(layer.h);
    for (const double sparsity : {0.0, 0.3, 1.0}) {
      CAPTURE(rows, cols, sparsity);
      const PruneResult whole = alps(layer.w, problem, {.selection = {.sparsity = sparsity}});
      const auto expected = [&](Index n) { return n - removed_count(n, sparsity); };
      CHECK(whole.mask.kept() == expected(rows * cols));
      const PruneResult by_row = alps(
          layer.w, problem, {.selection = {.sparsity = sparsity, .scope = SelectionScope::row}});
      for (Index i = 0; i < rows; ++i) CHECK(by_row.mask.kept_in_row(i) == expected(cols));
      if (sparsity == 0.0)
        for (Index k = 0; k < whole.weight.size(); ++k)
          CHECK(whole.weight.data()[k] == Approx(layer.w.data()[k]).margin(1e-5));
    }
  }
  const CorrelatedLayer layer(9, 120);
  const AlpsProblem problem(layer.h);
  for (const auto& [keep, of] : {Shape<2>{2, 4}, Shape<2>{1, 4}, Shape<2>{3, 5}, Shape<2>{0, 2},
                                 Shape<2>{8, 8}, Shape<2>{1, 120}}) {
    CAPTURE(keep, of);
    const Mask mask = alps(layer.w, problem, {.selection = {.keep = keep, .of = of}}).mask;
    CHECK(mask.is_n_of_m(keep, of));
    CHECK(mask.kept() == 9 * 120 / of * keep);
  }
}

TEST_CASE("alps ends at the normal equations of its support") {
  const CorrelatedLayer layer(6, 40);
  const PruneResult pruned = alps(layer.w, layer.h, {.conjugate_gradient_steps = 40});
  Eigen::MatrixXd h = eigen_map(layer.h.matrix().view());
  h.diagonal().array() += pruned.report.lambda;
  for (Index i = 0; i < 6; ++i) {
    Eigen::VectorXd error(40);
    for (Index j = 0; j < 40; ++j)
      error(j) = static_cast<double>(layer.w(i, j)) - static_cast<double>(pruned.weight(i, j));
    const Eigen::VectorXd gradient = h * error;
    const double scale =
        (h * eigen_map(layer.w.view()).row(i).cast<double>().transpose()).cwiseAbs().maxCoeff();
    for (Index j = 0; j < 40; ++j)
      if (pruned.mask(i, j)) CHECK(std::fabs(gradient(j)) <= 1e-4 * scale);
  }
}

TEST_CASE("alps of independent inputs removes what magnitude times scale does") {
  const Index n = 24;
  const Matrix<float> w = test::random_matrix(4, n, 5);
  Matrix<double> diagonal({n, n});
  for (Index j = 0; j < n; ++j) diagonal(j, j) = 1.0 + static_cast<double>(j % 5);
  const PruneResult pruned =
      alps(w, AlpsProblem(Hessian::from_matrix(diagonal, 2), {.damping = 0.0}));
  double smallest_kept = 1e9, largest_removed = 0.0;
  for (Index i = 0; i < 4; ++i)
    for (Index j = 0; j < n; ++j) {
      const double saliency = std::fabs(w(i, j)) * std::sqrt(diagonal(j, j));
      if (pruned.mask(i, j)) {
        smallest_kept = std::min(smallest_kept, saliency);
        CHECK(pruned.weight(i, j) == Approx(w(i, j)));
      } else {
        largest_removed = std::max(largest_removed, saliency);
      }
    }
  CHECK(largest_removed <= smallest_kept);
}

TEST_CASE("alps is far better than a mask by magnitude") {
  const CorrelatedLayer layer(48, 96);
  const PruneResult pruned = alps(layer.w, layer.h, {.selection = {.sparsity = 0.6}});
  const PruneResult magnitude =
      alps(layer.w, layer.h,
           {.selection = {.sparsity = 0.6}, .max_iterations = 0, .conjugate_gradient_steps = 0});
  CHECK(pruned.report.loss < 0.3 * magnitude.report.loss);
  CHECK(pruned.report.iterations > 3);
  CHECK(pruned.report.conjugate_gradient_steps == 10);
}

TEST_CASE("alps does not depend on threads or strides") {
  // Past one block of the products.
  const CorrelatedLayer layer(300, 270, 300);
  for (const AlpsOptions& options :
       {AlpsOptions{.selection = {.sparsity = 0.7}, .max_iterations = 3},
        AlpsOptions{.selection = {.scope = SelectionScope::row}, .max_iterations = 3},
        AlpsOptions{.selection = {.keep = 2, .of = 5}, .max_iterations = 3}}) {
    const PruneResult serial = alps(layer.w, layer.h, options);
    const Execution threads{.parallel_for = OpenMpFor(3)};
    const PruneResult parallel = alps(layer.w, layer.h, options, threads);
    CHECK(serial.weight == parallel.weight);
    CHECK(serial.mask == parallel.mask);
    CHECK(serial.report.loss == parallel.report.loss);
    const test::Strided<float> strided(layer.w.view());
    CHECK(alps(strided.view(), layer.h, options).weight == serial.weight);
  }
}

TEST_CASE("layers with the same input share inverses, which change no result") {
  const CorrelatedLayer layer(40, 64, 200);
  const AlpsOptions options{.selection = {.sparsity = 0.7}};
  const AlpsProblem sharing(layer.h), forgetful(layer.h, {.remembered_bytes = 0});
  for (const std::uint64_t seed : {1u, 7u, 8u}) {
    const Matrix<float> w = test::random_matrix(40, 64, seed);
    const PruneResult shared = alps(w, sharing, options), alone = alps(w, forgetful, options);
    CHECK(shared.weight == alone.weight);
    CHECK(shared.report.factorizations == alone.report.factorizations);
    CHECK(shared.report.factorizations > 2);
  }
  CHECK(sharing.inverse_for(0.7) == sharing.inverse_for(0.7));
  CHECK(forgetful.inverse_for(0.7) != forgetful.inverse_for(0.7));
  // Room for one.
  const AlpsProblem small(layer.h, {.remembered_bytes = 64 * 64 * 4});
  const auto first = small.inverse_for(0.2);
  CHECK(small.inverse_for(0.3) != small.inverse_for(0.3));
  CHECK(small.inverse_for(0.2) == first);
  Matrix<float> inverse({64, 64});
  CHECK(small.invert(0.2, inverse));
  CHECK(*first == inverse);
}

TEST_CASE("dead inputs lose their weights, growing damping is reported") {
  CorrelatedLayer layer(5, 32, 100, 32, {3, 20});
  const PruneResult pruned = alps(layer.w, layer.h);
  CHECK(pruned.report.dead_inputs == 2);
  CHECK(pruned.mask.kept() == 80);
  for (Index i = 0; i < 5; ++i) {
    CHECK(pruned.weight(i, 3) == 0.0f);
    CHECK_FALSE(pruned.mask(i, 3));
    CHECK_FALSE(pruned.mask(i, 20));
  }
  CHECK(pruned.report.damping_used == 0.01);

  Matrix<double> indefinite({2, 2});
  indefinite(0, 0) = indefinite(1, 1) = 1.0;
  indefinite(0, 1) = 3.0;
  const AlpsProblem problem(Hessian::from_matrix(indefinite, 2), {.damping = 0.0});
  CHECK(problem.damping_used() > 0.5);
  Matrix<float> w({1, 2});
  w(0, 0) = 1.0f;
  w(0, 1) = 2.0f;
  CHECK(alps(w, problem).mask.kept() == 1);
}

TEST_CASE("a penalty that falls until nothing can be inverted ends the iterations") {
  // Two inputs that are the same, and a support that magnitude finds at once.
  Matrix<double> h({3, 3});
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 2; ++j) h(i, j) = 1.0;
  h(2, 2) = 1.0;
  Matrix<float> w({1, 3});
  w(0, 0) = w(0, 1) = 1.0f;
  w(0, 2) = 1e-3f;
  const AlpsProblem problem(Hessian::from_matrix(h, 2), {.damping = 0.0});
  const PruneResult pruned = alps(w, problem, {.selection = {.count = 1}});
  CHECK_FALSE(pruned.mask(0, 2));
  CHECK(pruned.report.loss == Approx(1e-6).epsilon(1e-3));
  CHECK(pruned.report.iterations <= 33);
}

TEST_CASE("a Hessian of fewer tokens than inputs needs no damping") {
  const CorrelatedLayer layer(8, 64, 20);
  const AlpsProblem problem(layer.h, {.damping = 0.0});
  CHECK(problem.damping_used() == 0.0);
  const PruneResult pruned = alps(layer.w, problem);
  CHECK(pruned.report.loss <= 1e-2 * pruned.report.loss_before + 1e-3);
}

TEST_CASE("alps refuses what means nothing") {
  const CorrelatedLayer layer(4, 32);
  const AlpsProblem problem(layer.h);
  for (const double sparsity : {-0.1, 1.5, std::nan("")})
    CHECK_THROWS_AS(alps(layer.w, problem, {.selection = {.sparsity = sparsity}}), ArgumentError);
  CHECK_THROWS_AS(alps(layer.w, problem, {.selection = {.keep = 5, .of = 4}}), ArgumentError);
  CHECK_THROWS_WITH(alps(layer.w, problem, {.selection = {.keep = 2, .of = 5}}),
                    ContainsSubstring("rows of 32 weights do not divide into groups of 5"));
  CHECK_THROWS_AS(alps(layer.w, problem, {.selection = {.block_cols = 4}}), ArgumentError);
  CHECK_THROWS_AS(alps(layer.w, problem, {.max_iterations = -1}), ArgumentError);
  CHECK_THROWS_AS(alps(Matrix<float>({4, 31}), problem), ShapeError);
  CHECK_THROWS_AS(AlpsProblem(layer.h, {.damping = -1.0}), ArgumentError);
  CHECK_THROWS_AS(AlpsProblem(layer.h, {.rho = 0.0}), ArgumentError);
  CHECK_THROWS_AS(AlpsProblem(Hessian(4)), ArgumentError);
  CHECK_THROWS_AS(AlpsProblem(Hessian::from_matrix(Matrix<double>({4, 4}), 1)), NumericError);
  Matrix<float> w = layer.w;
  w(2, 7) = std::nanf("");
  CHECK_THROWS_WITH(alps(w, problem), ContainsSubstring("[2, 7]"));
  CHECK(alps(Matrix<float>({0, 32}), problem).weight.empty());
  Matrix<float> wrong({31, 32});
  CHECK_THROWS_AS(problem.invert(1.0, wrong), ShapeError);
}
