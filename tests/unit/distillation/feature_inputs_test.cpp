#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "pare/core/thread_pool.hpp"
#include "pare/distillation/activation_boundary.hpp"
#include "pare/distillation/attention_match.hpp"
#include "pare/distillation/attention_relation.hpp"
#include "pare/distillation/attention_transfer.hpp"
#include "pare/distillation/cka.hpp"
#include "pare/distillation/convolution_hint.hpp"
#include "pare/distillation/correlation_congruence.hpp"
#include "pare/distillation/cosine.hpp"
#include "pare/distillation/crd.hpp"
#include "pare/distillation/fsp.hpp"
#include "pare/distillation/hint.hpp"
#include "pare/distillation/info_nce.hpp"
#include "pare/distillation/nst.hpp"
#include "pare/distillation/overhaul.hpp"
#include "pare/distillation/pkd.hpp"
#include "pare/distillation/pkt.hpp"
#include "pare/distillation/rkd.hpp"
#include "pare/distillation/similarity_preserving.hpp"
#include "pare/distillation/token_gram.hpp"
#include "pare/distillation/vid.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"
#include "support/random_matrix.hpp"

// What losses of features do at the edges of what they take: threads, temperatures that are small,
// padding, and what they refuse.

using namespace pare;
using test::error_of_largest;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

template <std::size_t Rank>
Tensor<double, Rank> some_values(Shape<Rank> shape, std::uint64_t seed) {
  Tensor<double, Rank> t(shape);
  const Matrix<float> values = test::random_matrix(1, t.size(), seed);
  std::copy(values.begin(), values.end(), t.begin());
  return t;
}

/// All losses that take threads, between the same features: the value, and the gradient in `g`.
struct ThreadedLoss {
  const char* name;
  std::function<double(std::vector<double>& g, const Execution&)> loss;
};
std::vector<ThreadedLoss> threaded_losses() {
  static const auto rows = some_values<2>({37, 12}, 1), others = some_values<2>({37, 12}, 2),
                    weight = some_values<2>({12, 12}, 3);
  static const auto maps = some_values<4>({3, 4, 6, 6}, 4),
                    teachers = some_values<4>({3, 5, 6, 6}, 5),
                    same = some_values<4>({3, 4, 6, 6}, 6),
                    kernel = some_values<4>({4, 4, 3, 3}, 7);
  static const auto states = some_values<3>({3, 7, 12}, 8), taught = some_values<3>({3, 7, 12}, 9);
  static const auto scores = some_values<4>({3, 2, 5, 5}, 10),
                    wanted = some_values<4>({3, 2, 5, 5}, 11);
  static const auto rho = some_values<1>({12}, 12);
  static const std::vector<Regressor<double>> regressors{{.weight = weight, .relu = true},
                                                         {.weight = weight}};
  using G = std::vector<double>&;
  const auto of_rows = [](G g) {
    g.assign(static_cast<std::size_t>(rows.size()), 0.0);
    return MatrixView<double>(g, rows.shape());
  };
  const auto of_maps = [](G g) {
    g.assign(static_cast<std::size_t>(maps.size()), 0.0);
    return TensorView<double, 4>(g, maps.shape());
  };
  const auto of_states = [](G g) {
    g.assign(static_cast<std::size_t>(states.size()), 0.0);
    return TensorView<double, 3>(g, states.shape());
  };
  const auto of_scores = [](G g) {
    g.assign(static_cast<std::size_t>(scores.size()), 0.0);
    return TensorView<double, 4>(g, scores.shape());
  };
  using E = const Execution&;
  return {
      {"sp",
       [=](G g, E e) {
         return similarity_preserving_loss<double>(rows, others, {}, of_rows(g), e);
       }},
      {"rkd distance",
       [=](G g, E e) { return rkd_distance_loss<double>(rows, others, {}, of_rows(g), e); }},
      {"rkd angle",
       [=](G g, E e) { return rkd_angle_loss<double>(rows, others, {}, of_rows(g), e); }},
      {"pkt", [=](G g, E e) { return pkt_loss<double>(rows, others, {}, of_rows(g), e); }},
      {"cka", [=](G g, E e) { return cka_loss<double>(rows, others, {}, of_rows(g), e); }},
      {"cc",
       [=](G g, E e) {
         return correlation_congruence_loss<double>(rows, others, {}, of_rows(g), e);
       }},
      {"pkd", [=](G g, E e) { return pkd_loss<double>(rows, others, {}, of_rows(g), e); }},
      {"neighbours",
       [=](G g, E e) {
         return neighbour_difference_loss<double>(rows, others, {}, of_rows(g), e);
       }},
      {"info nce",
       [=](G g, E e) { return info_nce_loss<double>(rows, others, {}, of_rows(g), e); }},
      {"crd",
       [=](G g, E e) {
         ContrastiveMemory memory(50, 12, 1);
         std::vector<Index> chosen;
         for (Index i = 0; i < 37; ++i)
           for (const Index step : {0, 5, 11}) chosen.push_back((i + step) % 50);
         return crd_loss<double>(rows, others, {chosen, {37, 3}}, memory, {}, of_rows(g), {}, e);
       }},
      {"hint",
       [=](G g, E e) {
         return hint_loss<double>(rows, others, {.weight = weight, .relu = true}, {}, of_rows(g),
                                  {}, e);
       }},
      {"vid",
       [=](G g, E e) {
         return vid_loss<double>(rows, others, regressors, rho, {}, of_rows(g), {}, 1e-5, e);
       }},
      {"convolution hint",
       [=](G g, E e) {
         return convolution_hint_loss<double>(maps, same, {.weight = {kernel.data(), {4, 36}}},
                                              {.convolution = {.kernel = {3, 3}, .padding = 1}},
                                              of_maps(g), {}, e);
       }},
      {"at",
       [=](G g, E e) {
         return attention_transfer_loss<double>(maps, teachers, {}, of_maps(g), e);
       }},
      {"activation boundary",
       [=](G g, E e) { return activation_boundary_loss<double>(rows, others, {}, of_rows(g), e); }},
      {"overhaul",
       [=](G g, E e) {
         static const std::vector<double> margins(4, -0.5);
         return overhaul_loss<double>(maps, same, margins, {}, of_maps(g), e);
       }},
      {"nst", [=](G g, E e) { return nst_loss<double>(maps, teachers, {}, of_maps(g), e); }},
      {"fsp",
       [=](G g, E e) {
         return fsp_loss<double>(maps, teachers, same, teachers, {}, {of_maps(g), {}}, e);
       }},
      {"relation",
       [=](G g, E e) {
         return self_relation_loss<double>(states, taught, {.heads = 3, .causal = true},
                                           of_states(g), e);
       }},
      {"token gram",
       [=](G g, E e) { return token_gram_loss<double>(states, taught, {}, of_states(g), e); }},
      {"feature gram",
       [=](G g, E e) {
         return feature_gram_loss<double>(states, taught, taught, taught, {}, of_states(g), {}, e);
       }},
      {"attention mse",
       [=](G g, E e) { return attention_mse_loss<double>(scores, wanted, {}, of_scores(g), e); }},
      {"attention ce",
       [=](G g, E e) {
         return attention_cross_entropy_loss<double>(scores, wanted, {}, of_scores(g), e);
       }},
  };
}

