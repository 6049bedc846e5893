#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "pare/io/safetensors_reader.hpp"

/// Any bytes are a file or a pare::Error. Input that begins with '{' is a header without its
/// length, up to the first NUL, and data: so the fuzzer need not guess the length.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string file(reinterpret_cast<const char*>(data), size);
  if (size > 0 && data[0] == '{') {
    const std::size_t end = std::min(file.find('\0'), size);
    std::string length;
    for (int shift = 0; shift < 64; shift += 8) length += static_cast<char>(end >> shift & 0xff);
    file = length + file.substr(0, end) + (end < size ? file.substr(end + 1) : "");
  }
  try {
    const auto reader = pare::SafetensorsReader::from_bytes(std::as_bytes(std::span(file)));
    std::size_t bytes = 0;
    for (const std::string& name : reader.names()) {
      bytes += reader.info(name).bytes.size();
      try {
        (void)reader.read_matrix(name);
      } catch (const pare::Error&) {
      }
      try {
        (void)reader.read_as<std::int32_t>(name);
      } catch (const pare::Error&) {
      }
    }
    if (bytes > file.size()) std::abort();
  } catch (const pare::Error&) {
  }
  return 0;
}
