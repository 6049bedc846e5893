#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "pare/core/index.hpp"

namespace bench {

/// What a peer is asked to prepare: y = x wᵀ with weights of its own making.
struct PeerTask {
  std::string operation;
  pare::Index out = 0, in = 0, tokens = 1;
  pare::Index group = -1;
  int threads = 1;
  /// How many different weights to use in turn; 1: warm.
  pare::Index copies = 1;

  friend bool operator==(const PeerTask&, const PeerTask&) = default;
};

/// Another library's kernels in a program of their own, so that neither its threads nor its
/// symbols meet ours. It answers line by line on its standard output:
///
///     (start)                                     peer <name> <version>
///     prepare op=w4a8 out=4096 in=4096 tokens=8   ready <bytes per copy>
///       group=32 threads=2 copies=40 (one line)   or: unsupported <reason>
///     run <n>                                     seconds <t1> ... <tn>
///     quit                                        (ends)
///
/// A worker that is missing, silent for too long, dead or incomprehensible is ended and stays so:
/// `failure` says why and every later request fails at once.
class PeerProcess {
 public:
  using Seconds = std::chrono::duration<double>;
  struct Timeouts {
    Seconds start{30.0}, prepare{90.0}, run{60.0};
  };

  explicit PeerProcess(const std::string& program) : PeerProcess(program, Timeouts{}) {}
  PeerProcess(const std::string& program, Timeouts timeouts);
  ~PeerProcess();
  PeerProcess(const PeerProcess&) = delete;
  PeerProcess& operator=(const PeerProcess&) = delete;

  /// As the worker says; empty when it never started.
  [[nodiscard]] const std::string& version() const noexcept { return version_; }
  /// Why the last request failed; empty after a success.
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  [[nodiscard]] bool alive() const noexcept { return child_ > 0; }

  /// Bytes of weights per copy; 0 when the task is not supported or the worker failed.
  [[nodiscard]] pare::Index prepare(const PeerTask& task);
  /// Seconds of `n` single runs of the prepared task; empty when the worker failed.
  [[nodiscard]] std::vector<double> run(int n);

 private:
  void start(const std::string& program);
  /// The answer to a request, without its first word `keyword`; empty on failure.
  [[nodiscard]] std::string ask(const std::string& request, const std::string& keyword,
                                Seconds timeout);
  [[nodiscard]] bool send(const std::string& line);
  [[nodiscard]] bool receive(std::string& line, Seconds timeout);
  void end(const std::string& reason);

  Timeouts timeouts_;
  pid_t child_ = -1;
  int to_child_ = -1, from_child_ = -1;
  std::string received_, version_, failure_;
};

/// The worker of this name, started at the first request and kept until the program ends; looked
/// for in $PARE_PEERS/bin, by default ~/.cache/pare/peers/bin.
[[nodiscard]] PeerProcess& peer(const std::string& name);

/// All workers that answered: name and version.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> peer_versions();

}  // namespace bench
