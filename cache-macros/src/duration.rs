//! Durations as they are written in attributes: `"15m"`, `"1h 30m"`, `900`.

use std::time::Duration;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Expr, ExprLit, Lit};

/// How a duration may be written, for messages.
pub(crate) const EXAMPLES: &str = r#"`"15m"`, `"1h 30m"`, `"250ms"`, `900` (seconds) or a `Duration` expression"#;

/// A duration known now, or an expression of type `Duration`.
pub(crate) enum Span {
    Known(Duration),
    Computed(Box<Expr>),
}

impl Span {
    /// Reads the value of the option `name`.
    pub(crate) fn of(name: &str, value: Expr) -> syn::Result<Self> {
        let known = match &value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => parse(&text.value()),
            Expr::Lit(ExprLit { lit: Lit::Int(seconds), .. }) if seconds.suffix().is_empty() => {
                seconds.base10_parse().map(Duration::from_secs).map_err(|_| "is too large".to_owned())
            }
            Expr::Lit(_) => Err("is not a duration".to_owned()),
            Expr::Unary(_) => Err("cannot be negative".to_owned()),
            _ => return Ok(Self::Computed(Box::new(value))),
        };
        match known {
            Ok(Duration::ZERO) => Err("is zero: nothing would ever be kept".to_owned()),
            known => known,
        }
        .map(Self::Known)
        .map_err(|why| syn::Error::new_spanned(&value, format!("`{name}` {why}; write {EXAMPLES}")))
    }

    /// Whether it is known now.
    pub(crate) fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }

    /// The seconds, if it is known and has no fraction of one.
    pub(crate) fn whole_seconds(&self) -> Option<u64> {
        match self {
            Self::Known(known) if known.subsec_nanos() == 0 => Some(known.as_secs()),
            _ => None,
        }
    }

    /// The expression that gives it.
    pub(crate) fn to_expr(&self, private: &TokenStream) -> TokenStream {
        match self {
            Self::Computed(expr) => quote!(#expr),
            Self::Known(known) => {
                let (secs, nanos) = (known.as_secs(), known.subsec_nanos());
                if nanos == 0 { quote!(#private::secs(#secs)) } else { quote!(#private::Duration::new(#secs, #nanos)) }
            }
        }
    }
}

fn parse(text: &str) -> Result<Duration, String> {
    const TOO_LONG: &str = "is too long";
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("is empty".to_owned());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let Ok(number) = number.parse::<u64>() else {
            return Err(if digits == 0 { format!("has no number before `{rest}`") } else { TOO_LONG.to_owned() });
        };
        let part = match unit {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3_600).map(Duration::from_secs),
            "d" => number.checked_mul(86_400).map(Duration::from_secs),
            "" => {
                return Err(format!("has no unit after `{number}`: `ms`, `s`, `m`, `h` or `d`"));
            }
            _ => {
                return Err(format!("has the unit `{unit}`, which is none of `ms`, `s`, `m`, `h`, `d`"));
            }
        };
        total = part.and_then(|part| total.checked_add(part)).ok_or(TOO_LONG)?;
        rest = after.trim_start();
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, millis) in
            [("15m", 900_000), ("1h 30m", 5_400_000), ("250ms", 250), ("1d2h", 93_600_000), (" 5 s ", 5_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "15", "m", "15 minutes", "1.5h", "-5s", "99999999999999999999s", "999999999999999999d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
