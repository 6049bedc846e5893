#include "pare/pruning/structure/group_scores.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "pare/core/parallel_openmp.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/pruning/structure/axis_scores.hpp"
#include "pare/pruning/structure/dependency_graph.hpp"
#include "support/catch.hpp"
#include "support/random_matrix.hpp"

using namespace pare;

namespace {

using Scores = std::vector<double>;
using Reduction = GroupReduction;
using Normalization = GroupNormalization;

template <std::size_t Rank>
struct StoredTensor {
  std::vector<float> values;
  Shape<Rank> shape;
  TensorView<const float, Rank> view() const { return {values, shape}; }
};

/// Convolution 3-10, batch norm, convolution 10-6, flatten, linear, with gradients.
struct GroupOracle {
  SafetensorsReader file =
      SafetensorsReader::open(std::string(PARE_TEST_DATA_DIR) + "/pruning.safetensors");
  StoredTensor<4> w0 = read<4>("w0", {10, 3, 3, 3}), g0 = read<4>("g0", {10, 3, 3, 3});
  StoredTensor<1> gamma = read<1>("gamma", {10}), gamma_grad = read<1>("gamma_grad", {10});
  StoredTensor<4> w1 = read<4>("w1", {6, 10, 3, 3}), g1 = read<4>("g1", {6, 10, 3, 3});
  StoredTensor<2> w2 = read<2>("w2", {5, 96}), g2 = read<2>("g2", {5, 96});
  DependencyGraph graph;

  GroupOracle() {
    graph.add_tensor("w0", {10, 3, 3, 3}, {"out", "in", "height", "width"});
    graph.add_vector("gamma", 10);
    graph.add_tensor("w1", {6, 10, 3, 3}, {"out", "in", "height", "width"});
    graph.add_tensor("w2", {5, 96}, {"out", "in"});
    graph.couple({"w0", "out"}, {"gamma"});
    graph.couple({"gamma"}, {"w1", "in"});
    graph.couple({"w1", "out"}, {"w2", "in"}, Flattened{16});
  }
  template <std::size_t Rank>
  StoredTensor<Rank> read(const std::string& name, Shape<Rank> shape) const {
    return {file.read_as<float>("group." + name), shape};
  }
  ChannelGroup group(char which) const {
    return which == 'a' ? graph.group_of({"w0", "out"}) : graph.group_of({"w1", "out"});
  }
  std::vector<MemberScores> norms(char which, double power) const {
    if (which == 'a')
      return {{{"w0", "out"}, axis_norms(w0.view(), 0, power)},
              {{"gamma"}, axis_norms(gamma.view(), 0, power)},
              {{"w1", "in"}, axis_norms(w1.view(), 1, power)}};
    return {{{"w1", "out"}, axis_norms(w1.view(), 0, power)},
            {{"w2", "in"}, axis_norms(w2.view(), 1, power)}};
  }
  std::vector<MemberScores> taylor(char which, TaylorSum sum) const {
    if (which == 'a')
      return {{{"w0", "out"}, axis_taylor(w0.view(), g0.view(), 0, sum)},
              {{"w1", "in"}, axis_taylor(w1.view(), g1.view(), 1, sum)}};
    return {{{"w1", "out"}, axis_taylor(w1.view(), g1.view(), 0, sum)},
            {{"w2", "in"}, axis_taylor(w2.view(), g2.view(), 1, sum)}};
  }
};

void check_close(const Scores& found, const Scores& expected, double tolerance) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    CHECK(std::fabs(found[i] - expected[i]) <= tolerance * std::fabs(expected[i]));
}

/// Three channels of two members, the second with two indices of each.
struct SmallGroup {
  DependencyGraph graph;
  ChannelGroup group;
  std::vector<MemberScores> scores{{{"a"}, {1.0, 5.0, 3.0}},
                                   {{"b"}, {2.0, 2.0, 1.0, 0.0, 3.0, 4.0}}};

  SmallGroup() {
    graph.add_vector("a", 3);
    graph.add_vector("b", 6);
    graph.add_vector("other", 3);
    graph.couple({"a"}, {"b"}, Flattened{2});
    group = graph.groups().front();
  }
  Scores operator()(Reduction reduction, Normalization normalization = Normalization::none,
                    double quantile = 0.5) const {
    return group_scores(group, scores, {reduction, normalization, quantile});
  }
};

}  // namespace

