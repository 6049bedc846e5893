#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "pare/distillation/attention_match.hpp"
#include "pare/distillation/attention_relation.hpp"
#include "pare/distillation/cosine.hpp"
#include "pare/distillation/cross_entropy.hpp"
#include "pare/distillation/feature_mse.hpp"
#include "pare/distillation/hint.hpp"
#include "pare/distillation/kl.hpp"
#include "pare/distillation/layer_map.hpp"
#include "pare/distillation/pkd.hpp"
#include "pare/distillation/token_gram.hpp"
#include "support/catch.hpp"
#include "support/distillation_oracle.hpp"
#include "support/random_matrix.hpp"

using namespace pare;
using test::DistillationOracle;
using test::error_of_largest;

namespace {

/// The tokens of a case that are there: (batch, tokens) of 1 and 0.
Matrix<double> token_mask(const DistillationOracle& oracle, const std::string& name) {
  const std::vector<Index> kept = oracle.indices(name, "mask");
  Matrix<double> mask({2, 6});
  std::copy(kept.begin(), kept.end(), mask.begin());
  return mask;
}

template <std::size_t Rank>
Tensor<double, Rank> random_states(Shape<Rank> shape, std::uint64_t seed) {
  Tensor<double, Rank> t(shape);
  const Matrix<float> values = test::random_matrix(1, t.size(), seed);
  std::copy(values.begin(), values.end(), t.begin());
  return t;
}

template <class T, std::size_t Rank>
Matrix<T> as_rows(const Tensor<T, Rank>& t) {
  Matrix<T> m({t.size() / t.extent(Rank - 1), t.extent(Rank - 1)});
  std::copy(t.begin(), t.end(), m.begin());
  return m;
}

}  // namespace

TEMPLATE_TEST_CASE("MiniLM's relations are the reference's", "", float, double) {
  using T = TestType;
  const DistillationOracle oracle;
  for (const bool second : {false, true})
    for (const bool causal : {false, true}) {
      const std::string name =
          std::string("minilm.v") + (second ? "2" : "1") + (causal ? "_causal" : "_padded");
      CAPTURE(name);
      const Matrix<double> mask = token_mask(oracle, name);
      AttentionRelationOptions options{.heads = second ? 4 : 2, .causal = causal, .mask = mask};
      options.common.add_gradient = true;
      const auto in = [&](const char* argument) { return oracle.input<T, 3>(name, argument); };
      const auto qs = in("qs"), ks = in("ks"), vs = in("vs");
      Tensor<T, 3> dq(qs.shape()), dk(qs.shape()), dv(qs.shape());
      double loss = self_relation_loss<T>(vs, in("vt"), options, dv);
      if (second) {
        loss += self_relation_loss<T>(qs, in("qt"), options, dq);
        loss += self_relation_loss<T>(ks, in("kt"), options, dk);
      } else {
        loss += attention_relation_loss<T>(qs, ks, in("qt"), in("kt"), options, dq, dk);
      }
      const double tolerance = oracle.tolerance<T>(name);
      CHECK(loss == Approx(oracle.loss(name)).epsilon(tolerance));
      CHECK(error_of_largest(dq, oracle.gradient<3>(name, "qs")) <= tolerance);
      CHECK(error_of_largest(dk, oracle.gradient<3>(name, "ks")) <= tolerance);
      CHECK(error_of_largest(dv, oracle.gradient<3>(name, "vs")) <= tolerance);
    }
}

