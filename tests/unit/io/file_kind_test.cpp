#include "pare/io/file_kind.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <span>
#include <string>

#include "pare/io/json.hpp"
#include "pare/io/packed_file.hpp"
#include "pare/io/safetensors_collection.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"

using namespace pare;
using Catch::Matchers::Contains;

namespace {

struct Sample {
  std::string bytes, name, remedy;
};

const std::string zeros(300, '\0');

/// The beginning of each kind, as its writers make it.
const Sample samples[] = {
    {"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4976698672\n",
     "Git LFS pointer", "git lfs pull"},
    {"<!DOCTYPE html>\n<html><head>", "HTML", "download"},
    {"\n  <html lang=\"en\">", "HTML", "download"},
    {"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>", "XML", "download"},
    {"GGUF" + std::string("\3\0\0\0", 4) + zeros, "GGUF", "original"},
    {"tjgg" + zeros, "GGML", "original"},
    {"PK\3\4" + zeros, "zip", "safetensors"},
    {"\x80\2\x8a\nl\xfc\x9c\x46\xf9\x20\x6a\xa8P\x19." + zeros, "pickle", "safetensors"},
    {"\x08\x08\x12\x07pytorch\x1a\x05"
     "2.1.0" +
         zeros,
     "ONNX", "original"},
    {"\x89HDF\r\n\x1a\n" + zeros, "HDF5", "safetensors"},
    {std::string("\x1c\0\0\0", 4) + "TFL3" + zeros, "TensorFlow Lite", "original"},
    {"\x1f\x8b\x08" + zeros, "gzip", "unpack"},
    {std::string(257, 'm') + "ustar" + zeros, "tar", "unpack"},
    {"{\"error\": \"Repository not found\"}", "JSON", ""},
    {"Invalid username or password.\n", "a text", ""},
    {"", "empty", "download"},
};

FileKind kind_of(const std::string& bytes) { return file_kind(std::as_bytes(std::span(bytes))); }

}  // namespace

TEST_CASE("files are known by their first bytes", "[file_kind]") {
  for (const Sample& sample : samples) {
    CAPTURE(sample.name);
    const FileKind kind = kind_of(sample.bytes);
    CHECK_THAT(std::string(kind.name), Contains(sample.name));
    CHECK_THAT(std::string(kind.remedy), Contains(sample.remedy));
  }
  CHECK_FALSE(kind_of(zeros).known());
  CHECK_FALSE(kind_of("\1\2\3\4").known());
  CHECK(kind_of(std::string("\x10\0\0\0\0\0\0\0", 8) + "{\"a\":").name == "a safetensors file");
}

TEST_CASE("a file in place of another is named by every reader, in one line", "[file_kind]") {
  const test::TemporaryDirectory directory;
  const auto path = directory / "model.safetensors", json = directory / "config.json";
  for (const Sample& sample : samples) {
    CAPTURE(sample.name);
    test::write_text(path, sample.bytes);
    const std::string start = "model.safetensors: this is a";
    CHECK_THROWS_WITH(SafetensorsReader::open(path), Contains(start) && Contains(sample.name));
    CHECK_THROWS_WITH(SafetensorsCollection::open(directory.path()),
                      Contains(start) && Contains(sample.name));
    CHECK_THROWS_AS(PackedFile(path), FormatError);
    CHECK_THROWS_WITH(PackedFile(path), Contains(start) && Contains(sample.name));
    CHECK_THROWS_WITH(PackedFile(path), Contains("not a file of packed matrices"));
    if (sample.name == "JSON" || sample.name == "a text") continue;
    test::write_text(json, sample.bytes);
    CHECK_THROWS_AS(read_json(json), FormatError);
    CHECK_THROWS_WITH(read_json(json), Contains("config.json: this is a") && Contains(sample.name));
  }
}

TEST_CASE("what is no regular file is refused without waiting for it", "[file_kind]") {
  const test::TemporaryDirectory directory;
  const auto fifo = directory / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  CHECK_THROWS_AS(MappedFile(fifo), IoError);
  CHECK_THROWS_WITH(MappedFile(fifo), Contains("fifo: this is a FIFO (named pipe), not a file"));
  CHECK_THROWS_WITH(MappedFile("/dev/null"), Contains("/dev/null: this is a device, not a file"));
  CHECK_THROWS_WITH(MappedFile(directory.path()), Contains("this is a directory, not a file"));
}
