// A picture to draw on, over Cairo: only what our reports need, with its errors turned into exceptions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

typedef struct _cairo cairo_t;
typedef struct _cairo_surface cairo_surface_t;

namespace kvlab {

struct Color {
  uint8_t red = 0, green = 0, blue = 0;
  friend bool operator==(const Color&, const Color&) = default;
};

// In whole pixels, so that cells have sharp edges and pictures can be compared.
struct Rect {
  int x = 0, y = 0, width = 0, height = 0;
  int right() const { return x + width; }
  int bottom() const { return y + height; }
};

struct Point {
  double x = 0, y = 0;
};

enum class Align { kLeft, kCenter, kRight };

class Canvas {
 public:
  Canvas(int width, int height);
  ~Canvas();
  Canvas(const Canvas&) = delete;
  Canvas& operator=(const Canvas&) = delete;

  void fill(const Rect& rect, Color color);
  void outline(const Rect& rect, Color color);  // just outside the rectangle
  // Row-major cells of `columns` per row, stretched over `rect`, whose sides must be multiples of the counts.
  void cells(const Rect& rect, const std::vector<Color>& cells, int columns);
  void line(double x0, double y0, double x1, double y1, Color color, double width, bool dashed);
  // A filled shape through these points, closed.
  void polygon(const std::vector<Point>& corners, Color color);
  void disk(Point center, double radius, Color color);
  // `y` is the baseline. A text wider than `most` (0: any) is set in smaller type.
  void text(double x, double y, const std::string& words, double size, Color color,
            Align align = Align::kLeft, bool bold = false, double most = 0);
  void text_upwards(double x, double y, const std::string& words, double size, Color color);  // centred
  double text_width(const std::string& words, double size, bool bold = false);

  void write_png(const std::filesystem::path& path);

 private:
  void set(Color color);
  void check() const;

  cairo_surface_t* surface_;
  cairo_t* cairo_;
};

}  // namespace kvlab
