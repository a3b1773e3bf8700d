//! Numbers as people read them, with their units, from which no line breaks them.

/// `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// In few letters: `980`, `12.3 k`, `4.5 M`.
pub(crate) fn short(number: f64) -> String {
    let (value, unit) = [(1e9, "\u{a0}G"), (1e6, "\u{a0}M"), (1e3, "\u{a0}k")]
        .into_iter()
        .find(|(size, _)| number >= *size)
        .map_or((number, ""), |(size, unit)| (number / size, unit));
    format!("{}{unit}", digits(value))
}

/// `97.5 %`.
pub(crate) fn percent(share: f64) -> String {
    match share * 100.0 {
        // So that all means all.
        share if share > 99.9 && share < 100.0 => ">\u{a0}99.9\u{a0}%".to_owned(),
        share if share.fract() == 0.0 => format!("{share:.0}\u{a0}%"),
        share => format!("{share:.1}\u{a0}%"),
    }
}

/// `850 µs`, `12.5 ms`, `3.2 s`, `4 min 5 s`, `3 h 20 min`, `2 d 1 h`.
pub(crate) fn seconds(seconds: f64) -> String {
    let pair = |large: f64, size: &str, unit: f64, small: &str| {
        let rest = ((seconds % large) / unit).floor();
        let rest = if rest > 0.0 { format!("\u{a0}{rest:.0}\u{a0}{small}") } else { String::new() };
        format!("{:.0}\u{a0}{size}{rest}", (seconds / large).floor())
    };
    match seconds {
        s if s <= 0.0 => "0\u{a0}s".to_owned(),
        s if s < 1e-3 => format!("{}\u{a0}µs", digits(s * 1e6)),
        s if s < 1.0 => format!("{}\u{a0}ms", digits(s * 1e3)),
        s if s < 60.0 => format!("{}\u{a0}s", digits(s)),
        s if s < 3_600.0 => pair(60.0, "min", 1.0, "s"),
        s if s < 86_400.0 => pair(3_600.0, "h", 60.0, "min"),
        _ => pair(86_400.0, "d", 3_600.0, "h"),
    }
}

/// `12 B`, `1.5 KiB`, `64 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{}\u{a0}{unit}", digits(bytes as f64 / size as f64)),
        None => format!("{bytes}\u{a0}B"),
    }
}

/// Three digits, or all before the point.
fn digits(number: f64) -> String {
    match number {
        n if n >= 100.0 || n.fract() == 0.0 => format!("{n:.0}"),
        n if n >= 10.0 => trimmed(&format!("{n:.1}")),
        n => trimmed(&format!("{n:.2}")),
    }
}

fn trimmed(number: &str) -> String {
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A TTL as it is written in an attribute, such as `1h 30m` or `900`, in seconds. None for one that is code.
pub(crate) fn ttl_seconds(text: &str) -> Option<f64> {
    let mut rest = text.trim().trim_matches('"');
    if let Ok(seconds) = rest.parse::<u32>() {
        return Some(seconds.into());
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let after = after.trim_start();
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let unit = match unit {
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total += f64::from(number.parse::<u32>().ok()?) * unit;
        rest = after.trim_start();
    }
    Some(total)
}

/// At most so many characters; the end says that there was more.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// As a sentence: with a capital letter and a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace('\u{a0}', " ")
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 12.34, 999.0, 12_345.0, 4.5e6].map(|number| plain(&short(number))),
            ["0", "12.3", "999", "12.3 k", "4.5 M"]
        );
        assert_eq!(
            [0.0, 0.975, 0.999_99, 1.0].map(|number| plain(&percent(number))),
            ["0 %", "97.5 %", "> 99.9 %", "100 %"]
        );
        assert_eq!(
            [0.0, 0.000_85, 0.012_5, 3.21, 245.0, 12_000.0, 176_400.0].map(|number| plain(&seconds(number))),
            ["0 s", "850 µs", "12.5 ms", "3.21 s", "4 min 5 s", "3 h 20 min", "2 d 1 h"]
        );
        assert_eq!(
            [0, 1_023, 1_536, 64 << 20].map(|number| plain(&bytes(number))),
            ["0 B", "1023 B", "1.5 KiB", "64 MiB"]
        );
        assert_eq!(sentence("out of reach"), "Out of reach.");
        assert_eq!(shortened("äbcd", 3), "äb…");
        assert_eq!(shortened("äbc", 3), "äbc");
    }

    #[test]
    fn a_ttl_is_read_as_the_attribute_reads_it() {
        for (text, seconds) in [("900", 900.0), ("15m", 900.0), ("\"1h 30m\"", 5_400.0), ("250ms", 0.25)] {
            assert_eq!(ttl_seconds(text), Some(seconds), "{text}");
        }
        for text in ["TTL", "Duration :: from_secs (3)", "15 parsecs", "s"] {
            assert_eq!(ttl_seconds(text), None, "{text}");
        }
    }
}
