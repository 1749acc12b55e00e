//! What commands print: tables for people, JSON for programs, colours on a terminal only.
//!
//! Promises: answers go to stdout, everything else to stderr; a pipe or a file gets no colours, and a terminal none if the
//! environment has `NO_COLOR` (<https://no-color.org>); output that nobody reads any more ends a command quietly.
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use serde::Serialize;

use super::failure::Failure;

/// Whether colours are wanted where this goes.
pub fn colours(to: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    to.is_terminal() && !set("NO_COLOR") && !dumb
}

/// Writes to stdout.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Writes a value to stdout as JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Output(error.into()))?;
    print(&(text + "\n"))
}

/// Writes one line to stderr, behind the name of the program.
pub fn tell(line: &str) {
    let name = if colours(&io::stderr()) { "\x1b[1mkeylane:\x1b[0m" } else { "keylane:" };
    // Whether anybody reads it or not, the command goes on.
    let _ = writeln!(io::stderr().lock(), "{name} {line}");
}

/// Writes an error to stderr.
pub fn tell_error(line: &str) {
    let name = if colours(&io::stderr()) { "\x1b[1;31mkeylane:\x1b[0m" } else { "keylane:" };
    let _ = writeln!(io::stderr().lock(), "{name} {line}");
}

/// A heading for people, as it looks on stdout.
pub fn heading(text: &str) -> String {
    if colours(&io::stdout()) { format!("\x1b[1m{text}\x1b[0m\n") } else { format!("{text}\n") }
}

/// Lines of columns. A column of numbers stands on the right.
pub struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these titles.
    pub fn new(titles: &[&'static str]) -> Self {
        Self { titles: titles.to_vec(), rows: Vec::new() }
    }

    /// Adds a line.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text, each line behind `indent`.
    pub fn text(&self, indent: &str) -> String {
        let is_number = |cell: &String| matches!(cell.as_str(), "-" | "") || cell.parse::<f64>().is_ok();
        let column = |at: usize| self.rows.iter().filter_map(move |row| row.get(at));
        let shape: Vec<(usize, bool)> = (self.titles.iter().enumerate())
            .map(|(at, title)| {
                let wide = column(at).map(|cell| cell.chars().count()).chain([title.len()]).max();
                (wide.unwrap_or(0), column(at).all(is_number) && !self.rows.is_empty())
            })
            .collect();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut line = indent.to_owned();
            for (cell, (wide, right)) in cells.zip(&shape) {
                // Writing to a string cannot fail.
                let _ = match right {
                    true => write!(line, "{cell:>wide$}  "),
                    false => write!(line, "{cell:<wide$}  "),
                };
            }
            line.trim_end().to_owned()
        };
        let titles = line(&mut self.titles.iter().copied());
        let mut text = heading(&titles);
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(String::as_str)));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_on_the_right_and_nothing_follows_a_line() {
        let mut table = Table::new(&["TOPIC", "N"]);
        table.row(vec!["a".into(), "1".into()]);
        table.row(vec!["longer".into(), "100".into()]);
        table.row(vec!["b".into(), "-".into()]);
        assert_eq!(table.text(" "), " TOPIC     N\n a         1\n longer  100\n b         -\n");
        assert_eq!(Table::new(&["A", "B"]).text(""), "A  B\n");
    }
}
