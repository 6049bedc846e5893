#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/checkpoint.hpp"
#include "pare/core/thread_pool.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "pare/quantization/quantize.hpp"
#include "support/catch.hpp"
#include "support/tiny_model.hpp"
#include "support/tolerance.hpp"

namespace {

using namespace pare;
using namespace pare::test;

using Tokens = std::vector<std::int32_t>;

/// Token ids of a sequence that is neither constant nor periodic.
Tokens some_tokens(std::size_t count, std::int32_t vocab) {
  Random random(3);
  Tokens tokens(count);
  for (auto& token : tokens)
    token = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(vocab)));
  return tokens;
}

engine::Model load(const TinyModel& tiny) {
  const TemporaryDirectory directory;
  tiny.write(directory.path());
  return engine::Checkpoint(directory.path()).load();
}

/// The layer's output in double: what `Linear` computes, from the definition.
Matrix<float> product(MatrixView<const float> x, const engine::Linear& linear) {
  Matrix<float> y({x.rows(), linear.out_features()});
  for (Index t = 0; t < y.rows(); ++t)
    for (Index n = 0; n < y.cols(); ++n) {
      double sum = linear.bias().empty() ? 0.0 : static_cast<double>(linear.bias()[n]);
      for (Index k = 0; k < x.cols(); ++k)
        sum += static_cast<double>(x(t, k)) * static_cast<double>(linear.dense()(n, k));
      y(t, n) = static_cast<float>(sum);
    }
  return y;
}

}  // namespace

TEST_CASE("float32 logits of the demo model agree with PyTorch's") {
  const std::filesystem::path demo = PARE_DEMO_MODEL_DIR;
  const auto expected = SafetensorsReader::open(demo / "expected_logits.safetensors");
  const auto ids = expected.read_as<std::int64_t>("input_ids");
  const auto logits = expected.read_as<float>("logits");
  const engine::Model model = engine::Checkpoint(demo).load();
  const Matrix<float> ours = engine::Decoder(model, {}).logits(Tokens(ids.begin(), ids.end()), 256);
  const MatrixView<const float> truth(logits.data(), {4 * 256, 256});
  CHECK(max_difference(ours, truth) < 2e-3);
}

TEST_CASE("decoding with a cache gives the logits of a prefill, in whatever pieces") {
  const engine::Model model = load(TinyModel({.biased = {"self_attn.q_proj", "self_attn.v_proj"}}));
  const Tokens tokens = some_tokens(29, 256);
  const Matrix<float> whole = engine::Decoder(model, {}).logits(tokens, 29);
  const std::vector<std::vector<std::size_t>> splits{
      std::vector<std::size_t>(29, 1), {29}, {17, 1, 11}, {1, 28}, {28, 1}};
  for (const auto& split : splits) {
    engine::Decoder decoder(model, {});
    decoder.start(29);
    std::size_t seen = 0;
    for (const std::size_t count : split) {
      const auto logits = decoder.extend(std::span(tokens).subspan(seen, count));
      seen += count;
      CAPTURE(seen, count);
      CHECK(relative_difference(logits, whole.view().slice(0, static_cast<Index>(seen) - 1, 1)) <
            1e-5);
    }
  }
}

TEST_CASE("a decoder refuses more tokens than it made room for") {
  const engine::Model model = load(TinyModel());
  engine::Decoder decoder(model, {});
  decoder.start(4);
  const Tokens tokens = some_tokens(5, 256);
  CHECK_THROWS_AS(decoder.extend(tokens), ArgumentError);
  decoder.start(5);
  CHECK(decoder.extend(tokens).cols() == 256);
}

TEST_CASE("a kept workspace and threads change no bit") {
  const engine::Model model = load(TinyModel({.biased = {"self_attn.k_proj", "mlp.down_proj"}}));
  const Tokens tokens = some_tokens(40, 256);
  const auto run = [&](const Execution& execution) {
    engine::Decoder decoder(model, execution);
    decoder.start(40);
    (void)decoder.extend(std::span(tokens).first(39));
    return std::pair(decoder.extend(std::span(tokens).last(1)), decoder.logits(tokens, 20));
  };
  ThreadPool pool(3);
  Workspace workspace;
  const auto alone = run({});
  for (int repeated = 0; repeated < 2; ++repeated) {
    const auto together = run({.parallel_for = pool, .workspace = &workspace});
    CHECK(bit_differences(together.first, alone.first) == 0);
    CHECK(bit_differences(together.second, alone.second) == 0);
  }
}

