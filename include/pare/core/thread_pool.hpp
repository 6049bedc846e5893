#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "pare/core/config.hpp"
#include "pare/core/error.hpp"
#include "pare/core/parallel.hpp"

namespace pare {

/// Threads of its own for programs without OpenMP or a pool; include it where one is made.
///
///     ThreadPool pool(4);
///     matmul(x, weights, y, {.parallel_for = pool});
///
/// Each thread, the calling one among them, gets a contiguous share of the iterations and then
/// helps with what is left of the others', so that no loop waits for a thread that sleeps. Idle
/// workers spin for 50 us, which makes a loop that follows cheap to start (about 1 us), then
/// sleep. A loop allocates nothing.
///
/// Errors    of several exceptions in a loop the one from the lowest iteration leaves it
/// Edge      a loop inside a loop of any pool is serial; loops that several threads start on one
///           pool follow each other
class ThreadPool {
 public:
  /// `threads` 0 means as many as the machine has. Throws ArgumentError when negative or more
  /// than 65535, std::system_error when the system refuses a thread.
  explicit ThreadPool(int threads = 0) : shares_(static_cast<std::size_t>(resolved(threads))) {
    workers_.reserve(shares_.size() - 1);
    try {
      for (std::size_t t = 1; t < shares_.size(); ++t)
        workers_.emplace_back([this, t] { serve(t); });
    } catch (...) {
      stop();
      throw;
    }
  }

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() { stop(); }

  [[nodiscard]] int threads() const noexcept { return static_cast<int>(shares_.size()); }

  /// Calls `body(i)` once for every i in [0, count) and returns when all are done.
  void run(Index count, ParallelFor::Body body) {
    if (count <= 1 || threads() == 1 || in_loop_) {
      for (Index i = 0; i < count; ++i) body(i);
      return;
    }
    const std::lock_guard lock(mutex_);
    deal_out(count);
    body_ = &body;
    in_loop_ = true;
    open();
    take_iterations(0);
    close();
    in_loop_ = false;
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  /// An executor for Execution::parallel_for; the pool must outlive it.
  operator ParallelFor() noexcept {
    return [this](Index count, ParallelFor::Body body) { run(count, body); };
  }

 private:
  /// Iterations [next, end) of a share are not taken yet. On a cache line of its own.
  struct alignas(64) Share {
    std::atomic<Index> next = 0;
    Index end = 0;
  };

  /// The gate is one word: how many workers are inside, whether more may enter, whether the pool
  /// ends, and the number of the loop. Workers that come too late for a loop just miss it (as they
  /// do, harmlessly, when the number has wrapped around to the last one they served).
  using Gate = std::uint32_t;
  static constexpr Gate inside_mask = 0xffff, open_bit = Gate{1} << 16, stop_bit = Gate{1} << 17;
  static constexpr int loop_shift = 18;
  static constexpr std::chrono::microseconds spin_time{50};

  [[nodiscard]] static int resolved(int threads) {
    if (threads < 0 || threads > static_cast<int>(inside_mask))
      throw ArgumentError("the number of threads is not in [0, 65535]: " + std::to_string(threads));
    if (threads > 0) return threads;
    return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1,
                      static_cast<int>(inside_mask));
  }

  void deal_out(Index count) noexcept {
    const Index threads = static_cast<Index>(shares_.size());
    Index begin = 0;
    for (Index t = 0; t < threads; ++t) {
      Share& share = shares_[static_cast<std::size_t>(t)];
      share.next.store(begin, std::memory_order_relaxed);
      share.end = begin += count / threads + (t < count % threads ? 1 : 0);
    }
  }

  /// Works off the share of `thread`, then the rest of the others'.
  void take_iterations(std::size_t thread) noexcept {
    for (std::size_t k = 0; k < shares_.size(); ++k) {
      Share& share = shares_[(thread + k) % shares_.size()];
      for (;;) {
        const Index i = share.next.fetch_add(1, std::memory_order_relaxed);
        if (i >= share.end) break;
        try {
          (*body_)(i);
        } catch (...) {
          keep_failure(i);
        }
      }
    }
  }

  void keep_failure(Index i) noexcept {
    const std::lock_guard lock(failure_mutex_);
    if (failure_ && failed_at_ < i) return;
    failed_at_ = i;
    failure_ = std::current_exception();
  }

  /// While the gate is closed and nobody is inside only the calling thread writes: to the loop's
  /// data, then to the gate.
  void open() noexcept {
    const Gate loop = (gate_.load(std::memory_order_relaxed) >> loop_shift) + 1;
    gate_.store(loop << loop_shift | open_bit);
    gate_.notify_all();
  }

  /// All iterations are taken: lets nobody in any more and waits for the last one inside.
  void close() noexcept {
    gate_.fetch_and(~open_bit);
    await([](Gate gate) { return (gate & inside_mask) == 0; });
  }

  /// What a worker does all its life.
  void serve(std::size_t thread) noexcept {
    in_loop_ = true;
    Gate served = 0;
    for (;;) {
      Gate gate = await([&](Gate g) {
        return (g & stop_bit) != 0 || ((g & open_bit) != 0 && g >> loop_shift != served);
      });
      if ((gate & stop_bit) != 0) return;
      if (!gate_.compare_exchange_weak(gate, gate + 1)) continue;
      served = gate >> loop_shift;
      take_iterations(thread);
      const Gate left = gate_.fetch_sub(1) - 1;
      if ((left & (open_bit | inside_mask)) == 0) gate_.notify_all();  // the caller may sleep
    }
  }

  /// Waits for a gate that is `ready`: spins, then sleeps until notified, and so on.
  template <class Ready>
  Gate await(Ready ready) const noexcept {
    for (;;) {
      const auto deadline = std::chrono::steady_clock::now() + spin_time;
      Gate gate;
      do {
        gate = gate_.load(std::memory_order_acquire);
        if (ready(gate)) return gate;
        PARE_SPIN_PAUSE();
      } while (std::chrono::steady_clock::now() < deadline);
      gate_.wait(gate);
    }
  }

  void stop() noexcept {
    gate_.fetch_or(stop_bit);
    gate_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  /// Whether this thread is inside a loop of some pool.
  static inline thread_local bool in_loop_ = false;

  alignas(64) std::atomic<Gate> gate_ = 0;
  alignas(64) std::vector<Share> shares_;  // one per thread, the calling thread's first
  const ParallelFor::Body* body_ = nullptr;
  std::mutex mutex_, failure_mutex_;
  std::exception_ptr failure_;  // of iteration failed_at_, guarded by failure_mutex_
  Index failed_at_ = 0;
  std::vector<std::thread> workers_;
};

}  // namespace pare