/// A call that is refused, and what the line about it must name.
struct RefusedFeature {
  std::function<double()> call;
  const char* says;
};

}  // namespace

TEST_CASE("losses of features do not depend on threads") {
  ThreadPool pool(3);
  const auto backwards = [](Index count, ParallelFor::Body body) {
    for (Index i = count; i-- > 0;) body(i);
  };
  for (const ThreadedLoss& c : threaded_losses()) {
    CAPTURE(c.name);
    std::vector<double> gradient, other;
    const double loss = c.loss(gradient, {});
    CHECK(std::any_of(gradient.begin(), gradient.end(), [](double g) { return g != 0.0; }));
    bool is_used = false;
    const auto noticed = [&is_used](Index count, ParallelFor::Body body) {
      is_used = true;
      for (Index i = 0; i < count; ++i) body(i);
    };
    CHECK(c.loss(other, {.parallel_for = noticed}) == loss);
    CHECK(is_used);
    for (const ParallelFor& parallel : {ParallelFor(backwards), ParallelFor(pool)}) {
      CHECK(c.loss(other, {.parallel_for = parallel}) == loss);
      CHECK(other == gradient);
    }
  }
}

TEST_CASE("contrastive losses stay numbers at small temperatures") {
  // The teacher of each student is its opposite: all scores are far below 0.
  const auto t = some_values<2>({5, 3}, 1);
  Matrix<double> s = t;
  for (double& v : s) v = -v;
  Matrix<double> gradient(s.shape());
  for (const double temperature : {1.0, 0.01, 1e-4}) {
    CAPTURE(temperature);
    double expected = 0.0;
    for (Index i = 0; i < 5; ++i) {
      std::vector<double> scores;
      for (Index j = 0; j < 5; ++j) {
        double st = 0.0, ss = 0.0, tt = 0.0;
        for (Index k = 0; k < 3; ++k) {
          st += s(i, k) * t(j, k);
          ss += s(i, k) * s(i, k);
          tt += t(j, k) * t(j, k);
        }
        scores.push_back(st / std::sqrt(ss * tt) / temperature);
      }
      const double largest = *std::max_element(scores.begin(), scores.end());
      double sum = 0.0;
      for (const double score : scores) sum += std::exp(score - largest);
      expected += (largest + std::log(sum) - scores[static_cast<std::size_t>(i)]) / 5.0;
    }
    CHECK(info_nce_loss<double>(s, t, {.temperature = temperature}, gradient) ==
          Approx(expected).epsilon(1e-10));
    for (const double g : gradient) CHECK(std::isfinite(g));
  }
  // All are opposite to all: sums of exponentials would be 0.
  Matrix<double> one_way({4, 3}), other_way({4, 3});
  one_way.fill(1.0);
  other_way.fill(-1.0);
  CHECK(info_nce_loss<double>(one_way, other_way, {.temperature = 1e-3}) == Approx(std::log(4.0)));

  const std::vector<Index> chosen{0, 5, 1, 6, 2, 7, 3, 8, 4, 9};
  ContrastiveMemory memory(10, 3, 1);
  for (Matrix<double>* bank : {&memory.student, &memory.teacher})
    for (double& v : *bank) v = v > 0.0 ? 3.0 : -3.0;
  const Matrix<double> before = memory.student;
  const auto crd = [&](double temperature) {
    return crd_loss<double>(s, t, {chosen, {5, 2}}, memory, {.temperature = temperature}, gradient);
  };
  CHECK_THROWS_WITH(crd(1e-4), ContainsSubstring("a larger temperature than 0.000100"));
  CHECK(memory.student == before);
  CHECK(memory.student_scale == 0.0);
  memory.student_scale = memory.teacher_scale = 1.0;  // of a batch that was unlike this one
  CHECK(std::isfinite(crd(1e-4)));
  for (const double g : gradient) CHECK(std::isfinite(g));
}

