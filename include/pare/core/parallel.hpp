#pragma once

#include <cstddef>
#include <new>
#include <type_traits>

#include "pare/core/function_ref.hpp"
#include "pare/core/index.hpp"

namespace pare {

/// Multiply-adds that are worth another thread's attention: some 5 us of work, as long as handing
/// it over and waiting for it takes. Loops are cut into iterations of at least this much.
inline constexpr Index parallel_grain = Index{1} << 19;

/// How a loop of independent iterations is run: serially, or on the caller's threads.
///
/// A ParallelFor is made from any small (two words) trivially copyable callable
/// `(Index count, FunctionRef<void(Index)> body)` that calls `body(i)` once for every i in
/// [0, count), in any order, on any threads, and returns when all are done. A larger pool is
/// wrapped in a lambda that captures a pointer to it. What a body throws must leave the callable.
/// The library cuts work into iterations without regard to the number of threads, so results do
/// not depend on it. Neighbouring iterations read neighbouring memory: static, contiguous
/// scheduling suits best.
class ParallelFor {
 public:
  using Body = FunctionRef<void(Index)>;

  /// Serial.
  ParallelFor() noexcept
      : run_([](const void*, Index count, Body body) {
          for (Index i = 0; i < count; ++i) body(i);
        }) {}

  template <class Executor>
  requires(!std::is_same_v<std::remove_cvref_t<Executor>, ParallelFor> &&
           std::is_invocable_v<const std::remove_cvref_t<Executor>&, Index, Body>)
      ParallelFor(const Executor& executor)
  noexcept
      : run_([](const void* storage, Index count, Body body) {
          (*std::launder(static_cast<const Executor*>(storage)))(count, body);
        }) {
    static_assert(sizeof(Executor) <= sizeof(storage_) && alignof(Executor) <= alignof(void*) &&
                      std::is_trivially_copyable_v<Executor>,
                  "an executor is two words at most: capture a pointer to the pool");
    ::new (static_cast<void*>(storage_)) Executor(executor);
  }

  void operator()(Index count, Body body) const {
    if (count > 0) run_(storage_, count, body);
  }

 private:
  alignas(void*) std::byte storage_[2 * sizeof(void*)]{};
  void (*run_)(const void*, Index, Body);
};

}  // namespace pare
