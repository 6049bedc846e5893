#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tokenizer {

/// A hash table from two numbers to two numbers, in one block of memory: merges of BPE and steps of
/// a trie are looked up several times for each byte of a text.
class PairTable {
 public:
  struct Value {
    std::uint32_t first, second;
  };

  /// Inserts `value` where the pair is not there yet; gives what is there then, until the next
  /// insertion. The pair of the largest numbers is no key.
  Value& insert(std::uint32_t a, std::uint32_t b, Value value) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[place(key_of(a, b))];
    if (slot.key == none) {
      slot = {key_of(a, b), value};
      ++count_;
    }
    return slot.value;
  }

  /// The value of a pair, or nullptr.
  [[nodiscard]] const Value* find(std::uint32_t a, std::uint32_t b) const {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[place(key_of(a, b))];
    return slot.key == none ? nullptr : &slot.value;
  }

 private:
  static constexpr std::uint64_t none = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t key = none;
    Value value{};
  };

  static std::uint64_t key_of(std::uint32_t a, std::uint32_t b) {
    return std::uint64_t{a} << 32 | b;
  }

  /// Where a key is, or the empty slot for it.
  [[nodiscard]] std::size_t place(std::uint64_t key) const {
    // The finalizer of splitmix64 (Steele, Lea and Flood 2014).
    std::uint64_t hash = key;
    hash = (hash ^ hash >> 30) * 0xBF58476D1CE4E5B9u;
    hash = (hash ^ hash >> 27) * 0x94D049BB133111EBu;
    hash ^= hash >> 31;
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = static_cast<std::size_t>(hash) & mask;
    while (slots_[at].key != key && slots_[at].key != none) at = (at + 1) & mask;
    return at;
  }

  void grow() {
    std::vector<Slot> old(slots_.empty() ? 16 : 2 * slots_.size());
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.key != none) slots_[place(slot.key)] = slot;
  }

  std::vector<Slot> slots_;
  std::size_t count_ = 0;
};

}  // namespace tokenizer