TEST_CASE("CKA knows where nothing can be aligned, and no origin") {
  for (Index n = 4; n < 12; ++n)
    for (const bool unbiased : {false, true}) {
      CAPTURE(n, unbiased);
      const auto t = some_values<2>({n, 3}, 1), s = some_values<2>({n, 3}, 2);
      Matrix<double> equal({n, 3}), far = s;
      for (Index i = 0; i < n; ++i)
        for (Index j = 0; j < 3; ++j) {
          equal(i, j) = 0.1 + 0.27 * static_cast<double>(j);
          far(i, j) += 4096.0;
        }
      const CkaOptions options{.unbiased = unbiased};
      CHECK_THROWS_WITH(cka_loss<double>(equal, t, options),
                        ContainsSubstring("samples of the student are equal"));
      CHECK_THROWS_WITH(cka_loss<double>(t, equal, options),
                        ContainsSubstring("samples of the teacher are equal"));
      CHECK(cka_loss<double>(far, t, options) ==
            Approx(cka_loss<double>(s, t, options)).epsilon(1e-9));
    }
  // Corners of a simplex are equally far from each other: unbiased, there is no relation.
  Matrix<double> simplex({5, 5});
  for (Index i = 0; i < 5; ++i) simplex(i, i) = 0.3;
  CHECK_THROWS_WITH(cka_loss<double>(simplex, some_values<2>({5, 3}, 1), {.unbiased = true}),
                    ContainsSubstring("equally far"));
}

