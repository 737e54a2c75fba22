// What a command prints: Markdown tables on standard output, and the same figures with all their digits as
// JSON.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/roofline/figures.h"

namespace kvlab::roofline {

enum class Format { kText, kCount, kRate, kPercent, kRatio, kMegabytes, kClean };

struct Column {
  std::string key, header;
  Format format = Format::kText;
};

using Json = nlohmann::ordered_json;

// "-" for null and for what is not there.
std::string cell_text(const Json& row, const Column& column);

class Report {
 public:
  explicit Report(std::string command) { json_["command"] = std::move(command); }

  void declare(CLI::App& app) {
    app.add_option("--json", path_, "write all figures, with the machine and the date, to this file");
  }
  void set(const std::string& key, Json value) { json_[key] = std::move(value); }
  // Prints the rows and keeps them under `key`.
  void table(const std::string& key, const std::string& title, const std::vector<Column>& columns,
             const std::vector<Json>& rows);
  void note(const std::string& text) const;
  // Writes the file that --json asks for. Throws UserError when it cannot be written.
  void save();

 private:
  std::string path_;
  Json json_;
};

// Adds cpu_wall and clean to a row, and the columns that show them.
void add_cpu(Json& row, const Samples& samples);
std::vector<Column> with_cpu(std::vector<Column> columns);

}  // namespace kvlab::roofline
