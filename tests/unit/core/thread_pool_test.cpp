#include "pare/core/thread_pool.hpp"

#include <atomic>
#include <chrono>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace pare;

namespace {

std::vector<int> calls(const ParallelFor& parallel_for, Index count) {
  std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
  parallel_for(count, [&](Index i) { ++seen[static_cast<std::size_t>(i)]; });
  return {seen.begin(), seen.end()};
}

std::vector<int> once(Index count) { return std::vector<int>(static_cast<std::size_t>(count), 1); }

}  // namespace

TEST_CASE("a thread pool runs every iteration once", "[core]") {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    CHECK(pool.threads() == threads);
    for (const Index count : {0, 1, 2, 3, 7, 8, 17, 1000}) CHECK(calls(pool, count) == once(count));
  }
  CHECK(ThreadPool().threads() >= 1);
  CHECK_THROWS_AS(ThreadPool(-1), ArgumentError);
  CHECK_THROWS_AS(ThreadPool(1 << 16), ArgumentError);
}

TEST_CASE("loops follow each other at any distance", "[core]") {
  ThreadPool pool(3);
  std::vector<Index> sums(10);  // plain memory: what one loop wrote the next one reads
  for (Index repetition = 0; repetition < 3000; ++repetition) {
    pool.run(10, [&](Index i) { sums[static_cast<std::size_t>(i)] += i; });
    if (repetition % 500 == 0)  // long enough for the workers to fall asleep
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  for (Index i = 0; i < 10; ++i) CHECK(sums[static_cast<std::size_t>(i)] == 3000 * i);
}

TEST_CASE("pools come and go, used or not", "[core]") {
  for (int repetition = 0; repetition < 50; ++repetition) {
    ThreadPool pool(4);
    if (repetition % 2 == 0) CHECK(calls(pool, 9) == once(9));
  }
}

TEST_CASE("a worker takes part in a loop, which ends after it", "[core]") {
  ThreadPool pool(2);
  const std::thread::id caller = std::this_thread::get_id();
  for (const int pause_ms : {0, 1, 0}) {  // the worker spins, sleeps, spins
    std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
    std::atomic<int> inside = 0;
    bool worker_done = false;
    pool.run(2, [&](Index) {
      ++inside;
      while (inside < 2) std::this_thread::yield();  // each waits for the other one to begin
      if (std::this_thread::get_id() == caller) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // until the caller sleeps
      worker_done = true;
    });
    CHECK(worker_done);
  }
}

TEST_CASE("what a thread leaves undone is taken over by the others", "[core]") {
  ThreadPool pool(2);
  std::atomic<int> done = 0;
  // Whoever gets iteration 0 is held up until all the others have run.
  pool.run(100, [&](Index i) {
    while (i == 0 && done < 99) std::this_thread::yield();
    ++done;
  });
  CHECK(done == 100);
}

TEST_CASE("of several exceptions in a pool that of the lowest iteration leaves", "[core]") {
  ThreadPool pool(4);
  for (int repetition = 0; repetition < 20; ++repetition)
    CHECK_THROWS_WITH(pool.run(100,
                               [](Index i) {
                                 if (i % 10 == 3) throw std::runtime_error(std::to_string(i));
                               }),
                      "3");
  CHECK(calls(pool, 5) == once(5));  // still usable
}

TEST_CASE("a loop inside a loop is serial, whichever pool it is given", "[core]") {
  ThreadPool outer(3), other(2);
  std::vector<std::atomic<int>> seen(12);
  for (ThreadPool* inner : {&outer, &other}) {
    outer.run(4, [&](Index i) {
      Index expected = 0;
      inner->run(3, [&](Index k) {
        if (k == expected++) ++seen[static_cast<std::size_t>(3 * i + k)];
      });
    });
  }
  for (const auto& count : seen) CHECK(count == 2);
  CHECK(calls(other, 5) == once(5));
}

TEST_CASE("loops that several threads start on one pool do not mix", "[core]") {
  ThreadPool pool(2);
  std::vector<Index> totals(3);
  std::atomic<int> ready = 0;
  std::vector<std::thread> callers;
  for (Index& total : totals)
    callers.emplace_back([&] {
      std::vector<Index> values(64);
      ++ready;
      while (ready < 3) std::this_thread::yield();
      for (int repetition = 0; repetition < 2000; ++repetition)
        pool.run(64, [&](Index i) { values[static_cast<std::size_t>(i)] += i; });
      total = std::accumulate(values.begin(), values.end(), Index{0});
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(totals == std::vector<Index>(3, 2000 * 63 * 64 / 2));
}
