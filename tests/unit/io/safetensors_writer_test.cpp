#include "pare/io/safetensors_writer.hpp"

#include <signal.h>
#include <sys/resource.h>

#include <numeric>
#include <string>
#include <vector>

#include "pare/core/random.hpp"
#include "pare/io/safetensors_reader.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using Catch::Matchers::Contains;

namespace {

std::vector<std::byte> some_bytes(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
  return bytes;
}

}  // namespace

TEST_CASE("the head of the fact sheet's smallest file has its 64 bytes", "[safetensors_writer]") {
  const auto entries = detail::place_tensors({{"t", DType::F32, {2}}});
  const std::string head = detail::safetensors_head(entries, {});
  CHECK(head == std::string("\x38\0\0\0\0\0\0\0", 8) +
                    R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})" + "  ");
}

TEST_CASE("every dtype and shape round trips, written in pieces and in any order",
          "[safetensors_writer]") {
  const test::TemporaryDirectory directory;
  std::vector<TensorSpec> specs;
  for (std::size_t d = 0; d < detail::dtypes.size(); ++d) {
    const auto dtype = static_cast<DType>(d);
    const std::string name(to_string(dtype));
    specs.push_back({name, dtype, {4, 3, 2}});
    specs.push_back({name + ".empty", dtype, {3, 0}});
    if (bits(dtype) % 8 == 0) specs.push_back({name + ".scalar", dtype, {}});
  }
  SafetensorsWriter writer(directory / "m.safetensors", specs, {{"key", "v\"\n"}});
  for (std::size_t piece = 0; piece < 2; ++piece)
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const auto bytes = some_bytes(*detail::stored_bytes(specs[i].dtype, specs[i].shape), i);
      const std::size_t half = bytes.size() / 2;
      writer.write(specs[i].name,
                   std::span(bytes).subspan(piece * half, piece == 0 ? half : bytes.size() - half));
    }
  writer.finish();

  const auto reader = SafetensorsReader::open(directory / "m.safetensors");
  CHECK(reader.metadata() == SafetensorsMetadata{{"format", "pt"}, {"key", "v\"\n"}});
  REQUIRE(reader.names().size() == specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    CAPTURE(specs[i].name);
    const TensorInfo& tensor = reader.info(specs[i].name);
    const auto bytes = some_bytes(tensor.bytes.size(), i);
    CHECK(tensor.dtype == specs[i].dtype);
    CHECK(tensor.shape == specs[i].shape);
    CHECK(std::equal(bytes.begin(), bytes.end(), tensor.bytes.begin()));
  }
}

TEST_CASE("wider types come first, then names, so that tensors are aligned",
          "[safetensors_writer]") {
  const test::TemporaryDirectory directory;
  write_safetensors(directory / "m", {{"b", DType::U8, {1}, some_bytes(1, 1)},
                                      {"z", DType::I64, {1}, some_bytes(8, 2)},
                                      {"d", DType::F16, {3}, some_bytes(6, 3)},
                                      {"a", DType::F16, {1}, some_bytes(2, 4)},
                                      {"c", DType::F32, {1}, some_bytes(4, 5)},
                                      {"i", DType::I32, {1}, some_bytes(4, 6)}});
  const auto reader = SafetensorsReader::open(directory / "m");
  CHECK(reader.names() == std::vector<std::string>{"z", "c", "i", "a", "d", "b"});
  for (const std::string& name : reader.names()) {
    const TensorInfo& tensor = reader.info(name);
    CHECK(reinterpret_cast<std::uintptr_t>(tensor.bytes.data()) %
              static_cast<unsigned>(bits(tensor.dtype) / 8) ==
          0);
  }
}

