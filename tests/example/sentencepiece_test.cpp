#ifdef PARE_HAVE_SENTENCEPIECE
#include <sentencepiece_trainer.h>

#include <cmath>
#include <string>
#include <vector>

#include "pare/io/json.hpp"
#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/tiny_model.hpp"

namespace {

using namespace pare;
using namespace pare::test;

/// A model of 300 pieces trained on the demo model's calibration text.
void train_tokenizer(const std::filesystem::path& prefix) {
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      "--input=" + std::string(PARE_DEMO_MODEL_DIR) + "/calib.txt --model_prefix=" +
      prefix.string() + " --vocab_size=300 --model_type=bpe --num_threads=1 --minloglevel=2");
  REQUIRE(status.ok());
}

}  // namespace

TEST_CASE("a model with a SentencePiece tokenizer evaluates and continues text") {
  const TemporaryDirectory directory;
  const std::string m = (directory / "m").string(), q = (directory / "q").string();
  TinyModel({.vocab = 300}).write(m);
  train_tokenizer(directory / "m/tokenizer");
  const std::string report = (directory / "r.json").string();
  const auto evaluate = [&](const std::string& model) {
    const Outcome outcome =
        run_pare({"eval", model, "--text", m + "/eval.txt", "--threads", "1", "--report", report});
    CAPTURE(outcome.err);
    REQUIRE(outcome.status == 0);
    return read_json(report);
  };
  const auto text = evaluate(m);
  // Pieces are longer than a byte: bits per byte are fewer than bits per token.
  const double bits_per_token = text["nats_per_token"].get<double>() / std::log(2.0);
  CHECK(std::isfinite(bits_per_token));
  CHECK(text["predictions"].get<int>() < 257);
  CHECK(text["bits_per_byte"].get<double>() < bits_per_token);

  const Outcome generated =
      run_pare({"generate", m, "--prompt", "And it came", "--length", "8", "--threads", "1"});
  CAPTURE(generated.err);
  CHECK(generated.status == 0);
  CHECK(generated.out.starts_with("And it came"));
  CHECK(generated.out.size() > 12);

  // The tokenizer goes with the quantized model.
  REQUIRE(run_pare({"quantize", m, "--out", q, "--method", "gptq", "--threads", "1"}).status == 0);
  CHECK(evaluate(q)["predictions"] == text["predictions"]);
}

TEST_CASE("a tokenizer that is missing or unreadable is named") {
  const TemporaryDirectory directory;
  const std::string m = (directory / "m").string();
  TinyModel({.vocab = 300}).write(m);
  for (const bool broken : {false, true}) {
    if (broken) write_text(m + "/tokenizer.model", "no model");
    const Outcome outcome = run_pare({"eval", m});
    CHECK(outcome.status == 1);
    CHECK(outcome.error_lines() == 1);
    CHECK_THAT(outcome.err, ContainsSubstring(m + "/tokenizer.model"));
  }
}
#endif