TEST_CASE("padding of states is not read") {
  const auto s = some_values<3>({2, 4, 6}, 1), t = some_values<3>({2, 4, 6}, 2);
  auto padded_s = s, padded_t = t;
  padded_s(0, 3, 1) = std::nan("");
  padded_t(1, 2, 5) = infinity;
  Matrix<double> mask({2, 4});
  mask.fill(1.0);
  mask(0, 3) = mask(1, 2) = 0.0;
  using Loss = std::function<double(const Tensor<double, 3>&, const Tensor<double, 3>&,
                                    TensorView<double, 3>)>;
  for (const Loss& loss : {Loss([&](const auto&a, const auto&b, auto g) {
                             return self_relation_loss<double>(a, b, {.heads = 2, .mask = mask}, g);
                           }),
                           Loss([&](const auto&a, const auto&b, auto g) {
                             return attention_relation_loss<double>(
                                 a, a, b, b, {.causal = true, .mask = mask}, g);
                           }),
                           Loss([&](const auto&a, const auto&b, auto g) {
                             return token_gram_loss<double>(a, b, {.mask = mask}, g);
                           }),
                           Loss([&](const auto&a, const auto&b, auto g) {
                             return feature_gram_loss<double>(a, a, b, b, {.mask = mask}, g);
                           })}) {
    Tensor<double, 3> gradient(s.shape()), expected(s.shape());
    CHECK(loss(padded_s, padded_t, gradient) == loss(s, t, expected));
    CHECK(gradient == expected);
    for (Index j = 0; j < 6; ++j) CHECK(gradient(0, 3, j) == 0.0);
  }
}

TEST_CASE("scores of -infinity are masked") {
  const auto s = some_values<4>({2, 2, 4, 4}, 1), t = some_values<4>({2, 2, 4, 4}, 2);
  const auto masked = [](Tensor<double, 4> scores, double value) {
    for (Index b = 0; b < 2; ++b)
      for (Index h = 0; h < 2; ++h)
        for (Index i = 0; i < 4; ++i)
          for (Index j = i + 1; j < 4; ++j) scores(b, h, i, j) = value;
    return scores;
  };
  for (const HeadMatch heads : {HeadMatch::each, HeadMatch::sum})
    for (const bool ce : {false, true}) {
      CAPTURE(ce, heads == HeadMatch::sum);
      const auto loss = [&](double value, TensorView<double, 4> gradient) {
        const AttentionMatchOptions options{.heads = heads};
        return ce ? attention_cross_entropy_loss<double>(masked(s, value), masked(t, value),
                                                         options, gradient)
                  : attention_mse_loss<double>(masked(s, value), masked(t, value), options,
                                               gradient);
      };
      Tensor<double, 4> gradient(s.shape()), expected(s.shape());
      CHECK(loss(-infinity, gradient) == Approx(loss(-1e4, expected)).epsilon(1e-12));
      CHECK(error_of_largest(gradient, expected) <= 1e-12);
      for (const double g : gradient) CHECK(std::isfinite(g));
    }
}

