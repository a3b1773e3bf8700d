//! Points on the earth as Redis has them, so that memory gives the same answers.
//!
//! Redis keeps a point as a geohash of 52 bits (26 for each axis, over ±180° and ±85.05112878°) and answers with the middle of its
//! cell; distances are haversines on a sphere of 6,372,797.560856 m. (The Redis documentation of `GEOADD` and `GEODIST`.)

use crate::backend::Found;

/// Half the way around the earth, and a little more.
pub(crate) const EVERYWHERE: f64 = 21_000_000.0;

/// The radius of the earth, in metres.
const RADIUS: f64 = 6_372_797.560_856;

/// The largest latitude, of the web Mercator projection.
pub(crate) const LATITUDE: f64 = 85.051_128_78;
pub(crate) const LONGITUDE: f64 = 180.0;

/// Cells on one axis.
const CELLS: f64 = 67_108_864.0;

/// The middle of the cell that a point is in.
pub(crate) fn rounded(longitude: f64, latitude: f64) -> (f64, f64) {
    (middle(longitude, LONGITUDE), middle(latitude, LATITUDE))
}

fn middle(value: f64, limit: f64) -> f64 {
    let cell = ((value + limit) / (2.0 * limit) * CELLS).floor().min(CELLS - 1.0);
    let edge = |cell: f64| -limit + cell / CELLS * (2.0 * limit);
    f64::midpoint(edge(cell), edge(cell + 1.0)).clamp(-limit, limit)
}

/// A point on the very edge, which Redis would take and not find, in the last cell before it.
pub(crate) fn inside(longitude: f64, latitude: f64) -> (f64, f64) {
    let last = |limit: f64| limit - limit / CELLS;
    (longitude.min(last(LONGITUDE)), latitude.min(last(LATITUDE)))
}

/// The radius that Redis is asked for, where one in metres is meant: a little more, since it is exact elsewhere, and everywhere for circles that come near to a
/// pole, of which it overlooks parts.
pub(crate) fn asked(latitude: f64, metres: f64) -> f64 {
    let reaches = latitude.abs() + (metres / RADIUS).to_degrees();
    if reaches > 75.0 && metres > 10_000.0 { EVERYWHERE } else { metres * (1.0 + 1e-9) + 0.001 }
}

/// Those within a radius, the nearest first; at the same distance by name.
pub(crate) fn nearest(mut found: Vec<Found>, metres: f64, most: usize) -> Vec<Found> {
    found.retain(|found| found.metres <= metres);
    found.sort_by(|one, other| one.metres.total_cmp(&other.metres).then_with(|| one.name.cmp(&other.name)));
    found.truncate(most);
    found
}

/// The distance between two points, in metres.
pub(crate) fn metres(from: (f64, f64), to: (f64, f64)) -> f64 {
    let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(f64::to_radians);
    let (u, v) = (((y2 - y1) / 2.0).sin(), ((x2 - x1) / 2.0).sin());
    2.0 * RADIUS * (u * u + y1.cos() * y2.cos() * v * v).sqrt().min(1.0).asin()
}