TEMPLATE_TEST_CASE("matches of attention scores are the reference's", "", float, double) {
  using T = TestType;
  const DistillationOracle oracle;
  const auto check = [&](const std::string& name, const AttentionMatchOptions& options, bool ce) {
    CAPTURE(name);
    const auto s = oracle.input<T, 4>(name, "ss"), t = oracle.input<T, 4>(name, "st");
    Tensor<T, 4> gradient(s.shape());
    const double loss = ce ? attention_cross_entropy_loss<T>(s, t, options, gradient)
                           : attention_mse_loss<T>(s, t, options, gradient);
    const double tolerance = oracle.tolerance<T>(name);
    CHECK(loss == Approx(oracle.loss(name)).epsilon(tolerance));
    CHECK(error_of_largest(gradient, oracle.gradient<4>(name, "ss")) <= tolerance);
  };
  check("tinybert.attention", {}, false);
  const Matrix<double> mask = token_mask(oracle, "textbrewer.att_mse_loss_masked");
  for (const bool ce : {false, true})
    for (const bool together : {false, true}) {
      const std::string name = std::string("textbrewer.att_") + (ce ? "ce" : "mse") +
                               (together ? ce ? "_mean" : "_sum" : "") + "_loss_";
      const HeadMatch heads = together ? HeadMatch::sum : HeadMatch::each;
      check(name + "masked", {.heads = heads, .mask = mask}, ce);
      check(name + "unmasked", {.heads = heads, .masked_score = -1e-3}, ce);
    }
}

TEMPLATE_TEST_CASE("matches of hidden states are the reference's", "", float, double) {
  using T = TestType;
  const DistillationOracle oracle;
  {
    const char* name = "textbrewer.hidden_mse_masked";
    const auto s = as_rows(oracle.input<T, 3>(name, "hs")),
               t = as_rows(oracle.input<T, 3>(name, "ht"));
    const Matrix<double> mask = token_mask(oracle, name);
    Matrix<T> gradient(s.shape());
    const double loss = feature_mse_loss<T>(s, t, {.sample_weights = mask.span()}, gradient);
    CHECK(loss == Approx(oracle.loss(name)).epsilon(oracle.tolerance<T>(name)));
    CHECK(error_of_largest(gradient, as_rows(oracle.gradient<3>(name, "hs"))) <=
          oracle.tolerance<T>(name));
  }
  {
    const char* name = "textbrewer.fsp_masked";
    const auto s1 = oracle.input<T, 3>(name, "hs"), s2 = oracle.input<T, 3>(name, "hs2");
    const Matrix<double> mask = token_mask(oracle, name);
    Tensor<T, 3> d1(s1.shape()), d2(s2.shape());
    const double loss =
        feature_gram_loss<T>(s1, s2, oracle.input<T, 3>(name, "ht"),
                             oracle.input<T, 3>(name, "ht2"), {.mask = mask}, d1, d2);
    CHECK(loss == Approx(oracle.loss(name)).epsilon(oracle.tolerance<T>(name)));
    CHECK(error_of_largest(d1, oracle.gradient<3>(name, "hs")) <= oracle.tolerance<T>(name));
    CHECK(error_of_largest(d2, oracle.gradient<3>(name, "hs2")) <= oracle.tolerance<T>(name));
  }
  {
    const char* name = "textbrewer.mmd_masked";
    const auto s = oracle.input<T, 3>(name, "hs");
    const Matrix<double> mask = token_mask(oracle, name);
    Tensor<T, 3> gradient(s.shape());
    const double loss =
        token_gram_loss<T>(s, oracle.input<T, 3>(name, "ht"), {.mask = mask}, gradient);
    CHECK(loss == Approx(oracle.loss(name)).epsilon(oracle.tolerance<T>(name)));
    CHECK(error_of_largest(gradient, oracle.gradient<3>(name, "hs")) <= oracle.tolerance<T>(name));
  }
  {
    // The first token of each sample.
    const char* name = "textbrewer.pkd";
    const auto s = oracle.input<T, 3>(name, "hs"), t = oracle.input<T, 3>(name, "ht");
    Tensor<T, 3> gradient(s.shape());
    const double loss = pkd_loss<T>(s.view().select(1, 0), t.view().select(1, 0),
                                    {.sums_features = true}, gradient.view().select(1, 0));
    CHECK(loss == Approx(oracle.loss(name)).epsilon(oracle.tolerance<T>(name)));
    CHECK(error_of_largest(gradient, oracle.gradient<3>(name, "hs")) <= oracle.tolerance<T>(name));
  }
}