TEST_CASE("losses of features say in a line what they refuse") {
  const double nan = std::nan("");
  const auto s = some_values<2>({5, 3}, 1), one = some_values<2>({1, 3}, 1),
             two = some_values<2>({2, 3}, 1), w = some_values<2>({3, 3}, 2);
  const auto states = some_values<3>({1, 2, 6}, 3);
  const auto scores = some_values<4>({1, 2, 2, 2}, 4), maps = some_values<4>({2, 3, 4, 4}, 5);
  auto cut = scores, up = scores, cut_row = scores;
  cut(0, 1, 0, 1) = cut_row(0, 0, 1, 0) = cut_row(0, 0, 1, 1) = -infinity;
  up(0, 0, 0, 0) = infinity;
  const Vector<double> three({3});
  Vector<double> bad({3});
  bad[1] = nan;
  Vector<double> short_rho({1});
  Matrix<double> narrow({2, 2}), nan_mask({1, 2}), negative_mask({1, 2});
  nan_mask.fill(1.0), negative_mask.fill(1.0);
  nan_mask(0, 1) = nan, negative_mask(0, 1) = -1.0;
  const Matrix<double> ones3(Shape<2>{1, 3});
  const std::vector<Index> chosen{0, 5, 1, 6, 2, 7, 3, 8, 4, 9};
  ContrastiveMemory memory(10, 3, 1);
  const std::vector<double> few{1, 1};
  const Regressor<double> fits{.weight = w};
  const std::vector<Regressor<double>> way{fits};
  const std::vector<RegressorGradients<double>> misfits{{.weight = narrow}};
  const std::vector<RefusedFeature> cases{
      {[&] { return similarity_preserving_loss<double>(one, one); }, "a batch of 1 has no pairs"},
      {[&] { return rkd_distance_loss<double>(one, one); }, "a batch of 1 has no pairs"},
      {[&] { return rkd_angle_loss<double>(two, two); }, "a batch of 2 has no angles"},
      {[&] { return pkt_loss<double>(one, one); }, "at least 2 samples"},
      {[&] { return correlation_congruence_loss<double>(one, one); }, "at least 2 samples"},
      {[&] { return neighbour_difference_loss<double>(one, one); }, "no neighbours"},
      {[&] { return info_nce_loss<double>(one, one); }, "no contrast"},
      {[&] { return cka_loss<double>(two, two, {.unbiased = true}); }, "at least 4 samples"},
      {[&] { return rkd_distance_loss<double>(s, s, {.weight = nan}); },
       "the weight of a loss is nan"},
      {[&] { return hint_loss<double>(s, s, fits, {.weight = nan}); },
       "the weight of a loss is nan"},
      {[&] { return hint_loss<double>(s, s, fits, {.sample_weights = few}); },
       "2 weights for 5 samples"},
      {[&] { return hint_loss<double>(s, s, {.weight = w, .bias = bad}); }, "regressor's bias"},
      {[&] { return hint_loss<double>(s, s, {.weight = w, .gamma = bad, .beta = three}); },
       "regressor's gamma"},
      {[&] {
         return hint_loss<double>(s, s,
                                  {.weight = w, .gamma = three, .beta = three, .epsilon = -1});
       },
       "epsilon of a norm is -1"},
      {[&] { return hint_loss<double>(one, one, {.weight = w, .gamma = three, .beta = three}); },
       "variance for a norm"},
      {[&] { return hint_loss<double>(s, s, fits, {}, {}, {.weight = narrow}); },
       "gradient of the regressor's weight has the shape [2, 2]"},
      {[&] { return hint_loss<double>(s, s, fits, {}, {}, {.bias = short_rho}); },
       "gradient of the regressor's bias"},
      {[&] { return vid_loss<double>(s, s, way, bad); }, "rho"},
      {[&] {
         return vid_loss<double>(s, s, way, three, {}, {}, {{}, short_rho});
       },
       "gradient of rho has 1 values, rho 3"},
      {[&] {
         return vid_loss<double>(s, s, way, three, {}, {}, {misfits, {}});
       },
       "gradient of the regressor's weight"},
      {[&] { return vid_loss<double>(s, s, way, three, {}, {}, {}, 0.0); },
       "smallest variance is 0"},
      {[&] {
         return convolution_hint_loss<double>(maps, maps, fits, {.convolution = {.stride = 0}});
       },
       "no convolution of kernel [1, 1], stride 0"},
      {[&] {
         return convolution_hint_loss<double>(maps, maps, fits,
                                              {.convolution = {.kernel = {5, 1}}});
       },
       "kernel of [5, 1] is larger than the maps"},
      {[&] {
         return convolution_hint_loss<double>(maps, maps, fits, {.convolution = {.stride = 2}});
       },
       "makes maps of [2, 2], the teacher has [2, 3, 4, 4]"},
      {[&] { return convolution_hint_loss<double>(maps, maps, {.weight = ones3}); },
       "makes 1 channels, the teacher has 3"},
      {[&] {
         return crd_loss<double>(s, s, {chosen, {5, 2}}, memory, {.momentum = nan});
       },
       "momentum is nan"},
      {[&] {
         return crd_loss<double>(s, s, {chosen, {5, 2}}, memory, {.momentum = 1.0});
       },
       "from 0 to below 1"},
      {[&] { return self_relation_loss<double>(states, states, {.mask = nan_mask}); },
       "mask of token 1 of sample 0 is nan"},
      {[&] { return token_gram_loss<double>(states, states, {.mask = negative_mask}); },
       "mask of token 1 of sample 0 is -1"},
      {[&] { return attention_mse_loss<double>(scores, scores, {.mask = nan_mask}); },
       "it must be 1, or 0"},
      {[&] { return attention_mse_loss<double>(up, scores); },
       "student holds a score that is not finite"},
      {[&] { return attention_mse_loss<double>(cut, scores, {.masked_score = nan}); },
       "masked score is NaN"},
      {[&] {
         Matrix<double> mask({1, 2});
         mask.fill(1.0);
         return attention_mse_loss<double>(cut, scores, {.mask = mask});
       },
       "score of token 1 for token 0 of sample 0 is -infinity"},
      {[&] { return attention_cross_entropy_loss<double>(cut, scores); },
       "token 0 of sample 0 has scores of -infinity"},
      {[&] { return attention_cross_entropy_loss<double>(scores, cut_row); },
       "token 1 of sample 0 has scores of -infinity"},
  };
  for (std::size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i, cases[i].says);
    CHECK_THROWS_WITH(cases[i].call(),
                      ContainsSubstring(cases[i].says) && !ContainsSubstring("\n"));
  }
  CHECK(memory.student_scale == 0.0);
}