TEST_CASE("group scores agree with Torch-Pruning") {
  const GroupOracle oracle;
  struct Case {
    const char* name;
    std::vector<MemberScores> (*members)(const GroupOracle&, char);
    GroupScoreOptions options;
  };
  const auto l1 = [](const GroupOracle& o, char which) { return o.norms(which, 1.0); };
  const auto l2 = [](const GroupOracle& o, char which) { return o.norms(which, 2.0); };
  // Their Taylor scores have no gamma of the batch norm.
  const auto elements = [](const GroupOracle& o, char which) {
    return o.taylor(which, TaylorSum::elements);
  };
  const auto vector = [](const GroupOracle& o, char which) {
    return o.taylor(which, TaylorSum::vector);
  };
  const std::vector<Case> cases{
      {"magnitude_l2_mean", l2, {Reduction::mean, Normalization::mean}},
      {"magnitude_l1_sum_raw", l1, {Reduction::sum, Normalization::none}},
      {"magnitude_first_raw", l2, {Reduction::first, Normalization::none}},
      {"taylor_element_mean", elements, {Reduction::mean, Normalization::mean}},
      {"taylor_element_sum_raw", elements, {Reduction::sum, Normalization::none}},
      {"taylor_vector_sum_raw", vector, {Reduction::sum, Normalization::none}},
      {"lamp", l2, {Reduction::mean, Normalization::lamp}},
  };
  for (const Case& c : cases)
    for (const char which : {'a', 'b'}) {
      const std::string name = std::string("group.") + which + "." + c.name + ".score";
      CAPTURE(name);
      const std::vector<float> expected = oracle.file.read_as<float>(name);
      check_close(group_scores(oracle.group(which), c.members(oracle, which), c.options),
                  {expected.begin(), expected.end()}, 2e-6);
    }
}

TEST_CASE("the gamma of a batch norm counts where it is given") {
  const GroupOracle oracle;
  std::vector<MemberScores> members = oracle.taylor('a', TaylorSum::elements);
  members.push_back({{"gamma"}, axis_taylor(oracle.gamma.view(), oracle.gamma_grad.view(), 0)});
  const Scores found =
      group_scores(oracle.group('a'), members, {Reduction::sum, Normalization::none});
  for (std::size_t c = 0; c < 10; ++c)
    CHECK(found[c] == Approx(members[0].values[c] + members[1].values[c] +
                             std::fabs(static_cast<double>(oracle.gamma.values[c]) *
                                       static_cast<double>(oracle.gamma_grad.values[c]))));
}

TEST_CASE("scores along an axis are sums over all others") {
  const GroupOracle oracle;
  for (const double power : {1.0, 2.0, 3.0, 0.5})
    for (std::size_t axis = 0; axis < 4; ++axis) {
      const TensorView<const float, 4> w = oracle.w1.view();
      Scores expected(static_cast<std::size_t>(w.extent(axis)), 0.0);
      for (Index i = 0; i < 6; ++i)
        for (Index j = 0; j < 10; ++j)
          for (Index k = 0; k < 3; ++k)
            for (Index l = 0; l < 3; ++l)
              expected[static_cast<std::size_t>(Shape<4>{i, j, k, l}[axis])] +=
                  std::pow(std::fabs(static_cast<double>(w(i, j, k, l))), power);
      check_close(axis_norms(w, axis, power), expected, 1e-13);
    }
  // More indices than one task has, columns of views with gaps, threads.
  const Matrix<float> w = test::random_matrix(7, 150, 1), g = test::random_matrix(7, 150, 2);
  const test::Strided<float> strided(w.view());
  const Scores sums = axis_taylor(w.view(), g.view(), 1, TaylorSum::vector);
  CHECK(axis_taylor(strided.view(), g.view(), 1, TaylorSum::vector) == sums);
  CHECK(axis_taylor(w.view(), g.view(), 1, TaylorSum::vector, {.parallel_for = OpenMpFor()}) ==
        sums);
  double sum = 0.0;
  for (Index i = 0; i < 7; ++i)
    sum += static_cast<double>(w(i, 149)) * static_cast<double>(g(i, 149));
  CHECK(sums[149] == Approx(std::fabs(sum)));
  CHECK(axis_norms(w.view(), 1) == axis_norms(w.view().transposed(), 0));

  CHECK_THROWS_AS(axis_norms(w.view(), 2), ShapeError);
  CHECK_THROWS_AS(axis_norms(w.view(), 0, 0.0), ArgumentError);
  CHECK_THROWS_AS(axis_norms(w.view(), 0, std::numeric_limits<double>::quiet_NaN()), ArgumentError);
  CHECK_THROWS_AS(axis_taylor(w.view(), g.view().slice(1, 0, 3), 0), ShapeError);
  Matrix<float> bad = w;
  bad(3, 70) = std::numeric_limits<float>::infinity();
  CHECK_THROWS_WITH(axis_norms(bad.view(), 1), "the sum over index 70 of axis 1 is not finite");
}

