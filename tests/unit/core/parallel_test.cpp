#include "pare/core/parallel.hpp"

#include <atomic>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "support/catch.hpp"

#ifdef _OPENMP
#include "pare/core/parallel_openmp.hpp"
#endif

using namespace pare;

namespace {

/// A user's pool: larger than an executor may be, so it is captured by pointer.
class Threads {
 public:
  explicit Threads(Index count) : count_(count) {}

  void run(Index count, ParallelFor::Body body) {
    failure_ = nullptr;
    std::vector<std::thread> threads;
    for (Index t = 0; t < count_; ++t)
      threads.emplace_back([&, t] {
        try {
          for (Index i = t; i < count; i += count_) body(i);
        } catch (...) {
          const std::lock_guard lock(mutex_);
          failure_ = std::current_exception();
        }
      });
    for (std::thread& thread : threads) thread.join();
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  Index count_;
  std::mutex mutex_;
  std::exception_ptr failure_;
};

std::vector<int> calls(const ParallelFor& parallel_for, Index count) {
  std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
  parallel_for(count, [&](Index i) { ++seen[static_cast<std::size_t>(i)]; });
  return {seen.begin(), seen.end()};
}

void check_executor(const ParallelFor& parallel_for) {
  for (const Index count : {0, 1, 3, 17, 1000})
    CHECK(calls(parallel_for, count) == std::vector<int>(static_cast<std::size_t>(count), 1));
  CHECK_NOTHROW(parallel_for(-1, [](Index) { throw std::logic_error("called"); }));
  CHECK_THROWS_AS(parallel_for(10,
                               [](Index i) {
                                 if (i == 4) throw std::out_of_range("4");
                               }),
                  std::out_of_range);
  // Still usable after a failure, and after being copied.
  const ParallelFor copy = parallel_for;
  CHECK(calls(copy, 5) == std::vector<int>(5, 1));
}

}  // namespace

TEST_CASE("the default loop is serial and in order", "[core]") {
  const ParallelFor serial;
  check_executor(serial);
  std::vector<Index> order;
  serial(4, [&](Index i) { order.push_back(i); });
  CHECK(order == std::vector<Index>{0, 1, 2, 3});
}

TEST_CASE("a user's pool runs every iteration once", "[core]") {
  Threads pool(3);
  check_executor(
      ParallelFor([&pool](Index count, ParallelFor::Body body) { pool.run(count, body); }));
}

#ifdef _OPENMP
TEST_CASE("OpenMP runs every iteration once", "[core]") {
  for (const int threads : {0, 1, 2, 5}) check_executor(OpenMpFor(threads));
  CHECK(OpenMpFor(3).threads() == 3);
  CHECK(OpenMpFor().threads() >= 1);
  CHECK_THROWS_AS(OpenMpFor(-1), Error);
}

TEST_CASE("of several exceptions in an OpenMP loop that of the lowest iteration leaves", "[core]") {
  for (int repetition = 0; repetition < 20; ++repetition)
    CHECK_THROWS_WITH(OpenMpFor(4)(100,
                                   [](Index i) {
                                     if (i % 10 == 3) throw std::runtime_error(std::to_string(i));
                                   }),
                      "3");
}
#endif

TEST_CASE("a function reference calls the object it was made from", "[core]") {
  int total = 0;
  auto add = [&total](int n) { return total += n; };
  const FunctionRef<int(int)> reference = add;
  const FunctionRef<int(int)> second = reference;
  CHECK(reference(2) == 2);
  CHECK(second(3) == 5);
}
