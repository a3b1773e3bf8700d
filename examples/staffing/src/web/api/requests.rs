//! What is sent to the API.

use serde::{Deserialize, Deserializer, de::Error as _};
use staffing::Day;

use crate::web::refusal::{Answer, Refusal};

/// A whole number: in JSON, 2.0 is one.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "what would be changed is refused")]
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    let whole = number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0).then_some(float as i64)
    });
    whole.ok_or_else(|| D::Error::custom(format!("{number} is not a whole number")))
}

#[derive(Deserialize)]
pub(crate) struct Code {
    pub(crate) login: String,
}

#[derive(Deserialize)]
pub(crate) struct Login {
    pub(crate) login: String,
    pub(crate) code: String,
}

#[derive(Deserialize)]
pub(crate) struct Page {
    #[serde(default)]
    pub(crate) page: i64,
}

#[derive(Deserialize)]
pub(crate) struct Days {
    pub(crate) from: Option<Day>,
    pub(crate) to: Option<Day>,
}

#[derive(Deserialize)]
pub(crate) struct Site {
    pub(crate) name: String,
    pub(crate) street: String,
    pub(crate) city: String,
    latitude: f64,
    longitude: f64,
}

impl Site {
    pub(crate) fn latitude(&self) -> Answer<f64> {
        degrees("latitude", self.latitude, 85.0)
    }

    pub(crate) fn longitude(&self) -> Answer<f64> {
        degrees("longitude", self.longitude, 180.0)
    }
}

fn degrees(name: &str, value: f64, most: f64) -> Answer<f64> {
    if value.abs() <= most {
        return Ok(value);
    }
    Err(Refusal::invalid(format!("{name} is not between -{most} and {most}")))
}

#[derive(Deserialize)]
pub(crate) struct Hire {
    #[serde(deserialize_with = "whole")]
    pub(crate) object_id: i64,
    pub(crate) name: String,
    pub(crate) trade: String,
    pub(crate) starts_on: Day,
    #[serde(deserialize_with = "whole")]
    pub(crate) hourly_cents: i64,
}

#[derive(Deserialize)]
pub(crate) struct Slot {
    pub(crate) day: Day,
    #[serde(deserialize_with = "whole")]
    pub(crate) starts: i64,
    #[serde(deserialize_with = "whole")]
    pub(crate) ends: i64,
    #[serde(deserialize_with = "whole")]
    pub(crate) capacity: i64,
}

#[derive(Deserialize)]
pub(crate) struct Around {
    latitude: f64,
    longitude: f64,
    #[serde(default = "ten_kilometres")]
    metres: f64,
}

fn ten_kilometres() -> f64 {
    10_000.0
}

impl Around {
    /// Longitude, latitude and radius.
    pub(crate) fn checked(&self) -> Answer<(f64, f64, f64)> {
        if !(1.0..=500_000.0).contains(&self.metres) {
            return Err(Refusal::invalid("metres is not between 1 and 500000"));
        }
        let (longitude, latitude) =
            (degrees("longitude", self.longitude, 180.0)?, degrees("latitude", self.latitude, 85.0)?);
        Ok((longitude, latitude, self.metres))
    }
}

#[derive(Deserialize)]
pub(crate) struct Booking {
    #[serde(deserialize_with = "whole")]
    pub(crate) slot_id: i64,
    #[serde(deserialize_with = "whole")]
    pub(crate) employee_id: i64,
}

#[derive(Deserialize)]
pub(crate) struct Plan {
    pub(crate) plan: String,
}

#[derive(Deserialize)]
pub(crate) struct Setting {
    pub(crate) value: String,
}
