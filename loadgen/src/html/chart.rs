//! A plot of lines as SVG. Colours and dashes are classes of the page's style sheet.

use std::fmt::Write;

use super::axis::Axis;
use super::escaped;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 44.0;

#[derive(Debug, Clone)]
pub struct Mark {
    pub x: f64,
    pub y: f64,
    /// Lowest and highest measurement.
    pub bar: Option<(f64, f64)>,
    /// Shown when a pointer rests on it.
    pub text: String,
}

#[derive(Debug, Clone)]
pub struct Line {
    /// Which colour, and which dash and shape of marks.
    pub colour: usize,
    pub dash: usize,
    pub marks: Vec<Mark>,
    /// Without marks: many points.
    pub plain: bool,
}

pub struct Chart<'a> {
    /// What is read out instead of the picture.
    pub description: &'a str,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
}

impl Chart<'_> {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let (width, height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
        (LEFT + self.x.place(x) * width, TOP + (1.0 - self.y.place(y)) * height)
    }

    pub fn svg(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let description = escaped(self.description);
        writeln!(out, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{description}\">")?;
        self.write_axes(out)?;
        for line in &self.lines {
            self.write_line(out, line)?;
        }
        writeln!(out, "</svg>")
    }

    fn write_axes(&self, out: &mut String) -> std::fmt::Result {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for &tick in &self.y.ticks {
            let (_, y) = self.at(0.0, tick);
            let text = self.y.tick_text(tick);
            writeln!(out, "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>")?;
            writeln!(
                out,
                "<text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 7.0,
                y + 4.0
            )?;
        }
        let mut written_to = f64::MIN;
        for &tick in &self.x.ticks {
            let x = LEFT + self.x.place(tick) * (right - LEFT);
            writeln!(out, "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>")?;
            let text = self.x.tick_text(tick);
            let half = text.len() as f64 * 3.4;
            if x - half > written_to + 4.0 {
                written_to = x + half;
                let x = x.min(right - half + 8.0);
                writeln!(
                    out,
                    "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                    bottom + 17.0
                )?;
            }
        }
        writeln!(out, "<path class=\"frame\" d=\"M{LEFT} {bottom}H{right}\"/>")?;
        writeln!(
            out,
            "<text class=\"label\" x=\"{LEFT}\" y=\"14\" text-anchor=\"middle\">{}</text>",
            escaped(self.y.label)
        )?;
        let middle = (LEFT + right) / 2.0;
        writeln!(
            out,
            "<text class=\"label\" x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 6.0,
            escaped(self.x.label)
        )
    }

    fn write_line(&self, out: &mut String, line: &Line) -> std::fmt::Result {
        let class = format!("c{} d{}", line.colour % COLOURS, line.dash % DASHES);
        let places: Vec<(f64, f64)> = line.marks.iter().map(|mark| self.at(mark.x, mark.y)).collect();
        let mut path = String::new();
        for (index, (x, y)) in places.iter().enumerate() {
            write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' })?;
        }
        if !path.is_empty() {
            writeln!(out, "<path class=\"line {class}\" d=\"{path}\"/>")?;
        }
        if line.plain {
            return Ok(());
        }
        for (mark, (x, y)) in line.marks.iter().zip(places) {
            writeln!(out, "<g class=\"{class}\"><title>{}</title>", escaped(&mark.text))?;
            if let Some((low, high)) = mark.bar {
                let ((_, low), (_, high)) = (self.at(mark.x, low), self.at(mark.x, high));
                writeln!(
                    out,
                    "<path class=\"bar\" d=\"M{x:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h6M{:.1} {high:.1}h6\"/>",
                    x - 3.0,
                    x - 3.0
                )?;
            }
            writeln!(out, "{}</g>", shape(line.dash, x, y))?;
        }
        Ok(())
    }
}

/// Colours and dashes that the style sheet has.
pub const COLOURS: usize = 6;
pub const DASHES: usize = 4;

/// The mark of a dash.
pub fn shape(dash: usize, x: f64, y: f64) -> String {
    match dash % DASHES {
        0 => format!("<circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"),
        1 => format!("<path class=\"mark\" d=\"M{:.1} {:.1}h7v7h-7z\"/>", x - 3.5, y - 3.5),
        2 => format!("<path class=\"mark\" d=\"M{x:.1} {:.1}l4.6 8h-9.2z\"/>", y - 5.0),
        _ => format!("<path class=\"mark\" d=\"M{x:.1} {:.1}l4.8 4.8l-4.8 4.8l-4.8 -4.8z\"/>", y - 4.8),
    }
}

/// A short piece of a line with its mark.
pub(super) fn key(colour: usize, dash: usize) -> String {
    let class = format!("c{} d{}", colour % COLOURS, dash % DASHES);
    let mark = shape(dash, 22.0, 6.0);
    format!(
        "<svg class=\"key\" viewBox=\"0 0 44 12\"><path class=\"line {class}\" d=\"M1 6H43\"/><g class=\"{class}\">{mark}</g></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::super::axis::Scale;
    use super::*;

    #[test]
    fn every_mark_lies_inside_and_texts_are_escaped() {
        let mark = |x: f64, y: f64| Mark { x, y, bar: Some((y * 0.9, y * 1.1)), text: "a<b".to_owned() };
        let marks = vec![mark(1.0, 80.0), mark(100.0, 1300.0)];
        let values = || [72.0, 1430.0].into_iter();
        let chart = Chart {
            description: "x \"y\"",
            x: Axis::of_counts("partitions", &[1.0, 100.0]),
            y: Axis::of("MB/s", Scale::Log, values()),
            lines: vec![Line { colour: 0, dash: 1, marks, plain: false }],
        };
        let svg = chart.svg();
        assert!(svg.contains("a&lt;b") && svg.contains("&quot;y&quot;") && !svg.contains("NaN"));
        assert_eq!(svg.matches("class=\"mark\"").count(), 2);
        for (x, y) in [chart.at(1.0, 72.0), chart.at(100.0, 1430.0)] {
            assert!((LEFT..=WIDTH - RIGHT).contains(&x) && (TOP..=HEIGHT - BOTTOM).contains(&y));
        }
    }
}
