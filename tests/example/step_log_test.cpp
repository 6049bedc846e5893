#include "training/log/step_log.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "pare/core/error.hpp"
#include "support/catch.hpp"
#include "support/temporary_directory.hpp"
#include "training/log/crc32c.hpp"

using namespace pare;

namespace {

using namespace std::string_view_literals;

std::string text_of_log(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_log(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

/// The log's three files.
const char* const log_names[] = {"steps.jsonl", "steps.csv", "events.out.tfevents.0.pare"};

}  // namespace

TEST_CASE("checksums are those of RFC 3720") {
  std::string rising, falling;
  for (char i = 0; i < 32; ++i) {
    rising += i;
    falling.insert(falling.begin(), i);
  }
  const std::pair<std::string, std::uint32_t> cases[] = {
      {"", 0},
      {"123456789", 0xe3069283},
      {std::string(32, '\0'), 0x8a9136aa},
      {std::string(32, '\xff'), 0x62a8ab43},
      {rising, 0x46dd794e},
      {falling, 0x113fdb5c},
  };
  for (const auto& [bytes, crc] : cases) CHECK(training::crc32c(bytes) == crc);
}

TEST_CASE("event records are what TensorFlow's writer writes") {
  const auto hex = [](std::string_view bytes) {
    std::string text;
    for (const char c : bytes) {
      char digits[3];
      std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(c));
      text += digits;
    }
    return text;
  };
  // tensorboard 2.21, its RecordWriter over its messages.
  CHECK(hex(training::event_version_record(1.5)) ==
        "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c");
  const training::LoggedValue scalars[] = {{"loss", 0.1}, {"loss/kd", -2.0}};
  CHECK(
      hex(training::event_scalars_record(1765000000.25, 300, scalars)) ==
      "2b00000000000000861bc34b09000010d0f04cda4110ac022a1d0a0b0a046c6f737315cdcccc3d0a0e0a076c6f73"
      "732f6b6415000000c02b9d60ff");
  CHECK_THROWS_AS(training::event_scalars_record(0.0, -1, scalars), ArgumentError);
}

TEST_CASE("whole records before a step are found, whatever follows") {
  const training::LoggedValue scalar{"a", 1.0};
  std::string file = training::event_version_record(1.0);
  std::vector<std::size_t> ends{file.size()};
  for (const std::int64_t step : {0, 1, 200, 70000}) {
    file += training::event_scalars_record(1.0, step, {&scalar, 1});
    ends.push_back(file.size());
  }
  CHECK(training::event_bytes_before(file, 0) == ends[0]);
  CHECK(training::event_bytes_before(file, 1) == ends[1]);
  CHECK(training::event_bytes_before(file, 200) == ends[2]);
  CHECK(training::event_bytes_before(file, 201) == ends[3]);
  CHECK(training::event_bytes_before(file, 1 << 20) == file.size());
  for (std::size_t size = 0; size < file.size(); ++size) {
    std::size_t whole = 0;
    for (const std::size_t end : ends)
      if (end <= size) whole = end;
    CHECK(training::event_bytes_before(std::string_view(file).substr(0, size), 1 << 20) == whole);
  }
  for (std::size_t at = 0; at < file.size(); ++at) {
    std::string damaged = file;
    damaged[at] ^= 4;
    std::size_t whole = 0;
    for (const std::size_t end : ends)
      if (end <= at) whole = end;
    CHECK(training::event_bytes_before(damaged, 1 << 20) == whole);
  }
  // A length that no memory has.
  CHECK(training::event_bytes_before("\xff\xff\xff\xff\xff\xff\xff\xff            "sv, 1) == 0);
}

TEST_CASE("a log that is cut off and goes on has every step once") {
  const test::TemporaryDirectory directory;
  const auto log = directory / "deep" / "log";
  const auto add = [](training::StepLog& to, std::int64_t first, std::int64_t last) {
    for (std::int64_t step = first; step < last; ++step) {
      const training::LoggedValue scalars[] = {{"loss", 1.0 / static_cast<double>(step + 3)},
                                               {"lr", 1e-3}};
      to.add(step, scalars);
    }
  };
  {
    training::StepLog whole(log, 0);
    add(whole, 0, 7);
  }
  {
    // Killed in the middle of a line.
    for (const char* name : log_names) {
      const std::string text = text_of_log(log / name);
      write_log(log / name, std::string_view(text).substr(0, text.size() - 3));
    }
    training::StepLog again(log, 4);
    add(again, 4, 6);
  }
  const std::string lines = text_of_log(log / "steps.jsonl"),
                    table = text_of_log(log / "steps.csv"),
                    events = text_of_log(log / "events.out.tfevents.0.pare");
  std::int64_t step = 0;
  for (std::size_t at = 0, end; (end = lines.find('\n', at)) != std::string::npos; at = end + 1) {
    const auto line = nlohmann::json::parse(lines.substr(at, end - at));
    CHECK(line.at("step") == step);
    CHECK(line.at("loss") == 1.0 / static_cast<double>(step + 3));
    ++step;
  }
  CHECK(step == 6);
  CHECK(table.starts_with("step,wall_time,loss,lr\n0,"));
  CHECK(std::count(table.begin(), table.end(), '\n') == 7);
  CHECK_THAT(table, ContainsSubstring("\n5,"));
  for (const std::int64_t s : {0, 1, 2, 3, 4, 5})
    CHECK(training::event_bytes_before(events, s) < training::event_bytes_before(events, s + 1));
  CHECK(training::event_bytes_before(events, 6) == events.size());

  // Other numbers do not go on, and a new training begins anew.
  {
    training::StepLog other(log, 6);
    const training::LoggedValue scalar{"accuracy", 1.0};
    CHECK_THROWS_WITH(other.add(6, {&scalar, 1}), ContainsSubstring("another training"));
  }
  training::StepLog fresh(log, 0);
  const training::LoggedValue scalar{"accuracy", 1.0};
  fresh.add(0, {&scalar, 1});
  CHECK(text_of_log(log / "steps.csv").starts_with("step,wall_time,accuracy\n0,"));
}

TEST_CASE("files that are no logs stay as they are") {
  for (const char* name : log_names) {
    CAPTURE(name);
    const test::TemporaryDirectory directory;
    { const training::StepLog log(directory.path(), 0); }
    write_log(directory / name, "mine\n");
    std::map<std::string, std::string> before;
    for (const char* each : log_names) before[each] = text_of_log(directory / each);
    CHECK_THROWS_WITH(training::StepLog(directory.path(), 0),
                      ContainsSubstring(name) && ContainsSubstring("no log"));
    for (const char* each : log_names) CHECK(text_of_log(directory / each) == before[each]);
  }
  const test::TemporaryDirectory directory;
  write_log(directory / "file", "");
  CHECK_THROWS_AS(training::StepLog(directory / "file", 0), IoError);
}
