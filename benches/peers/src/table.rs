//! Markdown tables.

/// Prints one: the names of the columns, then the rows.
pub fn print(columns: &[String], rows: &[Vec<String>]) {
    let line = |cells: &[String]| println!("| {} |", cells.join(" | "));
    line(columns);
    println!("|{}", "---|".repeat(columns.len()));
    for row in rows {
        line(row);
    }
}

/// The names of columns, after one without a name.
pub fn columns<T: ToString>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    std::iter::once(String::new()).chain(names.into_iter().map(|name| name.to_string())).collect()
}

/// A whole number with commas between its thousands.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate: 14.0 k, 313 k, 7.1 M.
pub fn rate(each_second: f64) -> String {
    match each_second {
        rate if rate >= 1e6 => format!("{:.1} M", rate / 1e6),
        rate if rate >= 1e5 => format!("{:.0} k", rate / 1e3),
        rate => format!("{:.1} k", rate / 1e3),
    }
}

/// Three digits or so of a time in this unit.
pub fn digits(time: f64) -> String {
    match time {
        time if time >= 1_000.0 => thousands(time.round() as u64),
        time if time >= 10.0 => format!("{time:.0}"),
        time if time >= 1.0 => format!("{time:.1}"),
        time => format!("{time:.2}"),
    }
}
