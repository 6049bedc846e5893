#include "cli/arguments/shared_arguments.hpp"

namespace cli {

CLI::Option* add_model(CLI::App& command, ModelOptions& model) {
  command.add_option("--threads", model.threads, "threads (default: all cores)")->type_name("N");
  return command
      .add_option("MODEL", model.model,
                  "Hugging Face directory: config.json and safetensors (default: the demo model)")
      ->type_name("DIR");
}

void add_map(CLI::App& command, ModelOptions& model) {
  command.add_flag("--map", model.map,
                   "packed model: use its files as they are mapped, at once, instead of loading "
                   "them into huge pages");
}

void add_window(CLI::App& command, ModelOptions& model) {
  command
      .add_option("--window", model.window,
                  "tokens per window of text (default: the model's context, at most 512)")
      ->type_name("N");
}

void add_text(CLI::App& command, TextOptions& text) {
  auto* option = command.add_option("--text", text.text,
                                    "text to evaluate on (default: eval.txt beside the model)");
  option->type_name("FILE");
  command.add_option("--tokens", text.tokens, "token ids instead of text: .npy or raw int32")
      ->type_name("FILE")
      ->excludes(option);
  command
      .add_option("--inputs", text.inputs,
                  "of encoders: safetensors with input_ids or pixel_values, and labels (default: "
                  "eval.safetensors beside the model)")
      ->type_name("FILE")
      ->excludes(option);
}

void add_no_speed(CLI::App& command, bool& speed) {
  command.add_flag_callback(
      "--no-speed", [&speed] { speed = false; }, "measure quality alone");
}

void add_calibration(CLI::App& command, CalibrationOptions& calibration) {
  auto* text = command.add_option("--calib", calibration.text,
                                  "calibration text (default: calib.txt beside the model)");
  text->type_name("FILE");
  command.add_option("--calib-tokens", calibration.tokens, "token ids: .npy or raw int32")
      ->type_name("FILE")
      ->excludes(text);
  command
      .add_option("--calib-inputs", calibration.inputs,
                  "of encoders: safetensors with input_ids or pixel_values (default: "
                  "calib.safetensors beside the model)")
      ->type_name("FILE")
      ->excludes(text);
  command.add_option("--calib-windows", calibration.windows, "use the first N windows; 0 is all")
      ->type_name("N");
  command.add_option("--calib-stride", calibration.stride, "of a text: use every N-th window")
      ->type_name("N")
      ->capture_default_str();
}

void add_output(CLI::App& command, std::filesystem::path& out, bool& force) {
  command.add_option("--out", out, "directory to write")->required()->type_name("DIR");
  command.add_flag("--force", force, "replace an existing --out");
}

}  // namespace cli
