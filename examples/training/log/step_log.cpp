#include "training/log/step_log.hpp"

#include <charconv>
#include <chrono>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

#include "pare/core/error.hpp"
#include "pare/io/atomic_file.hpp"

namespace training {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view table_begin = "step,wall_time,";
constexpr std::string_view line_begin = "{\"step\":";

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

/// The shortest text that reads back as the number.
std::string text_of(double value) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return {text, end};
}

std::string content_of(const fs::path& path) {
  if (!fs::is_regular_file(path)) throw pare::ArgumentError(path.string() + " is no file");
  std::ifstream file(path, std::ios::binary);
  if (!file) throw pare::IoError(path.string() + ": cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

pare::ArgumentError no_log(const fs::path& path) {
  return pare::ArgumentError(path.string() +
                             " is no log of a training: name another directory, or move it away");
}

/// How many bytes are whole lines of steps before `step`; each begins with `begin` and its number.
std::size_t lines_before(std::string_view text, std::string_view begin, std::int64_t step) {
  std::size_t kept = 0;
  for (std::size_t end; (end = text.find('\n', kept)) != std::string_view::npos; kept = end + 1) {
    const std::string_view line = text.substr(kept, end - kept);
    std::int64_t its_step = 0;
    if (!line.starts_with(begin) ||
        std::from_chars(line.data() + begin.size(), line.data() + line.size(), its_step).ec !=
            std::errc() ||
        its_step >= step)
      break;
  }
  return kept;
}

/// Leaves the first bytes of a file, or none of it.
void cut(const fs::path& path, std::string_view content, std::size_t kept) {
  if (kept < content.size()) pare::write_file(path, content.substr(0, kept));
}

}  // namespace

StepLog::StepLog(const fs::path& directory, std::int64_t first_step) : directory_(directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) throw pare::IoError(directory.string() + ": cannot be made: " + error.message());
  const fs::path lines = directory / "steps.jsonl", table = directory / "steps.csv",
                 events = directory / "events.out.tfevents.0.pare";
  // All are looked at before any is changed.
  std::string line_text, table_text, event_bytes;
  const auto exists = [](const fs::path& path) { return fs::exists(fs::symlink_status(path)); };
  if (exists(lines)) {
    line_text = content_of(lines);
    if (!line_text.empty() && !line_text.starts_with(line_begin)) throw no_log(lines);
  }
  if (exists(table)) {
    table_text = content_of(table);
    if (!table_text.empty() && !table_text.starts_with(table_begin)) throw no_log(table);
  }
  if (exists(events)) {
    event_bytes = content_of(events);
    if (!event_bytes.empty() && event_bytes_before(event_bytes, 0) == 0) throw no_log(events);
  }
  cut(lines, line_text, lines_before(line_text, line_begin, first_step));
  const std::size_t head = table_text.find('\n') + 1;
  const std::size_t steps =
      head == 0 ? 0 : lines_before(std::string_view(table_text).substr(head), "", first_step);
  if (steps > 0) names_ = table_text.substr(0, head);
  cut(table, table_text, steps > 0 ? head + steps : 0);
  const std::size_t records = event_bytes_before(event_bytes, first_step);
  cut(events, event_bytes, records);
  open(lines_, "steps.jsonl");
  open(table_, "steps.csv");
  open(events_, "events.out.tfevents.0.pare");
  if (records == 0) events_.write(event_version_record(now()));
}

void StepLog::open(File& file, const char* name) {
  file.path = directory_ / name;
  file.stream.open(file.path, std::ios::binary | std::ios::app);
  if (!file.stream) throw pare::IoError(file.path.string() + ": cannot be written");
}

void StepLog::File::write(const std::string& text) {
  if (!(stream << text << std::flush)) throw pare::IoError(path.string() + ": cannot be written");
}

void StepLog::add(std::int64_t step, std::span<const LoggedValue> scalars) {
  const double time = now();
  std::string names(table_begin), row = std::to_string(step) + "," + text_of(time);
  nlohmann::ordered_json line{{"step", step}, {"wall_time", time}};
  for (const LoggedValue& scalar : scalars) {
    names += (names.back() == ',' ? "" : ",") + scalar.name;
    row += "," + text_of(scalar.value);
    line[scalar.name] = scalar.value;
  }
  names += "\n";
  if (names_.empty()) {
    table_.write(names);
    names_ = names;
  }
  if (names != names_)
    throw pare::ArgumentError(table_.path.string() + " is the log of another training");
  table_.write(row + "\n");
  lines_.write(line.dump() + "\n");
  events_.write(event_scalars_record(time, step, scalars));
}

}  // namespace training
