//! How things look in a terminal.

use std::{fmt::Write as _, time::Duration};

/// A table whose columns are as wide as they need to be. Columns of numbers are to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    right: &'static [usize],
}

impl Table {
    pub(crate) fn new(head: &[&str], right: &'static [usize]) -> Self {
        Self { rows: vec![head.iter().map(|&name| name.to_owned()).collect()], right }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    pub(crate) fn text(&self) -> String {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let lines = self.rows.iter().map(|row| {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = widths[column];
                if self.right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Text of others for a terminal: nothing in it moves the cursor, colours what follows, or turns around what is read.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let turns =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if (c.is_control() && c != '\n') || turns {
            write!(shown, "{}", c.escape_unicode()).expect("writing to a String succeeds");
        } else {
            shown.push(c);
        }
    }
    shown
}

/// `1.4 KiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    #[allow(clippy::cast_precision_loss, reason = "it is rounded anyway")]
    let mut count = (count as f64, "B");
    for unit in UNITS {
        if count.0 < 1024.0 {
            break;
        }
        count = (count.0 / 1024.0, unit);
    }
    if count.1 == "B" { format!("{} B", count.0) } else { format!("{:.1} {}", count.0, count.1) }
}

/// `14m 3s`, `1.2 s`, `340 ms`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration < Duration::from_millis(1) => format!("{} µs", duration.as_micros()),
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `1,234,567`.
pub(crate) fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What is known, or a dash.
pub(crate) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_steered_by_what_others_wrote() {
        assert_eq!(printable("a\u{1b}[31mb\u{7}\u{9b}c"), "a\\u{1b}[31mb\\u{7}\\u{9b}c");
        assert_eq!(printable("x\u{202e}y\u{2066}z"), "x\\u{202e}y\\u{2066}z");
        assert_eq!(printable("Müller, 北京"), "Müller, 北京");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!([number(0), number(999), number(1_000), number(12_345_678)], ["0", "999", "1,000", "12,345,678"]);
        assert_eq!([bytes(0), bytes(1_023), bytes(1_024), bytes(5 << 30)], ["0 B", "1023 B", "1.0 KiB", "5.0 GiB"]);
        let times = [0, 340_000, 1_500_000, 843_000_000, 7_260_000_000, 100_000_000_000].map(Duration::from_micros);
        assert_eq!(times.map(time), ["0 µs", "340 ms", "1.5 s", "14m 3s", "2h 1m", "1d 3h"]);
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let mut table = Table::new(&["key", "bytes"], &[1]);
        table.row(["page:1".to_owned(), "7".to_owned()]);
        assert_eq!(table.text(), "key     bytes\npage:1      7");
    }
}
