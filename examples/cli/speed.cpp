#include "cli/speed.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "cli/progress.hpp"
#include "harness/peak.hpp"
#include "harness/read_bandwidth.hpp"
#include "harness/timing.hpp"

namespace cli {
namespace {

using bench::median, bench::Peak, bench::seconds_of;

/// The weights of a model as a token reads them; keys and values, `context` of them, are counted
/// but lie elsewhere.
struct DecodeReads {
  std::vector<bench::Bytes> weights;
  double bytes = 0.0;

  DecodeReads(const engine::Model& model, Index context) {
    const auto add = [&](const engine::Linear& linear) {
      for (const auto part : linear.memory()) weights.push_back(part);
    };
    for (const engine::Block& block : model.blocks)
      for (const engine::Linear& linear : block.linears) add(linear);
    if (model.head)
      add(*model.head);
    else
      weights.push_back(bench::bytes_of(*model.embedding));
    const Index cached = 2 * context * model.config.kv_size() * model.config.layers;
    bytes = static_cast<double>(bench::total_bytes(weights) + cached * Index{sizeof(float)});
  }

  [[nodiscard]] double seconds(int threads, bench::ReadPlan plan) const {
    return seconds_of([&] { bench::read_all(weights, threads, plan); }) * bytes /
           static_cast<double>(bench::total_bytes(weights));
  }

  /// The fastest way to read.
  [[nodiscard]] bench::ReadPlan best_plan(int threads) const {
    std::pair<double, bench::ReadPlan> best{seconds(threads, {}), {}};
    for (const bench::ReadPlan plan : bench::read_plans)
      if (const double s = std::min(seconds(threads, plan), seconds(threads, plan)); s < best.first)
        best = {s, plan};
    return best.second;
  }
};

/// Multiplications and additions of a prefill.
struct Operations {
  double integer = 0.0, floating = 0.0;

  Operations(const engine::Model& model, Index tokens) {
    const auto& c = model.config;
    const auto product = [](Index rows, Index cols) {
      return 2.0 * static_cast<double>(rows) * static_cast<double>(cols);
    };
    const double n = static_cast<double>(tokens);
    for (const engine::Block& block : model.blocks) {
      for (const engine::Linear& linear : block.linears)
        (linear.activations() ? integer : floating) +=
            n * product(linear.out_features(), linear.in_features());
      // Scores and their sums of values: a token sees half of the others.
      floating += 2.0 * product(c.q_size(), tokens) * (n + 1.0) / 2.0;
    }
    (model.head && model.head->activations() ? integer : floating) +=
        product(c.vocab_size, c.hidden_size);
  }

  [[nodiscard]] double total() const { return integer + floating; }

  /// At the peaks of now; 0 where they are not known.
  [[nodiscard]] double least_seconds(int threads) const {
    const auto seconds = [&](double operations, std::initializer_list<Peak> peaks) {
      for (const Peak peak : peaks)
        if (const double speed = bench::measure_peak(peak, threads); speed > 0.0)
          return operations / speed;
      return 0.0;
    };
    return seconds(floating, {Peak::float32}) +
           (integer > 0.0
                ? seconds(integer, {Peak::amx_int8, Peak::vnni, Peak::avx_vnni, Peak::avx2_int8})
                : 0.0);
  }
};

/// Runs and the limits around them.
struct Samples {
  std::vector<double> seconds, limits, shares;

  void add(double run, double limit) {
    seconds.push_back(run);
    limits.push_back(limit);
    shares.push_back(limit / run);
  }
};

}  // namespace

Speed measure_speed(const engine::Model& model, std::span<const std::int32_t> prompt,
                    Runtime& runtime, const SpeedOptions& options) {
  Speed speed;
  engine::Decoder decoder(model, runtime.execution());
  const int threads = runtime.threads();
  const Index length = static_cast<Index>(prompt.size());
  const auto wants_more = [&](const Samples& samples, Index most, const Stopwatch& total) {
    const Index count = static_cast<Index>(samples.seconds.size());
    return count < 3 || (count < most && total.seconds() < options.seconds);
  };

  const Operations operations(model, length);
  Samples prefill;
  decoder.start(length + options.tokens);
  (void)decoder.extend(prompt);  // touches the memory
  for (const Stopwatch total; wants_more(prefill, options.prefills, total);) {
    decoder.start(length + options.tokens);
    const double before = operations.least_seconds(threads);
    const double run = seconds_of([&] { (void)decoder.extend(prompt); });
    prefill.add(run, std::min(before, operations.least_seconds(threads)));
  }
  speed.prefill_tokens_per_second = static_cast<double>(length) / median(prefill.seconds);
  speed.prefill_share = median(prefill.shares);
  speed.prefill_operations = operations.total();
  if (const double limit = median(prefill.limits); limit > 0.0)
    speed.prefill_operations_per_second = operations.total() / limit;

  const DecodeReads reads(model, length + options.tokens / 2);
  const bench::ReadPlan plan = reads.best_plan(threads);
  Samples decode;
  std::vector<std::int32_t> token(1);
  const Stopwatch total;
  for (Index i = 0; i < options.tokens && wants_more(decode, options.tokens, total); ++i) {
    token[0] = prompt[static_cast<std::size_t>(i % length)];
    const double before = reads.seconds(threads, plan);
    const double run = seconds_of([&] { (void)decoder.extend(token); });
    decode.add(run, (before + reads.seconds(threads, plan)) / 2);
  }
  speed.decode_bytes = reads.bytes;
  if (decode.seconds.empty()) return speed;
  speed.decode_tokens_per_second = 1.0 / median(decode.seconds);
  speed.decode_share = median(decode.shares);
  speed.bytes_per_second = reads.bytes / median(decode.limits);
  return speed;
}

}  // namespace cli
