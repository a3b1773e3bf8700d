//! `KeyPart` for types of other crates, each behind a feature of the crate's name.
//!
//! Dates and times are written as their ISO 8601 text, in UTC where they name an instant, so that equal instants are equal keys.

#[cfg(feature = "uuid")]
impl super::KeyPart for uuid::Uuid {
    fn encode(&self, segment: &mut super::Segment<'_>) {
        segment.number(self.hyphenated());
    }
}

#[cfg(feature = "chrono")]
mod chrono {
    use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone};

    use super::super::{KeyPart, Segment};

    impl<Z: TimeZone> KeyPart for DateTime<Z> {
        fn encode(&self, segment: &mut Segment<'_>) {
            segment.number(format_args!("{:?}Z", self.naive_utc()));
        }
    }

    macro_rules! as_debugged {
        ($($date:ty)*) => {$(
            impl KeyPart for $date {
                fn encode(&self, segment: &mut Segment<'_>) {
                    segment.number(format_args!("{self:?}"));
                }
            }
        )*};
    }

    // The `Debug` of these is their ISO 8601 form, as their documentation says.
    as_debugged!(NaiveDate NaiveDateTime NaiveTime);

    impl KeyPart for TimeDelta {
        fn encode(&self, segment: &mut Segment<'_>) {
            segment.number(self);
        }
    }
}

#[cfg(feature = "jiff")]
mod jiff {
    use jiff::{
        Timestamp, Zoned,
        civil::{Date, DateTime, Time},
    };

    use super::super::{KeyPart, Segment};

    macro_rules! as_displayed {
        ($($date:ty)*) => {$(
            impl KeyPart for $date {
                fn encode(&self, segment: &mut Segment<'_>) {
                    segment.number(self);
                }
            }
        )*};
    }

    as_displayed!(Timestamp Date DateTime Time);

    /// The instant and the zone: the same instant elsewhere is another key, as its calendar may differ.
    impl KeyPart for Zoned {
        fn encode(&self, segment: &mut Segment<'_>) {
            segment.number(self);
        }
    }
}

#[cfg(feature = "time")]
mod time {
    use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime, Time, UtcOffset};

    use super::super::{KeyPart, Segment};

    impl KeyPart for OffsetDateTime {
        fn encode(&self, segment: &mut Segment<'_>) {
            let utc = self.to_offset(UtcOffset::UTC);
            PrimitiveDateTime::new(utc.date(), utc.time()).encode_with(segment, "Z");
        }
    }

    trait EncodeWith {
        fn encode_with(&self, segment: &mut Segment<'_>, suffix: &str);
    }

    impl EncodeWith for PrimitiveDateTime {
        fn encode_with(&self, segment: &mut Segment<'_>, suffix: &str) {
            segment.number(format_args!("{}T{}{suffix}", self.date(), self.time()));
        }
    }

    impl KeyPart for PrimitiveDateTime {
        fn encode(&self, segment: &mut Segment<'_>) {
            self.encode_with(segment, "");
        }
    }

    macro_rules! as_displayed {
        ($($date:ty)*) => {$(
            impl KeyPart for $date {
                fn encode(&self, segment: &mut Segment<'_>) {
                    segment.number(self);
                }
            }
        )*};
    }

    as_displayed!(Date Time);

    impl KeyPart for Duration {
        fn encode(&self, segment: &mut Segment<'_>) {
            segment.number(format_args!("{}.{:09}s", self.whole_seconds(), self.subsec_nanoseconds()));
        }
    }
}