TEMPLATE_TEST_CASE("TinyBERT's hidden states and DistilBERT's objective are the reference's", "",
                   float, double) {
  using T = TestType;
  const DistillationOracle oracle;
  {
    const char* name = "tinybert.hidden";
    const auto s = oracle.input<T, 4>(name, "hs"), t = oracle.input<T, 4>(name, "ht");
    const auto weight = oracle.input<T>(name, "weight");
    const auto bias = oracle.input<T, 1>(name, "bias");
    Matrix<T> dw(weight.shape());
    Vector<T> db(bias.shape());
    Tensor<T, 4> gradient(s.shape());
    const Index student = 12 * 4, teacher = 12 * 6;
    double loss = 0.0;
    const std::vector<Index> map = hidden_state_map(2, 4);
    for (Index i = 0; i < 3; ++i)
      loss += hint_loss<T>({s.data() + i * student, {12, 4}},
                           {t.data() + map[static_cast<std::size_t>(i)] * teacher, {12, 6}},
                           {.weight = weight, .bias = bias}, {},
                           {gradient.data() + i * student, {12, 4}}, {.weight = dw, .bias = db});
    const double tolerance = oracle.tolerance<T>(name);
    CHECK(loss == Approx(oracle.loss(name)).epsilon(tolerance));
    CHECK(error_of_largest(gradient, oracle.gradient<4>(name, "hs")) <= tolerance);
    CHECK(error_of_largest(dw, oracle.gradient(name, "weight")) <= tolerance);
    CHECK(error_of_largest(db, oracle.gradient<1>(name, "bias")) <= tolerance);
  }
  {
    const char* name = "distilbert.total";
    const auto zs = oracle.input<T>(name, "zs"), zt = oracle.input<T>(name, "zt");
    const auto hs = oracle.input<T>(name, "hs"), ht = oracle.input<T>(name, "ht");
    const std::vector<Index> labels = oracle.indices(name, "y");
    // Tokens without a label are part of nothing.
    const Vector<double> weights = weights_of_labels(labels);
    Matrix<T> dz(zs.shape()), dh(hs.shape());
    const double loss =
        kl_loss<T>(zs, zt, {.temperature = 2, .common = {.weight = 5, .sample_weights = weights}},
                   dz) +
        cross_entropy_loss<T>(zs, labels, {.common = {.weight = 2, .add_gradient = true}}, dz) +
        cosine_loss<T>(hs, ht, {.sample_weights = weights}, dh);
    const double tolerance = oracle.tolerance<T>(name);
    CHECK(error_of_largest(dz, oracle.gradient(name, "zs")) <= tolerance);
    CHECK(error_of_largest(dh, oracle.gradient(name, "hs")) <= tolerance);
    CHECK(loss == Approx(oracle.loss(name)).epsilon(tolerance));
  }
}

TEST_CASE("gradients of transformer losses agree with central differences") {
  const auto s = random_states<3>({2, 5, 8}, 1), t = random_states<3>({2, 5, 12}, 2),
             same = random_states<3>({2, 5, 8}, 3);
  Matrix<double> mask({2, 5});
  mask.fill(1.0);
  mask(1, 3) = mask(1, 4) = 0.0;
  using Loss = std::function<double(const Tensor<double, 3>&, TensorView<double, 3>)>;
  const std::vector<Loss> losses{
      [&](const auto& x, auto g) {
        return self_relation_loss<double>(x, t, {.heads = 4, .causal = true, .mask = mask}, g);
      },
      [&](const auto& x, auto g) {
        return attention_relation_loss<double>(x, same, t, t, {.heads = 2}, g);
      },
      [&](const auto& x, auto g) {
        return attention_relation_loss<double>(same, x, t, t, {.heads = 2, .mask = mask}, {}, g);
      },
      [&](const auto& x, auto g) { return token_gram_loss<double>(x, t, {.mask = mask}, g); },
      [&](const auto& x, auto g) {
        return feature_gram_loss<double>(x, same, same, same, {.mask = mask}, g);
      },
  };
  for (std::size_t i = 0; i < losses.size(); ++i) {
    CAPTURE(i);
    Tensor<double, 3> gradient(s.shape());
    (void)losses[i](s, gradient);
    const auto expected =
        test::central_differences([&](const Tensor<double, 3>& x) { return losses[i](x, {}); }, s);
    CHECK(error_of_largest(gradient, expected) <= 1e-6);
  }
  const auto scores = random_states<4>({2, 3, 5, 5}, 4), wanted = random_states<4>({2, 2, 5, 5}, 5);
  for (const bool ce : {false, true}) {
    const AttentionMatchOptions options{.heads = HeadMatch::sum, .mask = mask};
    const auto loss = [&](const Tensor<double, 4>& x, TensorView<double, 4> g) {
      return ce ? attention_cross_entropy_loss<double>(x, wanted, options, g)
                : attention_mse_loss<double>(x, wanted, options, g);
    };
    Tensor<double, 4> gradient(scores.shape());
    (void)loss(scores, gradient);
    const auto expected =
        test::central_differences([&](const Tensor<double, 4>& x) { return loss(x, {}); }, scores);
    CHECK(error_of_largest(gradient, expected) <= 1e-6);
  }
}

