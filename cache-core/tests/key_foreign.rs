//! How types of other crates look in keys.
#![cfg(all(feature = "uuid", feature = "chrono", feature = "jiff", feature = "time"))]

use cache_core::{Key, KeyPart};

fn encoded(part: &impl KeyPart) -> String {
    Key::new("p").arg(part).as_str()["p:".len()..].to_owned()
}

#[test]
fn uuids() {
    let text = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    assert_eq!(encoded(&uuid::Uuid::parse_str(text).expect("a uuid")), text);
}

#[test]
fn chrono_dates() {
    use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
    let date = NaiveDate::from_ymd_opt(2026, 11, 21).expect("a date");
    assert_eq!(encoded(&date), "2026-11-21");
    assert_eq!(encoded(&date.and_hms_opt(7, 5, 0).expect("a time")), "2026-11-21T07%3A05%3A00");
    let here = DateTime::parse_from_rfc3339("2026-11-21T09:05:00.5+02:00").expect("a time");
    assert_eq!(encoded(&here), "2026-11-21T07%3A05%3A00.500Z");
    assert_eq!(encoded(&here), encoded(&here.with_timezone(&Utc)), "one instant, one key");
    assert_ne!(encoded(&TimeDelta::seconds(1)), encoded(&TimeDelta::seconds(-1)));
}

#[test]
fn jiff_dates() {
    let date = jiff::civil::date(2026, 11, 21);
    assert_eq!(encoded(&date), "2026-11-21");
    assert_eq!(encoded(&date.at(7, 5, 0, 0)), "2026-11-21T07%3A05%3A00");
    assert_eq!(encoded(&jiff::Timestamp::UNIX_EPOCH), "1970-01-01T00%3A00%3A00Z");
}

#[test]
fn time_dates() {
    use time::{Date, Duration, Month, OffsetDateTime, UtcOffset};
    let date = Date::from_calendar_date(2026, Month::November, 21).expect("a date");
    assert_eq!(encoded(&date), "2026-11-21");
    let utc = OffsetDateTime::UNIX_EPOCH;
    let east = utc.to_offset(UtcOffset::from_hms(2, 0, 0).expect("an offset"));
    assert_eq!(encoded(&utc), encoded(&east), "one instant, one key");
    assert_ne!(encoded(&Duration::milliseconds(-1)), encoded(&Duration::milliseconds(1)));
}

/// Where the caller chooses the type, a text is never the entry of something that is written like it.
#[test]
fn a_uuid_and_a_span_are_not_the_texts_that_look_like_them() {
    let any = |part: &dyn Fn(Key) -> Key| part(Key::new("x")).to_string();
    for text in ["abcdef00-0000-0000-0000-000000000000", "+abcdef00-0000-0000-0000-000000000000"] {
        let uuid: uuid::Uuid = "abcdef00-0000-0000-0000-000000000000".parse().expect("a uuid");
        assert_ne!(any(&|key| key.arg_of_any_type(&uuid)), any(&|key| key.arg_of_any_type(text)));
    }
    for text in ["PT5S", "+PT5S"] {
        let span = chrono::TimeDelta::seconds(5);
        assert_ne!(any(&|key| key.arg_of_any_type(&span)), any(&|key| key.arg_of_any_type(text)));
    }
}
