#include "cli/speed.hpp"
#include "engine/encoder.hpp"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <optional>
#include <type_traits>
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
    const auto add = [&](const engine::Linear& linear) { weights.push_back(linear.memory()); };
    for (const engine::Block& block : model.blocks)
      for (const engine::Linear& linear : block.linears) add(linear);
    if (model.head)
      add(*model.head);
    else
      weights.push_back(bench::bytes_of(model.embedding->tokens));
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

  /// Of `tokens` tokens in sequences of `length`.
  Operations(const engine::Model& model, Index tokens, Index length) {
    const auto& c = model.config;
    const auto product = [](Index rows, Index cols) {
      return 2.0 * static_cast<double>(rows) * static_cast<double>(cols);
    };
    const double n = static_cast<double>(tokens);
    // Scores and their sums of values: in decoders a token sees half of the others.
    const double seen =
        c.encoder ? static_cast<double>(length) : (static_cast<double>(length) + 1.0) / 2.0;
    for (const engine::Block& block : model.blocks) {
      const auto& experts = block.description.experts;
      for (std::size_t i = 0; i < block.linears.size(); ++i) {
        const engine::Linear& linear = block.linears[i];
        // An expert sees its share of the tokens.
        const double share =
            block.description.linears[i].expert >= 0
                ? static_cast<double>(experts->chosen) / static_cast<double>(experts->count)
                : 1.0;
        (linear.activations() ? integer : floating) +=
            share * n * product(linear.out_features(), linear.in_features());
      }
      floating += 2.0 * product(c.q_size(), tokens) * seen;
    }
    if (!c.encoder)
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

/// A model that decodes, and what reading its weights alone takes.
struct Subject {
  engine::Decoder decoder;
  DecodeReads reads;
  bench::ReadPlan plan;

  Subject(const engine::Model& model, Runtime& runtime, Index context)
      : decoder(model, runtime.execution()),
        reads(model, context),
        plan(reads.best_plan(runtime.threads())) {}

  [[nodiscard]] double run(std::span<const std::int32_t> tokens) {
    return seconds_of([&] { (void)decoder.extend(tokens); });
  }
  [[nodiscard]] double read(Runtime& runtime) const {
    return reads.seconds(runtime.threads(), plan);
  }
};

/// Runs, the limits around them and the seconds of the model beside, run by run.
struct Samples {
  std::vector<double> seconds, limits, shares, speed_ups;

  [[nodiscard]] Index count() const { return static_cast<Index>(seconds.size()); }
  void add(double run, double limit, std::optional<double> beside) {
    seconds.push_back(run);
    limits.push_back(limit);
    shares.push_back(limit / run);
    if (beside) speed_ups.push_back(*beside / run);
  }
  [[nodiscard]] SpeedUp over_beside() const {
    return speed_ups.empty() ? SpeedUp{} : speed_up(speed_ups);
  }
};

/// Whether another run is worth its time: `total` runs since the first.
bool wants_more(const Samples& samples, Index most, const Stopwatch& total,
                const SpeedOptions& options, bool with_beside) {
  const Index fewest = with_beside ? Index{SpeedUp::fewest_pairs} : 3;
  return samples.count() < fewest || (samples.count() < most && total.seconds() < options.seconds);
}

/// Runs a pair; which one comes first changes from pair to pair, so that neither always finds the
/// caches and the clock as the other leaves them. The second result is empty without `beside`.
template <class Run, class Beside>
std::pair<std::invoke_result_t<Run>, std::optional<double>> run_pair(Index pair, bool with_beside,
                                                                     Run&& run, Beside&& beside) {
  std::optional<double> other;
  if (with_beside && pair % 2 == 1) other = beside();
  auto own = run();
  if (with_beside && pair % 2 == 0) other = beside();
  return {own, other};
}

}  // namespace

namespace {

struct LimitedRun {
  double seconds, limit;
};

/// Medians of whole runs of one kind into `speed`.
void measure_prefill(const Operations& operations, Index tokens, int threads,
                     const SpeedOptions& options, const std::function<double()>& run_own,
                     const std::function<double()>& run_other, Speed& speed) {
  Samples prefill;
  (void)run_own();  // touches the memory
  if (run_other) (void)run_other();
  for (const Stopwatch total; wants_more(prefill, options.prefills, total, options, !!run_other);) {
    const auto [run, reference] = run_pair(
        prefill.count(), !!run_other,
        [&] {
          const double before = operations.least_seconds(threads);
          const double seconds = run_own();
          return LimitedRun{seconds, std::min(before, operations.least_seconds(threads))};
        },
        run_other);
    prefill.add(run.seconds, run.limit, reference);
  }
  speed.prefill_tokens_per_second = static_cast<double>(tokens) / median(prefill.seconds);
  speed.prefill_share = median(prefill.shares);
  speed.prefill_operations = operations.total();
  if (const double limit = median(prefill.limits); limit > 0.0)
    speed.prefill_operations_per_second = operations.total() / limit;
  speed.prefill_speed_up = prefill.over_beside();
}

}  // namespace

Speed measure_encoder_speed(const engine::Model& model, const engine::ModelInputs& inputs,
                            Runtime& runtime, const SpeedOptions& options,
                            const engine::Model* beside) {
  Speed speed;
  speed.decodes = false;
  const auto seconds = [&](const engine::Model& some) {
    const engine::Encoder encoder(some, runtime.execution());
    return seconds_of([&] { (void)encoder.run(inputs); });
  };
  std::function<double()> other;
  if (beside) other = [&] { return seconds(*beside); };
  measure_prefill(
      Operations(model, inputs.tokens(), inputs.length), inputs.tokens(), runtime.threads(),
      options, [&] { return seconds(model); }, other, speed);
  return speed;
}

Speed measure_speed(const engine::Model& model, std::span<const std::int32_t> prompt,
                    Runtime& runtime, const SpeedOptions& options, const engine::Model* beside) {
  Speed speed;
  const int threads = runtime.threads();
  const Index length = static_cast<Index>(prompt.size());
  const Index context = length + options.tokens / 2;
  Subject own(model, runtime, context);
  std::optional<Subject> other;
  if (beside) other.emplace(*beside, runtime, context);
  const auto prefill_seconds = [&](Subject& subject) {
    subject.decoder.start(length + options.tokens);
    return subject.run(prompt);
  };

  std::function<double()> run_other;
  if (other) run_other = [&] { return prefill_seconds(*other); };
  measure_prefill(
      Operations(model, length, length), length, threads, options,
      [&] { return prefill_seconds(own); }, run_other, speed);

  Samples decode;
  std::vector<std::int32_t> token(1);
  const Stopwatch total;
  for (Index i = 0;
       i < options.tokens && wants_more(decode, options.tokens, total, options, beside != nullptr);
       ++i) {
    token[0] = prompt[static_cast<std::size_t>(i % length)];
    const auto [run, reference] = run_pair(
        i, beside != nullptr,
        [&] {
          const double before = own.read(runtime);
          const double seconds = own.run(token);
          return LimitedRun{seconds, (before + own.read(runtime)) / 2};
        },
        [&] {
          (void)other->read(runtime);  // finds its weights in the caches as the model does
          return other->run(token);
        });
    decode.add(run.seconds, run.limit, reference);
  }
  speed.decode_bytes = own.reads.bytes;
  if (decode.seconds.empty()) return speed;
  speed.decode_tokens_per_second = 1.0 / median(decode.seconds);
  speed.decode_share = median(decode.shares);
  speed.bytes_per_second = own.reads.bytes / median(decode.limits);
  speed.decode_speed_up = decode.over_beside();
  return speed;
}

}  // namespace cli