TEST_CASE("layer maps are those of the papers") {
  const DistillationOracle oracle;
  const nlohmann::json maps = oracle.meta("layer_maps");
  const auto is = [&](const std::vector<Index>& map, const char* name) {
    CAPTURE(name);
    CHECK(map == maps.at(name).get<std::vector<Index>>());
  };
  is(last_of_group_map(4, 12), "tinybert_attention_12_to_4");
  is(hidden_state_map(4, 12), "tinybert_hidden_states_12_to_4");
  is(last_of_group_map(2, 4), "tinybert_attention_4_to_2");
  is(pkd_skip_map(6, 12), "pkd_skip_12_to_6_five_hints");
  is(pkd_last_map(6, 12), "pkd_last_12_to_6_five_hints");
  is(uniform_layer_map(4, 12), "uniform_round_12_to_4");
  is(uniform_layer_map(2, 4), "uniform_round_4_to_2");
  is(first_of_group_map(6, 12), "alternate_12_to_6");
  CHECK_THROWS_AS(last_of_group_map(5, 12), ArgumentError);
  CHECK_THROWS_AS(uniform_layer_map(0, 4), ArgumentError);
  CHECK_THROWS_AS(uniform_layer_map(5, 4), ArgumentError);
}

TEST_CASE("transformer losses refuse what they cannot compare") {
  const auto s = random_states<3>({2, 5, 8}, 1), other = random_states<3>({2, 4, 8}, 1);
  const auto scores = random_states<4>({2, 3, 5, 5}, 1), fewer = random_states<4>({2, 2, 5, 5}, 1);
  const Matrix<double> nothing({2, 5}), narrow({2, 4});
  CHECK_THROWS_AS(self_relation_loss<double>(s, other), ShapeError);
  CHECK_THROWS_AS(self_relation_loss<double>(s, s, {.heads = 3}), ArgumentError);
  CHECK_THROWS_AS(self_relation_loss<double>(s, s, {.heads = 0}), ArgumentError);
  CHECK_THROWS_AS(self_relation_loss<double>(s, s, {.mask = narrow}), ShapeError);
  CHECK_THROWS_WITH(self_relation_loss<double>(s, s, {.mask = nothing}),
                    ContainsSubstring("leaves no token"));
  CHECK_THROWS_AS(attention_mse_loss<double>(scores, fewer), ShapeError);
  CHECK(attention_mse_loss<double>(scores, fewer, {.heads = HeadMatch::sum}) > 0.0);
  CHECK_THROWS_AS(attention_mse_loss<double>(scores, scores, {.mask = nothing}), ArgumentError);
  CHECK_THROWS_AS(attention_cross_entropy_loss<double>(scores, scores, {.mask = narrow}),
                  ShapeError);
  CHECK_THROWS_AS(token_gram_loss<double>(s, other), ShapeError);
  CHECK_THROWS_AS(token_gram_loss<double>(s, s, {.mask = nothing}), ArgumentError);
  auto nan = s;
  nan.data()[3] = std::nan("");
  CHECK_THROWS_AS(self_relation_loss<double>(nan, s), NumericError);
  CHECK_THROWS_AS(token_gram_loss<double>(s, nan), NumericError);
}