TEST_CASE("reductions and normalizations follow their formulas") {
  const SmallGroup small;
  // Members' scores: 1 5 3 and 4 1 7.
  CHECK(small(Reduction::sum) == Scores{5, 6, 10});
  CHECK(small(Reduction::mean) == Scores{2.5, 3, 5});
  CHECK(small(Reduction::max) == Scores{4, 5, 7});
  CHECK(small(Reduction::product) == Scores{4, 5, 21});
  CHECK(small(Reduction::first) == Scores{1, 5, 3});
  CHECK(small(Reduction::last) == Scores{4, 1, 7});

  const double deviation = std::sqrt((4.0 + 4.0 + 0.0) / 2.0) + 1e-8;
  const auto normalized = [&](Normalization n, double quantile = 0.5) {
    return small(Reduction::first, n, quantile);
  };
  check_close(normalized(Normalization::mean), {1.0 / 3, 5.0 / 3, 1.0}, 1e-15);
  check_close(normalized(Normalization::sum), {1.0 / 9, 5.0 / 9, 1.0 / 3}, 1e-15);
  check_close(normalized(Normalization::max), {0.2, 1.0, 0.6}, 1e-15);
  check_close(normalized(Normalization::min_max), {0, 4 / (4 + 1e-8), 2 / (4 + 1e-8)}, 1e-15);
  check_close(normalized(Normalization::gaussian), {-2 / deviation, 2 / deviation, 0}, 1e-15);
  check_close(normalized(Normalization::sentinel), {1 / (3 + 1e-8), 5 / (3 + 1e-8), 3 / (3 + 1e-8)},
              1e-15);
  check_close(normalized(Normalization::sentinel, 1.0), {0.2, 1.0, 0.6}, 1e-8);
  check_close(normalized(Normalization::lamp), {1.0 / 9, 1.0, 3.0 / 8}, 1e-15);
}

TEST_CASE("scores that do not fit a group are refused, and zeros stay zeros") {
  SmallGroup small;
  for (int n = 0; n <= static_cast<int>(Normalization::lamp); ++n) {
    SmallGroup zeros;
    for (MemberScores& member : zeros.scores)
      for (double& v : member.values) v = 0.0;
    CHECK(zeros(Reduction::mean, static_cast<Normalization>(n)) == Scores{0, 0, 0});
  }
  CHECK_THROWS_AS(group_scores(small.group, {}), ArgumentError);
  CHECK_THROWS_AS(small(Reduction::mean, Normalization::sentinel, 1.5), ArgumentError);
  CHECK_THROWS_AS(small(Reduction::mean, Normalization::sentinel, std::nan("")), ArgumentError);
  std::vector<MemberScores> scores{{{"other"}, {1, 2, 3}}};
  CHECK_THROWS_WITH(group_scores(small.group, scores), "other is no member of the group of a");
  scores = {{{"b"}, {1, 2, 3, 4, 5}}};
  CHECK_THROWS_WITH(group_scores(small.group, scores), "5 scores do not fit b");
  scores = {{{"a"}, {1, 2, std::nan("")}}};
  CHECK_THROWS_AS(group_scores(small.group, scores), NumericError);
}
