#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "pare/io/packed_file.hpp"

/// Any bytes are a file or a pare::Error, and what is mapped can be unpacked. Input is the head of
/// a file and, after it, what repeats itself in the payloads; lengths and checksums are made right,
/// so that the fuzzer need not guess them, when the first byte is odd.
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

/// The last payload ends with the file; the table's checksum is that of its bytes.
void make_right(std::vector<std::byte>& file, std::span<const std::byte> payload) {
  constexpr std::uint64_t most = 1 << 16;
  const auto matrices = read<std::uint64_t>(file, 24), names = read<std::uint64_t>(file, 32);
  if (matrices > 8 || names > most) return;
  const auto table = static_cast<std::size_t>(64 + 128 * matrices + names);
  file.resize(std::max(file.size(), table));
  std::uint64_t end = table;
  for (std::size_t at = 64; at < 64 + 128 * matrices; at += 128) {
    const std::uint64_t size = read<std::uint64_t>(file, at + 8) % most;
    set(file, at, (end + 4095) / 4096 * 4096);
    set(file, at + 8, size);
    end = (end + 4095) / 4096 * 4096 + size;
  }
  file.resize(static_cast<std::size_t>(end));
  for (std::size_t i = table; i < file.size() && !payload.empty(); ++i)
    file[i] = payload[i % payload.size()];
  for (std::size_t at = 64; at < 64 + 128 * matrices; at += 128)
    set(file, at + 16,
        xxh64(
            std::span(file).subspan(static_cast<std::size_t>(read<std::uint64_t>(file, at)),
                                    static_cast<std::size_t>(read<std::uint64_t>(file, at + 8)))));
  set(file, 16, end);
  set(file, 56, std::uint64_t{0});
  set(file, 56, xxh64(std::span(file).first(table)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const auto input = std::as_bytes(std::span(data, size)).subspan(1);
  std::vector<std::byte> file(input.begin(), input.end());
  if (data[0] & 1) make_right(file, input.last(std::min<std::size_t>(input.size(), 61)));
  HugePageMemory memory(file.size());
  if (!file.empty()) std::memcpy(memory.data(), file.data(), file.size());
  try {
    const auto packed = PackedFile::from_bytes(memory.bytes());
    for (const PackedRecord& record : packed.records()) {
      try {
        const AnyPackedMatrix w = packed.map(record);
        if (w.bytes() > static_cast<Index>(file.size())) std::abort();
        if (w.rows() * w.cols() <= 1 << 20) (void)unpack(w);
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
