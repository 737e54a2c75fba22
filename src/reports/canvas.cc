#include "reports/canvas.h"

#include <cairo.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/utf8_check.h"
#include "results/atomic_file.h"

namespace kvlab {

namespace {

using Surface = std::unique_ptr<cairo_surface_t, decltype(&cairo_surface_destroy)>;

void require(cairo_status_t status) {
  if (status != CAIRO_STATUS_SUCCESS)
    throw UserError(std::string("cannot draw: ") + cairo_status_to_string(status));
}

void choose_font(cairo_t* cairo, double size, bool bold) {
  cairo_select_font_face(cairo, "DejaVu Sans", CAIRO_FONT_SLANT_NORMAL,
                         bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
  cairo_set_font_size(cairo, size);
}

cairo_status_t append_bytes(void* text, const unsigned char* data, unsigned int length) {
  static_cast<std::string*>(text)->append(reinterpret_cast<const char*>(data), length);
  return CAIRO_STATUS_SUCCESS;
}

// One pixel per cell.
Surface picture_of(const std::vector<Color>& cells, int columns) {
  const int rows = static_cast<int>(cells.size()) / columns;
  Surface picture(cairo_image_surface_create(CAIRO_FORMAT_RGB24, columns, rows), cairo_surface_destroy);
  require(cairo_surface_status(picture.get()));
  unsigned char* data = cairo_image_surface_get_data(picture.get());
  const int stride = cairo_image_surface_get_stride(picture.get());
  for (int r = 0; r < rows; ++r) {
    auto* pixels = reinterpret_cast<uint32_t*>(data + static_cast<ptrdiff_t>(r) * stride);
    for (int c = 0; c < columns; ++c) {
      const Color color =
          cells[static_cast<size_t>(r) * static_cast<size_t>(columns) + static_cast<size_t>(c)];
      pixels[c] =
          static_cast<uint32_t>(color.red) << 16 | static_cast<uint32_t>(color.green) << 8 | color.blue;
    }
  }
  cairo_surface_mark_dirty(picture.get());
  return picture;
}

}  // namespace

Canvas::Canvas(int width, int height)
    : surface_(cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height)),
      cairo_(cairo_create(surface_)) {
  const cairo_status_t status = cairo_status(cairo_);
  if (status == CAIRO_STATUS_SUCCESS) {
    fill({0, 0, width, height}, {255, 255, 255});
    return;
  }
  cairo_destroy(cairo_);
  cairo_surface_destroy(surface_);
  require(status);
}

Canvas::~Canvas() {
  cairo_destroy(cairo_);
  cairo_surface_destroy(surface_);
}

void Canvas::set(Color color) {
  cairo_set_source_rgb(cairo_, color.red / 255.0, color.green / 255.0, color.blue / 255.0);
}

void Canvas::check() const {
  require(cairo_status(cairo_));
}

void Canvas::fill(const Rect& rect, Color color) {
  set(color);
  cairo_rectangle(cairo_, rect.x, rect.y, rect.width, rect.height);
  cairo_fill(cairo_);
}

void Canvas::outline(const Rect& rect, Color color) {
  set(color);
  cairo_set_line_width(cairo_, 1);
  cairo_rectangle(cairo_, rect.x - 0.5, rect.y - 0.5, rect.width + 1, rect.height + 1);
  cairo_stroke(cairo_);
}

void Canvas::cells(const Rect& rect, const std::vector<Color>& cells, int columns) {
  KVLAB_CHECK(columns > 0 && !cells.empty() && cells.size() % static_cast<size_t>(columns) == 0);
  const int rows = static_cast<int>(cells.size()) / columns;
  KVLAB_CHECK(rect.width % columns == 0 && rect.height % rows == 0);
  const Surface picture = picture_of(cells, columns);
  cairo_save(cairo_);
  cairo_translate(cairo_, rect.x, rect.y);
  cairo_scale(cairo_, rect.width / columns, rect.height / rows);
  cairo_set_source_surface(cairo_, picture.get(), 0, 0);
  cairo_pattern_set_filter(cairo_get_source(cairo_), CAIRO_FILTER_NEAREST);
  cairo_rectangle(cairo_, 0, 0, columns, rows);
  cairo_fill(cairo_);
  cairo_restore(cairo_);
}

void Canvas::line(double x0, double y0, double x1, double y1, Color color, double width, bool dashed) {
  const double dash[] = {9, 6};
  set(color);
  cairo_set_line_width(cairo_, width);
  cairo_set_dash(cairo_, dash, dashed ? 2 : 0, 0);
  cairo_move_to(cairo_, x0, y0);
  cairo_line_to(cairo_, x1, y1);
  cairo_stroke(cairo_);
  cairo_set_dash(cairo_, dash, 0, 0);
}

void Canvas::polygon(const std::vector<Point>& corners, Color color) {
  set(color);
  cairo_new_path(cairo_);  // a text leaves its end behind, from which a line would be drawn
  for (const Point& corner : corners) cairo_line_to(cairo_, corner.x, corner.y);
  cairo_close_path(cairo_);
  cairo_fill(cairo_);
}

void Canvas::disk(Point center, double radius, Color color) {
  constexpr double kFullCircle = 6.283185307179586;
  set(color);
  cairo_new_path(cairo_);
  cairo_arc(cairo_, center.x, center.y, radius, 0, kFullCircle);
  cairo_fill(cairo_);
}

double Canvas::text_width(const std::string& words, double size, bool bold) {
  choose_font(cairo_, size, bold);
  cairo_text_extents_t extents;
  cairo_text_extents(cairo_, with_valid_utf8(words).c_str(), &extents);
  return extents.x_advance;
}

void Canvas::text(double x, double y, const std::string& words, double size, Color color, Align align,
                  bool bold, double most) {
  double width = text_width(words, size, bold);
  if (most > 0 && width > most) {
    constexpr double kSmallest = 7;  // below this nobody can read it; the end is then cut off by the edge
    size = std::max(kSmallest, size * most / width);
    width = text_width(words, size, bold);
  }
  set(color);
  cairo_move_to(cairo_, x - (align == Align::kLeft ? 0 : align == Align::kCenter ? width / 2 : width), y);
  cairo_show_text(cairo_, with_valid_utf8(words).c_str());
}

void Canvas::text_upwards(double x, double y, const std::string& words, double size, Color color) {
  cairo_save(cairo_);
  cairo_translate(cairo_, x, y);
  cairo_rotate(cairo_, -1.5707963267948966);
  text(0, 0, words, size, color, Align::kCenter);
  cairo_restore(cairo_);
}

void Canvas::write_png(const std::filesystem::path& path) {
  check();
  cairo_surface_flush(surface_);
  std::string bytes;
  require(cairo_surface_write_to_png_stream(surface_, append_bytes, &bytes));
  write_atomically(path, bytes);
}

}  // namespace kvlab
