//! Charts of the last minutes: what the templates draw as SVG.
//!
//! A drawing stretches to the width that it is given, so no text is in it: axes are labelled around it.

use std::fmt::Write as _;

use crate::{history::Interval, text};

/// The drawing's own measures.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// How many points a chart has at most.
const POINTS: usize = 150;

/// How many rows the table has, which says the same in numbers.
const ROWS: usize = 15;

pub(crate) struct Chart {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What it shows, in words and numbers, for those who do not see it.
    pub(crate) summary: String,
    pub(crate) top: String,
    pub(crate) begin: String,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) class: &'static str,
    pub(crate) path: String,
    pub(crate) latest: String,
}

/// The numbers of some time, as text.
pub(crate) struct Row {
    pub(crate) ago: String,
    pub(crate) hit_rate: String,
    pub(crate) calls: String,
    pub(crate) load: String,
    pub(crate) per_call: String,
}

struct Series {
    name: &'static str,
    class: &'static str,
    value: fn(&Interval) -> Option<f64>,
}

fn per_second(calls: u64, interval: &Interval) -> Option<f64> {
    (interval.seconds > 0.0).then(|| calls as f64 / interval.seconds)
}

/// The charts of the overview.
pub(crate) fn charts(intervals: &[Interval]) -> Vec<Chart> {
    let points = joined(intervals, POINTS);
    vec![
        chart(
            ("hit-rate", "Hit rate"),
            &points,
            (text::percent, Some(1.0)),
            &[Series { name: "hits of all calls", class: "hits", value: Interval::hit_rate }],
        ),
        chart(
            ("calls", "Calls per second"),
            &points,
            (text::short, None),
            &[
                Series { name: "hits", class: "hits", value: |one| per_second(one.hits, one) },
                Series { name: "misses", class: "misses", value: |one| per_second(one.misses, one) },
            ],
        ),
        chart(
            ("latency", "Latency of loads"),
            &points,
            (text::seconds, None),
            &[
                Series { name: "a load, on average", class: "loads", value: Interval::mean_load },
                Series { name: "spread over all calls", class: "calls", value: Interval::load_per_call },
            ],
        ),
    ]
}

/// The same in numbers, the newest first.
pub(crate) fn rows(intervals: &[Interval]) -> Vec<Row> {
    let or_none = |value: Option<f64>, write: fn(f64) -> String| value.map_or_else(|| "–".to_owned(), write);
    let row = |interval: &Interval| Row {
        ago: format!("{} ago", text::seconds(interval.seconds_ago.round())),
        hit_rate: or_none(interval.hit_rate(), text::percent),
        calls: or_none(per_second(interval.calls(), interval), text::short),
        load: or_none(interval.mean_load(), text::seconds),
        per_call: or_none(interval.load_per_call(), text::seconds),
    };
    joined(intervals, ROWS).iter().rev().map(row).collect()
}

/// As many or fewer, each standing for several that follow each other.
fn joined(intervals: &[Interval], most: usize) -> Vec<Interval> {
    let group = intervals.len().div_ceil(most).max(1);
    let sum = |group: &[Interval]| group.iter().copied().reduce(|sum, next| sum.joined(&next));
    // From the end, so that the newest has its full number.
    let mut all: Vec<_> = intervals.rchunks(group).filter_map(sum).collect();
    all.reverse();
    all
}

fn chart(
    (id, title): (&'static str, &'static str),
    points: &[Interval],
    (write, top): (fn(f64) -> String, Option<f64>),
    series: &[Series],
) -> Chart {
    let values = |series: &Series| points.iter().filter_map(series.value).collect::<Vec<_>>();
    let highest = series.iter().flat_map(values).fold(0.0, f64::max);
    let top = top.unwrap_or_else(|| rounded_up(highest));
    let span = points.first().map_or(60.0, |first| first.seconds_ago + first.seconds).max(60.0);
    let lines: Vec<_> = series
        .iter()
        .map(|series| Line {
            name: series.name,
            class: series.class,
            path: path(points, series, span, top),
            latest: latest(&values(series)).map_or_else(|| "–".to_owned(), write),
        })
        .collect();
    let summary = series.iter().map(|series| summary(series.name, &values(series), write)).collect();
    Chart { id, title, summary, top: write(top), begin: begin(span), lines }
}

/// How long ago it begins, roundly.
fn begin(span: f64) -> String {
    let unit = if span < 120.0 { 10.0 } else { 60.0 };
    text::seconds((span / unit).round() * unit)
}

fn latest(values: &[f64]) -> Option<f64> {
    values.last().copied()
}

fn summary(name: &str, values: &[f64], write: fn(f64) -> String) -> String {
    let Some(latest) = latest(values) else { return format!("{name}: no calls yet. ") };
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{name}: {} now, between {} and {}. ", write(latest), write(least), write(most))
}

/// A line through the points, with gaps where there is nothing to say.
fn path(points: &[Interval], series: &Series, span: f64, top: f64) -> String {
    let mut path = String::new();
    let mut goes_on = false;
    for point in points {
        let Some(value) = (series.value)(point) else {
            goes_on = false;
            continue;
        };
        let x = WIDTH * (1.0 - point.seconds_ago / span).clamp(0.0, 1.0);
        let y = HEIGHT * (1.0 - (value / top).clamp(0.0, 1.0));
        // A point alone is a line of no length, whose round ends are seen.
        let step = if goes_on { 'L' } else { 'M' };
        write!(path, "{step}{x:.1} {y:.1}").expect("writing to a String succeeds");
        if !goes_on {
            path.push_str("h0");
        }
        goes_on = true;
    }
    path
}

/// The next round number, so that the axis is steady.
fn rounded_up(highest: f64) -> f64 {
    if highest <= 0.0 {
        return 1.0;
    }
    let magnitude = 10_f64.powf(highest.log10().floor());
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * magnitude).find(|step| *step >= highest).unwrap_or(10.0 * magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace('\u{a0}', " ")
    }

    fn interval(seconds_ago: f64, hits: u64, misses: u64) -> Interval {
        let load_seconds = 0.02 * misses as f64;
        Interval { seconds_ago, seconds: 2.0, hits, misses, loads: misses, load_seconds, ..Interval::default() }
    }

    #[test]
    fn nothing_is_drawn_where_nothing_happened() {
        let all = charts(&[interval(4.0, 9, 1), interval(2.0, 0, 0), interval(0.0, 5, 5)]);
        let rate = &all[0];
        assert_eq!(rate.lines[0].path, "M560.0 12.0h0M600.0 60.0h0");
        assert_eq!([&rate.top, &rate.begin, &rate.lines[0].latest].map(|text| plain(text)), ["100 %", "1 min", "50 %"]);
        assert_eq!(plain(&rate.summary), "hits of all calls: 50 % now, between 50 % and 90 %. ");
        assert!(charts(&[]).iter().all(|chart| chart.lines.iter().all(|line| line.path.is_empty())));
    }

    #[test]
    fn axes_are_steady_and_points_are_few() {
        assert_eq!(
            [0.0, 0.03, 1.0, 3.0, 7.2, 730.0].map(rounded_up).map(|top| plain(&text::short(top))),
            ["1", "0.03", "1", "3", "8", "800"]
        );
        let many: Vec<_> = (0..450_u32).rev().map(|age| interval(f64::from(2 * age), 1, 1)).collect();
        let few = joined(&many, POINTS);
        assert_eq!(few.len(), POINTS);
        assert_eq!((few[149].seconds_ago, few[149].seconds, few[149].hits), (0.0, 6.0, 3));
        assert_eq!(rows(&many).len(), ROWS);
    }
}