TEST_CASE("layers of all kinds that share an input replace or add to what is there") {
  Random random(5);
  Matrix<float> w({33, 48}), x({7, 48}), before({7, 33});
  Vector<float> bias({33});
  for (auto* tensor : {&w, &x, &before})
    for (Index i = 0; i < tensor->size(); ++i) tensor->data()[i] = random.normal();
  for (Index i = 0; i < 33; ++i) bias[i] = random.normal();
  const auto q = quantize<Int<8>>(w, {.group_size = -1});
  engine::Linear dense(dequantize(q)), packed(q, std::nullopt), dynamic(q, ActivationOptions{});
  for (engine::Linear* layer : {&dense, &packed, &dynamic}) layer->set_bias(bias);
  const Matrix<float> truth = product(x, dense);
  for (const Index tokens : {1, 4, 7})
    for (const bool accumulate : {false, true}) {
      std::vector<Matrix<float>> y(4, before);
      const auto part = [&](std::size_t i) { return y[i].view().slice(0, 0, tokens); };
      engine::forward(x.view().slice(0, 0, tokens),
                      {{packed, part(0), accumulate},
                       {dense, part(1), accumulate},
                       {dynamic, part(2), accumulate},
                       {dynamic, part(3), accumulate}},
                      {});
      Matrix<float> expected = before;
      for (Index t = 0; t < tokens; ++t)
        for (Index n = 0; n < 33; ++n)
          expected(t, n) = truth(t, n) + (accumulate ? before(t, n) : 0.0f);
      CAPTURE(tokens, accumulate);
      CHECK(relative_difference(y[0], expected) < 1e-5);
      CHECK(relative_difference(y[1], expected) < 1e-5);
      CHECK(relative_difference(y[2], expected) < 2e-2);
      CHECK(bit_differences(y[2], y[3]) == 0);
    }
}

TEST_CASE("windows run together do not see each other") {
  const engine::Model model = load(TinyModel());
  const engine::Decoder decoder(model, {});
  const Tokens tokens = some_tokens(3 * 11, 256);
  const Matrix<float> together = decoder.logits(tokens, 11);
  for (Index w = 0; w < 3; ++w) {
    const auto alone =
        decoder.logits(std::span(tokens).subspan(static_cast<std::size_t>(w) * 11, 11), 11);
    CHECK(relative_difference(together.view().slice(0, w * 11, 11), alone) < 1e-6);
  }
}

TEST_CASE("a later token does not change earlier logits") {
  const engine::Model model = load(TinyModel());
  const engine::Decoder decoder(model, {});
  Tokens tokens = some_tokens(9, 256);
  const Matrix<float> before = decoder.logits(tokens, 9);
  tokens[6] ^= 1;
  const Matrix<float> after = decoder.logits(tokens, 9);
  CHECK(bit_differences(before.view().slice(0, 0, 6), after.view().slice(0, 0, 6)) == 0);
  CHECK(bit_differences(before.view().slice(0, 6, 3), after.view().slice(0, 6, 3)) > 0);
}

TEST_CASE("a tied model uses its embedding as output layer") {
  const TinyModel tied({.tied = true});
  TinyModel untied = tied;
  untied.config["tie_word_embeddings"] = false;
  untied.tensors.push_back(untied.tensor("model.embed_tokens.weight"));
  untied.tensors.back().name = "lm_head.weight";
  const Tokens tokens = some_tokens(7, 256);
  CHECK(bit_differences(engine::Decoder(load(tied), {}).logits(tokens, 7),
                        engine::Decoder(load(untied), {}).logits(tokens, 7)) == 0);
}

