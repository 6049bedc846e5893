#include <cmath>
#include <vector>

#include "pare/distillation/crd.hpp"
#include "pare/distillation/info_nce.hpp"
#include "pare/distillation/regressor.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::error_of_largest;

TEMPLATE_TEST_CASE("CRD with its embeddings and memories is the reference's", "", float, double) {
  using T = TestType;
  const test::DistillationOracle oracle;
  const auto fs = oracle.input<T>("crd", "fs"), ft = oracle.input<T>("crd", "ft");
  const auto ws = oracle.input<T>("crd", "ws"), wt = oracle.input<T>("crd", "wt");
  const auto bs = oracle.input<T, 1>("crd", "bs"), bt = oracle.input<T, 1>("crd", "bt");
  ContrastiveMemory memory;
  memory.student = oracle.input<double>("crd", "memory1");
  memory.teacher = oracle.input<double>("crd", "memory2");
  const std::vector<Index> chosen = oracle.indices("crd", "contrast_idx");

  const Regression<T> s({.weight = ws, .bias = bs}, Matrix<double>(fs.view()));
  const Regression<T> t({.weight = wt, .bias = bt}, Matrix<double>(ft.view()));
  Matrix<double> ds(s.values().shape()), dt(t.values().shape());
  const double loss =
      crd_loss<double>(s.values(), t.values(), {chosen, {7, 7}}, memory, {}, ds, dt);
  Matrix<T> dws(ws.shape()), dwt(wt.shape());
  Vector<T> dbs(bs.shape()), dbt(bt.shape());
  const Matrix<double> dfs = s.pull_back(ds, 1.0, {.weight = dws, .bias = dbs});
  const Matrix<double> dft = t.pull_back(dt, 1.0, {.weight = dwt, .bias = dbt});

  const double tolerance = oracle.tolerance<T>("crd");
  CHECK(loss == Approx(oracle.loss("crd")).epsilon(tolerance));
  CHECK(error_of_largest(dfs, oracle.gradient("crd", "fs")) <= tolerance);
  CHECK(error_of_largest(dft, oracle.gradient("crd", "ft")) <= tolerance);
  CHECK(error_of_largest(dws, oracle.gradient("crd", "ws")) <= tolerance);
  CHECK(error_of_largest(dwt, oracle.gradient("crd", "wt")) <= tolerance);
  CHECK(error_of_largest(dbs, oracle.gradient<1>("crd", "bs")) <= tolerance);
  CHECK(error_of_largest(dbt, oracle.gradient<1>("crd", "bt")) <= tolerance);
  CHECK(error_of_largest(memory.student, oracle.tensor<double>("crd.new_memory1")) <= tolerance);
  CHECK(error_of_largest(memory.teacher, oracle.tensor<double>("crd.new_memory2")) <= tolerance);
  CHECK(memory.teacher_scale == Approx(oracle.tensor<double, 1>("crd.z1")[0]).epsilon(tolerance));
  CHECK(memory.student_scale == Approx(oracle.tensor<double, 1>("crd.z2")[0]).epsilon(tolerance));
}

TEST_CASE("gradients of contrastive losses agree with central differences") {
  const Matrix<double> s(test::random_matrix(4, 6, 1).view()),
      t(test::random_matrix(4, 6, 2).view());
  const std::vector<Index> chosen{0, 5, 6, 1, 7, 8, 2, 9, 5, 3, 6, 7};
  ContrastiveMemory begin(10, 6, 3);
  begin.student_scale = begin.teacher_scale = 15.0;  // constants, as after the first batch
  const auto crd = [&](const Matrix<double>& x, const Matrix<double>& y, MatrixView<double> dx,
                       MatrixView<double> dy) {
    ContrastiveMemory memory = begin;
    return crd_loss<double>(x, y, {chosen, {4, 3}}, memory, {}, dx, dy);
  };
  Matrix<double> ds(s.shape()), dt(s.shape()), dn(s.shape());
  (void)crd(s, t, ds, dt);
  const auto numeric = [&](const auto& loss, const Matrix<double>& at) {
    return test::central_differences([&](const Matrix<double>& x) { return loss(x); }, at);
  };
  CHECK(error_of_largest(ds, numeric([&](const auto& x) { return crd(x, t, {}, {}); }, s)) <= 1e-6);
  CHECK(error_of_largest(dt, numeric([&](const auto& x) { return crd(s, x, {}, {}); }, t)) <= 1e-6);
  (void)info_nce_loss<double>(s, t, {.temperature = 0.5}, dn);
  CHECK(error_of_largest(dn, numeric(
                                 [&](const auto& x) {
                                   return info_nce_loss<double>(x, t, {.temperature = 0.5});
                                 },
                                 s)) <= 1e-6);
  // Among n that are alike the right one is found by chance: log n.
  Matrix<double> alike({4, 6});
  alike.fill(1.0);
  CHECK(info_nce_loss<double>(alike, alike) == Approx(std::log(4.0)));
  CHECK(info_nce_loss<double>(s, s, {.temperature = 0.01}) < 1e-5);
}

TEST_CASE("contrastive losses refuse what does not fit") {
  const Matrix<double> s({2, 3}), other({3, 3});
  ContrastiveMemory memory(5, 3, 1), narrow(5, 2, 1);
  const std::vector<Index> chosen{0, 1, 2, 3}, outside{0, 5, 2, 3};
  CHECK_THROWS_AS(crd_loss<double>(s, other, {chosen, {2, 2}}, memory), ShapeError);
  CHECK_THROWS_AS(crd_loss<double>(s, s, {chosen, {2, 2}}, narrow), ShapeError);
  CHECK_THROWS_AS(crd_loss<double>(s, s, {chosen, {2, 1}}, memory), ArgumentError);
  CHECK_THROWS_WITH(crd_loss<double>(s, s, {outside, {2, 2}}, memory),
                    ContainsSubstring("sample 5 is none of the 5"));
  CHECK_THROWS_AS(crd_loss<double>(s, s, {chosen, {2, 2}}, memory, {.temperature = 0}),
                  ArgumentError);
  CHECK_THROWS_AS(info_nce_loss<double>(s, other), ShapeError);
  CHECK_THROWS_AS(info_nce_loss<double>(s, s, {.temperature = -1}), ArgumentError);
  CHECK_THROWS_AS(ContrastiveMemory(0, 3, 1), ArgumentError);
}
