#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "pare/io/packed_file.hpp"
#include "pare/kernels/matmul.hpp"

/// Any bytes are a file or a pare::Error, and what is mapped can be unpacked and multiplied. When
/// the first byte is odd, input is the head of a file and what comes into the payloads; lengths and
/// checksums are made right, so that the fuzzer need not guess them. With bit 1 the payloads follow
/// the table, without what lies between them; else the last bytes repeat themselves there.
namespace {

using namespace pare;

template <class T>
T read(const std::vector<std::byte>& file, std::size_t offset) {
  T value{};
  if (offset + sizeof(value) <= file.size())
    std::memcpy(&value, file.data() + offset, sizeof(value));
  return value;
}

template <class T>
void set(std::vector<std::byte>& file, std::size_t offset, T value) {
  if (offset + sizeof(value) <= file.size())
    std::memcpy(file.data() + offset, &value, sizeof(value));
}

/// Writes the payloads, one after the other and then over again, as long as any are given.
void fill_payloads(std::vector<std::byte>& file, std::size_t table,
                   std::span<const std::byte> payloads) {
  std::size_t next = 0;
  for (std::size_t at = 64; at + 128 <= table; at += 128) {
    const auto begin = static_cast<std::size_t>(read<std::uint64_t>(file, at));
    const auto size = static_cast<std::size_t>(read<std::uint64_t>(file, at + 8));
    for (std::size_t i = 0; i < size && !payloads.empty(); ++i)
      file[begin + i] = payloads[next++ % payloads.size()];
  }
}

/// The last payload ends with the file; the table's checksum is that of its bytes.
void make_right(std::vector<std::byte>& file, bool payloads_follow) {
  constexpr std::uint64_t most = 1 << 16;
  const auto matrices = read<std::uint64_t>(file, 24), names = read<std::uint64_t>(file, 32);
  if (matrices > 8 || names > most) return;
  const auto table = static_cast<std::size_t>(64 + 128 * matrices + names);
  file.resize(std::max(file.size(), table));
  constexpr std::size_t repeated = 61;
  const std::size_t skip = payloads_follow ? table : file.size() - std::min(file.size(), repeated);
  const std::vector<std::byte> payloads(file.begin() + static_cast<std::ptrdiff_t>(skip),
                                        file.end());
  std::uint64_t end = table;
  for (std::size_t at = 64; at < 64 + 128 * matrices; at += 128) {
    const std::uint64_t size = read<std::uint64_t>(file, at + 8) % most;
    set(file, at, (end + 4095) / 4096 * 4096);
    set(file, at + 8, size);
    end = (end + 4095) / 4096 * 4096 + size;
  }
  file.resize(static_cast<std::size_t>(end));
  fill_payloads(file, static_cast<std::size_t>(64 + 128 * matrices), payloads);
  for (std::size_t at = 64; at < 64 + 128 * matrices; at += 128)
    set(file, at + 16,
        xxh64(
            std::span(file).subspan(static_cast<std::size_t>(read<std::uint64_t>(file, at)),
                                    static_cast<std::size_t>(read<std::uint64_t>(file, at + 8)))));
  set(file, 16, end);
  set(file, 56, std::uint64_t{0});
  set(file, 56, xxh64(std::span(file).first(table)));
}

/// Besides sparse weights, whose kernels follow indices out of the file: the kernels of all formats
/// take minutes to compile.
using MultipliedFormats = TypeList<Int<8>>;

template <class T, class... Ts>
constexpr bool is_one_of(TypeTag<T>, TypeList<Ts...>) {
  return (std::is_same_v<T, Ts> || ...);
}

/// By float32 and int8 activations, as kernels that skip zeros and those that expand them do it.
template <PackedWeight W>
void multiply(const W& w) {
  if constexpr (SparseLayout<typename W::layout> ||
                is_one_of(TypeTag<typename W::format>{}, MultipliedFormats{}))
    for (const Index tokens : {1, 9}) {
      Matrix<float> x({tokens, w.cols()}), y({tokens, w.rows()});
      for (Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i % 7 - 3);
      for (const KernelName kernel : {KernelName::automatic, KernelName::reference}) {
        matmul(x, w, y, {.force = kernel});
        matmul_dynamic(x, w, y, {}, {.force = kernel});
        matmul_dynamic(x, w, y, {.group_size = 8}, {.force = kernel});
      }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const auto input = std::as_bytes(std::span(data, size)).subspan(1);
  std::vector<std::byte> file(input.begin(), input.end());
  if (data[0] & 1) make_right(file, (data[0] & 2) != 0);
  HugePageMemory memory(file.size());
  if (!file.empty()) std::memcpy(memory.data(), file.data(), file.size());
  try {
    const auto packed = PackedFile::from_bytes(memory.bytes());
    for (const PackedRecord& record : packed.records()) {
      try {
        const AnyPackedMatrix w = packed.map(record);
        if (w.bytes() > static_cast<Index>(file.size())) std::abort();
        if (w.rows() * w.cols() <= 1 << 20) (void)unpack(w);
        if (w.rows() * w.cols() <= 1 << 14) w.visit([](const auto& held) { multiply(held); });
      } catch (const Error&) {
      }
      try {
        if (!(packed.load(record) == packed.map(record))) std::abort();
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
