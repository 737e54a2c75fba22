// Files that are there whole or not at all.
#pragma once

#include <filesystem>
#include <string_view>

namespace kvlab {

// Writes a file beside the final one, then renames it: an interrupt leaves the old file or the new one, never
// half. Makes the folder when it is missing. Throws UserError when the disk refuses.
void write_atomically(const std::filesystem::path& path, std::string_view content);

}  // namespace kvlab
