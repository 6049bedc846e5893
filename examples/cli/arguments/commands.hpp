#pragma once

#include <filesystem>
#include <functional>
#include <vector>

namespace CLI {
class App;
}

namespace cli {

/// A command as the command line has it, and what does it once its arguments are there.
struct Command {
  CLI::App* arguments;
  std::function<void()> run;
};

// What the command line says of each command: a file each in this folder. `demo` is the model where
// none is given.
[[nodiscard]] Command add_compare(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_quantize(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_prune(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_train(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_sensitivity(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_pack(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_eval(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_bench(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_generate(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_logits(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_tokenize(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_inspect(CLI::App& app, const std::filesystem::path& demo);
[[nodiscard]] Command add_make_checkpoint(CLI::App& app, const std::filesystem::path& demo);

}  // namespace cli