TEST_CASE("repeated key-value heads compute what grouped ones do") {
  const TinyModel grouped({.heads = 4, .kv_heads = 2});
  TinyModel repeated = grouped;
  repeated.config["num_key_value_heads"] = nullptr;  // as many as heads
  for (const Index layer : {0, 1})
    for (const char* name : {"k_proj", "v_proj"}) {
      auto& tensor = repeated.tensor("model.layers." + std::to_string(layer) + ".self_attn." +
                                     name + ".weight");
      const auto head_bytes = static_cast<std::ptrdiff_t>(tensor.data.size()) / 2;
      const auto begin = tensor.data.begin();
      std::vector<std::byte> data;
      for (const std::ptrdiff_t head : {0, 0, 1, 1})
        data.insert(data.end(), begin + head * head_bytes, begin + (head + 1) * head_bytes);
      tensor.data = data;
      tensor.shape[0] *= 2;
    }
  const Tokens tokens = some_tokens(13, 256);
  CHECK(relative_difference(engine::Decoder(load(repeated), {}).logits(tokens, 13),
                            engine::Decoder(load(grouped), {}).logits(tokens, 13)) < 1e-6);
}

TEST_CASE("captured activations are what the linear layers received") {
  const engine::Model model =
      load(TinyModel({.heads = 2,
                      .kv_heads = 1,
                      .head_dim = 24,  // not hidden / heads
                      .biased = {"self_attn.v_proj", "mlp.up_proj", "mlp.down_proj"}}));
  const engine::BlockRunner runner(model.config, {});
  const engine::Block& block = model.blocks[1];
  const Matrix<float> input = model.embedding->rows(some_tokens(2 * 5, 256), 0, 5);
  Matrix<float> output = input;
  std::map<engine::Site, Matrix<float>> at;
  runner.prefill(block, output, 5, [&](engine::Site site, MatrixView<const float> x) {
    at[site] = Matrix<float>(x);
  });
  using engine::Role;
  using engine::Site;
  const auto& attention_input = at[Site::attention_input];
  const auto& attention_output = at[Site::attention_output];
  const auto& mlp_input = at[Site::feed_forward_input];
  const auto& mlp_hidden = at[Site::feed_forward_hidden];

  // Normed input, by the definition.
  for (Index t = 0; t < input.rows(); ++t) {
    double squares = 0.0;
    for (Index c = 0; c < 64; ++c)
      squares += std::pow(static_cast<double>(input(t, c)), 2.0) / 64.0;
    for (Index c = 0; c < 64; ++c)
      CHECK(static_cast<double>(attention_input(t, c)) ==
            Approx(static_cast<double>(input(t, c)) / std::sqrt(squares + 1e-5) *
                   static_cast<double>(block.norms[0].weight[c]))
                .epsilon(1e-4)
                .margin(1e-5));
  }
  // The first token of a window sees only itself: attention hands its value on.
  const Matrix<float> values = product(attention_input, block[Role::value]);
  for (const Index first : {0, 5})
    for (Index c = 0; c < 2 * 24; ++c)
      CHECK(attention_output(first, c) == Approx(values(first, c % 24)).margin(1e-5));
  // The hidden layer, and the sum that leaves the block.
  const Matrix<float> gate = product(mlp_input, block[Role::gate]);
  const Matrix<float> up = product(mlp_input, block[Role::up]);
  Matrix<float> hidden({10, 96});
  for (Index t = 0; t < 10; ++t)
    for (Index c = 0; c < 96; ++c)
      hidden(t, c) = gate(t, c) / (1.0f + std::exp(-gate(t, c))) * up(t, c);
  CHECK(relative_difference(mlp_hidden, hidden) < 1e-5);
  const Matrix<float> o = product(attention_output, block[Role::attention_output]);
  const Matrix<float> down = product(mlp_hidden, block[Role::down]);
  Matrix<float> sum({10, 64});
  for (Index t = 0; t < 10; ++t)
    for (Index c = 0; c < 64; ++c) sum(t, c) = input(t, c) + o(t, c) + down(t, c);
  CHECK(relative_difference(output, sum) < 1e-5);
}