TEST_CASE("a file appears only when finished", "[safetensors_writer]") {
  const test::TemporaryDirectory directory;
  const std::vector<TensorSpec> specs{{"t", DType::U8, {4}}};
  test::write_text(directory / "m", "old");
  {
    SafetensorsWriter writer(directory / "m", specs);
    writer.write("t", some_bytes(4, 0));
    CHECK(directory.entries().size() == 2);
    CHECK(test::read_text(directory / "m") == "old");
  }
  CHECK(directory.entries() == std::set<std::string>{"m"});
  CHECK(test::read_text(directory / "m") == "old");

  SafetensorsWriter writer(directory / "m", specs);
  writer.write("t", some_bytes(4, 0));
  writer.finish();
  CHECK(directory.entries() == std::set<std::string>{"m"});
  CHECK(SafetensorsReader::open(directory / "m").contains("t"));
}

TEST_CASE("data that does not match the declaration is refused", "[safetensors_writer]") {
  const test::TemporaryDirectory directory;
  SafetensorsWriter writer(directory / "m", {{"t", DType::F32, {2}}, {"u", DType::U8, {1}}});
  CHECK_THROWS_WITH(writer.write("v", {}), "no tensor \"v\" was declared");
  CHECK_THROWS_AS(writer.write("v", {}), ArgumentError);
  writer.write("t", some_bytes(6, 0));
  CHECK_THROWS_WITH(writer.write("t", some_bytes(4, 0)),
                    "tensor \"t\" gets 2 bytes more than its shape has");
  CHECK_THROWS_AS(writer.write("t", some_bytes(4, 0)), ShapeError);
  CHECK_THROWS_WITH(writer.finish(), "tensor \"t\" lacks 2 bytes of its data");
  writer.write("t", some_bytes(2, 0));
  CHECK_THROWS_WITH(writer.finish(), "tensor \"u\" lacks 1 bytes of its data");
}

TEST_CASE("declarations that no file can hold are refused before a file exists",
          "[safetensors_writer]") {
  const test::TemporaryDirectory directory;
  struct Case {
    std::vector<TensorSpec> specs;
    std::string reason;
  };
  const Case cases[] = {
      {{{"t", DType::U8, {1}}, {"t", DType::F32, {1}}}, "\"t\" is reserved or given twice"},
      {{{"__metadata__", DType::U8, {1}}}, "\"__metadata__\" is reserved"},
      {{{"\xff", DType::U8, {1}}}, "not valid UTF-8"},
      {{{"t", DType::U8, {-1}}}, "shape [-1] cannot be stored as U8"},
      {{{"t", DType::F4, {3}}}, "shape [3] cannot be stored as F4"},
      {{{"t", DType::F32, {Index{1} << 40, Index{1} << 40}}}, "cannot be stored as F32"},
  };
  for (const Case& bad : cases) {
    CAPTURE(bad.reason);
    CHECK_THROWS_WITH(SafetensorsWriter(directory / "m", bad.specs), Contains(bad.reason));
    CHECK(directory.entries().empty());
  }
  CHECK_THROWS_WITH(SafetensorsWriter(directory / "m", {}, {{"k", "\xff"}}),
                    Contains("not valid UTF-8"));
}

TEST_CASE("a directory that cannot be written to is an IoError naming the file",
          "[safetensors_writer]") {
  const test::TemporaryDirectory directory;
  test::write_text(directory / "file", "");
  CHECK_THROWS_AS(SafetensorsWriter(directory / "none/m", {}), IoError);
  CHECK_THROWS_WITH(SafetensorsWriter(directory / "none/m", {}),
                    Contains("none/m: cannot create: No such file"));
  CHECK_THROWS_WITH(SafetensorsWriter(directory / "file/m", {}), Contains("Not a directory"));
}

TEST_CASE("a disk that fills up is an IoError and leaves nothing", "[safetensors_writer]") {
  // A limit on the size of files fails as a full disk does: within a write.
  const test::TemporaryDirectory directory;
  struct rlimit old {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small { 4096, old.rlim_max };
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  std::string message;
  try {
    write_safetensors(directory / "m", {{"t", DType::U8, {100'000}, some_bytes(100'000, 0)}});
  } catch (const IoError& e) {
    message = e.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &old);
  ::signal(SIGXFSZ, old_handler);
  CHECK_THAT(message, Contains("m: cannot write: File too large"));
  CHECK(directory.entries().empty());
}
